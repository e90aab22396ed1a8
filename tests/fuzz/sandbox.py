"""Runs commands of siamtrack in forked processes with limits of time and memory.

Everything is imported once, here; a run costs a fork, not the start of an interpreter. A run cannot hurt the next one:
it has its own process, session and standard streams, and all that it started is gone when it ends.
"""

from __future__ import annotations

import ctypes
import faulthandler
import functools
import gc
import importlib
import multiprocessing
import os
import pkgutil
import resource
import select
import signal
import struct
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["Outcome", "others_have_python", "preload", "read_as_others", "run", "run_function"]

SECONDS = 20.0
"""Of processor time, or of waiting for nothing: more is a hang. On a busy machine up to 20 times that on the clock."""
MEMORY = 4 << 30
"""Bytes that a run may hold at once."""
_GRANTED = 6 << 30
"""Bytes of private memory that it gets at most: one that asks for more is refused, and may say so in a line."""
NOBODY = 65534
"""The user that runs are, where this program is run by root."""
_MOST_PRINTED = 1 << 20


@dataclass(frozen=True)
class Outcome:
    """How a run ended: `code` as a shell sees it, None if it was ended for taking too long; `memory` in bytes."""

    code: int | None
    printed: str
    errors: str
    seconds: float
    left_running: bool = False
    memory: int = 0


def preload() -> None:
    """Import all that commands need, so that no run has to."""
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    import cv2
    import torch

    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    import siamtrack

    for module in pkgutil.walk_packages(siamtrack.__path__, "siamtrack."):
        if not module.name.endswith("__main__") and ".integrations." not in module.name:
            importlib.import_module(module.name)
    for name in ("matplotlib.pyplot", "jinja2", "tensorboard", "torch.optim", "torchvision", "distributed", "fsspec"):
        try:
            importlib.import_module(name)
        except ImportError:
            continue
    # typer makes its commands anew at each call, which costs more than most runs
    import typer.main

    from siamtrack.apps.cli.main import app

    setattr(typer.main, "get_command", functools.cache(typer.main.get_command))  # noqa: B010
    typer.main.get_command(app)
    # the second half of what torch loads is loaded by its first optimiser and its first saved file
    torch.optim.AdamW([torch.nn.Parameter(torch.zeros(1))])
    gc.collect()
    gc.freeze()


def run(
    argv: Sequence[str],
    cwd: Path,
    before: Callable[[], None] | None = None,
    kill_after: float | None = None,
    seconds: float | None = None,
) -> Outcome:
    """Run `siamtrack ARGV`.

    Args:
        argv: the arguments, without the program's name.
        cwd: the folder to run it in.
        before: called in the new process first; it may set traps.
        kill_after: seconds after which the process is killed, as a power cut would.
        seconds: in place of `SECONDS`.
    """

    def command() -> None:
        from siamtrack.__main__ import main

        sys.argv = ["siamtrack", *argv]
        main()

    return run_function(command, cwd, before, kill_after, seconds)


def run_function(
    function: Callable[[], Any],
    cwd: Path,
    before: Callable[[], None] | None = None,
    kill_after: float | None = None,
    seconds: float | None = None,
) -> Outcome:
    """Run a function in a forked process; see `run`."""
    streams = [os.memfd_create(name) for name in ("stdout", "stderr")]
    sys.stdout.flush()
    sys.stderr.flush()
    began = time.monotonic()
    child = os.fork()
    if child == 0:
        _become(function, cwd, streams, before)
    try:
        code, memory = _watch(child, began, kill_after, seconds or SECONDS)
        left = _sweep(child, killed=code is None or kill_after is not None)
        printed, errors = map(_content, streams)
    finally:
        for stream in streams:
            os.close(stream)
    return Outcome(code, printed, errors, time.monotonic() - began, left, memory)


