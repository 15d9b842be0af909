"""An event that comes right after deferring finds Airflow not ready for it, whatever it says."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import msgspec
import pytest

from aem_guides.hooks import bodies
from aem_guides.protocol.models import JsonObject
from aem_guides.protocol.procedures.take_up import LifecycleOptions
from aem_guides.runtime.path_store import PathStore
from aem_guides.triggers.lifecycle import FIRST_EVENT_SECONDS, AemGuidesLifecycleTrigger
from tests.support.notes import KeptNotes


@pytest.mark.parametrize("until", ["following", "ended"])
def test_a_failure_that_is_there_at_once_is_said_once_airflow_is_ready(
    monkeypatch: pytest.MonkeyPatch, until: str
) -> None:
    slept: list[float] = []

    async def asleep(seconds: float) -> None:
        slept.append(seconds)

    sleeping = replace(bodies.REAL_SURROUNDINGS, elapsed=lambda: sum(slept), asleep=asleep)
    monkeypatch.setattr(bodies, "REAL_SURROUNDINGS", sleeping)
    trigger = AemGuidesLifecycleTrigger(
        aem_guides_conn_id="x", key="path", options=msgspec.to_builtins(LifecycleOptions()), until=until
    )
    trigger.store = PathStore("path", KeptNotes())

    async def fire() -> JsonObject:
        payload: JsonObject = (await anext(trigger.run())).payload
        return payload

    assert asyncio.run(fire())["kind"] == "UnreadableStateError"
    assert sum(slept) == FIRST_EVENT_SECONDS
