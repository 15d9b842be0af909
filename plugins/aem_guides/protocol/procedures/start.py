"""Start once: one request leads to one job, whatever fails on the way."""

from __future__ import annotations

import enum
from dataclasses import dataclass, replace

from aem_guides.protocol import contract
from aem_guides.protocol.conversation import Conversation
from aem_guides.protocol.errors import (
    ActiveJobError,
    AemGuidesError,
    AuthenticationError,
    DoubtfulStartError,
    MalformedAnswerError,
    NotFoundError,
    RejectedError,
    StartRefusedError,
    UnavailableError,
    UnreachableError,
)
from aem_guides.protocol.hours import OffPeakHours
from aem_guides.protocol.models import History, Job, Match, ProcessingRequest, is_below
from aem_guides.protocol.procedures.intent import Fate, Intent, Sighting
from aem_guides.protocol.procedures.interval import until_interval_ends, wait_for_interval
from aem_guides.protocol.steps import Emit, Steps, Wait
from aem_guides.protocol.wording import crowd, in_words

_LATEST_START_MS = 900_000
"""How long after an unanswered start its job may still appear."""


class OnActiveJob(enum.StrEnum):
    """What to do if a job is already active on the path."""

    ADOPT = "adopt"
    QUEUE = "queue"
    FAIL = "fail"


class Origin(enum.StrEnum):
    """How the run got its job."""

    STARTED = "started"
    RECOVERED = "recovered"
    ADOPTED = "adopted"


@dataclass(frozen=True)
class StartPolicy:
    """How to start.

    `max_active_jobs`: no start while the window shows this many active jobs (None: no limit). `patience`: seconds
    between looks at a history that may lag. `attempts`: how often the POST is sent at most. `known_active`: jobs known
    to be active from other sources; those outside the window count too. `hours`: outside of these hours no job is
    started or adopted, but a job that an earlier try started is taken up at any time.
    """

    on_active_job: OnActiveJob = OnActiveJob.ADOPT
    max_active_jobs: int | None = None
    patience: tuple[float, ...] = (2.0, 3.0, 5.0, 10.0, 20.0)
    attempts: int = 4
    known_active: frozenset[str] = frozenset()
    hours: OffPeakHours | None = None


@dataclass(frozen=True)
class Started:
    """The request has a job, with this id."""

    processing_id: str
    origin: Origin


@dataclass(frozen=True)
class MustWait:
    """The job cannot be started now. `processing_id` is the active job that prevents it, if the instance shows one.

    `pending` is the intent of a start without a visible result, which may still lead to a job. If it is None, it is
    certain that no emitted intent led to a job. `lacks_room`: the path is free, but the limit of active jobs is
    reached. `opens_at`: when the off-peak hours begin (epoch seconds), if they are waited for.
    """

    why: str
    processing_id: str | None = None
    lacks_room: bool = False
    opens_at: float | None = None
    pending: Intent | None = None


StartOutcome = Started | MustWait


def start_once(
    talk: Conversation,
    request: ProcessingRequest,
    *,
    policy: StartPolicy,
    run: str,
    pending: Intent | None = None,
) -> Steps[StartOutcome]:
    """Start a job for the request.

    Emits every `Intent` that must be stored before the next step. `pending` is the intent of an earlier start without a
    visible result: if its job appears late, that job is taken. An interrupted start must be settled by `find_started`
    before. Raises StartRefusedError and ActiveJobError if it is certain that no job resulted, DoubtfulStartError, and
    what a call raises.
    """
    attempt = 0
    while True:
        if (closed := held_back(request, policy.hours, talk.now())) is not None:
            return replace(closed, pending=pending)
        history = yield from talk.call(contract.history())
        pending = still_pending(talk, pending)
        if pending is not None and (late := _late(pending, request, history)) is not None:
            return (yield from _take(pending, late, Origin.RECOVERED))
        if (seconds := until_interval_ends(talk, request)) > 0:
            yield from wait_for_interval(request, seconds)
            continue
        attempt += 1
        obstacle = _obstacle(history, request, policy)
        intent = Intent.before(request, history, talk.instance_now(), run, policy.known_active)
        if isinstance(obstacle, Job):
            return (yield from _take(intent, obstacle, Origin.ADOPTED))
        if obstacle is not None:
            return replace(obstacle, pending=pending)
        yield Emit(intent)
        outcome = yield from _post(talk, request, intent, policy, pending)
        if isinstance(outcome, MustWait):
            return replace(outcome, pending=outcome.pending or pending)
        if isinstance(outcome, Started):
            return outcome
        if outcome.error.sent and not isinstance(outcome.error, RejectedError):
            pending = intent
        if attempt >= policy.attempts:
            raise outcome.error
        yield Wait(_pause(talk, outcome.error, attempt), f"the start was not accepted: {outcome.error}")


