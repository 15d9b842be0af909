"""Resume a job that no lifecycle follows: once, when its turn comes. Resumes of all kinds obey the same limit."""

from __future__ import annotations

from dataclasses import dataclass

from aem_guides.protocol.conversation import Conversation
from aem_guides.protocol.earlier_end import EarlierEnd
from aem_guides.protocol.manners import Haste
from aem_guides.protocol.models import Job, ProcessingRequest
from aem_guides.protocol.procedures.course import NoTurnError, attended, confirm
from aem_guides.protocol.procedures.intent import Intent
from aem_guides.protocol.procedures.resume import PATIENCE, find_to_resume, resume_once, settle_resume
from aem_guides.protocol.steps import Emit, EndTurn, Steps, TakeTurn, Turn
from aem_guides.protocol.wording import in_words

PATIENCE_SECONDS = 60.0
"""How long a resume waits for its turn. It waits in a worker."""


@dataclass(frozen=True)
class WorksAgain:
    """A job was resumed and counts as active, though the instance may still show its end from before."""

    processing_id: str
    path: str | None
    earlier_end: EarlierEnd


def resume_in_turn(
    talk: Conversation, job: Job, request: ProcessingRequest, *, run: str, intent: Intent | None = None
) -> Steps[str | None]:
    """Resume an ended job in turn, and return its id after the resume.

    None if nothing was sent: it runs already, or it has another end than `job` by now, as somebody else resumed it.
    `intent` is the intent that an interrupted earlier try stored. If that resume was accepted, its id is returned, and
    no turn is taken. Emits what `resume_once` emits, the steps of a turn, and `WorksAgain`. Raises NoTurnError if the
    turn does not come in time, JobLostError, and what `resume_once` raises.
    """
    if intent is not None:
        found = yield from settle_resume(talk, job, request, intent, PATIENCE)
        if found is not None:
            yield Emit(intent.settled(found))
            return found
    elif job.is_active:
        return None
    yield from _take_turn(talk, job.processing_id)
    goes_on_as = yield from _resume(talk.in_haste(Haste.WORK), job, request, run, intent)
    yield Emit(EndTurn())
    return goes_on_as


def _take_turn(talk: Conversation, name: str) -> Steps[None]:
    turn = yield Emit(TakeTurn(queues=True, until=talk.now() + PATIENCE_SECONDS))
    if isinstance(turn, Turn) and turn.granted:
        return
    why = f": {turn.why}" if isinstance(turn, Turn) and turn.why else ""
    raise NoTurnError(
        f"Job {name} was not resumed: its turn did not come in {in_words(PATIENCE_SECONDS)}{why}. Nothing was sent. "
        "Try again when a job has ended, or allow more active jobs."
    )


def _resume(
    talk: Conversation, before: Job, request: ProcessingRequest, run: str, intent: Intent | None
) -> Steps[str | None]:
    """Resume the job unless it runs again by now. If an earlier try left an intent, that may be its doing."""
    found = yield from find_to_resume(talk, before)
    if found is None and intent is None:
        return None
    job = found or before

    def attend(item: object) -> Steps[None]:
        yield from confirm(item)
        if isinstance(item, Intent) and item.processing_id is not None:
            end = EarlierEnd.of(item.resumes or job, talk.now())
            yield Emit(WorksAgain(item.processing_id, job.path or request.path, end))

    return (yield from attended(resume_once(talk, job, request, run=run, intent=intent), before=attend))
