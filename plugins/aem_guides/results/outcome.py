"""The outcome of a job, for people and for other tasks."""

from __future__ import annotations

import enum
from dataclasses import asdict, dataclass
from typing import cast

from aem_guides.protocol.errors import (
    DeadlineExceededError,
    JobCancelledError,
    JobError,
    JobFailedError,
    JobLostError,
    JobOutcomeUnknownError,
)
from aem_guides.protocol.models import Job, JsonObject
from aem_guides.protocol.procedures.follow import Followed, FollowEnd
from aem_guides.protocol.procedures.path_state import PathState
from aem_guides.protocol.procedures.take_up import LifecycleOptions
from aem_guides.protocol.states import JobState, Verdict
from aem_guides.protocol.wording import describe_progress, in_words, iso_time

STARTER = "start_processing"
"""The task of a single run that starts a job."""


class OnDeadline(enum.StrEnum):
    """What to do with a job at its deadline."""

    CANCEL = "cancel"
    LEAVE = "leave"


@dataclass(frozen=True)
class Ending:
    """How waiting for a job ended. `cancel` is the result of cancelling it; None if that was not tried.

    `starter` is the task that starts a new job when it is cleared. `adopted`: the job was not started by this run, so
    it is not resumed. `spared`: it was adopted, so it was not cancelled at its deadline.
    """

    followed: Followed
    cancel: str | None
    processing_id: str
    resumes: int
    resumes_left: int
    hours: float
    starter: str = STARTER
    spared: bool = False
    adopted: bool = False


def started_as(state: PathState) -> JsonObject:
    """What the task that starts a job returns for other tasks and the ledger."""
    return {
        "processing_id": state.processing_id,
        "path": state.request.path,
        "origin": str(state.origin),
        "request": state.request.to_json(),
        "instance": state.instance,
    }


def ending_of(state: PathState, options: LifecycleOptions, starter: str) -> Ending:
    """How a path ended. `starter` is the task that starts a new job when it is cleared."""
    return Ending(
        followed=Followed(state.end or FollowEnd.ENDED, state.job, 0),
        cancel=state.cancel,
        processing_id=state.processing_id or "",
        resumes=state.resumes,
        resumes_left=state.resumes_left or 0,
        hours=options.job_seconds / 3600,
        starter=starter,
        spared=options.cancel_on_deadline and not state.may_cancel,
        adopted=not state.is_ours,
    )


_STATE_OF_VERDICT = {
    Verdict.SUCCEEDED: JobState.SUCCESS,
    Verdict.WITH_ERRORS: JobState.WITH_ERRORS,
    Verdict.FAILED: JobState.FAILED,
    Verdict.CANCELLED: JobState.CANCELLED,
    Verdict.ACTIVE: JobState.RUNNING,
    Verdict.ENDED_UNCLEAR: JobState.UNKNOWN,
}


@dataclass(frozen=True)
class WaitOutcome:
    """The outcome as other tasks get it. `state` is a `JobState` or "LOST"; times are ISO 8601 in UTC."""

    processing_id: str
    path: str | None
    state: str
    total_files: int | None
    triggered_count: int | None
    started_at: str | None
    completed_at: str | None
    resumes: int
    created_by: str | None
    comments: str | None
    end: str
    cancel: str | None

    @classmethod
    def of(cls, ending: Ending) -> WaitOutcome:
        job = ending.followed.job
        state = "LOST" if ending.followed.end is FollowEnd.LOST else str(JobState.UNKNOWN)
        if job is not None and state != "LOST":
            state = str(_STATE_OF_VERDICT[job.verdict])
        if ending.cancel == "cancelled":
            state = str(JobState.CANCELLED)
        return cls(
            processing_id=ending.processing_id,
            path=job.path if job else None,
            state=state,
            total_files=job.total_files if job else None,
            triggered_count=job.triggered_count if job else None,
            started_at=iso_time(job.started_at) if job else None,
            completed_at=iso_time(job.completed_at) if job else None,
            resumes=ending.resumes,
            created_by=job.created_by if job else None,
            comments=job.comments if job else None,
            end=ending.followed.end.value,
            cancel=ending.cancel,
        )

    def to_json(self) -> JsonObject:
        return cast("JsonObject", asdict(self))


