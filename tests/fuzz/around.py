"""What may be wrong around a command: its streams, its environment, its limits."""

from __future__ import annotations

import os
import resource
import signal
import sys
from collections.abc import Callable

import sandbox

__all__ = ["AROUND", "UNHEARD"]


def _closed(number: int) -> None:
    """Close a stream, as `>&-` does; something else takes its number, so that nothing is written to a file by it."""
    os.dup2(os.open(os.devnull, os.O_RDWR), number)
    if number:
        setattr(sys, ("stdin", "stdout", "stderr")[number], None)


def _onto(number: int, descriptor: int, encoding: str = "utf-8") -> None:
    """Put a stream onto another file; the one that is there would close it, and take it for one that it can seek in."""
    name = ("stdin", "stdout", "stderr")[number]
    setattr(sys, name, None)
    os.dup2(descriptor, number)
    buffering = 1 if number == 2 else -1  # as Python has them
    setattr(sys, name, open(number, "w", encoding=encoding, buffering=buffering, closefd=False))  # noqa: SIM115


def _unread(number: int) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    _onto(number, writer)


def _ascii() -> None:
    os.environ |= {"LC_ALL": "C", "TERM": "dumb", "COLUMNS": "0", "LINES": "x", "NO_COLOR": "1"}
    for number in (1, 2):
        _onto(number, os.dup(number), "ascii")


def _nowhere() -> None:
    for name in ("HOME", "USER", "LOGNAME", "XDG_CACHE_HOME"):
        os.environ.pop(name, None)
    os.environ |= {"TMPDIR": "/nonexistent", "MPLCONFIGDIR": "/nonexistent"}


def _strange_variables() -> None:
    os.environ |= {
        "WORLD_SIZE": "two", "RANK": "-1", "LOCAL_RANK": "x", "OMP_NUM_THREADS": "many", "CUDA_VISIBLE_DEVICES": "x",
        "HF_ENDPOINT": "nowhere", "AWS_PROFILE": "none", "PYTHONPATH": "\n", "MPLBACKEND": "none",
    }  # fmt: skip


def _no_streams() -> None:
    """Close all three, as `<&- >&- 2>&-` does."""
    for name in ("stdin", "stdout", "stderr"):
        stream = getattr(sys, name)
        os.close(stream.fileno())
        setattr(sys, name, None)


def _no_numbers() -> None:
    names = ("COLUMNS", "TERMINAL_WIDTH", "SOURCE_DATE_EPOCH", "OPENCV_FOR_THREADS_NUM", "OPENCV_IO_MAX_IMAGE_PIXELS")
    os.environ |= dict.fromkeys(names, "99999999999999999999")


def _wide_terminal() -> None:
    os.environ |= {"COLUMNS": "1000000000", "_SIAMTRACK_COMPLETE": "complete_bash"}


def _all_masked() -> None:
    sandbox.read_as_others()
    os.umask(0o777)


def _fixed_inputs() -> None:
    """Let nothing be written beside the inputs."""
    for folder, names, files in os.walk("."):
        if "out" in names:
            names.remove("out")
        for path, rights in [(f"{folder}/{name}", 0o444) for name in files] + [(folder, 0o555)]:
            # what is another user's, as what an edit made, is not to be written to already
            if not os.path.islink(path) and os.stat(path).st_uid == os.geteuid():  # noqa: PTH114, PTH116
                os.chmod(path, rights)  # noqa: PTH101
    sandbox.read_as_others()


def _fixed_output() -> None:
    os.chmod("out", 0o555)  # noqa: PTH101
    sandbox.read_as_others()


def _others_drafts() -> None:
    """Drafts that cannot be opened, as another user's in a folder that all may write to."""
    for word in sys.argv:
        folder, _, name = word.rpartition("/")
        if word.startswith("out/") and name and os.path.isdir(folder):  # noqa: PTH112
            os.close(os.open(f"{folder}/.part-{name}", os.O_CREAT | os.O_WRONLY, 0))
    sandbox.read_as_others()


def _small_files() -> None:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (3000, 3000))


def _few_files() -> None:
    most = len(os.listdir("/proc/self/fd")) + 3  # noqa: PTH208
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def _deleted_folder() -> None:
    os.mkdir("in/gone")  # noqa: PTH102
    os.chdir("in/gone")
    os.rmdir("../gone")  # noqa: PTH106


AROUND: dict[str, Callable[[], None]] = {
    "no standard input": lambda: _closed(0),
    "no standard output": lambda: _closed(1),
    "no standard error": lambda: _closed(2),
    "output on a full disk": lambda: _onto(1, os.open("/dev/full", os.O_WRONLY)),
    "errors on a full disk": lambda: _onto(2, os.open("/dev/full", os.O_WRONLY)),
    "output that nobody reads": lambda: _unread(1),
    "errors that nobody reads": lambda: _unread(2),
    "a plain terminal": _ascii,
    "no home": _nowhere,
    "strange variables": _strange_variables,
    "files of at most 3000 bytes": _small_files,
    "few open files": _few_files,
    "a deleted folder": _deleted_folder,
    "no streams": _no_streams,
    "numbers that are none": _no_numbers,
    "a terminal of a billion columns": _wide_terminal,
    "a mask of all rights": _all_masked,
    "inputs that nobody may change": _fixed_inputs,
    "output that nobody may write": _fixed_output,
    "drafts of another user": _others_drafts,
}
"""Called in the process of a command before it begins."""

UNHEARD = {"no standard error", "no streams", "errors on a full disk", "errors that nobody reads"}
"""Those in which no line of error can be seen."""
