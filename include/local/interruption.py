"""Signals that ask the program to end. They raise an error at once, but not within a step that must be completed."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator
from types import FrameType

_ENDING = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class Interrupted(BaseException):
    """A signal asked the program to end."""


class Interruption:
    """Turns the signals into Interrupted, raised in the main thread."""

    def __init__(self) -> None:
        self._holds = 0
        self._asked = False

    def listen(self) -> None:
        """From now on the signals raise Interrupted."""
        for number in _ENDING:
            signal.signal(number, self._receive)

    def ignore(self) -> None:
        """From now on the signals are ignored, also in started programs, because the program is already ending."""
        for number in _ENDING:
            signal.signal(number, signal.SIG_IGN)

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Delay the interruption until the end of the block."""
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
