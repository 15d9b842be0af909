"""A job that gets another id at a resume: its first part has a separate log, which is kept, too."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import pytest

from aem_guides.hooks.hook import AemGuidesHook
from aem_guides.operators import (
    AemGuidesArchiveLogsOperator,
    AemGuidesProcessAssetsOperator,
    AemGuidesPullLogsOperator,
    AemGuidesStartProcessingOperator,
)
from aem_guides.operators import process as batch_operator
from aem_guides.protocol.errors import JobFailedError
from aem_guides.protocol.models import JsonObject, JsonValue, ProcessingRequest
from aem_guides.protocol.procedures.path_state import PathState, Phase
from aem_guides.protocol.procedures.resume import resume_once
from aem_guides.protocol.procedures.start import Origin
from aem_guides.results.handed_on import PROCESSING_ID_KEY, STATE_KEY
from aem_guides.runtime.path_store import encoded
from aem_guides.sensors import AemGuidesProcessingSensor
from tests.support.archives import archived_lines
from tests.support.emulator import EmulatorProcess
from tests.support.notes import KeptNotes, key_of
from tests.support.path_triggers import deferred_trigger, run_until
from tests.support.tasks import Task


@pytest.fixture(autouse=True)
def _instance(emulator: EmulatorProcess, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("AIRFLOW_CONN_AEM_GUIDES_DEFAULT", emulator.connection(read_timeout=30))
    emulator.settings(resume_keeps_id=False)
    yield
    emulator.settings(resume_keeps_id=True)


def failed_job(emulator: EmulatorProcess) -> tuple[str, str]:
    """The path and id of a job that fails half way, and succeeds once it is resumed."""
    path = f"/content/dam/half-{uuid.uuid4().hex[:8]}"
    emulator.virtual_folder(path, 40, rate=1000, fail_at=0.5)
    with AemGuidesHook() as hook:
        first = hook.start_processing(ProcessingRequest(path))
        emulator.wait_until(lambda: not hook.get_status(first).is_active)
    return path, first


def test_every_part_of_its_log_is_pulled_and_archived(
    emulator: EmulatorProcess, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, first = failed_job(emulator)
    task = Task()
    job: JsonObject = {"processing_id": first, "path": path, "origin": "started"}
    sensor = AemGuidesProcessingSensor(task_id="wait", job=job, deferrable=False, stream_logs=False)
    with pytest.raises(JobFailedError):
        sensor.execute(task.context())
    sensor.execute(task.begin_try(2).context())
    second = str(task.pushed[PROCESSING_ID_KEY])
    assert second != first
    logged = emulator.log_lines(first) + emulator.log_lines(second)

    pull = AemGuidesPullLogsOperator(task_id="pull", processing_id=second, wait_task_id="wait")
    capsys.readouterr()
    assert pull.execute(Task("pull", run=task.run).context()) == {"lines": len(logged), "left_out": 0}
    shown = capsys.readouterr().out
    assert [shown.count(line) for line in logged] == [1] * len(logged)
    assert shown.index(logged[0]) < shown.index(logged[-1])

    archive = AemGuidesArchiveLogsOperator(
        task_id="archive", processing_id=second, wait_task_id="wait", archive_uri=f"file://{tmp_path}"
    )
    stored = cast("dict[str, JsonValue]", archive.execute(Task("archive", run=task.run).context()))
    assert second in str(stored["uri"])
    assert set(archived_lines(tmp_path)) == set(logged)


def test_a_part_that_the_instance_has_forgotten_is_reported_and_the_rest_is_kept(
    emulator: EmulatorProcess, register: KeptNotes, capsys: pytest.CaptureFixture[str]
) -> None:
    path, known = failed_job(emulator)
    state = PathState(ProcessingRequest(path)).works("forgotten", Origin.STARTED).goes_on(known, now=0.0)
    wait = Task()
    register.set("the path", encoded(state))
    wait.xcom_push(STATE_KEY, "the path")
    pull = AemGuidesPullLogsOperator(task_id="pull", processing_id=known, wait_task_id="wait")
    pulled = cast("dict[str, JsonValue]", pull.execute(Task("pull", run=wait.run).context()))
    assert pulled["lines"] == len(emulator.log_lines(known))
    assert "The instance no longer knows job forgotten, which was resumed" in capsys.readouterr().out


def test_every_part_of_a_path_of_a_batch_is_archived(
    emulator: EmulatorProcess, register: KeptNotes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, first = failed_job(emulator)
    request = ProcessingRequest(path)
    with AemGuidesHook() as hook:
        second = hook.drive(resume_once(hook.talk, hook.get_status(first), request, run="run"))
        emulator.wait_until(lambda: not hook.get_status(second).is_active)
    task, state = Task(), PathState(request).works(first, Origin.STARTED).goes_on(second, now=0.0)
    register.set(key_of(task, request), encoded(state))
    monkeypatch.setattr(batch_operator, "announce", lambda *_reported: None)
    operator = AemGuidesProcessAssetsOperator(task_id="wait", path=path, archive_uri=f"file://{tmp_path}")
    row = operator.execute(task.context())
    assert second in str(row["archive_uri"])
    assert set(archived_lines(tmp_path)) == set(emulator.log_lines(first) + emulator.log_lines(second))


def test_clear_of_the_start_knows_its_job_by_the_id_under_which_it_goes_on(
    emulator: EmulatorProcess, register: KeptNotes
) -> None:
    path = f"/content/dam/slow-{uuid.uuid4().hex[:8]}"
    emulator.virtual_folder(path, 10_000, rate=0.5)
    start = AemGuidesStartProcessingOperator(task_id="path.start", path=path, on_active_job="fail")
    task = Task("path.start")
    started = start.execute(task.context())
    waiting, key = Task("path.wait", run=task.run, try_number=2), str(started[STATE_KEY])
    emulator.post("/emulator/jobs/fail", {"processingId": started["processing_id"], "resumable": True})
    sensor = AemGuidesProcessingSensor(task_id="path.wait", job=started, max_resumes=1)
    trigger = deferred_trigger(sensor, waiting)
    assert asyncio.run(run_until(trigger, lambda: (now := register.state(key)) and now.earlier_ids)) is None
    goes_on_as = register.states(key)[-1].processing_id
    assert goes_on_as != started["processing_id"]

    again = start.execute(task.begin_try(3, max_tries=9).context())
    assert again == {**started, "processing_id": goes_on_as}
    sensor = AemGuidesProcessingSensor(task_id="path.wait", job=again, max_resumes=1)
    deferred_trigger(sensor, waiting.begin_try(4, max_tries=9))
    state = register.states(key)[-1]
    assert (state.phase, state.processing_id) == (Phase.FOLLOWING, goes_on_as)
    assert [job["processing_id"] for job in emulator.jobs(path) if job["state"] == "RUNNING"] == [goes_on_as]
    assert len(emulator.jobs(path)) == 2
    emulator.post("/emulator/jobs/fail", {"processingId": goes_on_as})
