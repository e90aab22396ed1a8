"""Kills commands, lets their file operations fail and changes their inputs, at every moment; then runs them again.

A run that was killed or failed and is given again must end with the files of the undisturbed run, byte for byte but for
what is measured (`MEASURED`), and leave no drafts. What stands under a final name after a kill must be whole.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import random
import resource
import shlex
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import sandbox
from case import Workshop, half
from subjects import SUBJECTS

__all__ = ["CHANGES", "DEEDS", "JOBS", "Change", "Job", "Trap", "campaign", "disturb", "undisturbed"]


@dataclass(frozen=True)
class Job:
    """A command with output on a subject, and what is added to give it again after it was ended."""

    subject: str
    line: str
    again: str = ""


_TINY = "--set train.steps=2 --set train.batch=2 --set train.from_scratch=true --set train.checkpoint_every=1"
_BOX = "--box 4,6,12,10 --model siamcar.safetensors"

JOBS: dict[str, Job] = {
    "track": Job("track", f"track clip.mp4 {_BOX} --output out/boxes.csv --video out/drawn.mp4", "--overwrite"),
    "track-json": Job("track", f"track frames {_BOX} --output out/boxes.json", "--overwrite"),
    "track-coco": Job("track", f"track frames {_BOX} --output out/boxes.json --format coco", "--overwrite"),
    "demo": Job("track", "demo --model siamcar.safetensors --end 3 --out out/demo"),
    "eval": Job("eval", "eval siamcar.safetensors --suite folder --data data --out out/results --processes 1"),
    "tune": Job(
        "eval",
        "tune siamcar.safetensors --data data --out out/tuned.toml --grid track.window=0.3,0.4 --folds 2 --processes 1",
    ),
    "report": Job("report", "report results --out out/page --data data --clips 1"),
    "score": Job("report", "score --suite folder --truth data --results raw/toy --json"),
    "submit": Job("submit", "submit results/toy/got10k-test --data got --out out/sent.zip"),
    "index": Job("data-coco_video", "data index data -o out/made.npz"),
    "pack": Job("data-sequences", "data pack data -o out/shards --processes 1 --size 64 --smallest 1 --shard 3"),
    "picture": Job("shards", "data check shards --picture out/crops.png"),
    "train": Job(
        "train",
        "train tiny.toml --data shards --out out/run --steps 4 --val val --set train.validate_every=2",
        "--resume",
    ),
    "import": Job("import", "import whole.pth --from siamfc-pytorch --preset siamfc --out out/made.safetensors"),
    "study": Job("study", f"study center-bias --data shards --out out/study --shift 0 --crops 2 {_TINY}"),
    "figure": Job(
        "studies",
        "study figure responses --model siamcar.safetensors --clips data --out out/f.png --frames 2 --limit 1",
    ),
    "static": Job("exported", "app --static out/page --model pico.onnx --onnxruntime-web web"),
    "export": Job("export", "export siamcar.safetensors --out out/made.onnx"),
}

MEASURED = {"seconds", "network", "reading", "fps", "pairs_per_second", "processes"}
"""What is measured in a run and differs between any two of them: times and speeds, by their keys in JSON."""


DONE = "holds shards already"
"""What `data pack` answers where it was killed after its last file."""


# Faults


class Trap:
    """Counts the file operations of a process below a folder, and at one of them does something.

    It stands at Python's audit events, so whoever opens, renames, removes or makes a file is seen.
    """

    WATCHED = frozenset({"open", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate", "os.chmod"})

    def __init__(self, at: int, deed: Callable[[], None], counter: Path) -> None:
        self.at, self.deed, self.counter = at, deed, counter
        self.count, self.busy = 0, False

    def __call__(self) -> None:
        """Set the trap in this process, for good."""
        self.folder = str(Path.cwd() / "out")
        sys.addaudithook(self._see)

    def _see(self, event: str, args: tuple[Any, ...]) -> None:
        if event not in self.WATCHED or self.busy or not isinstance(args[0], str | bytes | os.PathLike):
            return
        if event == "os.remove" and os.path.basename(os.fsdecode(args[0])).startswith(".part-"):  # noqa: PTH119
            return  # a draft whose removal the system refuses can only stay
        if event == "open" and isinstance(args[2], int) and not args[2] & (os.O_WRONLY | os.O_RDWR):
            return
        self.busy = True  # what is done here is not watched
        try:
            if os.path.abspath(os.fsdecode(args[0])).startswith(self.folder):  # noqa: PTH100
                self.count += 1
                self.counter.write_text(str(self.count))
                if self.count == self.at:
                    self.deed()
        finally:
            self.busy = False


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _fail(number: int) -> Callable[[], None]:
    def deed() -> None:
        raise OSError(number, os.strerror(number))

    return deed


class Change(Trap):
    """Counts how often a process opens or lists an input, and at one of these times changes what it comes upon."""

    WATCHED = frozenset({"open", "os.listdir", "os.scandir"})

    def __init__(self, at: int, change: Callable[[Path], None], counter: Path) -> None:
        super().__init__(at, lambda: None, counter)
        self.change = change

    def _see(self, event: str, args: tuple[Any, ...]) -> None:
        if event not in self.WATCHED or self.busy or not isinstance(args[0], str | bytes | os.PathLike):
            return
        place = Path(os.path.abspath(os.fsdecode(args[0])))  # noqa: PTH100
        if not place.is_relative_to(Path(self.folder).parent) or place.is_relative_to(self.folder):
            return
        self.busy = True
        try:
            self.count += 1
            self.counter.write_text(str(self.count))
            if self.count == self.at:
                self.change(place)
        finally:
            self.busy = False


def _files(place: Path) -> list[Path]:
    """A file, or those in a folder."""
    return [place] if place.is_file() else sorted(path for path in place.rglob("*") if path.is_file())


def _remove(place: Path) -> None:
    shutil.rmtree(place) if place.is_dir() else place.unlink()


def _cut(place: Path) -> None:
    for path in _files(place)[-1:]:
        os.truncate(path, path.stat().st_size // 2)


def _grow(place: Path) -> None:
    for path in _files(place)[:1]:
        with path.open("ab") as file:
            file.write(b"and more\n" * 500)


def _add(place: Path) -> None:
    for path in _files(place)[:1]:
        shutil.copyfile(path, path.with_name(f"00-{path.name}"))


def _exchange(place: Path) -> None:
    """Put a folder in a file's place, or a file in a folder's."""
    folder = place.is_dir()
    _remove(place)
    place.touch() if folder else place.mkdir()


CHANGES: dict[str, Callable[[Path], None]] = {
    "removed": _remove, "cut": _cut, "grown": _grow, "joined by another": _add, "exchanged": _exchange,
}  # fmt: skip


DEEDS: dict[str, Callable[[], None]] = {
    "killed": _die,
    "disk full": _fail(errno.ENOSPC),
    "permission lost": _fail(errno.EACCES),
    "input or output error": _fail(errno.EIO),
}


def cut_at(size: int) -> Callable[[], None]:
    """Let no file grow beyond `size` bytes: the write that would is cut, and the next one fails."""

    def before() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))

    return before


# What must be


def content(path: Path) -> str:
    """A mark of a file's content without what is measured."""
    if path.suffix == ".mp4":  # the same pictures are not always the same bytes
        with av.open(str(path)) as video:
            pictures = [(frame.pts, frame.to_ndarray().tobytes()) for frame in video.decode(video=0)]
        return hashlib.sha1(repr(pictures).encode()).hexdigest()
    data = path.read_bytes()
    if path.suffix in (".json", ".jsonl"):
        data = b"\n".join(json.dumps(_steady(json.loads(row))).encode() for row in _documents(data, path.suffix))
    return hashlib.sha1(data).hexdigest()


