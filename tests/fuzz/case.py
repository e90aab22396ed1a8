"""A case: a subject, files of it that were changed, a command, and what is wrong with how it ended."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import random
import re
import shlex
import shutil
import signal
import stat
import tempfile
import tomllib
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import mutate
import sandbox
from around import AROUND, UNHEARD
from labelling import answer_request, is_request
from loopback import PORT, answering
from sandbox import Outcome
from subjects import SUBJECTS, Subject

__all__ = ["Case", "Workshop", "draw_case", "judge", "load_case"]

ENDS_WITH_1 = {"eval", "check", "submit", "study", "tune"}
"""Commands whose exit code 1 says that they ran, and found something wrong."""
LONGEST_LINE = 2500
_MOST_COMPARED = 256 << 20


@dataclass(frozen=True)
class Case:
    """What is run. `edits` are by file: how its content differs from the subject's, or what is there in its place.

    `around` is one of `around.AROUND`, or nothing.
    """

    subject: str
    argv: list[str]
    edits: dict[str, dict[str, Any]] = field(default_factory=dict)
    about: str = ""
    around: str = ""

    def text(self) -> str:
        return json.dumps(asdict(self), indent=1, ensure_ascii=True) + "\n"


def load_case(path: Path) -> Case:
    return Case(**json.loads(path.read_text()))


class Workshop:
    """Where subjects are made, once, and where cases are run, each in a copy."""

    def __init__(self, root: Path) -> None:
        self.root = root
        root.chmod(0o755)

    def subject(self, name: str) -> Path:
        """The folder of a subject's whole inputs."""
        folder = self.root / "subjects" / name
        if not folder.exists():
            folder.mkdir(parents=True)
            folder.chmod(0o777)
            made = sandbox.run_function(lambda: SUBJECTS[name].make(folder), folder)
            if made.code != 0:
                raise RuntimeError(f"the subject {name} cannot be made: {made.errors}")
        return folder

    @contextmanager
    def place(self, subject: str) -> Iterator[Path]:
        """A copy of a subject with an empty `out/` and some strange files, which is gone afterwards."""
        whole = self.subject(subject)
        place = self.root / "place"  # always the same one: an index holds where its data are
        try:
            shutil.copytree(whole, place)
            (place / "out").mkdir(exist_ok=True)
            (place / "in").mkdir()
            os.mkfifo(place / "in.fifo")
            os.mkfifo(place / "out" / "fifo")
            (place / "link").symlink_to("link")
            (place / "readonly").mkdir(mode=0o555)
            (place / "full").symlink_to("/dev/full")
            if os.geteuid() == 0:
                for path in [place, *place.rglob("*")]:
                    if path.name != "readonly" and not path.is_symlink():
                        os.chown(path, sandbox.NOBODY, sandbox.NOBODY)
            yield place
        finally:
            for folder, _, _ in os.walk(place, onerror=_open_up):
                _open_up(folder)
            shutil.rmtree(place, ignore_errors=True)

    def run(self, case: Case) -> tuple[Outcome, list[str]]:
        """Run a case; return how it ended and what was wrong with that."""
        with self.place(case.subject) as place:
            for name, edit in case.edits.items():
                apply(place / name, edit)
            before = snapshot(place)
            with answering(place / "answers") as port:
                argv = [word.replace(PORT, str(port)) for word in case.argv]
                subject = SUBJECTS[case.subject]
                closed = any("closed" in edit for edit in case.edits.values())
                around = AROUND.get(case.around, sandbox.read_as_others if closed else None)
                prepare = partial(_prepare, subject, port, around)
                if is_request(argv):
                    outcome = sandbox.run_function(partial(answer_request, argv, port), place, prepare)
                else:
                    outcome = sandbox.run(argv, place, prepare, seconds=subject.seconds)
            return outcome, judge(case, outcome, before, place)


def _open_up(folder: str | OSError) -> None:
    """Let a folder be looked into again that a case has closed."""
    with suppress(OSError):
        Path(folder.filename if isinstance(folder, OSError) else folder).chmod(0o755)


