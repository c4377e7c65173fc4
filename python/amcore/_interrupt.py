"""Ctrl-C: held back while a sweep is under way."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any


class DeferredInterrupt:
    """Hold SIGINT back inside a `with` block of the main thread, so that no sweep is cut in two.

    At the end of the block the signal goes to the handler that was there before; Python's own
    raises KeyboardInterrupt. With `keep` it only sets `pending`, and a second one goes through.
    """

    def __init__(self, keep: bool = False) -> None:
        self.keep, self.pending = keep, False
        self.previous: Callable[[int, FrameType | None], Any] | None = None

    def __enter__(self) -> DeferredInterrupt:
        if threading.current_thread() is threading.main_thread():
            previous = signal.getsignal(signal.SIGINT)
            if callable(previous):
                self.previous = previous
                signal.signal(signal.SIGINT, self._handle)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self.previous is not None:
            signal.signal(signal.SIGINT, self.previous)
            if self.pending and not self.keep and error is None:
                self.previous(signal.SIGINT, None)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.keep and self.pending and self.previous is not None:
            self.previous(number, frame)
        self.pending = True