def _become(function: Callable[[], Any], cwd: Path, streams: list[int], before: Callable[[], None] | None) -> None:
    """Be the child: never returns."""
    code = 70
    try:
        os.setsid()
        faulthandler.disable()  # a test's, which would write to its own stderr
        null = os.open(os.devnull, os.O_RDONLY)
        for number, stream in enumerate((null, *streams)):
            os.dup2(stream, number)
        # those of the parent may be a test's
        sys.stdin, sys.stdout, sys.stderr = open(0), open(1, "w"), open(2, "w", buffering=1)  # noqa: SIM115
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        resource.setrlimit(resource.RLIMIT_DATA, (_GRANTED, _GRANTED))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        _fork_workers()
        os.chdir(cwd)
        if os.geteuid() == 0:
            _become_nobody()
        if before is not None:
            before()
        function()
        code = 0
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else int(error.code is not None)
    except BaseException:
        traceback.print_exc()
        code = 1
    finally:
        try:
            for process in multiprocessing.active_children():
                process.kill()
            sys.stdout.flush()
            sys.stderr.flush()
        except OSError:  # what Python ends with then, after a traceback
            code = 120
        finally:
            os._exit(code)


def _become_nobody() -> None:
    """Give up root's rights, so that no run writes outside of its folder; but for reading, as Python may be root's."""
    keep_capabilities, read_all = 8, 1 << 2  # PR_SET_KEEPCAPS, CAP_DAC_READ_SEARCH
    ctypes.CDLL(None).prctl(keep_capabilities, 1, 0, 0, 0)
    os.setgid(NOBODY)
    os.setuid(NOBODY)
    _keep_rights(read_all)


def _keep_rights(rights: int) -> None:
    system, version = ctypes.CDLL(None, use_errno=True), 0x20080522
    if system.capset(struct.pack("=Ii", version, 0), struct.pack("=6I", rights, rights, 0, 0, 0, 0)):
        raise OSError(ctypes.get_errno(), "capset")


def read_as_others() -> None:
    """In a run: read no more than the files' permissions allow; nothing where Python itself is for root alone."""
    if os.geteuid() != 0 and others_have_python():
        _keep_rights(0)


@functools.cache
def others_have_python() -> bool:
    """Whether Python's own files can be read by all users: what is imported late would be missing else."""
    places = [Path(os.__file__).resolve(), Path(sys.prefix).resolve() / "lib"]
    return all(parent.stat().st_mode & 1 for place in places for parent in place.parents)


def _fork_workers() -> None:
    """Workers of an evaluation are forked here too: a spawned one would import everything again."""
    from siamtrack.evaluation import pool

    fork = multiprocessing.get_context("fork")
    setattr(pool, "get_context", lambda kind: fork)  # noqa: B010


def _watch(child: int, began: float, kill_after: float | None, seconds: float) -> tuple[int | None, int]:
    """Wait for the child; return its exit code as a shell would, None if it had to be ended, and its bytes at most."""
    handle = os.pidfd_open(child)
    try:
        idle, used = 0.0, 0.0
        step = seconds / 4 if kill_after is None else kill_after
        while not select.select([handle], [], [], step)[0]:
            if kill_after is None:
                before, used = used, _used(child)
                # on a busy machine a run is short of processors, not stuck: it had some of them, or waits for one
                idle = 0.0 if used - before > 0.03 * step or _members(child, "RD") else idle + step
                if max(used, idle) < seconds and time.monotonic() - began < 20 * seconds:
                    continue
            os.kill(child, signal.SIGKILL)
            _, _, spent = os.wait4(child, 0)
            return None if kill_after is None else -signal.SIGKILL, spent.ru_maxrss << 10
        _, status, spent = os.wait4(child, 0)
        return os.waitstatus_to_exitcode(status), spent.ru_maxrss << 10
    finally:
        os.close(handle)


def _used(child: int) -> float:
    """Seconds of processor time that a process and those that it waited for have had; none if it is gone."""
    try:
        fields = Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")


def _sweep(session: int, killed: bool) -> bool:
    """End what a run left behind in its session; whether it was still there after a time to end itself."""
    deadline = time.monotonic() + (5.0 if killed else 0.5)
    while found := _members(session):
        if time.monotonic() > deadline:
            for process in found:
                try:
                    os.kill(process, signal.SIGKILL)
                except ProcessLookupError:
                    continue
            return True
        time.sleep(0.02)
    return False


def _members(session: int, states: str = "RSDTt") -> list[int]:
    """The processes of a session that are in one of some states, by their letters in /proc."""
    found = []
    for place in Path("/proc").iterdir():
        if (name := place.name).isdigit():
            try:
                fields = Path(f"/proc/{name}/stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if int(fields[3]) == session and fields[0] in states:
                found.append(int(name))
    return found


def _content(stream: int) -> str:
    size = os.fstat(stream).st_size
    return os.pread(stream, min(size, _MOST_PRINTED), 0).decode(errors="backslashreplace")
