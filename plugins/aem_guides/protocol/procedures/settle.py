"""A start or resume in doubt that a person settles: it became this job, or it became none."""

from __future__ import annotations

from dataclasses import replace

from aem_guides.protocol.errors import AemGuidesError, Retry
from aem_guides.protocol.models import Job, Match
from aem_guides.protocol.procedures.intent import CLOCK_TOLERANCE_MS, Intent
from aem_guides.protocol.procedures.path_state import PathState, Phase
from aem_guides.protocol.procedures.resume import went_on
from aem_guides.protocol.procedures.start import Origin

AHEAD = 100
"""How much the serial number grows. A process that takes the path up at the same moment finds the settled state newer
than its own, and stops before it sends anything."""


class NotSettledError(AemGuidesError):
    """The choice is not possible, or there is no doubt any more. Nothing was changed."""

    retry = Retry.POINTLESS


def settle(state: PathState, at: int, job: Job | None, now: float) -> PathState:
    """The state with what a person says of the request that was sent at `at` (the intent's, epoch milliseconds).

    `job` is the job it became, as the instance shows it; None if it became none. The next try takes this up and sends
    a request only for None, once. A state that has the same choice already is returned as it is. Raises
    NotSettledError.
    """
    path = state.request.path
    if state.settled_at == at:
        if _has(state, job):
            return state
        raise NotSettledError(
            f"{path}: somebody has settled this already, and chose {state.processing_id or 'no job'}. Nothing was "
            "changed."
        )
    intent = state.intent_in_doubt(at)
    if intent is None:
        raise NotSettledError(
            f"{path}: this is not in doubt any more: the path was cleared, or settled by somebody else. Nothing was "
            "changed."
        )
    if job is not None and (why := why_not(state, intent, job)) is not None:
        raise NotSettledError(f"{path}: job {job.processing_id} cannot be chosen: {why}. Nothing was changed.")
    return replace(
        _became(state, job, now),
        serial=state.serial + AHEAD,
        settled_at=at,
        concluded=True,  # the task has failed, and was not killed: nothing cancels the job meanwhile
        doubtful=False,
        queue_until=None,
        deadline_at=None,
        held_since=None,
        cancel=None,
    )


def why_not(state: PathState, intent: Intent, job: Job) -> str | None:
    """Why the request cannot have become this job, as the end of a sentence; None where it can have."""
    if job.path is not None and job.match(state.request) is Match.OTHER:
        return "it is on another path" if not job.on_path(state.request.path) else "it was asked to do something else"
    if intent.resumes is not None and job.processing_id == state.processing_id:
        return None if went_on(intent.resumes, job) else "it stands as it did before the resume"
    if job.processing_id in intent.window:
        return "it was there before the request was sent"
    if job.completed_at is not None and job.completed_at < intent.at - CLOCK_TOLERANCE_MS:
        return "it had ended before the request was sent"
    return None


def _became(state: PathState, job: Job | None, now: float) -> PathState:
    if state.phase is Phase.RESUMING:
        return state.stays(intent=None) if job is None else state.goes_on(job.processing_id, now)
    return state.anew() if job is None else state.works(job.processing_id, Origin.RECOVERED)


def _has(state: PathState, job: Job | None) -> bool:
    """Whether a settled state has this choice."""
    if job is None:
        return state.processing_id is None or state.phase is Phase.RESUMING
    return state.phase is not Phase.RESUMING and state.processing_id == job.processing_id
