"""When to look again."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Pacing:
    """How often a job is looked at: never sooner than `shortest` seconds, never later than `longest`.

    The older the wait, the rarer the looks; the nearer the instance's own estimate of the end, the more often.
    """

    shortest: float = 2.0
    longest: float = 60.0

    def next_look(self, *, age: float, eta: float | None, random: float) -> float:
        """Seconds until the next look, `age` seconds into the wait; spread by a tenth, so that waits drift apart."""
        pause = age / 10
        if eta is not None:
            pause = min(pause, eta / 2)
        return self._within(pause) * (0.9 + 0.2 * random)

    def after_failures(self, failures: int, random: float) -> float:
        """Seconds until the next look after so many failed ones in a row."""
        return self._within(self.shortest * 2.0 ** min(failures, 30)) * (0.9 + 0.2 * random)

    def _within(self, seconds: float) -> float:
        return min(self.longest, max(self.shortest, seconds))


@dataclass
class Speedometer:
    """Assets per second, smoothed over the looks; a resumed job that counts anew starts it afresh."""

    _count: int | None = None
    _at: float = 0.0
    rate: float | None = None

    def note(self, count: int, now: float) -> None:
        if self._count is not None and count < self._count:
            self.rate = None
        elif self._count is not None and now > self._at:
            fresh = (count - self._count) / (now - self._at)
            self.rate = fresh if self.rate is None else 0.5 * self.rate + 0.5 * fresh
        self._count, self._at = count, now
