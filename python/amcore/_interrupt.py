"""Signals: held back while a sweep is under way, taken as a request to stop."""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]
import signal
import threading
from types import FrameType, TracebackType
from typing import Any, Self

_NAMES = ("SIGINT", "SIGTERM", "SIGALRM", "SIGVTALRM", "SIGPROF", "SIGHUP", "SIGUSR1", "SIGUSR2")
_SIGNALS = tuple(getattr(signal, name) for name in _NAMES if hasattr(signal, name))


class DeferredInterrupt:
    """Hold signals back inside a `with` block of the main thread, so that no sweep is cut in two.

    Those that have handlers in Python, which may raise, are held and handled at the end of the
    block. The interpreter itself handles none before the compiled core returns, and sees a signal
    once that comes several times within a sweep.
    """

    # `_signal` is what `signal` wraps, without its search for an enum member, for which it would
    # need longer than a small sweep.
    signals: tuple[int, ...] = _SIGNALS

    def __init__(self) -> None:
        self.pending: set[int] = set()
        self.previous: dict[int, Any] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for number in self.signals:
                previous = _signal.getsignal(number)
                if self._takes(number, previous):
                    self.previous[number] = previous
                    _signal.signal(number, self._handle)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._restore()
        if error is None:
            for number in self.pending:
                self.previous[number](number, None)

    def _restore(self) -> None:
        for number, previous in self.previous.items():
            _signal.signal(number, previous)

    def _takes(self, number: int, previous: Any) -> bool:
        return callable(previous)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        self.pending.add(number)


class StopRequest(DeferredInterrupt):
    """Take Ctrl-C, and a SIGTERM that would end the process, as a request to stop: see `pending`.

    A second one goes through. After a SIGTERM the process ends as it would have at once.
    """

    signals = (signal.SIGINT, signal.SIGTERM)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._restore()
        if signal.SIGTERM in self.pending:
            signal.raise_signal(signal.SIGTERM)

    def _takes(self, number: int, previous: Any) -> bool:
        return bool(previous == signal.SIG_DFL) if number == signal.SIGTERM else callable(previous)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if number in self.pending:
            _signal.signal(number, self.previous[number])
            signal.raise_signal(number)
        self.pending.add(number)