def _prepare(subject: Subject, port: int, around: Callable[[], None] | None) -> None:
    """Called in the process of a command: what is around it."""
    for text in subject.variables:
        name, _, value = text.partition("=")
        os.environ[name] = value.replace(PORT, str(port))
    if around is not None:
        around()
    if subject.serves:
        signal.signal(signal.SIGALRM, _interrupt_when_up)
        # Where its words go elsewhere nobody hears that it is up: then once, after the time that it takes at most.
        heard = Path("/proc/self/fd/1").resolve().name.startswith("memfd:")
        signal.setitimer(signal.ITIMER_REAL, *((0.3, 0.3) if heard else (8.0, 0.0)))


def _interrupt_when_up(number: int, frame: object) -> None:
    once = not signal.getitimer(signal.ITIMER_REAL)[1]
    if once or b"the page is at" in os.pread(1, 1 << 16, 0):
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        os.kill(os.getpid(), signal.SIGINT)


# What was changed in a file


def difference(before: bytes, path: Path) -> dict[str, Any]:
    """How a path differs from a file's whole content, in a form that is kept."""
    if path.is_symlink():
        return {"link": str(path.readlink())}
    if not path.exists():
        return {"gone": True}
    if path.is_dir():
        return {"folder": True}
    if stat.S_ISFIFO(path.stat().st_mode):
        return {"pipe": True}
    if path.stat().st_size == mutate.SPARSE:
        with path.open("rb") as file:
            head = file.read(1 << 22).rstrip(b"\0")
        return {"zeros": mutate.SPARSE, "after": _packed(head)}
    after = path.read_bytes()
    most = min(len(before), len(after))
    start = next((n for n in range(most) if before[n] != after[n]), most)
    end = 0
    while end < most - start and before[-1 - end] == after[-1 - end]:
        end += 1
    new = after[start : len(after) - end]
    return {"at": start, "removed": len(before) - start - end, "new": _packed(new)}


def _packed(data: bytes) -> str:
    return base64.b85encode(zlib.compress(data, 9)).decode()


def apply(path: Path, edit: dict[str, Any]) -> None:
    """Change a file as `difference` has told; one that is `closed`, a folder too, can be looked for and not read."""
    if "closed" in edit:
        path.chmod(0)
        return
    data = path.read_bytes() if path.is_file() else b""
    path.unlink(missing_ok=True)
    if "link" in edit:
        path.symlink_to(edit["link"])
    elif "folder" in edit:
        path.mkdir()
    elif "pipe" in edit:
        os.mkfifo(path)
    elif "zeros" in edit:
        path.write_bytes(zlib.decompress(base64.b85decode(edit["after"])) if "after" in edit else b"")
        os.truncate(path, edit["zeros"])
    elif "new" in edit:
        new = zlib.decompress(base64.b85decode(edit["new"]))
        path.write_bytes(data[: edit["at"]] + new + data[edit["at"] + edit["removed"] :])
        path.chmod(0o644)


# Drawing


