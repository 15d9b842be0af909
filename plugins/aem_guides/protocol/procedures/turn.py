"""Wait for one's turn: until nothing is in the way of a start any more."""

from __future__ import annotations

from aem_guides.protocol import contract
from aem_guides.protocol.conversation import Conversation
from aem_guides.protocol.errors import AemGuidesError, AuthenticationError, ConfigurationError
from aem_guides.protocol.hours import OffPeakHours
from aem_guides.protocol.models import History, ProcessingRequest
from aem_guides.protocol.pacing import Pacing
from aem_guides.protocol.procedures.events import Level, Notice
from aem_guides.protocol.procedures.follow import find_job
from aem_guides.protocol.procedures.start import held_back
from aem_guides.protocol.steps import Emit, Steps, Wait
from aem_guides.protocol.wording import crowd

_LONGEST_WAIT = 600.0


def wait_for_turn(
    talk: Conversation,
    request: ProcessingRequest,
    *,
    blocking_id: str | None,
    max_active_jobs: int | None,
    deadline_at: float,
    pacing: Pacing,
    first_look: float = 0.0,
    login_patience: float = 900.0,
    hours: OffPeakHours | None = None,
    queues: bool = True,
) -> Steps[bool]:
    """Look until the path is free and the instance has room; False where `deadline_at` (epoch seconds) came first.

    Without `queues` a job on the path ends the wait as well: it is adopted then, or the start fails on it.
    `blocking_id` is a job in the way that the window may not show; `first_look` is in seconds from now. A failed
    look is told and repeated: only AuthenticationError and ConfigurationError are raised, once it has been the
    answer for `login_patience` seconds.
    Outside of `hours` it is nobody's turn, and the instance is not asked.
    """
    began = talk.now()
    told = ""
    failures = 0
    refused_since: float | None = None
    if first_look:
        yield Wait(first_look, f"first look whether it is the turn of {request.path}")
    while talk.now() < deadline_at:
        yield from _wait_for_hours(talk, request, hours, deadline_at)
        if talk.now() >= deadline_at:
            return False
        random = talk.surroundings.random()
        try:
            reason = yield from _reason_to_wait(talk, request, blocking_id, max_active_jobs, queues)
        except AemGuidesError as error:
            failures += 1
            refused_since = (
                (refused_since or talk.now()) if isinstance(error, AuthenticationError | ConfigurationError) else None
            )
            if refused_since is not None and talk.now() - refused_since >= login_patience:
                raise
            reason = f"the history cannot be read just now: {error}"
            pause = pacing.after_failures(failures, random)
        else:
            failures, refused_since = 0, None
            pause = pacing.next_look(age=talk.now() - began, eta=None, random=random)
        if not reason:
            return True
        if reason != told:
            told = reason
            yield Emit(Notice(Level.INFO, f"{request.path} waits: {reason}"))
        yield Wait(max(0.0, min(pause, deadline_at - talk.now())), reason)
    return False


def _wait_for_hours(
    talk: Conversation, request: ProcessingRequest, hours: OffPeakHours | None, deadline_at: float
) -> Steps[None]:
    told = False
    while talk.now() < deadline_at and (closed := held_back(request, hours, talk.now())) is not None:
        if not told:
            told = True
            yield Emit(Notice(Level.INFO, closed.why))
        left = min(closed.opens_at or deadline_at, deadline_at) - talk.now()
        yield Wait(min(_LONGEST_WAIT, max(0.05, left)), closed.why)


def _reason_to_wait(
    talk: Conversation,
    request: ProcessingRequest,
    blocking_id: str | None,
    max_active_jobs: int | None,
    queues: bool,
) -> Steps[str]:
    history = yield from talk.call(contract.history())
    active = [job for job in history.jobs if job.is_active]
    if not queues and any(job.on_path(request.path) for job in active):
        return ""
    for job in active:
        if job.on_path(request.path) or job.processing_id == blocking_id:
            return f"job {job.processing_id} is active on {job.path}"
    if max_active_jobs is not None and len(active) >= max_active_jobs:
        return crowd(len(active), max_active_jobs)
    if blocking_id is not None and not _shows(history, blocking_id):
        unseen = yield from find_job(talk, blocking_id)
        if unseen is not None and unseen.is_active:
            return f"job {blocking_id} is active on {unseen.path}"
    return ""


def _shows(history: History, processing_id: str) -> bool:
    return any(job.processing_id == processing_id for job in history.jobs)
