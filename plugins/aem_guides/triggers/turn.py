"""Resume a job in turn, from a worker. The turn is waited for in an event loop, which lasts as long as the resume."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from aem_guides.hooks.bodies import surroundings
from aem_guides.hooks.connection import require_instance
from aem_guides.hooks.hook import AemGuidesAsyncHook, AemGuidesHook
from aem_guides.protocol.admission import Place, Ticket
from aem_guides.protocol.models import Job, ProcessingRequest
from aem_guides.protocol.procedures.intent import Intent
from aem_guides.protocol.procedures.resume_in_turn import WorksAgain, resume_in_turn
from aem_guides.protocol.steps import ConfirmTurn, EndTurn, TakeTurn, Turn
from aem_guides.runtime import notes
from aem_guides.runtime.task_log import TaskLog, show_event
from aem_guides.triggers.admission import LONGEST_LOOK_OF_A_LINE, Admission, coordinator_for, let_others_have_it
from aem_guides.triggers.waiter_notes import waiters_of


@dataclass(frozen=True)
class Resume:
    """A job to resume, as it is before, while fewer than `max_active_jobs` jobs are active on its instance.

    `run` names the run and try. `intent` is the one that an interrupted earlier try stored.
    """

    job: Job
    request: ProcessingRequest
    max_active_jobs: int
    run: str
    intent: Intent | None = None


def resume_job(hook: AemGuidesHook, resume: Resume, keep: Callable[[Intent], None], log: TaskLog) -> str | None:
    """Resume a job on the hook's instance, and return its id after the resume. None if nothing was sent.

    `keep` stores an intent before the request, and again with the id. It runs outside of the event loop, so it may use
    Airflow's stores. Raises what `resume_in_turn` raises.
    """
    return asyncio.run(_resume_job(hook, resume, keep, log))


async def _resume_job(
    sync_hook: AemGuidesHook, resume: Resume, keep: Callable[[Intent], None], log: TaskLog
) -> str | None:
    retries = sync_hook.talk.retries
    try:
        async with AemGuidesAsyncHook(sync_hook.aem_guides_conn_id, retries=retries) as hook:
            settings, register = await hook.settings(), notes.AirflowNotes()
            require_instance(settings.instance, sync_hook.settings.instance)
            coordinator = await coordinator_for(hook, register, LONGEST_LOOK_OF_A_LINE)
            waiters = waiters_of(coordinator, register, settings.base_url, settings.instance)
            place = Place(surroundings().now(), resume.run, 0)
            ticket = Ticket(place, resume.request.path, resume.max_active_jobs)
            async with Admission(coordinator, hook, ticket, log, is_brief=False) as admission:

                async def take(item: object) -> Turn | None:
                    match item:
                        case TakeTurn():
                            waiters.stir()
                            return await admission.take(item)
                        case ConfirmTurn():
                            return await admission.confirm()
                        case Intent():
                            await asyncio.to_thread(keep, item)
                        case WorksAgain(processing_id, path, earlier_end):
                            coordinator.turns.note_active(processing_id, path, earlier_end)
                        case EndTurn():
                            await admission.end(item)
                        case _:
                            show_event(log, item)
                    return None

                steps = resume_in_turn(
                    await hook.talk(), resume.job, resume.request, run=resume.run, intent=resume.intent
                )
                return await hook.drive(steps, take)
    finally:
        await let_others_have_it()
