"""Triggers of paths in an event loop of the test's own, as a triggerer runs them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import asdict
from typing import cast

from aem_guides.hooks.bodies import surroundings
from aem_guides.protocol.batch import PathNote
from aem_guides.protocol.models import JsonObject, ProcessingRequest
from aem_guides.triggers.path import AemGuidesPathTrigger, PathPlan
from tests.support.notes import KeptNotes


def path_trigger(notes: KeptNotes, path: str, index: int = 0, **changes: object) -> AemGuidesPathTrigger:
    """The trigger of one path; `changes` are fields of its plan."""
    request = ProcessingRequest(path)
    plan = PathPlan(
        request=request.to_json(),
        note=PathNote(request.fingerprint()).to_json(),
        note_key=path,
        label=f"test[{index}]",
        came_at=0.0,
        run="test",
        index=index,
        on_active_job="adopt",
        max_active_jobs=4,
        queue_until=surroundings().now() + 600,
        job_seconds=600.0,
        cancel_on_deadline=False,
        cancel_adopted=False,
        stall_seconds=600.0,
        longest_look=2.0,
    )
    trigger = AemGuidesPathTrigger(aem_guides_conn_id="aem_guides_default", plan=asdict(plan) | changes)
    trigger.notes = notes
    return trigger


async def event_of(trigger: AemGuidesPathTrigger) -> JsonObject:
    """The one event that a trigger fires."""
    return cast("JsonObject", (await anext(trigger.run())).payload)


async def events_of(triggers: Sequence[AemGuidesPathTrigger]) -> list[JsonObject]:
    """Their events, running all at once."""
    return list(await asyncio.gather(*(event_of(trigger) for trigger in triggers)))