def draw_case(workshop: Workshop, seed: int, number: int, subjects: list[str], options: dict[str, list[str]]) -> Case:
    """The case of a number: the same one for the same seed, whichever ran before."""
    draw = random.Random(f"{seed}/{number}")
    name = draw.choices(subjects, [SUBJECTS[name].weight for name in subjects])[0]
    words = shlex.split(draw.choice(SUBJECTS[name].commands))
    argv = [draw.choice(word.split("|")) for word in words]
    edits: dict[str, dict[str, Any]] = {}
    kind = draw.random()
    whole = workshop.subject(name)
    files = sorted(path.relative_to(whole) for path in whole.rglob("*") if path.is_file())
    if kind < 0.75 and files:
        named = [f for f in files if any(str(f) == word or str(f).startswith(f"{word}/") for word in argv)]
        pool = named if named and draw.random() < 0.85 else files
        kinds = sorted({path.suffix for path in pool})
        with tempfile.TemporaryDirectory(dir=workshop.root) as bench:
            for turn in range(draw.choice([1, 1, 1, 2, 4])):
                suffix = draw.choice(kinds)
                victim = draw.choice([path for path in pool if path.suffix == suffix])
                copy = Path(bench, str(turn), victim.name)
                copy.parent.mkdir(exist_ok=True)
                shutil.copyfile(whole / victim, copy)
                mutate.break_file(copy, draw, [whole / draw.choice(files)])
                edits[str(victim)] = difference((whole / victim).read_bytes(), copy)
            if draw.random() < 0.06:  # one more file, beside the last of these
                added = victim.with_name(draw.choice(mutate.ODD_NAMES) + draw.choice([victim.suffix, ".JPG", ""]))
                link = {"link": draw.choice([".", "..", victim.name])}
                edits[str(added)] = draw.choice([link, {"folder": True}, difference(b"", copy)])
    if draw.random() < 0.03 and files:
        place = draw.choice(files)
        edits = {str(draw.choice([place, *list(place.parents)[:-1]])): {"closed": True}}
    elif kind > 0.7 and not is_request(argv):
        argv = mutate.change_words(argv, draw, options.get(argv[0], []))
    around = draw.choice(list(AROUND)) if draw.random() < 0.06 else ""
    return Case(name, argv, edits, around=around)


# Judging


def snapshot(place: Path) -> dict[str, str]:
    """What is at each path below a folder but `out/`."""
    found = {}
    for folder, names, files in os.walk(place):
        if Path(folder) == place:
            names[:] = [name for name in names if name != "out"]
        for name in files:
            path = Path(folder, name)
            found_there = path.lstat()
            mode, small = found_there.st_mode, found_there.st_size < _MOST_COMPARED
            kept = hashlib.sha1(path.read_bytes()).hexdigest() if stat.S_ISREG(mode) and small else ""
            found[str(path.relative_to(place))] = f"{stat.S_IFMT(mode)} {kept}"
    return found


_ACCIDENT = re.compile(
    r"\b(KeyError|TypeError|IndexError|AttributeError|RecursionError|AssertionError|UnicodeDecodeError|"
    r"OverflowError|RuntimeError|struct\.error|object is not|positional argument|unpack|NoneType|codec can't)\b"
)
"""Words of programs in what is meant for people."""


def judge(case: Case, outcome: Outcome, before: dict[str, str], place: Path) -> list[str]:
    """What is wrong with how a case ended; nothing if it ended as promised."""
    wrong = []
    lines = [line for line in outcome.errors.splitlines() if line.strip()]
    told = [line for line in lines if line.startswith("siamtrack: ")]
    if outcome.code is None:
        return [] if _endless(case) else [f"hangs: {outcome.seconds:.0f} s"]
    if outcome.memory > sandbox.MEMORY:
        wrong.append(f"{outcome.memory >> 20} MB of memory")
    if "Traceback (most recent call last)" in outcome.errors:
        return [*wrong, f"traceback: {lines[-1][:300]}"]
    closed = [name for name, edit in case.edits.items() if "closed" in edit and _is_needed(case, name)]
    if (
        closed
        and sandbox.others_have_python()
        and (outcome.code != 2 or not re.search("permission denied|not readable", outcome.errors))
    ):
        wrong.append(f"it does not say that {closed[0]} cannot be read: {outcome.errors[-300:]!r}")
    served = case.subject in SUBJECTS and SUBJECTS[case.subject].serves  # it was ended by Ctrl-C
    if outcome.code == 120 and is_request(case.argv) and case.around:  # Python's own, of a service without streams
        return wrong
    if outcome.code not in (0, 1, 2) and not (served and outcome.code in (130, -signal.SIGINT)):
        wrong.append(f"exit code {outcome.code}: {outcome.errors[-300:]}")
    if outcome.code == 1 and case.around in ("output that nobody reads", "errors that nobody reads"):
        return wrong
    if outcome.code == 1 and not ENDS_WITH_1 & set(case.argv[:2]):
        wrong.append("exit code 1 of a command that has none")
    if outcome.code == 2 and case.around not in UNHEARD:
        if not told or lines[-1] != told[-1]:
            wrong.append(f"no line of error at the end: {outcome.errors[-300:]!r}")
        elif len(told[-1]) > LONGEST_LINE:
            wrong.append(f"a line of {len(told[-1])} characters: {told[-1][:200]}")
    for line in told:
        if not line.removeprefix("siamtrack: ").isprintable():
            wrong.append(f"a line that cannot be printed: {line[:300]!r}")
        if found := _ACCIDENT.search(line):
            wrong.append(f"a program's words, {found[0]!r}: {line[:300]}")
    if outcome.left_running:
        wrong.append("processes were left running")
    wrong += [
        f"success without {path}" for path in _promised(case.argv) if outcome.code == 0 and not (place / path).exists()
    ]
    # a run that goes on writes into the folder that it was given, and so may one whose words were changed
    after = snapshot(place)
    lost = {name for name in before if before[name] != after.get(name) and not name.startswith("run/")}
    if lost and outcome.code == 2:
        wrong.append(f"inputs were changed: {sorted(lost)}")
    drafts = [path for path in place.rglob("*") if path.name.startswith(".part-") or path.suffix in (".part", ".tmp")]
    if drafts and case.around != "drafts of another user":
        wrong.append(f"drafts are left: {[path.name for path in drafts]}")
    finished = [path for path in (place / "out").rglob("*") if not path.name.startswith(".part-")]
    wrong += [f"half a file: {path.name}: {why}" for path in finished if (why := half(path))]
    return wrong


