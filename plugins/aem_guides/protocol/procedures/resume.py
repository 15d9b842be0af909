"""Resume a job from its checkpoint, once, and find its id after the resume."""

from __future__ import annotations

from dataclasses import replace

from aem_guides.protocol import contract
from aem_guides.protocol.conversation import Conversation
from aem_guides.protocol.errors import (
    AemGuidesError,
    AuthenticationError,
    DoubtfulStartError,
    JobFailedError,
    JobLostError,
    MalformedAnswerError,
    NotFoundError,
    RejectedError,
    UnavailableError,
    UnreachableError,
)
from aem_guides.protocol.models import Job, ProcessingRequest
from aem_guides.protocol.procedures.course import NoTurnError
from aem_guides.protocol.procedures.follow import find_job
from aem_guides.protocol.procedures.intent import Fate, Intent
from aem_guides.protocol.steps import Emit, Steps, Wait

PATIENCE = (2.0, 3.0, 5.0, 10.0)
"""The seconds between looks for a resume that was sent and not answered. History and status may lag."""
_ATTEMPTS = 4


def resume_once(
    talk: Conversation, job: Job, request: ProcessingRequest, *, run: str, intent: Intent | None = None
) -> Steps[str]:
    """Resume the ended job and return its id after the resume, which may be another one.

    Emits the `Intent` before the POST, and again with the id after it. `intent` is the intent that an interrupted
    earlier try stored: if that resume has ended meanwhile, nothing is sent again. Raises JobFailedError if the instance
    does not resume the job, DoubtfulStartError if the result of a resume cannot be determined, NoTurnError if the turn
    is lost before the first attempt, and what a call raises.
    """
    if intent is not None:
        found = yield from settle_resume(talk, job, request, intent)
        if found is not None:
            yield Emit(intent.settled(found))
            return found
    error: AemGuidesError | None = None  # of the last attempt
    for attempt in range(1, _ATTEMPTS + 1):
        history = yield from talk.call(contract.history())
        intent = replace(Intent.before(request, history, talk.instance_now(), run), resumes=job)
        try:
            yield Emit(intent)
        except NoTurnError as lost:
            raise error or lost from None
        try:
            processing_id = yield from talk.call(contract.resume(job.processing_id))
        except RejectedError as refusal:
            found = yield from settle_resume(talk, job, request, intent)
            if found is None and isinstance(refusal, NotFoundError) and attempt < _ATTEMPTS:
                error = refusal
                yield Wait(talk.retries.backoff(attempt, talk.surroundings.random()), f"not resumed yet: {refusal}")
                continue
            if found is None:
                raise JobFailedError(
                    f"Job {job.processing_id} cannot be resumed. {refusal}", job, resumable=False
                ) from refusal
            processing_id = found
        except (UnavailableError, UnreachableError, MalformedAnswerError, AuthenticationError) as doubt:
            if isinstance(doubt, AuthenticationError) and not doubt.sent:
                raise
            error = doubt
            found = (yield from settle_resume(talk, job, request, intent, PATIENCE)) if doubt.sent else None
            if found is None:
                yield Wait(talk.retries.backoff(attempt, talk.surroundings.random()), f"not resumed yet: {doubt}")
                continue
            processing_id = found
        yield Emit(intent.settled(processing_id))
        return processing_id
    raise error or AssertionError("no attempt was made")


def find_to_resume(talk: Conversation, before: Job) -> Steps[Job | None]:
    """The job as it is right before its resume. None if somebody else has resumed it while it waited for its turn.

    Raises JobLostError, and what a call raises.
    """
    job = yield from find_job(talk, before.processing_id)
    if job is None:
        raise JobLostError(f"Job {before.processing_id} cannot be resumed: the instance no longer knows it.")
    return None if went_on(before, job) else job


def settle_resume(
    talk: Conversation, job: Job, request: ProcessingRequest, intent: Intent, patience: tuple[float, ...] = ()
) -> Steps[str | None]:
    """The id of the job after the resume, or None if the instance does not show that it was resumed.

    `job` is the job as the caller knows it. The intent has its state before the resume. `patience`: the seconds between
    looks at a history that may lag, after a resume of which no answer is known. Then the result is None only if the
    history proves that no job resulted. Raises DoubtfulStartError, and what a call raises.
    """
    before = intent.resumes or job
    if intent.processing_id is not None:
        return intent.processing_id
    for pause in (0.0, *patience):
        if pause:
            yield Wait(pause, f"checking whether job {job.processing_id} was resumed")
        try:
            seen = yield from talk.call(contract.status(job.processing_id))
        except RejectedError:
            pass
        else:
            if went_on(before, seen):
                return seen.processing_id
        history = yield from talk.call(contract.history())
        sighting = intent.look(request, history)
        if sighting.fate is Fate.FOUND and sighting.job is not None:
            return sighting.job.processing_id
        if sighting.fate is Fate.UNCLEAR and sighting.job is not None:
            raise _doubt(
                job,
                f"Job {sighting.job.processing_id} may be its result, but the instance shows too little of it to be "
                "sure.",
            )
    if patience and not intent.proves_absence(history):
        raise _doubt(
            job,
            "No answer is known, and the history does not reach back to the time of the resume, or has an entry that "
            "cannot be read. So the resumed job may have ended already.",
        )
    return None


def _doubt(job: Job, why: str) -> DoubtfulStartError:
    return DoubtfulStartError(
        f"A resume of job {job.processing_id} was sent. {why} No second resume was sent. Look in the Bulk Processor "
        "(Tools > Guides > Bulk Processor)."
    )


def went_on(before: Job, now: Job) -> bool:
    """Whether the job runs again, or has another end than before."""
    if now.is_active or now.verdict is not before.verdict:
        return True
    return now.completed_at is not None and now.completed_at != before.completed_at
