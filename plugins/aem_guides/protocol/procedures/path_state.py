"""The state of one request of one run, and which phase may follow which. All changes of the state are in this module.

A state is stored before anything that depends on it is sent. So the next try, a restarted triggerer, a later task or
another run continues from it.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from aem_guides.protocol.earlier_end import EarlierEnd
from aem_guides.protocol.models import Job, ProcessingRequest, ids_before
from aem_guides.protocol.procedures.cancel import SETTLED, CancelResult, may_cancel
from aem_guides.protocol.procedures.follow import FollowEnd
from aem_guides.protocol.procedures.intent import Intent
from aem_guides.protocol.procedures.start import Origin


class Phase(enum.StrEnum):
    """Where a path is."""

    QUEUED = "queued"
    STARTING = "starting"
    FOLLOWING = "following"
    CANCELLING = "cancelling"
    HELD_BACK = "held back"
    RESUMING = "resuming"
    ENDED = "ended"


MOVES: Mapping[Phase, frozenset[Phase]] = {
    Phase.QUEUED: frozenset({Phase.STARTING, Phase.FOLLOWING, Phase.ENDED}),
    Phase.STARTING: frozenset({Phase.QUEUED, Phase.FOLLOWING, Phase.ENDED}),
    Phase.FOLLOWING: frozenset({Phase.QUEUED, Phase.CANCELLING, Phase.HELD_BACK, Phase.RESUMING, Phase.ENDED}),
    Phase.CANCELLING: frozenset({Phase.QUEUED, Phase.FOLLOWING, Phase.HELD_BACK, Phase.ENDED}),
    Phase.HELD_BACK: frozenset({Phase.QUEUED, Phase.FOLLOWING, Phase.RESUMING, Phase.ENDED}),
    Phase.RESUMING: frozenset({Phase.QUEUED, Phase.FOLLOWING, Phase.HELD_BACK, Phase.ENDED}),
    Phase.ENDED: frozenset({Phase.QUEUED, Phase.FOLLOWING, Phase.HELD_BACK, Phase.RESUMING}),
}
"""The phases that may follow a phase; each may also follow itself."""

HAS_NO_JOB = frozenset({Phase.QUEUED, Phase.STARTING})


class IllegalMoveError(Exception):
    """A phase does not follow the one before: a fault of ours."""


@dataclass(frozen=True)
class PathState:
    """Where a path is.

    `serial` grows with each state. `clear_counts`: for each task that has worked on the path, the number that Clear
    changes and a retry does not. `first_tries`: the id that Airflow gave the first try of each, which differs if the
    run was deleted and created again. `intent`: what was written down before a start (STARTING) or a resume (RESUMING);
    in QUEUED, that of a start of which nothing was seen yet. `processing_id` is the id under which the job goes on,
    `earlier_ids` those it had before a resume changed them. `resumes` counts all resumes, `resumes_left` those that
    retries may still make, None until a task that waits for the job has said. Times are in seconds since the epoch:
    `queue_until` (its turn must have come), `deadline_at` (the job's time is over; put off by the time since
    `held_since` when a held job goes on). `doubtful`: it could not be settled whether a job was started or resumed, and
    a person was asked to look. `settled_at`: the time of the intent of which a person has said since what came of it,
    until a try takes that up. `log_offset`: lines of the job's log that were shown. `cancel`: what came of cancelling
    it. `job`: as last seen, or as it is to be resumed. `end`: why following ended; in CANCELLING, why it is cancelled.
    `earlier_end`: the end from which it was resumed last. `concluded`: the task has dealt with it to its end, so that
    it was not killed. `instance`: where the connection led when the path was first taken up. `result`: the outcome that
    the task returned.
    """

    request: ProcessingRequest
    phase: Phase = Phase.QUEUED
    serial: int = 0
    clear_counts: Mapping[str, int] = field(default_factory=dict)
    first_tries: Mapping[str, str] = field(default_factory=dict)
    intent: Intent | None = None
    processing_id: str | None = None
    origin: Origin | None = None
    earlier_ids: tuple[str, ...] = ()
    resumes: int = 0
    resumes_left: int | None = None
    queue_until: float | None = None
    deadline_at: float | None = None
    held_since: float | None = None
    doubtful: bool = False
    settled_at: int | None = None
    log_offset: int = 0
    cancel: CancelResult | None = None
    cancel_adopted: bool = False
    job: Job | None = None
    end: FollowEnd | None = None
    earlier_end: EarlierEnd | None = None
    concluded: bool = False
    instance: str | None = None
    result: Mapping[str, object] | None = None

    @property
    def is_ours(self) -> bool:
        """Whether the job was started for this path, rather than adopted."""
        return self.origin is not Origin.ADOPTED

    @property
    def may_cancel(self) -> bool:
        """Whether its job may be cancelled by us, for whatever reason."""
        return may_cancel(self.origin, cancel_adopted=self.cancel_adopted)

    @property
    def in_doubt(self) -> bool:
        """Whether a start was about to be sent, and what came of it is not known."""
        return self.phase is Phase.STARTING and self.intent is not None

    @property
    def is_left_behind(self) -> bool:
        """Whether no process has finished the path: if its task was killed, its job must still be cancelled."""
        return not self.concluded and self.phase is not Phase.ENDED and self.cancel not in SETTLED

    def to(self, phase: Phase, **changes: object) -> PathState:
        """The next state. Raises IllegalMoveError."""
        if phase is not self.phase and phase not in MOVES[self.phase]:
            raise IllegalMoveError(f"{self.request.path}: {phase} cannot follow {self.phase}")
        return replace(self, phase=phase, serial=self.serial + 1, **changes)  # type: ignore[arg-type]  # own fields

    def stays(self, **changes: object) -> PathState:
        """The next state in the same phase."""
        return self.to(self.phase, **changes)

    def anew(self) -> PathState:
        """The state of a path that begins anew; what was known of a job counts no more."""
        kept = {name: getattr(self, name) for name in _KEPT}
        return replace(PathState(self.request), serial=self.serial + 1, **kept)

    def works(self, processing_id: str, origin: Origin, instance: str | None = None) -> PathState:
        """The state of a path whose job was started, found or adopted."""
        return self.to(
            Phase.FOLLOWING,
            processing_id=processing_id,
            origin=origin,
            intent=None,
            doubtful=False,
            instance=instance or self.instance,
        )

    def held(self, job: Job, now: float) -> PathState:
        """The state of a job that has ended for now and is resumed when the off-peak hours begin again."""
        since = now if self.held_since is None else self.held_since
        return self.to(Phase.HELD_BACK, job=job, intent=None, held_since=since)

    def resuming(self, job: Job) -> PathState:
        """The state of a job that is to be resumed; its turn has to come first."""
        return self.to(Phase.RESUMING, job=job, intent=None, end=None, queue_until=None)

    def goes_on(self, processing_id: str, now: float, *, resumes: int = 1) -> PathState:
        """The state of a job that runs again. The time while it was held back does not count for the deadline.

        A job that has another id after a resume writes another log, from its first line on.
        """
        held = 0.0 if self.held_since is None else max(0.0, now - self.held_since)
        before = (self.intent.resumes if self.intent else None) or self.job
        renamed = processing_id != self.processing_id
        return self.to(
            Phase.FOLLOWING,
            processing_id=processing_id,
            earlier_ids=ids_before(self.earlier_ids, self.processing_id, processing_id),
            deadline_at=None if self.deadline_at is None else self.deadline_at + held,
            held_since=None,
            earlier_end=EarlierEnd.of(before, now) if before else self.earlier_end,
            job=None,
            intent=None,
            doubtful=False,
            end=None,
            cancel=None,
            resumes=self.resumes + resumes,
            log_offset=0 if renamed else self.log_offset,
        )

    def ended(self, end: FollowEnd, job: Job | None) -> PathState:
        """The state of a path that is not waited for any more."""
        return self.to(Phase.ENDED, end=end, job=job)


_KEPT = ("clear_counts", "first_tries", "resumes_left", "cancel_adopted", "instance")
"""What stays where a path begins anew: whose it is, and what was asked for."""
