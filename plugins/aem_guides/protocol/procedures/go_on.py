"""The phase in which a job is resumed from its checkpoint, once, when its turn comes."""

from __future__ import annotations

from aem_guides.protocol.errors import (
    AemGuidesError,
    DoubtfulStartError,
    JobFailedError,
    JobLostError,
    Retry,
    UnreachableError,
)
from aem_guides.protocol.manners import Haste
from aem_guides.protocol.models import Job
from aem_guides.protocol.procedures.course import (
    Course,
    Kept,
    TurnLostError,
    in_doubt,
    keep,
    keeping,
    say_trouble,
    take_turn,
)
from aem_guides.protocol.procedures.events import Level, Notice
from aem_guides.protocol.procedures.follow import FollowEnd
from aem_guides.protocol.procedures.intent import Intent
from aem_guides.protocol.procedures.path_state import PathState, Phase
from aem_guides.protocol.procedures.resume import PATIENCE, find_to_resume, resume_once, settle_resume
from aem_guides.protocol.steps import Emit, EndTurn, Steps, Wait


def resuming(course: Course, state: PathState) -> Steps[PathState | None]:
    talk, hours = course.talk, course.options.hours
    if state.intent is not None:
        return (yield from _settle_resume(course, state, state.intent))
    job = state.job
    if job is None:
        return (yield from keep(state.to(Phase.FOLLOWING)))
    if hours is not None and not hours.is_open(talk.now()):
        return (yield from keep(state.held(job, talk.now())))
    if state.queue_until is None:
        state = yield from keep(state.stays(queue_until=talk.now() + course.options.queue_seconds))
    turn = yield from take_turn(course, state, queues=True)
    if turn.granted:
        return (yield from _resume(course, state, job))
    if talk.now() < (state.queue_until or 0.0):
        return state
    return (yield from keep(state.ended(FollowEnd.NO_TURN, state.job)))


def _resume(course: Course, state: PathState, before: Job) -> Steps[PathState]:
    name, talk = state.processing_id or "", course.talk.in_haste(Haste.WORK)
    kept = Kept(state)
    try:
        job = yield from find_to_resume(talk, before)
        if job is None:
            yield Emit(Notice(Level.INFO, f"Somebody else has resumed job {name}."))
            state = yield from keep(state.goes_on(name, course.talk.now(), resumes=0))
            yield Emit(EndTurn())
            return state
        yield Emit(Notice(Level.INFO, f"Resuming job {name} from its checkpoint."))
        steps = resume_once(talk, job, state.request, run=course.options.run)
        goes_on_as = yield from keeping(steps, kept, lambda now, intent: now.stays(intent=intent))
    except DoubtfulStartError as error:
        yield from in_doubt(kept.state, error)
    except (JobFailedError, JobLostError):
        yield from keep(kept.state.to(Phase.FOLLOWING, intent=None))
        raise
    except AemGuidesError as error:
        if error.retry is not Retry.USEFUL:
            raise
        yield from say_trouble(course, error, f"Job {name} is not resumed yet")
        yield Emit(EndTurn(course.pause(), holds_all=isinstance(error, UnreachableError | TurnLostError)))
        return kept.state
    state = yield from _gone_on(course, kept.state, goes_on_as)
    yield Emit(EndTurn())
    return state


def _settle_resume(course: Course, state: PathState, intent: Intent) -> Steps[PathState]:
    """An earlier resume was cut short: look what came of it, and send nothing. The hours may be over by now."""
    job = state.job or intent.resumes
    if job is None:
        return (yield from keep(state.to(Phase.FOLLOWING, intent=None)))
    try:
        found = yield from settle_resume(course.talk, job, state.request, intent, PATIENCE)
    except DoubtfulStartError as error:
        yield from in_doubt(state, error)
    except AemGuidesError as error:
        if error.retry is not Retry.USEFUL:
            raise
        what = f"It is not known yet whether job {job.processing_id} was resumed"
        yield from say_trouble(course, error, what)
        yield Wait(course.pause(), what)
        return state
    if found is None:
        return (yield from keep(state.stays(intent=None, doubtful=False)))
    state = yield from _gone_on(course, state, found)
    yield Emit(EndTurn())
    return state


def _gone_on(course: Course, state: PathState, processing_id: str) -> Steps[PathState]:
    course.failures = 0
    known = "" if processing_id == state.processing_id else f"; its id is now {processing_id}"
    yield Emit(Notice(Level.INFO, f"Job {state.processing_id} was resumed from its checkpoint{known}."))
    return (yield from keep(state.goes_on(processing_id, course.talk.now())))
