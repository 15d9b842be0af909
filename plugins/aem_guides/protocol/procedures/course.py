"""Shared parts of the phases of a lifecycle: what is kept between phases, turns, and the order "store the state, then
send"."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NoReturn, TypeGuard

from aem_guides.protocol.conversation import Conversation
from aem_guides.protocol.errors import AemGuidesError, DoubtfulStartError, Retry
from aem_guides.protocol.pacing import Pacing
from aem_guides.protocol.procedures.events import HeldUntil, Level, Notice
from aem_guides.protocol.procedures.follow import FindJob
from aem_guides.protocol.procedures.intent import Intent
from aem_guides.protocol.procedures.path_state import PathState
from aem_guides.protocol.procedures.take_up import LifecycleOptions
from aem_guides.protocol.steps import ConfirmTurn, Emit, Steps, T, TakeTurn, Turn, Wait

SETTLE_IT = (
    "Settle it on the page AEM Guides of Airflow (menu Browse): choose the job that came of it, or say that none did. "
    "Then the run goes on. Clearing the task instead says that none did."
)
_LONGEST_WAIT = 600.0
_LONGEST_PAUSE = 60.0


Attend = Callable[[object], Steps[None]]
"""What is done about an emitted item."""


class NoTurnError(AemGuidesError):
    """The turn to start or resume a job did not come. Nothing was sent."""

    retry = Retry.USEFUL


class TurnLostError(NoTurnError):
    """Another process starts jobs on this instance now. Nothing was sent."""


@dataclass
class Course:
    """What is kept from phase to phase, but lost at a restart.

    `find` looks up the job. `has_moved`: an earlier phase was done here, so the job may have just been started.
    """

    talk: Conversation
    options: LifecycleOptions
    find: FindJob
    failures: int = 0
    has_moved: bool = False

    @property
    def pacing(self) -> Pacing:
        return Pacing(longest=self.options.longest_look)

    def pause(self) -> float:
        """Count one more failure in a row, and return the pause in seconds."""
        self.failures += 1
        return Pacing(longest=_LONGEST_PAUSE).after_failures(self.failures, self.talk.surroundings.random())


@dataclass
class Kept:
    """The last stored state, and the number of stored states."""

    state: PathState
    times: int = 0


def keep(state: PathState) -> Steps[PathState]:
    """Store the state and continue with it."""
    yield Emit(state)
    return state


def in_doubt(state: PathState, error: DoubtfulStartError) -> Steps[NoReturn]:
    """Stop, and ask a person what came of a request. Raises DoubtfulStartError."""
    yield from keep(state.stays(doubtful=True))
    raise DoubtfulStartError(f"{error} {SETTLE_IT}") from error


def attended(steps: Steps[T], *, before: Attend | None = None, after: Attend | None = None) -> Steps[T]:
    """Run the steps. For each item that they emit, run `before` ahead of it and `after` behind it.

    The steps are given what `before` raises. Raises what any of them raises.
    """
    try:
        step = next(steps)
        while True:
            try:
                if before is not None and isinstance(step, Emit):
                    yield from before(step.item)
                answer = yield step
            except AemGuidesError as error:
                step = steps.throw(error)
                continue
            if after is not None and isinstance(step, Emit):
                yield from after(step.item)
            step = steps.send(answer)
    except StopIteration as end:
        result: T = end.value
        return result
    finally:
        steps.close()


def noting(steps: Steps[T], kept: Kept, note: Callable[[object], PathState | None]) -> Steps[T]:
    """Run the steps. If an emitted item changes the state, store the new state right after it."""

    def after(item: object) -> Steps[None]:
        state = note(item)
        if state is not None:
            kept.state = yield from keep(state)
            kept.times += 1

    return (yield from attended(steps, after=after))


def keeping(steps: Steps[T], kept: Kept, moved: Callable[[PathState, Intent], PathState]) -> Steps[T]:
    """Run the steps of a start or resume. Before each request, confirm the turn and store the state.

    Raises TurnLostError, and what the steps raise.
    """

    def note(item: object) -> PathState | None:
        return moved(kept.state, item) if _is_new(item) else None

    return (yield from noting(attended(steps, before=confirm), kept, note))


def confirm(item: object) -> Steps[None]:
    """Confirm the turn if the item is the intent of a request that is about to be sent. Raises TurnLostError."""
    if not _is_new(item):
        return
    turn = yield Emit(ConfirmTurn())
    if not (isinstance(turn, Turn) and turn.granted):
        raise TurnLostError(
            "Another process is starting jobs on this instance now, or Airflow did not say whose turn it is. Nothing "
            "was sent."
        )


def _is_new(item: object) -> TypeGuard[Intent]:
    return isinstance(item, Intent) and item.processing_id is None


def take_turn(course: Course, state: PathState, *, queues: bool) -> Steps[Turn]:
    """Take the turn, before the time is over and within the off-peak hours."""
    hours, until = course.options.hours, state.queue_until or 0.0
    closes_at = None if hours is None else hours.closes_at(course.talk.now())
    turn = yield Emit(TakeTurn(queues, until if closes_at is None else min(until, closes_at)))
    return turn if isinstance(turn, Turn) else Turn(granted=False)


def wait_until(course: Course, at: float, why: str) -> Steps[None]:
    """Wait until the off-peak hours begin (epoch seconds), and show the reason."""
    yield Emit(Notice(Level.INFO, why))
    yield Emit(HeldUntil(at, why))
    while (left := at - course.talk.now()) > 0:
        yield Wait(min(_LONGEST_WAIT, max(0.05, left)), why)
    yield Emit(HeldUntil(None))


def say_trouble(course: Course, error: AemGuidesError, what: str) -> Steps[None]:
    """Log the first failure in a row, and then every tenth."""
    if course.failures % 10 == 0:
        yield Emit(Notice(Level.WARNING, f"{what}; trying again. {error}"))
