"""Triggers of paths in the test's own event loop, as a triggerer runs them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import cast

import msgspec
import pytest
from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import TaskDeferred

from aem_guides.protocol.models import JsonObject, ProcessingRequest
from aem_guides.protocol.procedures.path_state import PathState, Phase
from aem_guides.protocol.procedures.take_up import LifecycleOptions
from aem_guides.runtime.path_store import PathStore, encoded
from aem_guides.triggers.lifecycle import AemGuidesLifecycleTrigger
from tests.support.notes import KeptNotes
from tests.support.tasks import Task

OPTIONS = LifecycleOptions(
    run_key="test",
    queue_seconds=600.0,
    job_seconds=600.0,
    cancel_on_deadline=False,
    stall_seconds=600.0,
    longest_look=2.0,
)


def path_trigger(
    notes: KeptNotes, path: str, index: int = 0, state: PathState | None = None, **changes: object
) -> AemGuidesLifecycleTrigger:
    """The trigger that takes a path to its end. `changes` are changes of its options. The path is the key of its
    state."""
    state = state or PathState(ProcessingRequest(path))
    if notes.get(path) is None:
        notes.set(path, encoded(state.stays()))
    options = replace(OPTIONS, run=f"test[{index}]", index=index, **changes)  # type: ignore[arg-type]  # its own fields
    trigger = AemGuidesLifecycleTrigger(
        aem_guides_conn_id="aem_guides_default",
        key=path,
        options=msgspec.to_builtins(options),
        until=str(Phase.ENDED),
    )
    trigger.store = PathStore(path, notes)
    return trigger


async def event_of(trigger: AemGuidesLifecycleTrigger) -> JsonObject:
    """The one event that a trigger fires."""
    return cast("JsonObject", (await anext(trigger.run())).payload)


async def events_of(triggers: Sequence[AemGuidesLifecycleTrigger]) -> list[JsonObject]:
    """The events of triggers that run at the same time."""
    return list(await asyncio.gather(*(event_of(trigger) for trigger in triggers)))


def deferred_trigger(operator: BaseOperator, task: Task) -> AemGuidesLifecycleTrigger:
    """The trigger for which a task defers, as Airflow rebuilds it in the triggerer."""
    with pytest.raises(TaskDeferred) as deferred:
        operator.execute(task.context())
    assert deferred.value.method_name == "execute_complete"
    (_, arguments) = deferred.value.trigger.serialize()
    return AemGuidesLifecycleTrigger(**arguments)


async def run_until(trigger: AemGuidesLifecycleTrigger, met: Callable[[], object]) -> JsonObject | None:
    """One life of a triggerer: until the trigger's event, or until it dies at a condition. Returns None then."""
    running = asyncio.create_task(event_of(trigger))
    while not running.done():
        if met():
            running.cancel()
            await asyncio.wait([running])
            return None
        await asyncio.sleep(0.002)
    return running.result()
