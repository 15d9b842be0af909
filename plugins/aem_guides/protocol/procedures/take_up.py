"""What a try does with a path: a new one, one that an earlier try began, or one that a person cleared."""

from __future__ import annotations

import enum
from dataclasses import dataclass, replace

from aem_guides.protocol.admission import MAX_ACTIVE_JOBS
from aem_guides.protocol.hours import AtEnd, OffPeakHours, parse_only_between
from aem_guides.protocol.models import Job
from aem_guides.protocol.pacing import LONGEST_LOOK
from aem_guides.protocol.procedures.follow import FollowEnd
from aem_guides.protocol.procedures.path_state import HAS_NO_JOB, PathState, Phase
from aem_guides.protocol.procedures.start import OnActiveJob
from aem_guides.protocol.states import Verdict


class Part(enum.StrEnum):
    """The part of a path's lifecycle that a task does."""

    START = "start"
    WAIT = "wait"
    ALL = "all"


@dataclass(frozen=True)
class LifecycleOptions:
    """The options of a lifecycle. Plain values, since Airflow stores them.

    `run` names the run and try. `came_at` (epoch seconds), `run_key` and `index` are the place in the line.
    `queue_seconds`: its turn has to come within so long; `job_seconds`: the job's time, from its start on. `log_lines`:
    show at most so many lines of the job's log as they come. `only_between`: the off-peak hours, as
    `protocol.hours.parse_only_between` reads them. `is_brief`: it runs in a worker, which what has to wait, or to be
    tried again, does not hold.
    """

    part: Part = Part.ALL
    run: str = ""
    came_at: float = 0.0
    run_key: str = ""
    index: int = -1
    on_active_job: OnActiveJob = OnActiveJob.ADOPT
    max_active_jobs: int = MAX_ACTIVE_JOBS
    queue_seconds: float = 24 * 3600.0
    job_seconds: float = 24 * 3600.0
    max_resumes: int = 2
    cancel_on_deadline: bool = True
    cancel_adopted: bool = False
    stall_seconds: float = 1800.0
    log_lines: int = 0
    longest_look: float = LONGEST_LOOK
    lost_seconds: float = 300.0
    only_between: object = None
    reprocess: bool = False
    is_brief: bool = False

    @property
    def hours(self) -> OffPeakHours | None:
        """The off-peak hours; None where it may work at any time."""
        return parse_only_between(self.only_between)

    def closes_at(self, state: PathState, now: float) -> float | None:
        """When a job that works now has to be cancelled; None where it is left alone."""
        hours = self.hours
        if hours is None or hours.at_end is AtEnd.LEAVE or not state.may_cancel:
            return None
        return hours.closes_at(now) or now


def take_up(
    state: PathState,
    job: Job | None,
    *,
    cleared: bool,
    later_try: bool,
    now: float,
    options: LifecycleOptions,
) -> PathState:
    """The state from which a try continues. `job` is its job as the instance shows it; None if it does not.

    A try after a failure resumes a failed job; only a person's Clear resumes a cancelled one. Where there is nothing
    to resume, Clear begins anew. Clear gives new resumes and new time, and settles what was in doubt. Where a person
    has settled that in another way, Clear only goes on from there.
    """
    found = state
    if state.settled_at is not None:
        state, cleared = replace(state, settled_at=None), False
    state = state.stays(concluded=False, cancel_adopted=options.cancel_adopted)
    if state.resumes_left is None and options.part is not Part.START:
        state = replace(state, resumes_left=options.max_resumes)
    if cleared:
        state = _cleared(state, now, options)
    if state.phase in HAS_NO_JOB:
        return state
    if state.processing_id is None:
        return _queued_again(state) if cleared else state
    if options.part is Part.START:
        if cleared and not _is_under_way(state) and not _is_at_work(state, job, now):
            return state.anew()
        return replace(state, serial=found.serial)  # nothing more is done here, and another may be waiting for the job
    if _is_under_way(state):
        return state
    return _with_job(state, job, cleared=cleared, later_try=later_try, now=now, options=options)


def _is_under_way(state: PathState) -> bool:
    """Whether a step that is not finished decides what comes next."""
    return state.phase in (Phase.CANCELLING, Phase.HELD_BACK, Phase.RESUMING)


def _is_at_work(state: PathState, job: Job | None, now: float) -> bool:
    """Whether the job seems to be running: an end from before its resume does not count."""
    if job is None:
        return False
    return job.is_active or (state.earlier_end is not None and state.earlier_end.is_shown_by(job, now))


def _queued_again(state: PathState) -> PathState:
    """The state of a path whose turn did not come; of a start that may have been sent before, a job may come yet."""
    return replace(state.anew(), intent=None if state.doubtful else state.intent)


def _cleared(state: PathState, now: float, options: LifecycleOptions) -> PathState:
    if state.phase in HAS_NO_JOB:
        return state.anew() if state.doubtful else state.stays(queue_until=None)
    if options.part is Part.START:
        return state
    changes: dict[str, object] = {
        "resumes_left": max(1, options.max_resumes),  # a person who clears the task asks for one
        "deadline_at": None,
        "held_since": None if state.held_since is None else now,
        "queue_until": None,
        "cancel": None,
    }
    if state.doubtful:  # a person has looked what became of the last one
        changes |= {"intent": None, "doubtful": False}
    if state.phase is Phase.CANCELLING and state.end is FollowEnd.DEADLINE:  # it has new time
        return state.to(Phase.FOLLOWING, end=None, **changes)
    return state.stays(**changes)


def _with_job(
    state: PathState, job: Job | None, *, cleared: bool, later_try: bool, now: float, options: LifecycleOptions
) -> PathState:
    if cleared and options.reprocess and state.result is not None:
        return state.anew()
    if job is None and state.phase is Phase.ENDED and state.job is not None and state.job.verdict in _DONE:
        job = state.job  # the instance has forgotten it since; that it went through all its assets, it did say
    if job is not None and state.earlier_end is not None and state.earlier_end.is_shown_by(job, now):
        return state.to(Phase.FOLLOWING, end=None, cancel=None)
    verdict = job.verdict if job is not None else None
    if verdict in (Verdict.ACTIVE, Verdict.ENDED_UNCLEAR):
        return state.to(Phase.FOLLOWING, end=None, cancel=None)
    if job is not None and verdict not in _DONE and job.resumable and state.is_ours:
        left = state.resumes_left or 0
        if cleared or (verdict is Verdict.FAILED and later_try and left > 0):
            state = state.stays(resumes_left=max(0, left - 1), cancel=None)
            hours = options.hours
            return state.resuming(job) if hours is None or hours.is_open(now) else state.held(job, now)
    if cleared and options.part is Part.ALL and verdict not in _DONE:
        return state.anew()
    if job is None:
        return state.to(Phase.FOLLOWING, end=None, cancel=None)
    return state.to(Phase.FOLLOWING, end=None).ended(FollowEnd.ENDED, job)


_DONE = (Verdict.SUCCEEDED, Verdict.WITH_ERRORS)
