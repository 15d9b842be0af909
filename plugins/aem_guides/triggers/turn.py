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
from aem_guides.protocol.procedures.resume_in_turn import resume_in_turn
from aem_guides.protocol.steps import Turn, Window
from aem_guides.runtime import notes
from aem_guides.runtime.task_log import TaskLog
from aem_guides.triggers.admission import admission_for, let_others_have_it


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
            require_instance((await hook.settings()).instance, sync_hook.settings.instance)
            place = Place(surroundings().now(), resume.run, 0)
            ticket = Ticket(place, resume.request.path, resume.max_active_jobs)
            async with await admission_for(hook, notes.AirflowNotes(), ticket, log) as admission:

                async def take(item: object) -> Turn | Window | None:
                    if not isinstance(item, Intent):
                        return await admission.answer(item)
                    await asyncio.to_thread(keep, item)
                    return None

                steps = resume_in_turn(
                    await hook.talk(), resume.job, resume.request, run=resume.run, intent=resume.intent
                )
                return await hook.drive(steps, take)
    finally:
        await let_others_have_it()
