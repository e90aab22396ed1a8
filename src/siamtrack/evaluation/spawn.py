"""Starting worker processes in the way that all of them are started."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing import get_context, resource_tracker
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess

__all__ = ["start_worker"]


def start_worker(target: Callable[..., None], *arguments: object) -> tuple[Connection, BaseProcess]:
    """Start `target(pipe, *arguments)` in a process of its own, which Ctrl-C does not reach and which ends with this.

    Args:
        target: a function of a module; its first argument is the worker's end of the pipe.
        arguments: the others; values that can be sent to a process.

    Returns:
        This end of the pipe, which tells when the worker has ended, and the process.
    """
    # spawned, not forked: torch's threads do not survive a fork
    context = get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=target, args=(theirs, *arguments), daemon=True)
    with _without_ctrl_c():
        process.start()
    theirs.close()  # so that the end of the worker closes the pipe
    return ours, process


@contextmanager
def _without_ctrl_c() -> Iterator[None]:
    """Hold Ctrl-C back; a process that is started meanwhile never gets it, not even while it loads libraries."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    resource_tracker.ensure_running()  # the first start would do it, and let Ctrl-C through again
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
