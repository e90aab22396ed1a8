"""What Ctrl-C does: end at once, end after one line, or be held back while files are written."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from types import FrameType
from typing import Any

_ENDINGS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]


def ends_at_once() -> AbstractContextManager[None]:
    """Before anything is written: let Ctrl-C end the process at once, silently, even inside a library's wait."""
    return _on_ctrl_c(signal.SIG_DFL)


def ends_while_importing() -> AbstractContextManager[None]:
    """For a whole command: Ctrl-C during an import ends the process, with one line and exit code 130.

    A KeyboardInterrupt raised in the middle of an import would come out as an abort or as an ImportError.
    """
    return _on_ctrl_c(_end_or_raise)


@contextmanager
def _on_ctrl_c(handler: Any) -> Iterator[None]:
    """Let `handler` take Ctrl-C, unless another program such as nohup has changed it."""
    usual = (signal.default_int_handler, _end_or_raise)
    before = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or before not in usual:
        yield
        return
    signal.signal(signal.SIGINT, handler)
    try:
        yield
    finally:
        # `Interrupts` may have taken it over meanwhile: after one interrupt it ignores further ones.
        if signal.getsignal(signal.SIGINT) == handler:
            signal.signal(signal.SIGINT, before)


def _end_or_raise(number: int, frame: FrameType | None) -> None:
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            print("siamtrack: interrupted", file=sys.stderr, flush=True)
            os._exit(128 + number)
        frame = frame.f_back
    raise KeyboardInterrupt


class Interrupts:
    """Holds Ctrl-C back while files are written, so that none ends in the middle of a frame.

    A context manager; outside the main thread it does nothing. SIGTERM and a closed terminal count as Ctrl-C. All
    after the first are ignored, as they could only break the program's ending. `came` is the number of the first
    signal, 0 for none; `pending` is whether it was held back and not raised yet.
    """

    def __init__(self) -> None:
        self.came = 0
        self.pending = False
        self._held = False
        self._then: Callable[[], None] = lambda: None
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Interrupts:
        if threading.current_thread() is threading.main_thread():
            for number in _ENDINGS:
                # One that is ignored stays so: it is how nohup works.
                if signal.getsignal(number) != signal.SIG_IGN:
                    self._before[number] = signal.signal(number, self._on_signal)
        return self

    def __exit__(self, *error: object) -> None:
        for number, before in self._before.items():
            signal.signal(number, signal.SIG_IGN if self.came else before)

    def hold(self, then: Callable[[], None] = lambda: None) -> None:
        """From here on, keep Ctrl-C in `pending` instead of raising it, and call `then` when it comes."""
        self._held, self._then = True, then

    def release(self) -> None:
        """End `hold`, and raise the KeyboardInterrupt that came in between, if any."""
        self._held = False
        if self.pending:
            self.pending = False
            raise KeyboardInterrupt

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self.came:
            return
        self.came = number
        if not self._held:
            raise KeyboardInterrupt
        self.pending = True
        self._then()
