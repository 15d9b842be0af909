"""The first phases of a path: it waits for its turn, and its job is started once."""

from __future__ import annotations

from aem_guides.protocol.conversation import Conversation
from aem_guides.protocol.errors import (
    ActiveJobError,
    AemGuidesError,
    DoubtfulStartError,
    MalformedAnswerError,
    StartRefusedError,
    UnavailableError,
    UnreachableError,
)
from aem_guides.protocol.manners import Haste
from aem_guides.protocol.procedures.course import (
    Course,
    Kept,
    TurnLostError,
    in_doubt,
    keep,
    keeping,
    take_turn,
    wait_until,
)
from aem_guides.protocol.procedures.events import Level, Notice
from aem_guides.protocol.procedures.follow import FollowEnd
from aem_guides.protocol.procedures.interval import await_interval
from aem_guides.protocol.procedures.path_state import PathState, Phase
from aem_guides.protocol.procedures.start import (
    MustWait,
    OnActiveJob,
    StartPolicy,
    find_started,
    held_back,
    start_once,
)
from aem_guides.protocol.steps import Emit, EndTurn, Steps, Turn

_BRIEF_WAIT = 5.0
_MENDED_BY_TIME = (UnreachableError, UnavailableError, MalformedAnswerError)


def queued(course: Course, state: PathState) -> Steps[PathState | None]:
    talk, options = course.talk, course.options
    if state.doubtful and state.intent is not None:  # time alone does not make it certain that no job came of it
        return (yield from keep((yield from settle_start(talk, state))))
    closed = held_back(state.request, options.hours, talk.now())
    if closed is not None:
        if options.is_brief:
            return None
        yield from wait_until(course, closed.opens_at or talk.now(), closed.why)
        return (yield from keep(state.stays(queue_until=None)))
    if state.queue_until is None:
        state = yield from keep(state.stays(queue_until=talk.now() + options.queue_seconds))
    if (yield from _waits_for_interval(course, state)):
        return None
    turn = yield from take_turn(course, state, queues=options.on_active_job is OnActiveJob.QUEUE)
    if turn.granted:
        return (yield from _start(course, state, turn))
    if options.is_brief:
        return None
    if talk.now() < (state.queue_until or 0.0):
        return state
    return (yield from keep(state.ended(FollowEnd.NO_TURN, None)))


def _waits_for_interval(course: Course, state: PathState) -> Steps[bool]:
    """Others start meanwhile: what waits for a clock takes no turn. True where a worker would be held too long."""
    try:
        longest = _BRIEF_WAIT if course.options.is_brief else None
        return not (yield from await_interval(course.talk, state.request, longest))
    except _MENDED_BY_TIME:
        return False  # the start looks at the clock again


def _start(course: Course, state: PathState, turn: Turn) -> Steps[PathState | None]:
    options = course.options
    policy = StartPolicy(options.on_active_job, options.max_active_jobs, known_active=turn.active, hours=options.hours)
    kept, talk = Kept(state), course.talk.in_haste(Haste.WORK)
    steps = start_once(talk, state.request, policy=policy, run=options.run, pending=state.intent)
    try:
        outcome = yield from keeping(steps, kept, lambda now, intent: now.to(Phase.STARTING, intent=intent))
    except DoubtfulStartError as error:
        yield from in_doubt(kept.state, error)
    except (StartRefusedError, ActiveJobError):
        yield from keep(kept.state.to(Phase.QUEUED, intent=None))
        raise
    except (*_MENDED_BY_TIME, TurnLostError) as error:
        sent = isinstance(error, TurnLostError) or error.sent or kept.times > 1 or state.intent is not None
        kept.state = kept.state.to(Phase.QUEUED, intent=kept.state.intent if sent else None)
        return (yield from _not_started(course, kept.state, error))
    if isinstance(outcome, MustWait):
        yield Emit(Notice(Level.INFO, f"Waiting: {outcome.why}"))
        shortest = course.pacing.shortest
        pause = shortest / 2 if outcome.lacks_room else shortest
        yield Emit(EndTurn(pause, outcome.processing_id, holds_all=outcome.lacks_room))
        return (yield from keep(kept.state.to(Phase.QUEUED, intent=outcome.pending)))
    course.failures = 0
    state = yield from keep(kept.state.works(outcome.processing_id, outcome.origin))
    yield Emit(EndTurn())
    yield Emit(Notice(Level.INFO, f"{state.request.path}: job {outcome.processing_id} ({outcome.origin})"))
    return state


def _not_started(course: Course, state: PathState, error: AemGuidesError) -> Steps[PathState | None]:
    """A start that time may mend. What any try may have sent stays known: a job may come of it yet."""
    lost_turn = isinstance(error, TurnLostError)
    state = yield from keep(state)
    if course.options.is_brief and not lost_turn:
        raise error
    if course.options.is_brief:
        return None
    yield Emit(Notice(Level.WARNING, f"{state.request.path}: not started yet; trying again. {error}"))
    yield Emit(EndTurn(course.pause(), holds_all=lost_turn or isinstance(error, UnreachableError)))
    return state


def starting(course: Course, state: PathState) -> Steps[PathState | None]:
    """An earlier start was cut short. What came of it is found before anything else: it may leave the window soon."""
    if state.intent is None:
        return (yield from keep(state.to(Phase.QUEUED)))
    return (yield from keep((yield from settle_start(course.talk, state))))


def settle_start(talk: Conversation, state: PathState, policy: StartPolicy | None = None) -> Steps[PathState]:
    """The state with what came of a start that was cut short, or not answered; it sends none.

    Where nothing is seen of it, the intent stays: a gateway may hand the request on later. Raises DoubtfulStartError,
    with the doubt kept, and what a call raises.
    """
    if state.intent is None:
        return state
    try:
        started = yield from find_started(talk, state.request, state.intent, policy or StartPolicy())
    except DoubtfulStartError as error:
        yield from in_doubt(state, error)
    if started is None:
        return state.to(Phase.QUEUED, doubtful=False)
    found = f"{state.request.path}: job {started.processing_id} was started by an earlier try ({started.origin})"
    yield Emit(Notice(Level.INFO, found))
    return state.works(started.processing_id, started.origin)