def _is_needed(case: Case, name: str) -> bool:
    """Whether a command has to read all of a file or folder, and may not leave it out."""
    inputs = {"eval": "data", "tune": "data", "report": "results"}.get(case.subject)
    below = any(name == word or name.startswith(f"{word}/") for word in case.argv)
    return below and name.split("/")[0] == inputs and not {"times", "speed.json"} & set(Path(name).parts)


def _promised(argv: list[str]) -> list[str]:
    """The files below `out/` that a command says it writes, where it succeeds."""
    if {"--help", "--version", "--dry-run", "--replay"} & set(argv):
        return []
    names = {"-o": "out", "--out": "out", "--output": "out", "--video": "video", "--picture": "picture"}
    outs = {names[name]: value for name, value in pairwise(argv) if name in names}  # of two, the last one counts
    return [value for value in outs.values() if value.startswith("out/") and "\0" not in value]


def _endless(case: Case) -> bool:
    """Whether a command may go on for ever: a stream, which begins anew where it breaks off, without an early end."""
    ends = [value for name, value in pairwise(case.argv) if name == "--end"]
    return case.subject == "live" and not (ends and ends[-1].isdecimal() and int(ends[-1]) < 100)


def half(path: Path) -> str:
    """Why a file that a command has written is not whole; "" if it is."""
    if path.is_symlink() or not path.is_file():
        return ""
    try:
        if path.suffix == ".json":
            json.loads(path.read_bytes())
        elif path.suffix == ".toml":
            tomllib.loads(path.read_text())
        elif path.suffix in (".zip", ".npz", ".pt"):
            with zipfile.ZipFile(path) as packed:
                assert packed.testzip() is None
        elif path.suffix == ".safetensors":
            import safetensors.torch

            safetensors.torch.load(path.read_bytes())
        elif path.suffix in (".png", ".jpg"):
            import cv2
            import numpy as np

            # by its content: OpenCV crashes at a name that is no UTF-8
            assert cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_COLOR) is not None
        elif path.suffix == ".mp4":
            import av

            with av.open(str(path)) as container:
                assert container.streams.video
        elif path.suffix == ".tar":
            import tarfile

            with tarfile.open(path) as tar:
                assert tar.getmembers()
        elif path.suffix == ".html":
            assert path.read_text().rstrip().endswith("</html>")
    except Exception as error:
        return repr(error)[:200]
    return ""