def conclude(ending: Ending) -> str:
    """A sentence about a job that succeeded. Raises the error for any other end."""
    job, name = ending.followed.job, f"Job {ending.processing_id}"
    match ending.followed.end:
        case FollowEnd.NO_TURN:
            raise DeadlineExceededError(
                f"{name}: no turn to resume it came in time (queue_hours), because max_active_jobs other jobs were "
                "active. Clear this task to queue again.",
                job,
            )
        case FollowEnd.DEADLINE:
            raise DeadlineExceededError(_deadline_text(ending, name), job)
        case FollowEnd.LOST:
            raise JobLostError(
                f"{name} is lost: it is no longer in the status or the history. Check in the Bulk Processor whether "
                f"it ran. To start a new job, clear {ending.starter}.",
                job,
            )
    if job is None:
        raise JobOutcomeUnknownError(f"{name} was never seen on the instance.")
    match job.verdict:
        case Verdict.SUCCEEDED:
            return f"{name} succeeded: {describe_progress(job, None)}{_duration(job)}"
        case Verdict.WITH_ERRORS:
            return f"{name} ended with errors ({job.status_word}): {describe_progress(job, None)}{_duration(job)}"
        case Verdict.CANCELLED:
            goes_on = _not_ours(ending) if ending.adopted else "Clear this task to resume it from its checkpoint."
            raise JobCancelledError(f"{name} was cancelled at {describe_progress(job, None)}. {goes_on}", job)
        case Verdict.FAILED:
            raise _failed(ending, job, name)
    raise JobOutcomeUnknownError(
        f"{name} ended with the unknown state {job.status_word!r}, and its other fields do not show whether it "
        "succeeded. Look at the job in the Bulk Processor and in the log archive.",
        job,
    )


def _failed(ending: Ending, job: Job, name: str) -> JobError:
    why = f" ({job.comments})" if job.comments else ""
    said = f"{name} failed at {describe_progress(job, None)}{why}."
    if not job.resumable:
        return JobFailedError(f"{said} It cannot be resumed. Clear {ending.starter} to start a new job.", job)
    if ending.adopted:
        return JobFailedError(f"{said} {_not_ours(ending)}", job)
    if ending.resumes_left <= 0:
        return JobFailedError(
            f"{said} It was resumed {ending.resumes} times (max_resumes) and is not resumed automatically again. "
            "Clear this task to resume it from its checkpoint.",
            job,
        )
    return JobFailedError(f"{said} The next try resumes it from its checkpoint.", job, resumable=True)


def _not_ours(ending: Ending) -> str:
    return (
        "This run adopted the job and does not resume it. Resume it in the Bulk Processor or with the DAG "
        f"aem_guides_control_job, or clear {ending.starter} to start a new job."
    )


_LEFT = "It was left running (on_deadline = leave)."
_ADOPTED = "It was left running, because this run only adopted it (cancel_adopted is off)."


def _deadline_text(ending: Ending, name: str) -> str:
    said = f"{name} was still active after {in_words(ending.hours * 3600)} (deadline_hours)"
    if ending.followed.job is not None:
        said += f": {describe_progress(ending.followed.job, None)}"
    what = {
        None: _ADOPTED if ending.spared else _LEFT,
        "cancelled": "It was cancelled. Clear this task to resume it from its checkpoint.",
        "already finished": "It finished while it was being cancelled. Clear this task to use its result.",
        "unknown": "It is not known whether it was cancelled. Check it in the Bulk Processor.",
    }[ending.cancel]
    return f"{said}. {what}"


def _duration(job: Job) -> str:
    if job.started_at is None or job.completed_at is None:
        return ""
    return f", in {in_words((job.completed_at - job.started_at) / 1000)}"
