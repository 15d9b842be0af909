"""Signals that ask to end: raised at once, but never in the middle of a step that must be known to be undone."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator
from types import FrameType

_ENDING = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class Interrupted(BaseException):
    """A signal asks to end."""


class Interruption:
    """Turns the signals into Interrupted, raised in the main thread."""

    def __init__(self) -> None:
        self._holds = 0
        self._asked = False

    def listen(self) -> None:
        """From here on the signals raise Interrupted."""
        for number in _ENDING:
            signal.signal(number, self._receive)

    def ignore(self) -> None:
        """From here on the signals do nothing, not even in programs that are started: the end is on its way."""
        for number in _ENDING:
            signal.signal(number, signal.SIG_IGN)

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Put off the interruption until the end of the block."""
        self._holds += 1
        try:
            yield
        finally:
            self._holds -= 1
        if self._asked and not self._holds:
            raise Interrupted

    def _receive(self, _number: int, _frame: FrameType | None) -> None:
        self._asked = True
        if not self._holds:
            raise Interrupted
