"""What is stored under a name of an earlier version still loads."""

from __future__ import annotations

import asyncio
import importlib
from pathlib import Path

import pytest

import aem_guides
from aem_guides.pipelines.batch_progress import AemGuidesBatchProgressTrigger
from aem_guides.protocol.errors import Retry
from aem_guides.protocol.models import JsonObject
from aem_guides.runtime.earlier_names import EARLIER
from aem_guides.triggers.assets import AemGuidesAssetsTrigger
from aem_guides.triggers.base import AemGuidesTrigger
from aem_guides.triggers.earlier import AemGuidesJobTrigger, AemGuidesPathTrigger, AemGuidesTurnTrigger
from aem_guides.triggers.history import AemGuidesHistoryEventTrigger
from tests.support.clocks import sleep_not_at_all

STORED = {
    "aem_guides.triggers.AemGuidesJobTrigger": AemGuidesJobTrigger,
    "aem_guides.triggers.AemGuidesTurnTrigger": AemGuidesTurnTrigger,
    "aem_guides.triggers.job.AemGuidesJobTrigger": AemGuidesJobTrigger,
    "aem_guides.triggers.job.AemGuidesTurnTrigger": AemGuidesTurnTrigger,
    "aem_guides.triggers.path.AemGuidesPathTrigger": AemGuidesPathTrigger,
    "aem_guides.batch_trigger.AemGuidesPathTrigger": AemGuidesPathTrigger,
    "aem_guides.batch_progress.AemGuidesBatchProgressTrigger": AemGuidesBatchProgressTrigger,
    "aem_guides.verify_operator.AemGuidesAssetsTrigger": AemGuidesAssetsTrigger,
    "aem_guides.operators.verify.AemGuidesAssetsTrigger": AemGuidesAssetsTrigger,
    "aem_guides.watcher.AemGuidesHistoryEventTrigger": AemGuidesHistoryEventTrigger,
}
"""The class paths under which earlier versions had Airflow store their triggers."""


@pytest.fixture(autouse=True)
def _no_time_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    sleep_not_at_all(monkeypatch)


@pytest.mark.parametrize("stored", STORED)
def test_a_trigger_that_was_stored_before_an_upgrade_still_loads(stored: str) -> None:
    module, _, name = stored.rpartition(".")
    assert getattr(importlib.import_module(module), name) is STORED[stored]


@pytest.mark.parametrize("trigger", [AemGuidesJobTrigger, AemGuidesTurnTrigger, AemGuidesPathTrigger])
def test_a_task_that_an_earlier_version_deferred_is_retried_at_once_whatever_its_arguments(
    trigger: type[AemGuidesTrigger],
) -> None:
    async def fired() -> JsonObject:
        (event,) = [event async for event in trigger(aem_guides_conn_id="c", processing_id="x", plan={"a": 1}).run()]
        payload: JsonObject = event.payload
        return payload

    event = asyncio.run(fired())
    assert event["retry"] == Retry.USEFUL.value
    assert "next try finds the job" in str(event["error"])


@pytest.mark.parametrize("earlier", EARLIER)
def test_no_module_of_today_has_the_name_of_an_earlier_one(earlier: str) -> None:
    folder = Path(aem_guides.__file__).parent
    assert not (folder / f"{earlier}.py").exists()
    assert not (folder / earlier).exists()


def test_dags_that_were_written_for_earlier_names_still_load() -> None:
    module = importlib.import_module("aem_guides.pipeline")
    assert module.build_process_tasks is importlib.import_module("aem_guides.pipelines.process").build_process_tasks
    with pytest.raises(AttributeError):
        _ = module.what_never_was


def test_a_name_that_never_was_is_not_found() -> None:
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("aem_guides.what_never_was")
