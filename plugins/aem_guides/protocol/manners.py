"""Rate limit for requests to an instance, for all tasks of a process. It is lowered when the instance asks for that.

The limit counts requests that are repeated during a wait: the window, states of jobs, new lines of a log, states of
assets. Requests that are sent once and move work on are not counted and not delayed: a start, a resume, and the pages
of a log, each of which is requested after the previous one has come. (A log of 100,000 lines has 200 pages, which would
otherwise take two minutes.) A cancel never waits.

A 429, a 406 (the rate limit of a CDN) and a `Retry-After` lower the limit: it is halved, and then doubled each minute.
Until it is back at its full rate, the work requests obey it, too, beside the looks and not behind them.
"""

from __future__ import annotations

import enum
import math
from dataclasses import dataclass, field

REQUESTS_PER_SECOND = 2.0
"""Requests a second from a process to an instance, by default."""
LOWERS = frozenset({406, 429})
"""The statuses that lower the limit."""

_AT_ONCE_SECONDS = 5.0
"""Unused requests of this many seconds may be sent at once: a task sends a handful when it begins."""
_RECOVERS_IN = 60.0
_LEAST_RATE = 1 / 30
_LONGEST_PAUSE = 120.0
_ONE_REFUSAL_SECONDS = 1.0
"""Refusals within this time belong to requests that were sent together. They count as one."""


class Haste(enum.IntEnum):
    """How urgent a request is."""

    LOOK = 0
    WORK = 1
    URGENT = 2


@dataclass
class Manners:
    """The limit for one instance: `rate` requests a second. All times are in seconds of a monotonic clock.

    Two threads at the same moment may count as one request, which does no harm.
    """

    rate: float = REQUESTS_PER_SECOND
    _spent_until: dict[Haste, float] = field(default_factory=dict)
    _share: float = 1.0
    _lowered_at: float = -math.inf
    _refused_at: float = -math.inf

    def pause(self, now: float, haste: Haste) -> float:
        """Seconds until a request may be sent. The request is counted from now on."""
        rate = self.rate_at(now)
        if haste is Haste.URGENT or (haste is Haste.WORK and rate == self.rate):
            return 0.0
        spent_until = self._spent_until.get(haste, now)
        self._spent_until[haste] = max(spent_until, now) + 1 / rate
        return max(0.0, spent_until - self._at_once(rate) - now)

    def refuse(self, now: float, retry_after: float | None) -> None:
        """The instance asks for fewer requests, and for none within `retry_after` seconds."""
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
        """The current limit in requests a second. After it was halved, it doubles each minute."""
        minutes = max(0.0, now - self._lowered_at) / _RECOVERS_IN
        return self.rate * min(1.0, self._share * math.pow(2.0, min(minutes, 30.0)))

    def _at_once(self, rate: float) -> float:
        """Seconds of the limit that may be spent in advance."""
        return max(0.0, _AT_ONCE_SECONDS - 1 / rate)