def _documents(data: bytes, suffix: str) -> list[bytes]:
    return [data] if suffix == ".json" else data.splitlines()


def _steady(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _steady(inner) for key, inner in value.items() if key not in MEASURED}
    return [_steady(inner) for inner in value] if isinstance(value, list) else value


def tree(out: Path) -> dict[str, str]:
    """The files below a folder by what they hold; pages tell of speeds, so of them only that they are there."""
    free = {"index.html", "table.csv", "table.tex"}
    return {
        str(path.relative_to(out)): "" if path.name in free or path.suffix == ".svg" else content(path)
        for path in sorted(out.rglob("*"))
        if path.is_file() and path.name != "fifo"
    }


@dataclass(frozen=True)
class Whole:
    """An undisturbed run: its files, the seconds that it took, and how often it wrote files and opened its inputs."""

    files: dict[str, str]
    printed: str
    seconds: float
    operations: int
    readings: int


def undisturbed(workshop: Workshop, job: Job) -> Whole:
    """Run a job as it is."""
    with workshop.place(job.subject) as place:
        traps = Trap(-1, _die, _counter(workshop, "operations")), Change(-1, _remove, _counter(workshop, "readings"))

        def before() -> None:
            for trap in traps:
                trap()

        found = sandbox.run(shlex.split(job.line), place, before, seconds=_seconds(job))
        assert found.code == 0, found.errors
        operations, readings = (int(trap.counter.read_text() or 0) for trap in traps)
        return Whole(tree(place / "out"), _stable(found.printed), found.seconds, operations, readings)


