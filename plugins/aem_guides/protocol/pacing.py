"""When to look at a job again, and why.

A look has two purposes: to see the end soon, and to show progress to people. To see the end soon, most looks come near
it and few before. The expected end comes from the instance's own estimate, or from the rate and the number of files.
Each source is trusted as far as it was right so far. At first, progress is shown within a minute. For a job that takes
hours, a look every few minutes is enough.

Whatever an instance says, the looks at a job stay below `MOST_LOOKS`: extra looks are paid from a budget that fills
slowly.
"""

from __future__ import annotations

from dataclasses import dataclass, field

MOST_LOOKS = {6 * 3600.0: 250, 24 * 3600.0: 400}
"""How many looks a job of this many seconds costs at most, with the usual bounds of `Pacing`."""

LONGEST_LOOK = 900.0
"""The longest pause between two looks in seconds, by default. That is 1 % of a day."""

_MINUTE = 60.0
_PURSE = 80.0
_EARNS_IN = 1200.0
_NEAR = 15.0
"""The end may come at any time within this many seconds before the expected end."""
_FIRST_DOUBT = 0.5
_FORGETS = 0.7
_LEAST_SHARE, _MOST_SHARE = 0.2, 0.75
_FASTEST = 4.0


@dataclass(frozen=True)
class Pacing:
    """The bounds of a pause: never shorter than `shortest` seconds, never longer than `longest`."""

    shortest: float = 1.5
    longest: float = 60.0

    def next_look(self, *, age: float, random: float) -> float:
        """Seconds until the next look, `age` seconds into a wait of unknown length: a tenth of it."""
        return self.spread(age / 10, random)

    def after_failures(self, failures: int, random: float) -> float:
        """Seconds until the next look after this many failures in a row."""
        return self.spread(self.shortest * 2.0 ** min(failures, 30), random)

    def spread(self, seconds: float, random: float) -> float:
        """The pause within the bounds, shortened by up to a twentieth, so that waits drift apart."""
        return min(self.longest, max(self.shortest, seconds * (0.95 + 0.05 * random)))


@dataclass(frozen=True)
class Look:
    """The pause until the next look in `seconds`, and `why`."""

    seconds: float
    why: str


@dataclass
class _Trail:
    """Two earlier measurements to compare with. There are two, so that one is always old enough."""

    _marks: list[tuple[float, float]] = field(default_factory=list)

    def reaches(self, now: float) -> float:
        """For how many seconds it measures."""
        return now - self._marks[0][0] if self._marks else 0.0

    def per_second(self, now: float, value: float, span: float) -> float | None:
        """The growth per second since a measurement that is `span` seconds old, or the oldest one."""
        marks = self._marks
        if not marks or now - marks[-1][0] >= span:
            self._marks = marks = [*marks[-1:], (now, value)]
        since, before = marks[0]
        return (value - before) / (now - since) if now > since else None


@dataclass
class _Forecast:
    """What one source says about the remaining time, and how far it is trusted.

    `left` is in seconds, None if unknown. `doubt` is the share of it by which the source was recently wrong.
    """

    left: float | None = None
    doubt: float = _FIRST_DOUBT
    _ends_at: float = 0.0
    _trail: _Trail = field(default_factory=_Trail)

    def note(self, now: float, said: float | None) -> None:
        """The source says that this many seconds are left. None: it no longer says."""
        if said is None:
            self.left = None
            return
        before, left = self.left, self._corrected(now, said)
        if before is not None:
            missed = abs(now + left - self._ends_at) / max(before, 1.0)
            self.doubt = min(1.0, max(missed, _FORGETS * self.doubt))
        self.left, self._ends_at = left, now + left

    def _corrected(self, now: float, said: float) -> float:
        """Reduce an estimate that fell faster than time passed, weighted by how long it was observed.

        An estimate that falls more slowly stays as it is: a look too early costs one request, a look too late delays
        the end.
        """
        grown = self._trail.per_second(now, said, span=max(30.0, said / 2))
        if grown is None or grown >= -1.0:
            return said
        watched = self._trail.reaches(now)
        weight = watched / (watched + said)
        return said / (1.0 + weight * (min(_FASTEST, -grown) - 1.0))


@dataclass
class Outlook:
    """What is known about the end of a job that is followed since `began` (any clock in seconds), and when to look."""

    pacing: Pacing
    began: float
    _said: _Forecast = field(default_factory=_Forecast)
    _counted: _Forecast = field(default_factory=_Forecast)
    _count: int = 0
    _counts: _Trail = field(default_factory=_Trail)
    _near_since: float | None = None
    _spent: float = 0.0

    def see(self, now: float, *, eta: float | None, done: int | None, total: int | None) -> None:
        """Add a look: the instance's estimate in seconds, and the number of finished files. None: not shown."""
        self._said.note(now, eta)
        self._counted.note(now, self._by_count(now, done, total))
        left = self.left
        if left is None or left > 4 * _NEAR:
            self._near_since = None
        elif left <= _NEAR and self._near_since is None:
            self._near_since = now

    @property
    def left(self) -> float | None:
        """The expected remaining seconds. None if no source shows them."""
        return self._best.left

    def next_look(self, now: float, random: float) -> Look:
        """When to look again after a look at this moment."""
        age = max(0.0, now - self.began)
        wanted = self._wanted(now, age)
        frugal = max(min(_MINUTE, age / 10), age / 20)
        if wanted.seconds < frugal and self.pacing.shortest < frugal:
            if self._spent >= _PURSE + age / _EARNS_IN:
                wanted = Look(frugal, "its end was looked for often enough")
            else:
                self._spent += 1.0 - wanted.seconds / frugal
        return Look(self.pacing.spread(wanted.seconds, random), wanted.why)

    @property
    def _best(self) -> _Forecast:
        known = [source for source in (self._said, self._counted) if source.left is not None]
        return min(known, key=lambda source: source.doubt, default=self._said)

    def _wanted(self, now: float, age: float) -> Look:
        best = self._best
        if best.left is None:
            return Look(max(min(_MINUTE, age / 10), age / 60), "nothing says when it ends")
        if self._near_since is not None:
            late = now - self._near_since - _NEAR - _MINUTE
            end = Look(max(self.pacing.shortest, late / 15), "its end is due")
        else:
            share = min(_MOST_SHARE, max(_LEAST_SHARE, _MOST_SHARE - best.doubt))
            end = Look(max(self.pacing.shortest, share * best.left), "its end comes nearer")
        progress = Look(max(min(_MINUTE, age / 4), age / 20), "its progress is worth showing")
        return min(end, progress, key=lambda look: look.seconds)

    def _by_count(self, now: float, done: int | None, total: int | None) -> float | None:
        if done is None or total is None:
            return None
        if done < self._count:  # a resumed job may count from zero again
            self._counts, self._counted = _Trail(), _Forecast()
        self._count = done
        rate = self._counts.per_second(now, float(done), span=max(30.0, (now - self.began) / 8))
        return max(0.0, total - done) / rate if rate else None


@dataclass
class Speedometer:
    """Assets per second, smoothed over the looks. If a resumed job counts from zero again, the measurement starts
    again."""

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
