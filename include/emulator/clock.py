"""The clock of the instance, which may run faster than that of the machine."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass

_FINEST_SECONDS = 0.01


@dataclass(frozen=True)
class Clock:
    """A clock that runs `speed` times as fast as the machine's, from the moment when both showed `start` (epoch
    seconds).

    Jobs, tokens, schedules and faults use it. Code that only manages connections and the event loop does not.
    """

    speed: float = 1.0
    start: float = 0.0

    def now(self) -> float:
        """Seconds since the epoch."""
        return time.time() if self.speed == 1 else self.start + (time.time() - self.start) * self.speed

    def elapsed(self) -> float:
        """Seconds of a monotonic clock. Setting the machine's clock does not change it."""
        return time.monotonic() * self.speed

    async def sleep(self, seconds: float) -> None:
        """Let so many seconds pass."""
        await asyncio.sleep(seconds / self.speed)

    async def tick(self, seconds: float) -> None:
        """Let about so many seconds pass. The machine cannot wake up for each moment of a fast clock."""
        await asyncio.sleep(max(seconds / self.speed, _FINEST_SECONDS))
