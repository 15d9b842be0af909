"""An event right after deferring comes before Airflow is ready for it, whatever its content."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace

import msgspec
import pytest

from aem_guides.hooks import bodies
from aem_guides.protocol.models import JsonObject, ProcessingRequest
from aem_guides.protocol.procedures.take_up import LifecycleOptions
from aem_guides.runtime.path_store import PathStore
from aem_guides.triggers.assets import AemGuidesAssetsTrigger
from aem_guides.triggers.base import FIRST_EVENT_SECONDS, AemGuidesTrigger
from aem_guides.triggers.lifecycle import AemGuidesLifecycleTrigger
from tests.support.notes import KeptNotes


def of_a_path(until: str) -> AemGuidesTrigger:
    options = msgspec.to_builtins(LifecycleOptions())
    trigger = AemGuidesLifecycleTrigger(aem_guides_conn_id="x", key="path", options=options, until=until)
    trigger.store = PathStore("path", KeptNotes())
    return trigger


def of_assets() -> AemGuidesTrigger:
    request = ProcessingRequest("/content/dam/x").to_json()
    return AemGuidesAssetsTrigger(aem_guides_conn_id="no_such", request=request, deadline_at=0.0)


@pytest.mark.parametrize(
    "made", [lambda: of_a_path("following"), lambda: of_a_path("ended"), of_assets], ids=["start", "path", "assets"]
)
def test_a_failure_that_is_there_at_once_is_said_once_airflow_is_ready(
    monkeypatch: pytest.MonkeyPatch, made: Callable[[], AemGuidesTrigger]
) -> None:
    slept: list[float] = []

    async def asleep(seconds: float) -> None:
        slept.append(seconds)

    sleeping = replace(bodies.REAL_SURROUNDINGS, elapsed=lambda: sum(slept), asleep=asleep)
    monkeypatch.setattr(bodies, "REAL_SURROUNDINGS", sleeping)
    trigger = made()

    async def fire() -> JsonObject:
        payload: JsonObject = (await anext(trigger.run())).payload
        return payload

    assert asyncio.run(fire())["kind"] in ("UnreadableStateError", "ConfigurationError")
    assert sum(slept) == FIRST_EVENT_SECONDS
