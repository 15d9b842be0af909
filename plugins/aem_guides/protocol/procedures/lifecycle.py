"""The lifecycle of one path: from any state to the job's start, or to its end.

Every `PathState` is emitted before any request that depends on it is sent. The consumer decides whose turn it is to
start or resume a job. It answers `TakeTurn` with a `Turn`, and `ConfirmTurn` with whether the turn is still valid.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from aem_guides.protocol.conversation import Conversation
from aem_guides.protocol.models import Job
from aem_guides.protocol.procedures.begin import queued, starting
from aem_guides.protocol.procedures.cancel import CancelResult, cancel_and_confirm
from aem_guides.protocol.procedures.course import Course, Kept, keep, noting, wait_until
from aem_guides.protocol.procedures.events import Level, LogLines, Notice
from aem_guides.protocol.procedures.follow import FIRST_LOOK, FindJob, Followed, FollowEnd, FollowPlan, find_job, follow
from aem_guides.protocol.procedures.go_on import resuming
from aem_guides.protocol.procedures.path_state import HAS_NO_JOB, PathState, Phase
from aem_guides.protocol.procedures.take_up import LifecycleOptions
from aem_guides.protocol.states import Verdict
from aem_guides.protocol.steps import Emit, Steps, Wait
from aem_guides.protocol.wording import in_words

CANCEL_SECONDS = 120.0


def run_lifecycle(
    talk: Conversation,
    state: PathState,
    options: LifecycleOptions,
    until: Phase,
    find: FindJob = find_job,
) -> Steps[PathState]:
    """Continue from this state until there is a job (`until` FOLLOWING) or the path has ended (ENDED).

    Returns the state that was reached. In a worker that must not wait for long, returns an earlier state as soon as a
    wait is needed. Emits what `follow` emits, every `PathState`, and `TakeTurn`, `ConfirmTurn` and `EndTurn`. Raises
    DoubtfulStartError, StartRefusedError, ActiveJobError, JobFailedError, JobLostError, and what a call raises if a
    later attempt cannot help.
    """
    course = Course(talk, options, find)
    while not is_reached(state, until):
        moved = yield from _STEPS[state.phase](course, state)
        if moved is None:
            return state
        state = moved
        course.has_moved = True
    return state


def is_reached(state: PathState, until: Phase) -> bool:
    """Whether there is a job (`until` FOLLOWING), or the path has ended."""
    return state.phase is Phase.ENDED or (until is Phase.FOLLOWING and state.phase not in HAS_NO_JOB)


def _following(course: Course, state: PathState) -> Steps[PathState]:
    talk, options = course.talk, course.options
    if state.deadline_at is None:
        state = yield from keep(state.stays(deadline_at=talk.now() + options.job_seconds))
    closes_at = options.closes_at(state, talk.now())
    followed, state = yield from _follow(course, state, hand_back_at=closes_at)
    if followed.end is FollowEnd.HANDED_BACK:
        hours = options.hours
        if hours is None or hours.is_open(talk.now()):
            return state
        text = (
            f"The off-peak hours ({hours}) are over: cancelling job {state.processing_id}; it is resumed when they "
            "begin again."
        )
        yield Emit(Notice(Level.INFO, text))
        return (yield from keep(state.to(Phase.CANCELLING, job=followed.job)))
    if followed.end is FollowEnd.DEADLINE and options.cancel_on_deadline and state.may_cancel:
        return (yield from keep(state.to(Phase.CANCELLING, job=followed.job, end=FollowEnd.DEADLINE)))
    return (yield from keep(state.ended(followed.end, followed.job)))


def _follow(
    course: Course, state: PathState, *, hand_back_at: float | None, held: float = 0.0
) -> Steps[tuple[Followed, PathState]]:
    """Follow the job and store how many lines of its log were shown."""
    options = course.options
    plan = FollowPlan(
        deadline_at=(state.deadline_at or 0.0) + held,
        stall_seconds=options.stall_seconds,
        pacing=course.pacing,
        log_budget=max(0, options.log_lines - state.log_offset),
        log_offset=state.log_offset,
        first_look=FIRST_LOOK if course.has_moved else 0.0,
        lost_patience=options.lost_seconds,
        hand_back_at=hand_back_at,
        earlier_end=state.earlier_end,
    )
    kept = Kept(state)
    followed = yield from noting(
        follow(course.talk, state.processing_id or "", plan, course.find),
        kept,
        lambda item: kept.state.stays(log_offset=item.next_offset) if isinstance(item, LogLines) else None,
    )
    return followed, kept.state


def _cancelling(course: Course, state: PathState) -> Steps[PathState]:
    """The job was active before this state was stored. So if it is cancelled now, our cancel did it."""
    talk, processing_id = course.talk, state.processing_id or ""
    outcome = yield from cancel_and_confirm(
        talk, processing_id, within_seconds=CANCEL_SECONDS, seen=state.job, earlier_end=state.earlier_end
    )
    if state.end is FollowEnd.DEADLINE:
        yield Emit(Notice(Level.WARNING, outcome.in_words(processing_id)))
        ended = state.ended(FollowEnd.DEADLINE, outcome.job or state.job)
        return (yield from keep(replace(ended, cancel=outcome.result)))
    if outcome.job is not None and outcome.job.verdict is Verdict.CANCELLED:
        course.failures = 0
        return (yield from keep(state.held(outcome.job, talk.now())))
    if outcome.result is not CancelResult.UNKNOWN:
        return (yield from keep(state.to(Phase.FOLLOWING)))
    if talk.now() >= (state.deadline_at or 0.0):
        return (yield from keep(state.ended(FollowEnd.DEADLINE, outcome.job)))
    yield Emit(Notice(Level.WARNING, outcome.in_words(processing_id)))
    yield Wait(course.pause(), f"cancelling job {processing_id} failed; trying again")
    return state


def _held_back(course: Course, state: PathState) -> Steps[PathState | None]:
    """Wait for the off-peak hours, then resume the job, unless another user has resumed it meanwhile."""
    talk, hours = course.talk, course.options.hours
    if hours is not None and not hours.is_open(talk.now()):
        opens_at = hours.opens_at(talk.now())
        when = f"{hours.describe(opens_at)}, in {in_words(opens_at - talk.now())}"
        text = f"Job {state.processing_id} is held back until {when}. Then it is resumed from its checkpoint."
        yield from wait_until(course, opens_at, text)
    now = talk.now()
    held = 0.0 if state.held_since is None else max(0.0, now - state.held_since)
    if state.deadline_at is None:
        state = yield from keep(state.stays(deadline_at=now + course.options.job_seconds))
    followed, state = yield from _follow(course, state, hand_back_at=now, held=held)
    if followed.end is FollowEnd.HANDED_BACK:
        text = f"Job {state.processing_id} is running already: somebody else resumed it."
        yield Emit(Notice(Level.INFO, text))
        return (yield from keep(state.goes_on(state.processing_id or "", talk.now(), resumes=0)))
    if followed.end is not FollowEnd.ENDED or followed.job is None or not _same_end(state.job, followed.job):
        return (yield from keep(state.ended(followed.end, followed.job)))
    return (yield from keep(state.resuming(followed.job)))


def _same_end(before: Job | None, now: Job) -> bool:
    """Whether the job is unchanged since it was held back: it has not succeeded, and has not run again."""
    if before is None or now.verdict is not before.verdict:
        return False
    return None in (before.completed_at, now.completed_at) or before.completed_at == now.completed_at


_STEPS: dict[Phase, Callable[[Course, PathState], Steps[PathState | None]]] = {
    Phase.QUEUED: queued,
    Phase.STARTING: starting,
    Phase.FOLLOWING: _following,
    Phase.CANCELLING: _cancelling,
    Phase.HELD_BACK: _held_back,
    Phase.RESUMING: resuming,
}
