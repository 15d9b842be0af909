"""The errors of this package.

::

    AemGuidesError
    ├── InvalidInputError            a field that cannot be sent: nothing was
    ├── ConfigurationError           the connection or a setting is wrong: nothing was sent
    ├── UnreachableError             no answer: refused, reset, timed out
    ├── AnswerError                  the instance answered, and not as hoped
    │   ├── AuthenticationError      not logged in, or a login page instead of an answer
    │   │   └── ScopeError           logged in, but the credential lacks a scope or permission
    │   ├── RejectedError            4xx: the request itself is not accepted
    │   │   ├── NotFoundError        404: no such endpoint, job or file
    │   │   └── StartRefusedError    a start was refused, and it is certain that no job came of it
    │   ├── UnavailableError         "not now": 5xx, and those 4xx that say nothing of the request itself
    │   └── MalformedAnswerError     an answer that cannot be what the contract promises
    ├── ActiveJobError               another job is active on the path
    ├── DoubtfulStartError           a start may or may not have been accepted, and it cannot be settled
    ├── JobError                     what became of a job
    │   ├── JobFailedError
    │   ├── JobCancelledError
    │   ├── JobLostError             neither status nor history knows it any more
    │   └── JobOutcomeUnknownError   it ended in an unknown state
    ├── DeadlineExceededError        the job was still active when its time was over
    ├── CancelUnconfirmedError       cancelling was asked for, and its effect could not be seen
    ├── ArchiveError                 a log archive that is not whole, or could not be stored
    └── VerificationError            assets of a finished job failed
        └── AssetsAtWorkError        some never finished

`retry` of every error says whether a later attempt can succeed. The retry policy of the tasks reads it.
"""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from aem_guides.protocol.models import Job


class Retry(enum.Enum):
    """Whether a later attempt can succeed."""

    USEFUL = "useful"
    BRIEFLY = "briefly"
    """For a few minutes only: an instance that is starting gives the same answer."""
    POINTLESS = "pointless"


class AemGuidesError(Exception):
    """Base of all errors of this package.

    `sent` is False if the instance certainly did not act on the request, and True if it may have acted on it.
    """

    retry: Retry = Retry.USEFUL
    sent: bool = True


class InvalidInputError(AemGuidesError, ValueError):
    """A value that must not be sent. `field`, `value` and `remedy` are attributes, and the message shows them."""

    retry = Retry.POINTLESS

    def __init__(self, field: str, value: object, remedy: str) -> None:
        self.field = field
        self.value = value
        self.remedy = remedy
        shown = repr(value)
        if len(shown) > 200:
            shown = shown[:200] + "…"
        super().__init__(f"{field}: {shown} is not valid. {remedy}")


class ConfigurationError(AemGuidesError, ValueError):
    """The connection or a setting is wrong. The message names the field and the remedy, never a secret."""

    retry = Retry.POINTLESS


class UnreachableError(AemGuidesError):
    """No answer came.

    `sent` is False if the instance certainly did not get the request (connection refused, name not resolved), and True
    if it may have acted on it.
    """

    def __init__(self, request: str, reason: str, *, sent: bool, attempts: int) -> None:
        self.request = request
        self.reason = reason
        self.sent = sent
        self.attempts = attempts
        super().__init__(f"{request}: no answer after {_times(attempts)}: {reason}")


class AnswerError(AemGuidesError):
    """The instance answered with an error or with something unexpected: `request`, `status`, `excerpt` (at most 500
    characters), `attempts`."""

    hint = ""

    def __init__(
        self,
        request: str,
        status: int,
        excerpt: str,
        *,
        attempts: int = 1,
        hint: str | None = None,
        retry_after: float | None = None,
    ) -> None:
        self.request = request
        self.status = status
        self.excerpt = excerpt
        self.attempts = attempts
        self.retry_after = retry_after
        parts = [f"{request}: HTTP {status} after {_times(attempts)}"]
        if excerpt:
            parts.append(f"The answer begins: {excerpt}")
        if remedy := hint if hint is not None else self.hint:
            parts.append(remedy)
        super().__init__(". ".join(parts))


