"""What the campaign would say of commands that are broken: each fault is planted, and must be reported."""

from __future__ import annotations

import errno
import json
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import kills
import pytest
import sandbox
from case import Case, Workshop, judge, snapshot
from subjects import SUBJECTS, Subject

pytestmark = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs Linux: forks, limits and /proc")


def say(text: str, code: int = 2) -> None:
    print(text, file=sys.stderr)
    sys.exit(code)


def spin() -> None:
    while True:
        pass


def leave_a_process() -> None:
    if os.fork() == 0:
        time.sleep(60)
        os._exit(0)
    say("siamtrack: expected a box")


def lose_output() -> None:
    sys.stdout = Path("/dev/full").open("w")  # noqa: SIM115
    print("tracked 3 frames")


def write(name: str, content: bytes, code: int = 0) -> Callable[[], None]:
    def command() -> None:
        Path(name).write_bytes(content)
        if code:
            say("siamtrack: expected a box", code)

    return command


FAULTS: dict[str, tuple[Callable[[], object], str]] = {
    "a traceback": (lambda: {}["x"], "traceback"),
    "a traceback that is caught and shown": (lambda: say("Traceback (most recent call last):\nKeyError"), "traceback"),
    "a wait without end": (lambda: time.sleep(600), "hangs"),
    "a loop without end": (spin, "hangs"),
    "an unknown exit code": (lambda: say("siamtrack: expected a box", 3), "exit code 3"),
    "exit code 1 of a command that has none": (lambda: say("siamtrack: expected a box", 1), "exit code 1"),
    "a crash": (lambda: os.kill(os.getpid(), signal.SIGSEGV), "exit code -11"),
    "an abort": (os.abort, "exit code -6"),
    "an end without a line": (lambda: say(""), "no line of error"),
    "output that is lost": (lose_output, "exit code 120"),
    "words after the line": (lambda: say("siamtrack: expected a box\nand more"), "no line of error"),
    "an endless line": (lambda: say("siamtrack: " + "x" * 5000), "a line of"),
    "a line that cannot be printed": (lambda: say("siamtrack: got '\x1b[31m'"), "cannot be printed"),
    "a program's words": (lambda: say("siamtrack: 'NoneType' object is not iterable"), "a program's words"),
    "memory": (lambda: len(b"x" * (300 << 20)), "MB of memory"),
    "a half JSON file": (write("out/found.json", b'{"a": [1, 2'), "half a file"),
    "a half zip file": (write("out/found.zip", b"PK\x03\x04 and no end"), "half a file"),
    "a half page": (write("out/index.html", b"<html><body>"), "half a file"),
    "an empty picture": (write("out/page.png", b""), "half a file"),
    "a draft that is left": (write("out/.part-found.csv", b"1,2,3,4\n"), "drafts are left"),
    "an input that is overwritten": (write("given.txt", b"", code=2), "inputs were changed"),
    "a process that is left": (leave_a_process, "left running"),
}


@contextmanager
def place(root: Path) -> Iterator[Path]:
    folder = root / "place"
    (folder / "out").mkdir(parents=True)
    (folder / "given.txt").write_text("1,2,3,4\n")
    for path in (root, folder, folder / "out", folder / "given.txt"):
        path.chmod(0o777)
    root.parent.chmod(0o755)
    yield folder


def reported(command: Callable[[], object], folder: Path) -> list[str]:
    before = snapshot(folder)
    outcome = sandbox.run_function(command, folder)
    return judge(Case("planted", ["track", "clip.mp4"]), outcome, before, folder)


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_is_reported(fault: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    command, expected = FAULTS[fault]
    monkeypatch.setattr(sandbox, "SECONDS", 2.0)
    with place(tmp_path) as folder:
        if fault == "memory":  # a process has much of this one's; the limit is put above
            usual = sandbox.run_function(lambda: None, folder).memory
            monkeypatch.setattr(sandbox, "MEMORY", usual + (150 << 20))
        assert any(expected in line for line in reported(command, folder))


@pytest.mark.parametrize(
    "command",
    [
        lambda: say("siamtrack: expected a box of four numbers; got '1,2'"),
        lambda: print("tracked 3 frames"),
        write("out/found.json", json.dumps({"a": 1}).encode()),
        write("out/found.csv", b"1,2,3,4\n"),
    ],
)
def test_what_is_right_is_not_reported(command: Callable[[], object], tmp_path: Path) -> None:
    with place(tmp_path) as folder:
        assert reported(command, folder) == []


def careless(path: Path, data: str | bytes | memoryview) -> None:
    """Write in place: what a kill or a full disk leaves is half a file."""
    with path.open("wb") as stream:
        for byte in (data.encode() if isinstance(data, str) else bytes(data)).partition(b","):
            stream.write(byte)
            stream.flush()


def untidy(path: Path, data: str | bytes | memoryview) -> None:
    """Write a draft under a name of its own, which stays if the program does not get to its end."""
    draft = path.with_name(f".part-{os.getpid()}-{path.name}")
    draft.write_bytes(data.encode() if isinstance(data, str) else data)
    try:
        draft.replace(path)
    except OSError:
        say("siamtrack: cannot write")


def fickle(path: Path, data: str | bytes | memoryview) -> None:
    """Write what differs from run to run."""
    path.write_text(json.dumps({"at": time.time_ns(), "data": str(data)}))


def deaf(path: Path, data: str | bytes | memoryview) -> None:
    """Say that all is well when nothing could be written."""
    try:
        path.write_bytes(data.encode() if isinstance(data, str) else data)
    except OSError:
        path.unlink(missing_ok=True)


@pytest.mark.parametrize(
    ("writer", "before", "expected"),
    [
        (careless, kills.cut_at(12), "half files"),
        (careless, kills.Trap(1, kills.DEEDS["disk full"], Path()), "traceback"),
        (untidy, kills.Trap(2, kills._fail(errno.EACCES), Path()), "drafts"),
        (fickle, kills.Trap(1, kills.DEEDS["killed"], Path()), "other files"),
        (deaf, kills.Trap(1, kills.DEEDS["disk full"], Path()), "leaves other files"),
    ],
)
def test_a_command_that_loses_what_it_writes_is_reported(
    writer: Callable[..., None],
    before: Callable[[], None],
    expected: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tmp_path.parent.chmod(0o755)
    monkeypatch.setitem(SUBJECTS, "planted", Subject(lambda folder: None, ()))
    content = json.dumps({"sizes": list(range(40)), "name": "made"})

    def command(argv: list[str], cwd: Path, *rest: Any, **options: Any) -> sandbox.Outcome:
        return sandbox.run_function(partial(writer, Path("out/made.json"), content), cwd, *rest, **options)

    monkeypatch.setattr(sandbox, "run", command)
    job = kills.Job("planted", "planted")
    workshop = Workshop(tmp_path)
    whole = kills.undisturbed(workshop, job)
    found = kills.disturb(workshop, job, whole, before, None)
    assert expected in found
