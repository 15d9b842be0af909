"""The time by which the instance lives, which may run faster than that of the machine."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass

_FINEST_SECONDS = 0.01


@dataclass(frozen=True)
class Clock:
    """A clock that runs `speed` times as fast as the machine's since that showed `start` (epoch seconds).

    Everything of the instance goes by it: jobs, tokens, schedules, faults. What only keeps connections and the event
    loop in order does not.
    """

    speed: float = 1.0
    start: float = 0.0

    def now(self) -> float:
        """Seconds since the epoch."""
        return time.time() if self.speed == 1 else self.start + (time.time() - self.start) * self.speed

    def elapsed(self) -> float:
        """Seconds since some moment or other; no setting of the machine's clock moves it."""
        return time.monotonic() * self.speed

    async def sleep(self, seconds: float) -> None:
        """Let so many seconds pass."""
        await asyncio.sleep(seconds / self.speed)

    async def tick(self, seconds: float) -> None:
        """Let about so many seconds pass: a fast clock's moments are too short for the machine to wake up at each."""
        await asyncio.sleep(max(seconds / self.speed, _FINEST_SECONDS))
