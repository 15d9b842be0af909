"""How often an instance is asked: a limit for all tasks of a process, which gives way where the instance says so.

What counts is what is asked again and again while something is waited for: the window, states of jobs, new lines of a
log, states of assets. It is asked at most so often, whoever waits. What is asked once, and moves work on, goes ahead
and does not count: a start, a resume, and the parts of a log, each of which is asked for when the one before has come.
A log of 100,000 lines has 200 pages, and would else take two minutes. A cancel never waits.

A 429, a 406 (by which a CDN limits rates) and a `Retry-After` mean: less. The limit is halved then and doubled each
minute after, and until it is whole again, the work keeps to it, too: beside the looks, not behind them.
"""

from __future__ import annotations

import enum
import math
from dataclasses import dataclass, field

REQUESTS_PER_SECOND = 2.0
"""How many requests an instance gets a second from a process, where nothing else is said."""
LOWERS = frozenset({406, 429})
"""The statuses that mean that less is to be asked."""

_AT_ONCE_SECONDS = 5.0
"""What was not asked in so many seconds may be asked at once: a task that begins has a handful of questions."""
_RECOVERS_IN = 60.0
_LEAST_RATE = 1 / 30
_LONGEST_PAUSE = 120.0
_ONE_REFUSAL_SECONDS = 1.0
"""What is refused within so short a time was on its way together, and means the same."""


class Haste(enum.IntEnum):
    """What a request can wait for."""

    LOOK = 0
    WORK = 1
    URGENT = 2


@dataclass
class Manners:
    """The limit for one instance: `rate` requests a second. All times are in seconds, of a clock that nobody sets.

    Two threads that ask in the same moment may pass as one: no harm comes of it.
    """

    rate: float = REQUESTS_PER_SECOND
    _spent_until: dict[Haste, float] = field(default_factory=dict)
    _share: float = 1.0
    _lowered_at: float = -math.inf
    _refused_at: float = -math.inf

    def pause(self, now: float, haste: Haste) -> float:
        """Seconds after which a request may be sent, which counts from now on."""
        rate = self.rate_at(now)
        if haste is Haste.URGENT or (haste is Haste.WORK and rate == self.rate):
            return 0.0
        spent_until = self._spent_until.get(haste, now)
        self._spent_until[haste] = max(spent_until, now) + 1 / rate
        return max(0.0, spent_until - self._at_once(rate) - now)

    def refuse(self, now: float, retry_after: float | None) -> None:
        """The instance wants to be asked less, and not again within `retry_after` seconds."""
        if now - self._refused_at >= _ONE_REFUSAL_SECONDS:
            self._share = max(_LEAST_RATE, self.rate_at(now) / 2) / self.rate
        self._refused_at = now
        rate = self._share * self.rate
        pause = min(_LONGEST_PAUSE, 1 / rate if retry_after is None else retry_after)
        self._lowered_at = max(self._lowered_at, now + pause)
        not_before = self._lowered_at + self._at_once(rate)
        for haste in (Haste.LOOK, Haste.WORK):
            self._spent_until[haste] = max(self._spent_until.get(haste, not_before), not_before)

    def rate_at(self, now: float) -> float:
        """Requests a second that are sent now; what was halved doubles each minute."""
        minutes = max(0.0, now - self._lowered_at) / _RECOVERS_IN
        return self.rate * min(1.0, self._share * math.pow(2.0, min(minutes, 30.0)))

    def _at_once(self, rate: float) -> float:
        """Seconds of the limit that may be spent ahead."""
        return max(0.0, _AT_ONCE_SECONDS - 1 / rate)
