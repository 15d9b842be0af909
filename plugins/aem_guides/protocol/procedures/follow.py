"""Follow a job to its end: look at the right times, show progress, emit its log, and notice a stall."""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass, field

from aem_guides.protocol import contract
from aem_guides.protocol.conversation import Conversation
from aem_guides.protocol.earlier_end import EarlierEnd
from aem_guides.protocol.errors import (
    AemGuidesError,
    AuthenticationError,
    ConfigurationError,
    MalformedAnswerError,
    RejectedError,
)
from aem_guides.protocol.models import Job
from aem_guides.protocol.pacing import Look, Outlook, Pacing, Speedometer
from aem_guides.protocol.procedures.events import Level, Notice, Progress
from aem_guides.protocol.procedures.log_lines import PageReader, stream_new_lines
from aem_guides.protocol.states import JobState, Verdict
from aem_guides.protocol.steps import Emit, Steps, Wait
from aem_guides.protocol.wording import describe_progress, in_words

FIRST_LOOK = 2.0
"""Seconds before the first look at a job that was just started."""

_LOG_EVERY_FAILURES = 10
_LOOK_AGAIN_AFTER = (1.0, 2.0, 4.0, 8.0)
_LOG_EVERY = 15.0
"""Seconds between two reads of the log. Near its end a job is looked at more often, but its log does not need that."""
_TROUBLED_LOOK = 15.0
"""The longest pause in seconds while looks fail, or while the shown end cannot be interpreted."""


@dataclass(frozen=True)
class FollowPlan:
    """How to follow a job.

    `deadline_at` is in seconds since the epoch. At most `log_budget` log lines are emitted, from line `log_offset` on.
    Each patience is the time in seconds for which an answer that would end the wait is tolerated: the job is not known;
    the login is refused (an instance that starts gives both answers; a look with another result restarts the count);
    the job ended in an unknown state. From `hand_back_at` on, an active job is handed back. `earlier_end` is the end
    from which the job was just resumed.
    """

    deadline_at: float
    stall_seconds: float
    pacing: Pacing
    log_budget: int = 0
    log_offset: int = 0
    first_look: float = FIRST_LOOK
    lost_patience: float = 300.0
    login_patience: float = 900.0
    unclear_patience: float = 600.0
    hand_back_at: float | None = None
    earlier_end: EarlierEnd | None = None


class FollowEnd(enum.StrEnum):
    """Why following ended. NO_TURN: it did not begin."""

    ENDED = "ended"
    DEADLINE = "deadline"
    HANDED_BACK = "handed back"
    LOST = "lost"
    UNCLEAR = "unclear"
    NO_TURN = "no turn"


@dataclass(frozen=True)
class Followed:
    """Why following ended, the last known job (None: never seen), and how many log lines were emitted."""

    end: FollowEnd
    job: Job | None
    log_lines: int


@dataclass
class _Watch:
    """What is kept from look to look."""

    plan: FollowPlan
    began: float
    reader: PageReader
    outlook: Outlook
    job: Job | None = None
    speed: Speedometer = field(default_factory=Speedometer)
    moved_at: float = 0.0
    stall_reported: bool = False
    failures: int = 0
    lost_since: float | None = None
    refused_since: float | None = None
    unclear_since: float | None = None
    unknown_words: set[str] = field(default_factory=set)
    log_is_behind: bool = True
    log_read_at: float = 0.0
    log_trouble_reported: bool = False
    budget_reported: bool = False


def find_job(talk: Conversation, processing_id: str) -> Steps[Job | None]:
    """Read the job's status or, if that is refused, find the job in the history. None if neither has it.

    The result None requires a history that was read, because a starting author answers 404 to everything. Raises what a
    call raises. Raises MalformedAnswerError if no entry of the history can be read, or if the answer is about another
    job and the history does not show this one.
    """
    call = contract.status(processing_id)
    try:
        job = yield from talk.call(call)
    except RejectedError as refusal:
        history = yield from talk.call(contract.history())
        if history.unreadable and not history.jobs:
            hint = f"No entry of the history could be read either: {history.unreadable[0]}."
            raise MalformedAnswerError(refusal.request, refusal.status, refusal.excerpt, hint=hint) from None
        return next((job for job in history.jobs if job.processing_id == processing_id), None)
    if job.processing_id.strip() == processing_id.strip():
        return job
    history = yield from talk.call(contract.history())
    shown = next((job for job in history.jobs if job.processing_id == processing_id), None)
    if shown is None:
        hint = (
            f"The answer is about job {job.processing_id}, but job {processing_id} was asked for. A cache in front of "
            "the instance may give old answers."
        )
        raise MalformedAnswerError(f"{call.endpoint} ({call.request.label})", 200, "", hint=hint)
    return shown


