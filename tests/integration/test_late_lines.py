"""What an instance logs after the end of a job is pulled and archived like every other line."""

from __future__ import annotations

import uuid
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import pytest
from airflow.sdk import Context

from aem_guides.hook import AemGuidesHook
from aem_guides.operators import AemGuidesArchiveLogsOperator, AemGuidesPullLogsOperator
from aem_guides.protocol.models import JsonValue, ProcessingRequest
from tests.support.emulator import EmulatorProcess


@dataclass
class TaskInstance:
    dag_id: str = "dag"
    run_id: str = "run"
    task_id: str = "task"
    map_index: int = -1
    try_number: int = 1


@pytest.fixture
def ended_job(emulator: EmulatorProcess, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A job that has just ended, and whose log has one more line three seconds later."""
    monkeypatch.setenv("AIRFLOW_CONN_AEM_GUIDES_DEFAULT", emulator.connection(read_timeout=30))
    emulator.settings(late_assets=3, late_seconds=3.0, late_line_seconds=3.0)
    path = f"/content/dam/late-{uuid.uuid4().hex[:8]}"
    emulator.virtual_folder(path, 20, rate=1000)
    with AemGuidesHook() as hook:
        processing_id = hook.start_processing(ProcessingRequest(path))
        emulator.wait_until(lambda: not hook.get_status(processing_id).is_active)
    yield processing_id
    emulator.settings(late_assets=0, late_seconds=0.0, late_line_seconds=0.0)


def test_a_late_line_is_pulled_and_archived(emulator: EmulatorProcess, ended_job: str, tmp_path: Path) -> None:
    context = cast("Context", {"ti": TaskInstance()})
    pull = AemGuidesPullLogsOperator(task_id="pull", processing_id=ended_job)
    archive = AemGuidesArchiveLogsOperator(task_id="archive", processing_id=ended_job, archive_uri=f"file://{tmp_path}")
    with ThreadPoolExecutor() as both:
        archiving = both.submit(archive.act, AemGuidesHook(), context)
        pulled = pull.act(AemGuidesHook(), context)
        archiving.result()
    logged = emulator.log_lines(ended_job)
    assert "Waiting for remaining assets" in logged[-1]
    assert cast("dict[str, JsonValue]", pulled)["lines"] == len(logged)
    (place,) = tmp_path.rglob("logs.zip")
    with zipfile.ZipFile(place) as stored:
        assert stored.read(stored.namelist()[0]).decode().splitlines() == logged
