"""Cancel a job and see it end."""

from __future__ import annotations

import enum
from dataclasses import dataclass

from aem_guides.protocol import contract
from aem_guides.protocol.conversation import Conversation
from aem_guides.protocol.errors import AemGuidesError, RejectedError
from aem_guides.protocol.models import Job
from aem_guides.protocol.procedures.resume import EarlierEnd
from aem_guides.protocol.procedures.start import Origin
from aem_guides.protocol.states import Verdict
from aem_guides.protocol.steps import Steps, Wait

_ASK_AGAIN_SECONDS = 10.0


class CancelResult(enum.StrEnum):
    """What came of cancelling."""

    CANCELLED = "cancelled"
    ALREADY_FINISHED = "already finished"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class CancelOutcome:
    """The result, the job as last seen (None: never), and for an unknown result why it is unknown."""

    result: CancelResult
    job: Job | None = None
    why: str = ""

    def in_words(self, processing_id: str) -> str:
        """The outcome as a sentence for the log."""
        if self.result is CancelResult.CANCELLED:
            return f"Job {processing_id} is cancelled; the instance confirms it."
        if self.result is CancelResult.ALREADY_FINISHED:
            state = self.job.status_word if self.job else "an end"
            return f"Job {processing_id} was not cancelled: it had already finished ({state})."
        return f"Whether job {processing_id} is cancelled is unknown: {self.why}. Check it in the Bulk Processor."


def may_cancel(origin: str | None, *, cancel_adopted: bool) -> bool:
    """Whether we may cancel a job of this `Origin`, for whatever reason: an adopted one only where asked to."""
    return origin != Origin.ADOPTED or cancel_adopted


def cancel_and_confirm(
    talk: Conversation,
    processing_id: str,
    *,
    within_seconds: float,
    look_every: float = 1.0,
    earlier_end: EarlierEnd | None = None,
) -> Steps[CancelOutcome]:
    """Ask to cancel, and look until the job has ended or the time is over. Raises nothing but what a body raises.

    Each request is sent once a look, and waits behind no retry and no `Retry-After`: who cancels is in a hurry. A job
    that is still active after ten seconds is asked again: the first request may have been lost. `earlier_end`: the end
    from which the job was resumed just now; that it is shown does not count.
    """
    talk = talk.without_retries()
    deadline = talk.now() + within_seconds
    why = "the instance did not answer"
    job: Job | None = None
    asked_at: float | None = None
    while True:
        try:
            job = yield from talk.call(contract.status(processing_id))
        except AemGuidesError as error:
            why = str(error)
        else:
            if not job.is_active and not (earlier_end is not None and earlier_end.is_shown_by(job, talk.now())):
                return _ended(job, asked=asked_at is not None)
            why = f"it is still {job.status_word}"
        now = talk.now()
        if asked_at is None or now - asked_at >= _ASK_AGAIN_SECONDS:
            try:
                yield from talk.call(contract.cancel(processing_id))
                asked_at = talk.now()
            except RejectedError as error:
                why = str(error)
                asked_at = talk.now()
            except AemGuidesError as error:
                why = str(error)
        if talk.now() >= deadline:
            return CancelOutcome(CancelResult.UNKNOWN, job, why)
        yield Wait(min(look_every, max(0.0, deadline - talk.now())), f"waiting for job {processing_id} to be cancelled")


def _ended(job: Job, *, asked: bool) -> CancelOutcome:
    if job.verdict is Verdict.CANCELLED and asked:
        return CancelOutcome(CancelResult.CANCELLED, job)
    return CancelOutcome(CancelResult.ALREADY_FINISHED, job)