class AuthenticationError(AnswerError):
    """The instance refused the credentials, or sent a login page instead of an answer.

    `retry` is USEFUL if the same credentials were accepted before in the same run: a restarting author refuses them for
    some minutes.
    """

    retry = Retry.POINTLESS
    hint = "Check the credentials of the Airflow connection."


class ScopeError(AuthenticationError):
    """The credential is known, but lacks a scope or a permission. Repetition and CSRF tokens do not help."""

    hint = "Give the technical account the scopes and the AEM groups it needs."


class RejectedError(AnswerError):
    """The instance does not accept the request itself."""

    retry = Retry.POINTLESS


class NotFoundError(RejectedError):
    """404: this instance has no such endpoint, job or file, or does not have it yet because it is starting."""

    retry = Retry.BRIEFLY
    hint = (
        "The instance does not have this endpoint, job or file, or it is still starting: an author answers 404 for "
        "some minutes after its start."
    )


class StartRefusedError(RejectedError):
    """The instance refused a start, and certainly no job was started."""


class UnavailableError(AnswerError):
    """The answer means "not now": 406, 408, 421, 423, 425, 429 or 5xx. `retry_after`: seconds, if the answer has it.

    The request, the job and the credentials may all be right: the instance is busy or restarting, or a CDN or proxy
    answered in its place.
    """

    hint = "The instance is busy or restarting; the same request may succeed later."


class MalformedAnswerError(AnswerError):
    """An answer that cannot be what the contract promises: not JSON, or JSON of another shape."""


class ActiveJobError(AemGuidesError):
    """Another job is active on the path: `path`, `processing_id` (None where the history does not show it)."""

    retry = Retry.POINTLESS

    def __init__(self, path: str, processing_id: str | None, remedy: str) -> None:
        self.path = path
        self.processing_id = processing_id
        job = f"job {processing_id}" if processing_id else "a job that the history does not show"
        super().__init__(f"{path}: {job} is active on this path. {remedy}")


class DoubtfulStartError(AemGuidesError):
    """A start may or may not have been accepted, and the history does not show which. No second start was sent."""

    retry = Retry.POINTLESS


class JobError(AemGuidesError):
    """A job did not succeed. `job` is the last known state of the job."""

    def __init__(self, message: str, job: Job | None = None) -> None:
        self.job = job
        super().__init__(message)


class JobFailedError(JobError):
    """The job failed. `resumable`: it can be resumed. Only then does a retry help."""

    def __init__(self, message: str, job: Job | None = None, *, resumable: bool = False) -> None:
        super().__init__(message, job)
        self.resumable = resumable
        self.retry = Retry.USEFUL if resumable else Retry.POINTLESS


class JobCancelledError(JobError):
    """The job was cancelled. It is not resumed automatically: clear the task to resume it from its checkpoint."""

    retry = Retry.POINTLESS


class JobLostError(JobError):
    """Neither status nor history has the job any more, and both were read.

    `retry` is BRIEFLY if the caller has not looked for the job for some minutes.
    """

    retry = Retry.POINTLESS


class JobOutcomeUnknownError(JobError):
    """The job ended in an unknown state, and its other fields do not show whether it succeeded."""

    retry = Retry.POINTLESS


class DeadlineExceededError(JobError):
    """The job was still active when its time was over."""

    retry = Retry.POINTLESS


class CancelUnconfirmedError(JobError):
    """A cancel was sent, but the job did not end in time."""


class ArchiveError(AemGuidesError):
    """A log archive is incomplete, or could not be stored. No partial file is left under its name."""


class VerificationError(AemGuidesError):
    """Assets of a finished job failed, or were never finished."""

    retry = Retry.POINTLESS


class AssetsAtWorkError(VerificationError):
    """Some assets were still at work when the time to wait for them was over."""


def _times(attempts: int) -> str:
    return "1 attempt" if attempts == 1 else f"{attempts} attempts"
