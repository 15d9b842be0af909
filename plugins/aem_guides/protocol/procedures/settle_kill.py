"""A task that was killed: what was begun for its path is settled, and its job is cancelled."""

from __future__ import annotations

from dataclasses import replace

from aem_guides.protocol.conversation import Conversation
from aem_guides.protocol.manners import Haste
from aem_guides.protocol.procedures.begin import settle_start
from aem_guides.protocol.procedures.cancel import SETTLED, CancelOutcome, cancel_and_confirm
from aem_guides.protocol.procedures.course import keep
from aem_guides.protocol.procedures.follow import FollowEnd
from aem_guides.protocol.procedures.path_state import PathState, Phase
from aem_guides.protocol.procedures.resume import settle_resume
from aem_guides.protocol.procedures.start import StartPolicy, still_pending
from aem_guides.protocol.steps import Steps

_PATIENCE = (2.0,)


def settle_kill(
    talk: Conversation, state: PathState, *, within_seconds: float
) -> Steps[tuple[PathState, CancelOutcome | None]]:
    """The state of a path whose task was killed, and what came of cancelling its job; None where there is none to be.

    Nothing is done where the task has dealt with the path to its end, or the job was cancelled already. Emits every
    `PathState`. Raises DoubtfulStartError, and what a call raises, where it cannot be settled what was begun.
    """
    if not state.is_left_behind:
        return state, None
    talk = talk.in_haste(Haste.URGENT)
    if state.in_doubt and not state.doubtful:
        state = yield from keep((yield from settle_start(talk, state)))
    elif state.phase is Phase.QUEUED and still_pending(talk, state.intent) is not None and not state.doubtful:
        state = yield from keep((yield from settle_start(talk, state, StartPolicy(patience=()))))
    if state.phase is Phase.RESUMING and state.intent is not None and state.intent.resumes is not None:
        found = yield from settle_resume(talk, state.intent.resumes, state.request, state.intent, _PATIENCE)
        if found is not None:
            state = yield from keep(state.goes_on(found, talk.now()))
    if state.processing_id is None or not state.may_cancel:
        return state, None
    outcome = yield from cancel_and_confirm(
        talk,
        state.processing_id,
        within_seconds=within_seconds,
        seen=state.job,
        earlier_end=state.earlier_end,
    )
    if outcome.result in SETTLED:
        state = replace(state.to(Phase.ENDED, end=FollowEnd.ENDED, job=outcome.job), cancel=outcome.result)
    else:
        state = state.stays(cancel=outcome.result)
    return (yield from keep(state)), outcome
