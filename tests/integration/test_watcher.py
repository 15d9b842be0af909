"""The watcher against a real instance: every end once, restarts and failures included."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import cast

import httpx
import pytest
from airflow.triggers.base import TriggerEvent

from aem_guides.protocol.models import JsonObject
from aem_guides.triggers.history import AemGuidesHistoryEventTrigger
from tests.support.emulator import PASSWORD, EmulatorProcess
from tests.support.notes import KeptNotes


@pytest.fixture
def instance(emulator: EmulatorProcess, monkeypatch: pytest.MonkeyPatch) -> EmulatorProcess:
    """An instance without jobs."""
    emulator.post("/emulator/reset", {})
    monkeypatch.setenv("AIRFLOW_CONN_AEM_GUIDES_DEFAULT", emulator.connection())
    return emulator


def process(instance: EmulatorProcess, path: str, files: int = 3) -> str:
    """A job of another user."""
    instance.virtual_folder(path, files)
    answer = httpx.post(
        f"{instance.url}/bin/guides/v1/assets/process",
        json={"path": path, "type": "ASSET_PROCESSING"},
        auth=("admin", PASSWORD),
        trust_env=False,
    )
    name = str(answer.raise_for_status().json()["processingId"])
    instance.wait_until(lambda: instance.jobs(path)[-1]["state"] == "SUCCESS")
    return name


def watching(store: KeptNotes, **changes: object) -> AsyncIterator[TriggerEvent]:
    arguments: dict[str, object] = {"path": "/content/dam/x", "poll_seconds": 1.0, **changes}
    trigger = AemGuidesHistoryEventTrigger(aem_guides_conn_id="aem_guides_default", **arguments)  # type: ignore[arg-type]
    trigger.asset_state_store = store  # type: ignore[assignment]  # what it needs of it
    return trigger.run()


async def next_id(events: AsyncIterator[TriggerEvent]) -> str:
    event = await asyncio.wait_for(anext(events), 30)
    return str(cast("JsonObject", event.payload)["processing_id"])


async def begin(events: AsyncIterator[TriggerEvent], store: KeptNotes) -> asyncio.Task[str]:
    """Start the trigger and wait for its first look. The task has its first event."""
    first = asyncio.create_task(next_id(events))
    await asyncio.wait_for(store.written.wait(), 30)
    return first


async def test_an_end_is_reported_once_and_earlier_ends_are_not(instance: EmulatorProcess) -> None:
    await asyncio.to_thread(process, instance, "/content/dam/x/before")
    store = KeptNotes()
    events = watching(store)
    first = await begin(events, store)
    elsewhere = await asyncio.to_thread(process, instance, "/content/dam/elsewhere")
    names = [await asyncio.to_thread(process, instance, f"/content/dam/x/{n}") for n in range(2)]
    assert elsewhere not in names
    assert [await first, await next_id(events)] == names


async def test_a_restart_reports_what_ended_meanwhile_and_nothing_twice(instance: EmulatorProcess) -> None:
    store = KeptNotes()
    events = watching(store)
    first = await begin(events, store)
    reported = await asyncio.to_thread(process, instance, "/content/dam/x/one")
    assert await first == reported
    store.written.clear()
    going_on = asyncio.create_task(next_id(events))
    await asyncio.wait_for(store.written.wait(), 30)
    going_on.cancel()
    with pytest.raises(asyncio.CancelledError):
        await going_on
    meanwhile = await asyncio.to_thread(process, instance, "/content/dam/x/two")
    assert await next_id(watching(store)) == meanwhile


async def test_a_job_that_had_no_assets_is_no_news(instance: EmulatorProcess) -> None:
    store = KeptNotes()
    events = watching(store)
    first = await begin(events, store)
    await asyncio.to_thread(process, instance, "/content/dam/x/empty", 0)
    name = await asyncio.to_thread(process, instance, "/content/dam/x/one")
    assert await first == name


async def test_an_instance_that_is_down_is_waited_for(instance: EmulatorProcess) -> None:
    store = KeptNotes()
    events = watching(store)
    first = await begin(events, store)
    instance.fault("history", "status", status=401, count=3)
    name = await asyncio.to_thread(process, instance, "/content/dam/x/one")
    assert await first == name


async def test_the_jobs_of_users_to_ignore_are_not_reported(instance: EmulatorProcess) -> None:
    store = KeptNotes()
    events = watching(store, ignore_users=["admin"])
    first = await begin(events, store)
    await asyncio.to_thread(process, instance, "/content/dam/x/one")
    store.written.clear()
    await asyncio.wait_for(store.written.wait(), 30)
    store.written.clear()
    await asyncio.wait_for(store.written.wait(), 30)
    assert not first.done()
    first.cancel()