def find_started(
    talk: Conversation, request: ProcessingRequest, intent: Intent, policy: StartPolicy
) -> Steps[Started | None]:
    """Find the job of a start that an earlier try was about to send. None if it is certain that there is none.

    Starts nothing. Emits the settled `Intent`. Raises DoubtfulStartError, and what a call raises.
    """
    if intent.processing_id is not None:
        return Started(intent.processing_id, Origin.ADOPTED if intent.adopted else Origin.RECOVERED)
    found = yield from _settle(talk, request, intent, policy)
    if isinstance(found, Job):
        return (yield from _take(intent, found, Origin.RECOVERED))
    return None


def held_back(request: ProcessingRequest, hours: OffPeakHours | None, now: float) -> MustWait | None:
    """The wait for the off-peak hours, or None if the request may be started now."""
    if hours is None or hours.is_open(now):
        return None
    opens_at = hours.opens_at(now)
    when = f"{hours.describe(opens_at)}, in {in_words(opens_at - now)}"
    return MustWait(f"{request.path}: held back until {when} (only_between: {hours})", opens_at=opens_at)


@dataclass(frozen=True)
class _NotAccepted:
    """It is certain that the POST led to no job. Another POST may be sent."""

    error: AemGuidesError


def _post(
    talk: Conversation, request: ProcessingRequest, intent: Intent, policy: StartPolicy, pending: Intent | None
) -> Steps[StartOutcome | _NotAccepted]:
    try:
        processing_id = yield from talk.call(contract.start(request))
    except RejectedError as refusal:
        history = yield from talk.call(contract.history())
        if pending is not None and (late := _late(pending, request, history)) is not None:
            return (yield from _take(pending, late, Origin.RECOVERED))
        if isinstance(refusal, NotFoundError):  # the history is there: this part of the instance is still starting
            return _NotAccepted(refusal)
        for pause in policy.patience[:_LOOKS_FOR_CAUSE]:
            if _shows_cause(history, request, intent):
                break
            yield Wait(
                pause,
                f"{request.path}: the start was refused; looking in the history for the active job that caused it",
            )
            history = yield from talk.call(contract.history())
        return (yield from _after_refusal(history, request, intent, policy, refusal))
    except (UnavailableError, UnreachableError, MalformedAnswerError, AuthenticationError) as doubt:
        if not doubt.sent:
            if isinstance(doubt, UnreachableError | AuthenticationError):
                raise
            return _NotAccepted(doubt)
        found = yield from _settle(talk, request, intent, policy)
        if isinstance(found, Job):
            return (yield from _take(intent, found, Origin.RECOVERED))
        obstacle = _obstacle(found, request, policy, refused=True)
        if isinstance(obstacle, Job):
            return (yield from _take(intent, obstacle, Origin.ADOPTED))
        return replace(obstacle, pending=intent) if obstacle is not None else _NotAccepted(doubt)
    yield Emit(intent.settled(processing_id))
    return Started(processing_id, Origin.STARTED)


def _after_refusal(
    history: History, request: ProcessingRequest, intent: Intent, policy: StartPolicy, refusal: RejectedError
) -> Steps[StartOutcome | _NotAccepted]:
    """The texts of refusals are not documented. Only the history shows whether another job is the cause."""
    obstacle = _obstacle(history, request, policy, refused=True)
    if isinstance(obstacle, Job):
        return (yield from _take(intent, obstacle, Origin.ADOPTED))
    if obstacle is not None:
        return obstacle
    if (passed := _passed_by(history, request, intent)) is not None:
        if policy.on_active_job is OnActiveJob.QUEUE:
            why = f"{request.path}: job {passed.processing_id} was active on {passed.path} a moment ago"
            return MustWait(why, passed.processing_id)
        return _NotAccepted(refusal)
    if refusal.status == 409:
        if policy.on_active_job is OnActiveJob.QUEUE:
            return MustWait(
                f"{request.path}: the instance says that a job is active on the path, but the history does not show it"
            )
        raise ActiveJobError(request.path, None, _REMEDY) from refusal
    raise StartRefusedError(
        refusal.request,
        refusal.status,
        refusal.excerpt,
        attempts=refusal.attempts,
        hint=_refusal_remedy(request, refusal),
    ) from None


def still_pending(talk: Conversation, pending: Intent | None) -> Intent | None:
    """The intent of an unanswered start while it may still lead to a job: a gateway may forward a request late, but not
    forever."""
    return pending if pending is not None and talk.instance_now() - pending.at < _LATEST_START_MS else None


def _late(pending: Intent, request: ProcessingRequest, history: History) -> Job | None:
    """The job of an unanswered start, if this history is the first to show it. Raises DoubtfulStartError."""
    sighting = pending.look(request, history)
    if sighting.fate is Fate.UNCLEAR:
        raise DoubtfulStartError(_doubt(request, sighting, history))
    return sighting.job


def _shows_cause(history: History, request: ProcessingRequest, intent: Intent) -> bool:
    """Whether a job explains a refusal: it is active where the path is, or was active a moment ago."""
    return bool(_in_the_way(history, request, refused=True)) or _passed_by(history, request, intent) is not None


def _passed_by(history: History, request: ProcessingRequest, intent: Intent) -> Job | None:
    """A job that came after the intent and has already ended. It may be the cause of the refusal."""
    fresh = (job for job in history.jobs if job.processing_id not in intent.window and job.path)
    return next((job for job in fresh if job.on_path(request.path) or _overlap(str(job.path), request.path)), None)


