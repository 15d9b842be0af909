"""Which path may start its job next: in fair order, and only while fewer jobs are active than allowed.

Two things hide active jobs from the window: it lags behind a start, and newer jobs push older ones out of it. So a job
that is known to be active counts until the window or its own status shows that it has ended.
"""

from __future__ import annotations

import bisect
from collections.abc import Mapping
from dataclasses import dataclass, field

from aem_guides.protocol import contract
from aem_guides.protocol.conversation import Conversation
from aem_guides.protocol.earlier_end import EarlierEnd
from aem_guides.protocol.errors import AemGuidesError, RejectedError
from aem_guides.protocol.models import History, Job, same_path
from aem_guides.protocol.steps import Steps, Window
from aem_guides.protocol.wording import crowd

MAX_ACTIVE_JOBS = 4
"""How many jobs may be active on an instance, unless a run or an option says otherwise."""

LOST_AFTER_SECONDS = 300.0
"""For this long, a job that neither window nor status knows still counts as active."""


@dataclass(frozen=True, order=True)
class Place:
    """A place in the queue: arrival time (seconds since the epoch), then run, then index in the run."""

    came_at: float
    run: str
    index: int


@dataclass(eq=False)
class Ticket:
    """One request that waits for its turn.

    `limit`: the most active jobs on the instance. `queues`: the request waits while a job is active on its path.
    Without `queues` it then gets its turn at once, to adopt that job or to fail. `blocked_by`: a job that is known to
    be in the way. `not_before` (epoch seconds): the earliest next attempt. `is_away`: the ticket keeps its place, but
    cannot take a turn now, for example while its lifecycle checks an earlier start.
    """

    place: Place
    path: str
    limit: int
    queues: bool = False
    blocked_by: str | None = None
    not_before: float = 0.0
    is_away: bool = False

    def __post_init__(self) -> None:
        self.path = same_path(self.path)


@dataclass
class _Known:
    """A job that counts as active: its path, since when the instance does not know it, and its end before a resume."""

    path: str | None
    lost_since: float | None = None
    earlier_end: EarlierEnd | None = None


