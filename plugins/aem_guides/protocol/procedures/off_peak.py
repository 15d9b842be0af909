"""Follow a job over as many off-peak hours as it takes: cancel it at their end, resume it at the next beginning.

What is kept between two steps is an `OffPeakState`. It is emitted before anything that depends on it is sent, so
that whoever comes back - a restarted triggerer, a next try - knows whose a cancel was and whether a resume is due.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, replace

from aem_guides.protocol.conversation import Conversation
from aem_guides.protocol.errors import AemGuidesError, DoubtfulStartError, Retry
from aem_guides.protocol.hours import AtEnd, OffPeakHours
from aem_guides.protocol.models import Job, JsonObject, JsonValue, ProcessingRequest, ids_before, strings
from aem_guides.protocol.procedures.cancel import CancelResult, cancel_and_confirm
from aem_guides.protocol.procedures.events import Level, Notice
from aem_guides.protocol.procedures.follow import Followed, FollowEnd, FollowPlan, follow
from aem_guides.protocol.procedures.intent import Intent
from aem_guides.protocol.procedures.resume import resume_once, settle_resume
from aem_guides.protocol.procedures.turn import wait_for_turn
from aem_guides.protocol.states import Verdict
from aem_guides.protocol.steps import Emit, Steps, Wait
from aem_guides.protocol.wording import in_words

_CONFIRM_SECONDS = 120.0
_LONGEST_WAIT = 600.0
_PATIENCE = (2.0, 3.0, 5.0, 10.0)


class OffPeakPhase(enum.StrEnum):
    """What is being done."""

    FOLLOWING = "following"
    CANCELLING = "cancelling"
    HELD_BACK = "held back"
    RESUMING = "resuming"


@dataclass(frozen=True)
class OffPeakState:
    """Where a job is.

    `origin_id` is the id under which it was started, `processing_id` the one under which it goes on, `earlier` those
    it had before a resume changed them; `serial` grows with each state. `deadline_at` is in seconds since the epoch,
    and is put off by the time since `held_since` when the job goes on. `resumes` counts those at the beginning of
    off-peak hours. `job` is what is resumed, as it was last seen; `intent` what was written down before the resume.
    """

    origin_id: str
    processing_id: str
    deadline_at: float
    phase: OffPeakPhase = OffPeakPhase.FOLLOWING
    serial: int = 0
    resumes: int = 0
    held_since: float | None = None
    job: Job | None = None
    intent: Intent | None = None
    earlier: tuple[str, ...] = ()

    def moved(self, phase: OffPeakPhase, **changes: object) -> OffPeakState:
        """The next state."""
        goes_on_as = str(changes.get("processing_id", self.processing_id))
        if goes_on_as != self.processing_id:
            changes["earlier"] = ids_before(self.earlier, self.processing_id, goes_on_as)
        return replace(self, phase=phase, serial=self.serial + 1, **changes)  # type: ignore[arg-type]  # own fields

    def held(self, job: Job, now: float) -> OffPeakState:
        """The state of a job that has ended for now and is resumed at the next beginning."""
        since = now if self.held_since is None else self.held_since
        return self.moved(OffPeakPhase.HELD_BACK, job=job, intent=None, held_since=since)

    def goes_on(self, processing_id: str, now: float, *, resumes: int = 1) -> OffPeakState:
        """The state of a job that works again; the time for which it was held back does not count."""
        held = 0.0 if self.held_since is None else max(0.0, now - self.held_since)
        return self.moved(
            OffPeakPhase.FOLLOWING,
            processing_id=processing_id,
            deadline_at=self.deadline_at + held,
            held_since=None,
            job=None,
            intent=None,
            resumes=self.resumes + resumes,
        )

    def restarted(self, deadline_at: float, now: float) -> OffPeakState:
        """The state with a deadline that is counted anew from now on."""
        held_since = None if self.held_since is None else now
        return self.moved(self.phase, deadline_at=deadline_at, held_since=held_since)

    def noting(self, item: object) -> OffPeakState | None:
        """The state to be stored after this item was emitted; None where it leaves the state as it is."""
        if isinstance(item, OffPeakState):
            return item
        if isinstance(item, Intent) and self.phase is OffPeakPhase.RESUMING:
            return self.moved(self.phase, intent=item)
        return None

    def to_json(self) -> JsonObject:
        """The state as plain JSON, for XCom and state stores; `from_json` reads it back."""
        return {
            "origin_id": self.origin_id,
            "processing_id": self.processing_id,
            "deadline_at": self.deadline_at,
            "phase": str(self.phase),
            "serial": self.serial,
            "resumes": self.resumes,
            "held_since": self.held_since,
            "job": self.job.to_json() if self.job else None,
            "intent": self.intent.to_json() if self.intent else None,
            "earlier": list(self.earlier),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, JsonValue]) -> OffPeakState:
        """Read what `to_json` wrote. Raises ValueError where it is something else."""
        match data:
            case {
                "origin_id": str(origin),
                "processing_id": str(current),
                "deadline_at": float() | int() as deadline,
                "phase": str(phase),
                "serial": int(serial),
                "resumes": int(resumes),
            }:
                held, job, intent = data.get("held_since"), data.get("job"), data.get("intent")
                return cls(
                    origin,
                    current,
                    float(deadline),
                    OffPeakPhase(phase),
                    serial,
                    resumes,
                    float(held) if isinstance(held, int | float) else None,
                    Job.from_json(job) if isinstance(job, dict) else None,
                    Intent.from_json(intent) if isinstance(intent, dict) else None,
                    strings(data.get("earlier")),
                )
        raise ValueError(f"not a stored off-peak state: it has {sorted(data)}")


@dataclass(frozen=True)
class OffPeakCourse:
    """How to go on: the hours, whether the job may be cancelled at their end, what it was asked to do, by which run."""

    hours: OffPeakHours
    may_cancel: bool
    request: ProcessingRequest
    run: str

    def closes_at(self, now: float) -> float | None:
        """When a job that works now has to be cancelled; None where it is left alone."""
        if not self.may_cancel or self.hours.at_end is AtEnd.LEAVE:
            return None
        return self.hours.closes_at(now) or now


def follow_off_peak(
    talk: Conversation, state: OffPeakState, plan: FollowPlan, course: OffPeakCourse
) -> Steps[tuple[Followed, OffPeakState]]:
    """Follow a job to its end, from whatever state; `deadline_at` and `hand_back_at` of the plan are not used.

    Emits what `follow` emits, every `OffPeakState` and, while one is RESUMING, every `Intent`; both have to be
    stored (`OffPeakState.noting`) before the next step. Raises what `follow` and `resume_once` raise, where a retry
    would not mend it.
    """
    following = _Following(talk, plan, course)
    while True:
        match state.phase:
            case OffPeakPhase.CANCELLING:
                result = yield from _cancel(following, state)
            case OffPeakPhase.HELD_BACK:
                result = yield from _wait_and_look(following, state)
            case OffPeakPhase.RESUMING:
                result = yield from _resume(following, state)
            case OffPeakPhase.FOLLOWING:
                result = yield from _follow(following, state)
        if isinstance(result, Followed):
            return result, state
        state = result
        yield Emit(state)


@dataclass
class _Following:
    """What is kept from hours to hours, but not over a restart: how far the log was handed on."""

    talk: Conversation
    plan: FollowPlan
    course: OffPeakCourse
    log_lines: int = 0
    failures: int = 0

    def follow(self, state: OffPeakState, *, deadline_at: float, hand_back_at: float | None) -> Steps[Followed]:
        plan = replace(self.plan, deadline_at=deadline_at, hand_back_at=hand_back_at)
        followed = yield from follow(self.talk, state.processing_id, plan)
        self.log_lines += followed.log_lines
        self.plan = replace(
            self.plan,
            log_offset=self.plan.log_offset + followed.log_lines,
            log_budget=max(0, self.plan.log_budget - followed.log_lines),
        )
        return replace(followed, log_lines=self.log_lines)

    def pause(self) -> float:
        self.failures += 1
        return self.plan.pacing.after_failures(self.failures, self.talk.surroundings.random())


def _follow(following: _Following, state: OffPeakState) -> Steps[Followed | OffPeakState]:
    talk, course = following.talk, following.course
    closes_at = course.closes_at(talk.now())
    followed = yield from following.follow(state, deadline_at=state.deadline_at, hand_back_at=closes_at)
    if followed.end is not FollowEnd.HANDED_BACK:
        return followed
    if course.hours.is_open(talk.now()):
        return state.moved(OffPeakPhase.FOLLOWING)
    text = f"The off-peak hours ({course.hours}) are over: cancelling job {state.processing_id}, to go on later."
    yield Emit(Notice(Level.INFO, text))
    return state.moved(OffPeakPhase.CANCELLING)


def _cancel(following: _Following, state: OffPeakState) -> Steps[Followed | OffPeakState]:
    """The job was seen active before this state was stored: that it is cancelled now is our doing."""
    talk = following.talk
    outcome = yield from cancel_and_confirm(talk, state.processing_id, within_seconds=_CONFIRM_SECONDS)
    if outcome.job is not None and outcome.job.verdict is Verdict.CANCELLED:
        following.failures = 0
        return state.held(outcome.job, talk.now())
    if outcome.result is not CancelResult.UNKNOWN:
        return state.moved(OffPeakPhase.FOLLOWING)
    if talk.now() >= state.deadline_at:
        return Followed(FollowEnd.DEADLINE, outcome.job, following.log_lines)
    yield Emit(Notice(Level.WARNING, outcome.in_words(state.processing_id)))
    yield Wait(following.pause(), f"job {state.processing_id} is to be cancelled")
    return state


def _wait_and_look(following: _Following, state: OffPeakState) -> Steps[Followed | OffPeakState]:
    """Wait for the hours; resume the job unless somebody has taken it into his own hands meanwhile."""
    talk, course = following.talk, following.course
    yield from _wait_for_hours(talk, state, course.hours)
    now = talk.now()
    held = 0.0 if state.held_since is None else max(0.0, now - state.held_since)
    followed = yield from following.follow(state, deadline_at=state.deadline_at + held, hand_back_at=now)
    if followed.end is FollowEnd.HANDED_BACK:
        text = f"Job {state.processing_id} is at work already: it was resumed elsewhere."
        yield Emit(Notice(Level.INFO, text))
        return state.goes_on(state.processing_id, talk.now(), resumes=0)
    if followed.end is not FollowEnd.ENDED or followed.job is None or not _same_end(state.job, followed.job):
        return followed
    closes_at = course.hours.closes_at(talk.now())
    if closes_at is None:
        return state
    free = yield from wait_for_turn(
        talk,
        course.request,
        blocking_id=None,
        max_active_jobs=None,
        deadline_at=closes_at,
        pacing=following.plan.pacing,
    )
    return state.moved(OffPeakPhase.RESUMING, job=followed.job) if free else state


def _same_end(before: Job | None, now: Job) -> bool:
    """Whether the job still stands as it was held back: it did not succeed, nor run and end again, since."""
    if before is None or now.verdict is not before.verdict:
        return False
    return None in (before.completed_at, now.completed_at) or before.completed_at == now.completed_at


def _wait_for_hours(talk: Conversation, state: OffPeakState, hours: OffPeakHours) -> Steps[None]:
    if hours.is_open(talk.now()):
        return
    opens_at = hours.opens_at(talk.now())
    when = f"{hours.describe(opens_at)}, in {in_words(opens_at - talk.now())}"
    text = f"Job {state.processing_id} is held back until {when}: it is then resumed from its checkpoint."
    yield Emit(Notice(Level.INFO, text))
    while (left := opens_at - talk.now()) > 0:
        yield Wait(min(_LONGEST_WAIT, max(0.05, left)), f"the off-peak hours begin at {hours.describe(opens_at)}")


def _resume(following: _Following, state: OffPeakState) -> Steps[Followed | OffPeakState]:
    talk, course, job = following.talk, following.course, state.job
    if job is None:
        return state.moved(OffPeakPhase.FOLLOWING)
    if state.intent is not None:
        return (yield from _settle(following, state, job, state.intent))
    if not course.hours.is_open(talk.now()):
        return state.held(job, talk.now())
    try:
        resumed = resume_once(talk, job, course.request, run=course.run)
        processing_id, kept = yield from _keeping_intents(resumed, state)
    except _Interrupted as interrupted:
        yield from _tell_trouble(following, interrupted.error, f"Job {job.processing_id} is not resumed yet")
        return interrupted.state
    return (yield from _gone_on(following, kept, processing_id))


def _settle(following: _Following, state: OffPeakState, job: Job, intent: Intent) -> Steps[Followed | OffPeakState]:
    """An earlier resume was cut short: look what came of it, and send nothing. The hours may be over by now."""
    talk = following.talk
    try:
        found = yield from settle_resume(talk, job, following.course.request, intent, _PATIENCE)
    except AemGuidesError as error:
        if not _passes(error):
            raise
        yield from _tell_trouble(following, error, f"Whether job {job.processing_id} was resumed is not known yet")
        return state
    if found is None:
        return state.held(job, talk.now())
    return (yield from _gone_on(following, state, found))


def _gone_on(following: _Following, state: OffPeakState, processing_id: str) -> Steps[OffPeakState]:
    """A job that goes on under another id writes another log, from its first line on."""
    following.failures = 0
    if processing_id != state.processing_id:
        following.plan = replace(following.plan, log_offset=0)
    known = "" if processing_id == state.processing_id else f" as {processing_id}"
    yield Emit(Notice(Level.INFO, f"Job {state.processing_id} goes on{known} from its checkpoint."))
    return state.goes_on(processing_id, following.talk.now())


class _Interrupted(Exception):
    """A resume was not brought to its end; `state` has what was written down before."""

    def __init__(self, error: AemGuidesError, state: OffPeakState) -> None:
        super().__init__(str(error))
        self.error = error
        self.state = state


def _keeping_intents(steps: Steps[str], state: OffPeakState) -> Steps[tuple[str, OffPeakState]]:
    """Carry the steps out, and keep in the state the intents that they emit."""
    try:
        step = next(steps)
        while True:
            if isinstance(step, Emit):
                state = state.noting(step.item) or state
            try:
                answer = yield step
            except AemGuidesError as error:
                step = steps.throw(error)
            else:
                step = steps.send(answer)
    except StopIteration as end:
        return str(end.value), state
    except AemGuidesError as error:
        if not _passes(error):
            raise
        raise _Interrupted(error, state) from error


def _passes(error: AemGuidesError) -> bool:
    return error.retry is Retry.USEFUL and not isinstance(error, DoubtfulStartError)


def _tell_trouble(following: _Following, error: AemGuidesError, what: str) -> Steps[None]:
    pause = following.pause()
    if following.failures == 1 or following.failures % 10 == 0:
        yield Emit(Notice(Level.WARNING, f"{what}; trying on. {error}"))
    yield Wait(pause, what)
