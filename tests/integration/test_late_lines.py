"""The lines that an instance logs after the end of a job are pulled and archived like every other line."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import cast

import pytest

from aem_guides.hooks.hook import AemGuidesHook
from aem_guides.operators import (
    AemGuidesArchiveLogsOperator,
    AemGuidesProcessAssetsOperator,
    AemGuidesPullLogsOperator,
)
from aem_guides.operators import process as batch_operator
from aem_guides.protocol.models import JsonValue, ProcessingRequest
from aem_guides.protocol.procedures.path_state import PathState
from aem_guides.protocol.procedures.start import Origin
from aem_guides.runtime.path_store import encoded
from tests.support.archives import archived_lines
from tests.support.emulator import EmulatorProcess
from tests.support.notes import KeptNotes, key_of
from tests.support.tasks import Task


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
    context = Task().context()
    pull = AemGuidesPullLogsOperator(task_id="pull", processing_id=ended_job)
    archive = AemGuidesArchiveLogsOperator(task_id="archive", processing_id=ended_job, archive_uri=f"file://{tmp_path}")
    with ThreadPoolExecutor() as both:
        archiving = both.submit(archive.act, AemGuidesHook(), context)
        pulled = pull.act(AemGuidesHook(), context)
        archiving.result()
    logged = emulator.log_lines(ended_job)
    assert "Waiting for remaining assets" in logged[-1]
    assert cast("dict[str, JsonValue]", pulled)["lines"] == len(logged)
    assert archived_lines(tmp_path) == logged


@pytest.mark.parametrize("verify", [True, False])
def test_a_late_line_of_a_path_of_a_batch_is_archived(
    emulator: EmulatorProcess,
    ended_job: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    register: KeptNotes,
    verify: bool,
) -> None:
    request = ProcessingRequest(str(emulator.jobs()[-1]["path"]))
    task = Task("path")
    register.set(key_of(task, request), encoded(PathState(request).works(ended_job, Origin.STARTED)))
    monkeypatch.setattr(batch_operator, "announce", lambda *_reported: None)
    operator = AemGuidesProcessAssetsOperator(
        task_id="path",
        path=request.path,
        archive_uri=f"file://{tmp_path}",
        verify_assets=verify,
        deferrable=False,
    )
    row = operator.execute(task.context())
    assert row["state"] == "SUCCESS"
    logged = archived_lines(tmp_path)
    assert "Waiting for remaining assets" in logged[-1]
    assert logged == emulator.log_lines(ended_job)