def _refusal_remedy(request: ProcessingRequest, refusal: RejectedError) -> str:
    if request.has_filter() and "filter" in refusal.excerpt.replace(request.path, "").lower():
        return _NO_FILTERS
    remedy = (
        f"paths: the instance does not accept {request.path!r}. Check that it exists and that the user may read it."
    )
    if request.has_filter():
        remedy += (
            " If both are true: AEM Guides before 2026.01 does not support file_types, created_after and "
            "created_before."
        )
    return remedy


_LOOKS_FOR_CAUSE = 2
"""Pauses of `patience` while the cause of a refusal is looked for. A history may lag a few seconds behind the
refusal."""

_NO_FILTERS = (
    "This instance does not support filters: AEM Guides before 2026.01 has no file_types, created_after and "
    "created_before, and cannot process an incremental plan. Update it, or process without a filter."
)
_REMEDY = "Wait until that job has ended, or start with on_active_job = queue."


def _obstacle(
    history: History, request: ProcessingRequest, policy: StartPolicy, *, refused: bool = False
) -> Job | MustWait | None:
    """The obstacle to a start: None if there is none, a Job if it is to be adopted.

    Only a job on exactly this path is a known obstacle. After a refusal, a job above or below the path is taken as the
    cause. Raises ActiveJobError if the policy allows neither to wait nor to adopt.
    """
    blocking = _in_the_way(history, request, refused=refused)
    if not blocking:
        return _full(history, policy)
    job = blocking[0]
    if policy.on_active_job is OnActiveJob.QUEUE:
        return MustWait(f"{request.path}: job {job.processing_id} is active on {job.path}", job.processing_id)
    if policy.on_active_job is OnActiveJob.ADOPT:
        if (match := job.match(request)) is Match.SAME:
            return job
        how = "has another request" if match is Match.OTHER else "may have another request"
        raise ActiveJobError(request.path, job.processing_id, f"It {how}, so it is not adopted. {_REMEDY}")
    raise ActiveJobError(request.path, job.processing_id, _REMEDY)


def _in_the_way(history: History, request: ProcessingRequest, *, refused: bool) -> list[Job]:
    """The active jobs on the path. If there are none and a start was refused, those above and below the path."""
    active = [job for job in history.jobs if job.is_active]
    on_path = [job for job in active if job.on_path(request.path)]
    if on_path or not refused:
        return on_path
    return [job for job in active if job.path and _overlap(job.path, request.path)]


def _full(history: History, policy: StartPolicy) -> MustWait | None:
    shown = {job.processing_id for job in history.jobs}
    active = sum(job.is_active for job in history.jobs) + len(policy.known_active - shown)
    limit = policy.max_active_jobs
    if limit is None or active < limit:
        return None
    why = f"{crowd(active, limit)} (max_active_jobs)"
    return MustWait(why, lacks_room=True)


def _overlap(one: str, other: str) -> bool:
    return is_below(one, other) or is_below(other, one)


def _settle(
    talk: Conversation, request: ProcessingRequest, intent: Intent, policy: StartPolicy
) -> Steps[Job | History]:
    """Find the result of an intent: the job, or the history which proves that there is no job.

    Raises DoubtfulStartError if the history proves neither.
    """
    history = yield from talk.call(contract.history())
    sighting = intent.look(request, history)
    for pause in policy.patience:
        if sighting.fate is Fate.FOUND:
            break
        yield Wait(
            pause,
            f"{request.path}: the start was not answered; looking in the history for its job",
        )
        history = yield from talk.call(contract.history())
        sighting = intent.look(request, history)
    if sighting.fate is Fate.FOUND and sighting.job is not None:
        return sighting.job
    if sighting.fate is Fate.NOT_SEEN and intent.proves_absence(history):
        return history
    raise DoubtfulStartError(_doubt(request, sighting, history))


def _doubt(request: ProcessingRequest, sighting: Sighting, history: History) -> str:
    if sighting.job is not None:
        why = (
            f"job {sighting.job.processing_id} may be the one that was started, but the instance shows too little of "
            "it to be sure"
        )
    elif history.unreadable:
        why = f"the history has an entry that cannot be read ({history.unreadable[0]})"
    else:
        why = "the history no longer reaches back to the time of the start, so the job may be too old to be shown"
    return (
        f"{request.path}: a start was sent, but no answer came, and {why}. No second start was sent. The Bulk "
        "Processor (Tools > Guides > Bulk Processor) shows which jobs ran or are running on this path."
    )


def _take(intent: Intent, job: Job, origin: Origin) -> Steps[Started]:
    yield Emit(intent.settled(job.processing_id, adopted=origin is Origin.ADOPTED))
    return Started(job.processing_id, origin)


def _pause(talk: Conversation, error: AemGuidesError, attempt: int) -> float:
    if isinstance(error, UnavailableError) and error.retry_after is not None:
        return min(error.retry_after, talk.retries.retry_after_cap_seconds)
    return talk.retries.backoff(attempt, talk.surroundings.random())