def _counter(workshop: Workshop, name: str) -> Path:
    """An empty file that a run may write, beside its folder."""
    path = workshop.root / name
    path.write_text("")
    path.chmod(0o666)
    return path


def _seconds(job: Job) -> float:
    return SUBJECTS[job.subject].seconds


def _stable(printed: str) -> str:
    return printed if printed.startswith("{") else ""


def disturb(workshop: Workshop, job: Job, whole: Whole, before: Callable[[], None] | None, after: float | None) -> str:
    """Run a job with a fault or until a moment, then again; return what is wrong, "" if nothing is."""
    with workshop.place(job.subject) as place:
        if isinstance(before, Trap):
            before.counter = _counter(workshop, "operations")
        first = sandbox.run(shlex.split(job.line), place, before, kill_after=after, seconds=_seconds(job))
        wrong = _wrong_after(first, place)
        if isinstance(before, Change):  # what it should leave then is not known
            return wrong.strip()
        if first.code == 0:  # it came too late, or was borne
            other = _differing(tree(place / "out"), whole)
            return f"{wrong} it succeeds, and leaves other files: {other}" if other else wrong
        again = shlex.split(job.line) + (shlex.split(job.again) if job.again else [])
        second = sandbox.run(again, place, seconds=_seconds(job))
        other = _differing(tree(place / "out"), whole)
        if second.code != 0 and not (DONE in second.errors and not other):
            return f"{wrong} given again it ends with {second.code}: {second.errors.strip()[-300:]}"
        if other:
            wrong += f" given again it leaves other files: {other}"
        if _stable(second.printed) != whole.printed:
            wrong += " given again it prints something else"
        return wrong.strip()


def _differing(found: dict[str, str], whole: Whole) -> list[str]:
    return sorted(name for name in found.keys() | whole.files.keys() if found.get(name) != whole.files.get(name))[:6]


def _wrong_after(first: sandbox.Outcome, place: Path) -> str:
    """What is wrong right after the disturbance: a traceback, a hang, a half file, a process that is left."""
    wrong = ""
    if first.code is None:
        wrong += "hangs;"
    if "Traceback" in first.errors:
        wrong += f" traceback: {first.errors.strip().splitlines()[-1][:200]};"
    if first.code is not None and first.code not in (0, 1, 2, -signal.SIGKILL):
        wrong += f" exit code {first.code}: {first.errors.strip()[-200:]};"
    if first.code == 2:
        told = [line for line in first.errors.splitlines() if line.startswith("siamtrack: ")]
        if not told:
            wrong += f" no line of error: {first.errors[-200:]!r};"
        drafts = [path.name for path in (place / "out").rglob("*") if path.name.startswith(".part-")]
        if drafts:
            wrong += f" drafts after an error: {drafts};"
    if first.left_running:
        wrong += " processes were left running;"
    halves = [
        (path.name, why) for path in (place / "out").rglob("*") if not path.name.startswith(".") and (why := half(path))
    ]
    return wrong + (f" half files: {halves[:3]};" if halves else "")


def campaign(workshop: Workshop, names: list[str], kills: int, seed: int) -> Iterator[tuple[str, str, str]]:
    """Disturb jobs in turn, at drawn moments; give (job, disturbance, what is wrong) for each."""
    draw = random.Random(seed)
    wholes: dict[str, Whole] = {}
    for number in range(kills):
        name = names[number % len(names)]
        job = JOBS[name]
        if name not in wholes:
            wholes[name] = undisturbed(workshop, job)
        whole = wholes[name]
        kind = draw.random()
        if kind < 0.4:
            moment = draw.uniform(0.0, whole.seconds)
            yield name, f"killed after {moment:.3f} s", disturb(workshop, job, whole, None, moment)
        elif kind < 0.55 and whole.readings:
            change, at = draw.choice(list(CHANGES)), draw.randint(1, whole.readings)
            trap = Change(at, CHANGES[change], Path())
            yield name, f"an input {change} at opening {at}", disturb(workshop, job, whole, trap, None)
        elif kind < 0.85 and whole.operations:
            deed, at = draw.choice(list(DEEDS)), draw.randint(1, whole.operations)
            trap = Trap(at, DEEDS[deed], Path())
            yield name, f"{deed} at file operation {at}", disturb(workshop, job, whole, trap, None)
        else:
            size = draw.choice([600, 1000, 5000, 20_000, 200_000])
            yield name, f"files cut at {size} bytes", disturb(workshop, job, whole, cut_at(size), None)
