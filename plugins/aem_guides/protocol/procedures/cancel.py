"""Cancel a job and wait until it has ended."""

from __future__ import annotations

import enum
from dataclasses import dataclass

from aem_guides.protocol import contract
from aem_guides.protocol.conversation import Conversation
from aem_guides.protocol.earlier_end import EarlierEnd
from aem_guides.protocol.errors import AemGuidesError, RejectedError
from aem_guides.protocol.manners import Haste
from aem_guides.protocol.models import Job
from aem_guides.protocol.procedures.start import Origin
from aem_guides.protocol.states import Verdict
from aem_guides.protocol.steps import Steps, Wait

_ASK_AGAIN_SECONDS = 10.0


class CancelResult(enum.StrEnum):
    """The result of a cancel."""

    CANCELLED = "cancelled"
    ALREADY_FINISHED = "already finished"
    UNKNOWN = "unknown"


SETTLED = frozenset({CancelResult.CANCELLED, CancelResult.ALREADY_FINISHED})
"""The results after which nothing is left to do."""


@dataclass(frozen=True)
class CancelOutcome:
    """The result, the last known job (None: never seen) and, for an unknown result, the reason."""

    result: CancelResult
    job: Job | None = None
    why: str = ""

    def in_words(self, processing_id: str) -> str:
        """The outcome as a sentence for the log."""
        if self.result is CancelResult.CANCELLED:
            return f"Job {processing_id} was cancelled; the instance confirms it."
        if self.result is CancelResult.ALREADY_FINISHED:
            state = self.job.status_word if self.job else "an end"
            return f"Job {processing_id} was not cancelled: it had already finished ({state})."
        return (
            f"It is not known whether job {processing_id} was cancelled: {self.why}. Check the job in the Bulk "
            "Processor."
        )


def may_cancel(origin: str | None, *, cancel_adopted: bool) -> bool:
    """Whether we may cancel a job of this `Origin`. An adopted job is cancelled only if `cancel_adopted` is set."""
    return origin != Origin.ADOPTED or cancel_adopted


def cancel_and_confirm(
    talk: Conversation,
    processing_id: str,
    *,
    within_seconds: float,
    look_every: float = 1.0,
    seen: Job | None = None,
    earlier_end: EarlierEnd | None = None,
) -> Steps[CancelOutcome]:
    """Cancel the job and check until it has ended or the time is over. Raises only what the body raises.

    Each look sends its requests once, without retries, `Retry-After` or rate limit, because a cancel is urgent. A job
    that is still active after ten seconds gets a second cancel, because the first one may have been lost.

    `seen` is the job as the instance showed it before: it proves that the endpoint exists, so the cancel is sent at
    once. Without it, a look comes first. `earlier_end` is the end from which the job was just resumed. If the instance
    still shows that end, it is ignored.
    """
    cancelling = _Cancelling(talk.without_retries().in_haste(Haste.URGENT), processing_id)
    deadline = talk.now() + within_seconds
    job: Job | None = None
    if seen is not None:
        yield from cancelling.ask()
    while True:
        try:
            job = yield from cancelling.talk.call(contract.status(processing_id))
        except AemGuidesError as error:
            cancelling.why = str(error)
        else:
            if not job.is_active and not (earlier_end is not None and earlier_end.is_shown_by(job, talk.now())):
                return _ended(job, asked=cancelling.accepted)
            cancelling.was_active = True
            cancelling.why = f"it is still {job.status_word}"
        if cancelling.is_to_ask():
            yield from cancelling.ask()
        if talk.now() >= deadline:
            return CancelOutcome(CancelResult.UNKNOWN, job, cancelling.why)
        yield Wait(min(look_every, max(0.0, deadline - talk.now())), f"waiting for job {processing_id} to be cancelled")


@dataclass
class _Cancelling:
    """`accepted`: the instance accepted our cancel, so a cancelled job is the result of it."""

    talk: Conversation
    processing_id: str
    why: str = "the instance did not answer"
    asked_at: float | None = None
    was_active: bool = False
    accepted: bool = False

    def is_to_ask(self) -> bool:
        return self.asked_at is None or self.talk.now() - self.asked_at >= _ASK_AGAIN_SECONDS

    def ask(self) -> Steps[None]:
        try:
            yield from self.talk.call(contract.cancel(self.processing_id))
        except RejectedError as refusal:
            self.why = str(refusal)
            self.asked_at = self.talk.now()
            self.accepted = self.accepted or self.was_active
        except AemGuidesError as error:
            self.why = str(error)
            self.accepted = self.accepted or (self.was_active and bool(getattr(error, "sent", False)))
        else:
            self.asked_at = self.talk.now()
            self.accepted = True


def _ended(job: Job, *, asked: bool) -> CancelOutcome:
    if job.verdict is Verdict.CANCELLED and asked:
        return CancelOutcome(CancelResult.CANCELLED, job)
    return CancelOutcome(CancelResult.ALREADY_FINISHED, job)
