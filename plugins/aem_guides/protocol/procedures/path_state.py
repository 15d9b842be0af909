"""The state of one request of one run, and which phase may follow which. All changes of the state are in this module.

A state is stored before any request that depends on it is sent. So the next try, a restarted triggerer, a later task or
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
    """The phase of a path."""

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
"""The phases that may follow each phase. Each phase may also follow itself."""

HAS_NO_JOB = frozenset({Phase.QUEUED, Phase.STARTING})


class IllegalMoveError(Exception):
    """A phase does not follow from the previous one. This is a bug of ours."""


@dataclass(frozen=True)
class PathState:
    """The state of a path.

    `serial` grows with each state. `clear_counts`: for each task that has worked on the path, the number that Clear
    changes and a retry does not. `first_tries`: for each such task, the id that Airflow gave its first try. The id
    differs if the run was deleted and created again. `intent`: the intent of a start (STARTING) or of a resume
    (RESUMING); in QUEUED, the intent of a start without a visible result. `processing_id` is the current id of the job.
    `earlier_ids` are its ids before resumes changed it. `resumes` counts all resumes. `resumes_left` counts the resumes
    that retries may still make; it is None until a task that waits for the job has set it. Times are in seconds since
    the epoch: `queue_until` (the latest time for its turn) and `deadline_at` (the end of the job's time; when a held
    job runs again, it moves by the time since `held_since`). `doubtful`: it is unknown whether a job was started or
    resumed, and the message asked a person to check. `settled_at`: the time of the intent of which a person has stated
    the result since, until a try takes that up. `log_offset`: the number of log lines that were shown. `cancel`: the
    result of a cancel. `job`: the job as last seen, or as it was before a resume. `end`: why following ended; in
    CANCELLING, why the job is cancelled. `earlier_end`: the end from which the job was last resumed. `concluded`: the
    task finished its work on the path, so it was not killed. `instance`: the address of the connection when work on the
    path began. `only_between`: the off-peak hours of its job, as `protocol.hours.parse_only_between` reads them.
    `result`: the outcome that the task returned.
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
    only_between: object = None
    result: Mapping[str, object] | None = None

    @property
    def is_ours(self) -> bool:
        """Whether the job was started for this path, not adopted."""
        return self.origin is not Origin.ADOPTED

    @property
    def may_cancel(self) -> bool:
        """Whether we may cancel its job."""
        return may_cancel(self.origin, cancel_adopted=self.cancel_adopted)

    @property
    def in_doubt(self) -> bool:
        """Whether a start was about to be sent, and its result is unknown."""
        return self.phase is Phase.STARTING and self.intent is not None

    def intent_in_doubt(self, at: int) -> Intent | None:
        """The intent that was sent at `at` (epoch milliseconds), if its result is in doubt. None otherwise."""
        intent = self.intent
        return intent if self.doubtful and intent is not None and intent.at == at else None

    @property
    def is_left_behind(self) -> bool:
        """Whether no process has finished the path. If its task was killed, its job must still be cancelled."""
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
        """The state of a path that begins anew. What was known of a job is dropped."""
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
        """The state of a job that has ended for now. It is resumed when the next off-peak hours begin."""
        since = now if self.held_since is None else self.held_since
        return self.to(Phase.HELD_BACK, job=job, intent=None, held_since=since)

    def resuming(self, job: Job) -> PathState:
        """The state of a job that is to be resumed. It needs its turn first."""
        return self.to(Phase.RESUMING, job=job, intent=None, end=None, queue_until=None)

    def goes_on(self, processing_id: str, now: float, *, resumes: int = 1) -> PathState:
        """The state of a job that runs again. The time while it was held back does not count toward the deadline.

        A job that has another id after a resume writes a new log, from its first line on.
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
        """The state of a path whose wait has ended."""
        return self.to(Phase.ENDED, end=end, job=job)


_KEPT = ("clear_counts", "first_tries", "resumes_left", "cancel_adopted", "instance", "only_between")
"""The fields that stay when a path begins anew: to which tasks it belongs, and what was requested."""