def find_job_patiently(talk: Conversation, processing_id: str) -> Steps[Job | None]:
    """Call `find_job` several times, because a second author pod may not know the job yet."""
    for pause in (*_LOOK_AGAIN_AFTER, None):
        job = yield from find_job(talk, processing_id)
        if job is not None or pause is None:
            return job
        yield Wait(pause, f"job {processing_id} is not known; checking again")
    return None


FindJob = Callable[[Conversation, str], Steps[Job | None]]


def follow(talk: Conversation, processing_id: str, plan: FollowPlan, find: FindJob = find_job) -> Steps[Followed]:
    """Follow a job until it ends, is lost, is handed back, or reaches its deadline.

    `find` looks up the job.

    Emits `Progress`, `Notice` and `LogLines`. A failed look does not end the wait. AuthenticationError and
    ConfigurationError are raised only after every look has failed with one for `login_patience` seconds.
    """
    talk = talk.giving_up_at(plan.deadline_at, waiting_until=plan.hand_back_at or plan.deadline_at)
    began = talk.now()
    watch = _Watch(plan, began, PageReader(plan.log_offset), Outlook(plan.pacing, began))
    yield Wait(plan.first_look, f"first check of job {processing_id}")
    while True:
        job = yield from _look(talk, processing_id, watch, find)
        if job is not None:
            yield from _show(talk, watch, job)
            yield from _stream_log(talk, processing_id, watch, job)
            if (end := _ended(watch, job, talk.now())) is not None:
                return _followed(watch, end)
            if _hands_back(plan, job, talk.now()):
                return _followed(watch, FollowEnd.HANDED_BACK)
        elif watch.lost_since is not None and talk.now() - watch.lost_since >= plan.lost_patience:
            return _followed(watch, FollowEnd.LOST)
        if talk.now() >= plan.deadline_at:
            return _followed(watch, FollowEnd.DEADLINE)
        look = _next_look(talk, watch)
        yield Wait(look.seconds, f"next check of job {processing_id}: {look.why}")


def _look(talk: Conversation, processing_id: str, watch: _Watch, find: FindJob) -> Steps[Job | None]:
    """The job, or None if this look failed."""
    try:
        job = yield from find(talk, processing_id)
    except (AuthenticationError, ConfigurationError) as error:  # for example, a certificate that expired meanwhile
        now = talk.now()
        watch.lost_since = None
        watch.refused_since = watch.refused_since or now
        if now - watch.refused_since >= watch.plan.login_patience:
            raise
        yield from _log_failure(watch, error)
        return None
    except AemGuidesError as error:
        watch.lost_since = watch.refused_since = None
        yield from _log_failure(watch, error)
        return None
    watch.refused_since = None
    if job is None:
        watch.failures += 1
        if watch.lost_since is None:
            watch.lost_since = talk.now()
            patience = in_words(watch.plan.lost_patience)
            text = f"Job {processing_id} is in neither the status nor the history. Checking again for {patience}."
            yield Emit(Notice(Level.WARNING, text))
        return None
    if watch.failures:
        yield Emit(Notice(Level.INFO, f"Job {processing_id} is shown again after {watch.failures} failed checks."))
    watch.failures = 0
    watch.lost_since = None
    earlier = watch.plan.earlier_end
    return None if earlier is not None and earlier.is_shown_by(job, talk.now()) else job


def _log_failure(watch: _Watch, error: AemGuidesError) -> Steps[None]:
    watch.failures += 1
    if watch.failures == 1 or watch.failures % _LOG_EVERY_FAILURES == 0:
        text = f"A check failed ({watch.failures} in a row). The job is not affected; checking again. {error}"
        yield Emit(Notice(Level.WARNING, text))


