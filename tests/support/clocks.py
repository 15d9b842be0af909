"""Clocks shared by the code under test and the emulator. With them a test waits a twentieth of the time."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

import pytest

from aem_guides.hooks import bodies
from aem_guides.protocol.steps import Surroundings

FAST = 20.0


@dataclass(frozen=True)
class Clock:
    """A clock that runs `speed` times as fast as the machine's, from its creation on.

    It does not affect time-outs of sockets, programs other than the emulator, and certificates.
    """

    speed: float = 1.0
    start: float = field(default_factory=time.time)

    def now(self) -> float:
        """Seconds since the epoch."""
        return self.start + (time.time() - self.start) * self.speed

    def today(self) -> datetime:
        """Now, as a date and time in UTC."""
        return datetime.fromtimestamp(self.now(), tz=UTC)

    def elapsed(self) -> float:
        """Seconds of a monotonic clock."""
        return time.monotonic() * self.speed

    def sleep(self, seconds: float) -> None:
        """Let so many seconds pass."""
        time.sleep(seconds / self.speed)

    async def asleep(self, seconds: float) -> None:
        """Let so many seconds pass, while other coroutines run."""
        await asyncio.sleep(seconds / self.speed)

    async def wait_for(self, what: Awaitable[object], seconds: float) -> object:
        """Await something for at most so many seconds."""
        return await bodies.wait_for(what, seconds / self.speed)

    @property
    def surroundings(self) -> Surroundings:
        """Surroundings with this clock."""
        return Surroundings(self.now, random.random, self.elapsed, self.sleep, self.asleep, self.wait_for)

    @property
    def arguments(self) -> tuple[str, ...]:
        """The arguments that give an emulator this clock."""
        return ("--speed", str(self.speed), "--clock-from", repr(self.start))


@dataclass
class SkippingClock:
    """The machine's clock, put forward at each wait by the time that was to be waited. No wait takes time."""

    skipped: float = 0.0

    def now(self) -> float:
        """Seconds since the epoch."""
        return time.time() + self.skipped

    def elapsed(self) -> float:
        """Seconds of a monotonic clock."""
        return time.monotonic() + self.skipped

    def sleep(self, seconds: float) -> None:
        """Put the clock forward."""
        self.skipped += seconds

    async def asleep(self, seconds: float) -> None:
        """Put the clock forward, after other coroutines had their turn."""
        await asyncio.sleep(0)
        self.skipped += seconds

    @property
    def surroundings(self) -> Surroundings:
        """Surroundings with this clock."""
        return Surroundings(self.now, random.random, self.elapsed, self.sleep, self.asleep, bodies.wait_for)


def stop_clock(monkeypatch: pytest.MonkeyPatch, now: float) -> None:
    """Stop the clock of the code under test at a moment, in seconds since the epoch."""
    monkeypatch.setattr(bodies, "REAL_SURROUNDINGS", replace(bodies.REAL_SURROUNDINGS, now=lambda: now))


def sleep_not_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the waits of triggers take no time."""

    async def asleep(_seconds: float) -> None:
        pass

    monkeypatch.setattr(bodies, "REAL_SURROUNDINGS", replace(bodies.REAL_SURROUNDINGS, asleep=asleep))
