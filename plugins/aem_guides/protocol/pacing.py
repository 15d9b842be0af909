"""When to look again, and why then.

A look is worth its request for two things: to see the end soon, and to show progress to whoever looks on. The end is
seen soon by many looks near it and few before. Where it is, the instance's own estimate says, or the rate and the
count of files; each is trusted as far as it was right so far. Progress is fresh within a minute for the first while;
of a job that takes hours it is worth a look every few minutes.

Whatever an instance says, the looks of a job stay below `MOST_LOOKS`: what is looked at sooner than progress is worth
is paid from a purse that fills slowly.
"""

from __future__ import annotations

from dataclasses import dataclass, field

MOST_LOOKS = {6 * 3600.0: 250, 24 * 3600.0: 400}
"""How many looks a job of so many seconds costs at the most, at the usual bounds of `Pacing`."""

LONGEST_LOOK = 900.0
"""Seconds between two looks at a job, where nothing else is said. That is 1 % of a day."""

_MINUTE = 60.0
_PURSE = 80.0
_EARNS_IN = 1200.0
_NEAR = 15.0
"""Seconds before the expected end in which it may come at any time."""
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
        """Seconds until the next look, `age` seconds into a wait of which nothing is known: a tenth of it."""
        return self.spread(age / 10, random)

    def after_failures(self, failures: int, random: float) -> float:
        """Seconds until the next look after so many failed ones in a row."""
        return self.spread(self.shortest * 2.0 ** min(failures, 30), random)

    def spread(self, seconds: float, random: float) -> float:
        """The pause within the bounds, up to a twentieth shorter, so that waits drift apart."""
        return min(self.longest, max(self.shortest, seconds * (0.95 + 0.05 * random)))


@dataclass(frozen=True)
class Look:
    """When to look again: in so many `seconds`, and `why` then."""

    seconds: float
    why: str


@dataclass
class _Trail:
    """What was seen a good while ago, to measure by; two marks, so that it is never only just ago."""

    _marks: list[tuple[float, float]] = field(default_factory=list)

    def reaches(self, now: float) -> float:
        """For how many seconds it measures."""
        return now - self._marks[0][0] if self._marks else 0.0

    def per_second(self, now: float, value: float, span: float) -> float | None:
        """By how much the value grew a second since a mark that is `span` seconds old, or the oldest there is."""
        marks = self._marks
        if not marks or now - marks[-1][0] >= span:
            self._marks = marks = [*marks[-1:], (now, value)]
        since, before = marks[0]
        return (value - before) / (now - since) if now > since else None


@dataclass
class _Forecast:
    """What one source says of the time that is left, and how far it may be trusted.

    `left` is in seconds, None where it says nothing. `doubt` is the share of it by which the source was wrong of late.
    """

    left: float | None = None
    doubt: float = _FIRST_DOUBT
    _ends_at: float = 0.0
    _trail: _Trail = field(default_factory=_Trail)

    def note(self, now: float, said: float | None) -> None:
        """The source says that so many seconds are left; None: it says nothing any more."""
        if said is None:
            self.left = None
            return
        before, left = self.left, self._corrected(now, said)
        if before is not None:
            missed = abs(now + left - self._ends_at) / max(before, 1.0)
            self.doubt = min(1.0, max(missed, _FORGETS * self.doubt))
        self.left, self._ends_at = left, now + left

    def _corrected(self, now: float, said: float) -> float:
        """Less where the estimate has fallen faster than time went by; as much as it was watched, that counts.

        One that falls more slowly is taken as it is: to look too early costs a look, to look too late the end.
        """
        grown = self._trail.per_second(now, said, span=max(30.0, said / 2))
        if grown is None or grown >= -1.0:
            return said
        watched = self._trail.reaches(now)
        weight = watched / (watched + said)
        return said / (1.0 + weight * (min(_FASTEST, -grown) - 1.0))


@dataclass
class Outlook:
    """What is known of the end of a job that is followed from `began` on (any clock in seconds), and when to look."""

    pacing: Pacing
    began: float
    _said: _Forecast = field(default_factory=_Forecast)
    _counted: _Forecast = field(default_factory=_Forecast)
    _count: int = 0
    _counts: _Trail = field(default_factory=_Trail)
    _near_since: float | None = None
    _spent: float = 0.0

    def see(self, now: float, *, eta: float | None, done: int | None, total: int | None) -> None:
        """Take in a look: the instance's estimate in seconds, and how many files are done; None: it does not say."""
        self._said.note(now, eta)
        self._counted.note(now, self._by_count(now, done, total))
        left = self.left
        if left is None or left > 4 * _NEAR:
            self._near_since = None
        elif left <= _NEAR and self._near_since is None:
            self._near_since = now

    @property
    def left(self) -> float | None:
        """The seconds that are held to be left, None where nothing says so."""
        return self._best.left

    def next_look(self, now: float, random: float) -> Look:
        """When to look again, after what was seen at this moment."""
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
        if done < self._count:  # a resumed job may count anew
            self._counts, self._counted = _Trail(), _Forecast()
        self._count = done
        rate = self._counts.per_second(now, float(done), span=max(30.0, (now - self.began) / 8))
        return max(0.0, total - done) / rate if rate else None


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