def _show(talk: Conversation, watch: _Watch, job: Job) -> Steps[None]:
    now = talk.now()
    watch.outlook.see(now, eta=job.eta_seconds, done=job.triggered_count, total=job.total_files)
    if job.triggered_count is not None:
        watch.speed.note(job.triggered_count, now)
    if job.state is JobState.UNKNOWN and job.status_word not in watch.unknown_words:
        watch.unknown_words.add(job.status_word)
        text = f"The state {job.status_word!r} is unknown. The other fields of the job say: {job.verdict}."
        yield Emit(Notice(Level.WARNING, text))
    if watch.job is None or _moved(watch.job, job):
        watch.moved_at = now
        watch.stall_reported = False
        watch.log_is_behind = True
        yield Emit(Progress(job, describe_progress(job, watch.speed.rate)))
    elif job.is_active and not watch.stall_reported and now >= watch.moved_at + watch.plan.stall_seconds:
        watch.stall_reported = True
        text = f"No progress for {in_words(now - watch.moved_at)}. Last seen: {describe_progress(job, None)}."
        yield Emit(Notice(Level.WARNING, text))
    watch.job = job


def _moved(before: Job, now: Job) -> bool:
    return (before.status_word, before.triggered_count, before.total_files, before.calculation_word) != (
        now.status_word,
        now.triggered_count,
        now.total_files,
        now.calculation_word,
    )


def _stream_log(talk: Conversation, processing_id: str, watch: _Watch, job: Job) -> Steps[None]:
    """Read the log if it may have new lines: the job moved, does not show whether it moved, or has ended.

    The status is read before the log. So the log of an ended job is read to its end.
    """
    plan, now = watch.plan, talk.now()
    may_have_more = watch.log_is_behind or job.triggered_count is None
    is_due = now - watch.log_read_at >= min(_LOG_EVERY, (now - watch.began) / 20)
    if job.is_active and not (may_have_more and is_due):
        return
    left = plan.log_budget - (watch.reader.offset - plan.log_offset)
    if plan.log_budget <= 0:
        return
    if left <= 0:
        if not watch.budget_reported:
            watch.budget_reported = True
            text = f"Only {plan.log_budget:,} log lines are shown here. pull_logs and the archive have all of them."
            yield Emit(Notice(Level.INFO, text))
        return
    watch.log_read_at = now
    try:
        yield from stream_new_lines(talk, processing_id, watch.reader, left)
    except AemGuidesError as error:
        if not watch.log_trouble_reported:
            watch.log_trouble_reported = True
            yield Emit(Notice(Level.WARNING, f"The log cannot be read now. The job is not affected. {error}"))
    else:
        watch.log_trouble_reported = watch.log_is_behind = False


def _ended(watch: _Watch, job: Job, now: float) -> FollowEnd | None:
    if job.verdict is Verdict.ACTIVE:
        watch.unclear_since = None
        return None
    if job.verdict is not Verdict.ENDED_UNCLEAR:
        return FollowEnd.ENDED
    watch.unclear_since = watch.unclear_since or now
    return FollowEnd.UNCLEAR if now - watch.unclear_since >= watch.plan.unclear_patience else None


def _hands_back(plan: FollowPlan, job: Job, now: float) -> bool:
    return plan.hand_back_at is not None and plan.hand_back_at <= now < plan.deadline_at and job.is_active


def _next_look(talk: Conversation, watch: _Watch) -> Look:
    """When to look again: no later than the next due moment."""
    now, plan, random = talk.now(), watch.plan, talk.surroundings.random()
    if watch.failures:
        seconds = plan.pacing.after_failures(watch.failures, random)
        look = Look(min(_TROUBLED_LOOK, seconds), "the last one failed")
    elif watch.unclear_since is not None:
        seconds = plan.pacing.spread(_TROUBLED_LOOK, random)
        look = Look(seconds, "it may yet be seen how it ended")
    else:
        look = watch.outlook.next_look(now, random)
    stalls_at = None if watch.job is None or watch.stall_reported else watch.moved_at + plan.stall_seconds
    later = [moment - now for moment in (plan.hand_back_at, stalls_at) if moment is not None and moment > now]
    return Look(max(0.0, min(look.seconds, plan.deadline_at - now, *later)), look.why)


def _followed(watch: _Watch, end: FollowEnd) -> Followed:
    return Followed(end, watch.job, watch.reader.offset - watch.plan.log_offset)