@dataclass
class Turns:
    """The queue of waiting tickets, and the known jobs of the instance. One ticket starts at a time."""

    starting: Ticket | None = None
    _line: list[Ticket] = field(default_factory=list)
    _active: dict[str, _Known] = field(default_factory=dict)
    _followed: set[str] = field(default_factory=set)
    _window: frozenset[str] = frozenset()

    def join(self, ticket: Ticket) -> None:
        """Enter the queue, at the place of the ticket."""
        bisect.insort(self._line, ticket, key=lambda other: other.place)

    def leave(self, ticket: Ticket) -> None:
        """Leave the queue, with or without a turn."""
        if self.starting is ticket:
            self.starting = None
        if ticket in self._line:
            self._line.remove(ticket)

    @property
    def first(self) -> Ticket | None:
        """The first ticket of the queue."""
        return self._line[0] if self._line else None

    @property
    def waiting(self) -> int:
        return len(self._line)

    @property
    def line(self) -> tuple[Ticket, ...]:
        """All that wait, in their order."""
        return tuple(self._line)

    @property
    def active(self) -> dict[str, str | None]:
        """The jobs that count as active, with their paths."""
        return {processing_id: known.path for processing_id, known in self._active.items()}

    @property
    def followed(self) -> dict[str, str | None]:
        """The jobs that a lifecycle of this process follows, with their paths."""
        return {i: known.path for i, known in self._active.items() if i in self._followed}

    def note_active(self, processing_id: str, path: str | None, earlier_end: EarlierEnd | None = None) -> None:
        """Add a job that is active but not in the window yet. `earlier_end`: the end from which it was just resumed."""
        self._active[processing_id] = _Known(path, None, earlier_end)

    @property
    def earlier_ends(self) -> dict[str, EarlierEnd]:
        """The ends from which active jobs were resumed."""
        return {i: known.earlier_end for i, known in self._active.items() if known.earlier_end is not None}

    def learn(self, active: Mapping[str, str | None], earlier_ends: Mapping[str, EarlierEnd]) -> None:
        """Take over the active jobs that another process knew, with the ends from which they were resumed. Reading
        their status finds those that have ended."""
        for processing_id, path in active.items():
            known = self._active.setdefault(processing_id, _Known(path))
            known.earlier_end = earlier_ends.get(processing_id, known.earlier_end)

    def follow(self, processing_id: str) -> None:
        """A lifecycle follows this job and notes its end, so its status is not read here."""
        self._followed.add(processing_id)

    def unfollow(self, processing_id: str, *, ended: bool) -> None:
        """No lifecycle of this process follows this job any more."""
        self._followed.discard(processing_id)
        if ended:
            self._active.pop(processing_id, None)

    def see(self, history: History, now: float) -> None:
        """Update from the window."""
        self._window = frozenset(job.processing_id for job in history.jobs)
        for job in history.jobs:
            self._see(job, now)

    def see_status(self, processing_id: str, job: Job | None, now: float) -> None:
        """Update from the status of a job. None: the instance does not know the job."""
        known = self._active.get(processing_id)
        if known is None:
            return
        if job is not None:
            known.lost_since = None
            self._see(job, now)
        elif known.lost_since is None:
            known.lost_since = now
        elif now - known.lost_since >= LOST_AFTER_SECONDS:
            del self._active[processing_id]

    @property
    def hidden(self) -> int:
        """How many active jobs the window did not show when it was last read."""
        return len(self._active.keys() - self._window)

    @property
    def to_ask(self) -> list[str]:
        """The active jobs whose end only their own status can show.

        Followed jobs are included only if they keep others waiting: a short job may leave the window before a look saw
        it there, and long before its follower looks.
        """
        unseen = self._active.keys() - self._window
        crowded = self.first is not None and len(self._active) >= self.first.limit
        return sorted(unseen if crowded else unseen - self._followed)

    def grant(self, now: float) -> Ticket | None:
        """Give the turn to the first ticket in the queue that may start. None while a ticket is starting, or if none
        may start."""
        if self.starting is not None:
            return None
        busy = {same_path(known.path) for known in self._active.values() if known.path}
        for ticket in self._line:
            if ticket.is_away or ticket.not_before > now or ticket.blocked_by in self._active:
                continue
            free = len(self._active) < ticket.limit if ticket.path not in busy else not ticket.queues
            if free:
                self.starting = ticket
                return ticket
        return None

    def put_back(self, ticket: Ticket, *, not_before: float, blocked_by: str | None = None) -> None:
        """End the turn of a ticket that could not start. It keeps its place."""
        if self.starting is ticket:
            self.starting = None
        ticket.not_before = not_before
        ticket.blocked_by = blocked_by

    def why(self, ticket: Ticket) -> str:
        """Why a ticket waits, in words."""
        ahead = bisect.bisect_left(self._line, ticket.place, key=lambda other: other.place)
        in_the_way = [i for i, known in self._active.items() if known.path and same_path(known.path) == ticket.path]
        blocking = in_the_way[:1] or ([ticket.blocked_by] if ticket.blocked_by in self._active else [])
        if blocking and ticket.queues:
            return f"job {blocking[0]} is active on its path"
        if not ahead and len(self._active) < ticket.limit:
            return "there is room for it, but another process starts jobs now, or the instance cannot be read"
        said = f"{crowd(len(self._active), ticket.limit)} (max_active_jobs)"
        return f"{said}; {ahead:,} {'waits' if ahead == 1 else 'wait'} ahead of it" if ahead else said

    def _see(self, job: Job, now: float) -> None:
        known = self._active.get(job.processing_id)
        if job.is_active:
            if known is None or known.path is None:
                self._active[job.processing_id] = _Known(job.path)
            return
        earlier_end = known.earlier_end if known is not None else None
        if earlier_end is None or not earlier_end.is_shown_by(job, now):
            self._active.pop(job.processing_id, None)


def read_window(talk: Conversation, turns: Turns) -> Steps[Window]:
    """Read the window and update from it. Raises what reading the history raises."""
    history = yield from talk.call(contract.history())
    turns.see(history, talk.now())
    return Window({job.processing_id: job for job in history.jobs})


def ask_for_hidden(talk: Conversation, turns: Turns) -> Steps[None]:
    """Read the status of active jobs outside the window, if only the status can show their end.

    A status that cannot be read changes nothing: the job still counts. The next look asks again.
    """
    at_once = talk.without_retries()
    for processing_id in turns.to_ask:
        try:
            job = yield from at_once.call(contract.status(processing_id))
        except RejectedError:
            turns.see_status(processing_id, None, talk.now())
        except AemGuidesError:
            continue
        else:
            turns.see_status(processing_id, job, talk.now())
