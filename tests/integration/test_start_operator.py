"""What the starting task keeps in mind while it must wait, against a real instance."""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections.abc import Iterator
from typing import cast

import pytest
from airflow.sdk.exceptions import TaskDeferred

from aem_guides.hooks.hook import AemGuidesHook
from aem_guides.operators import AemGuidesStartProcessingOperator
from aem_guides.operators import start as start_operator
from aem_guides.operators.start import IN_DOUBT_KEY
from aem_guides.protocol.errors import ActiveJobError, NotFoundError, Retry, UnreachableError
from aem_guides.protocol.models import JsonObject, ProcessingRequest
from aem_guides.protocol.procedures.start import start_once
from aem_guides.triggers.base import AemGuidesTrigger
from tests.support.deaths import WorkerKilledError, dies_after_its_post
from tests.support.emulator import PASSWORD, EmulatorProcess
from tests.support.tasks import Task


@pytest.fixture(autouse=True)
def _connection(emulator: EmulatorProcess, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("AIRFLOW_CONN_AEM_GUIDES_DEFAULT", emulator.connection(read_timeout=30))
    yield
    emulator.delete("/emulator/faults")


def test_a_start_that_was_refused_for_another_job_leaves_no_doubt_behind(emulator: EmulatorProcess) -> None:
    path = f"/content/dam/busy-{uuid.uuid4().hex[:8]}"
    emulator.virtual_folder(path, 1000, rate=0.5)
    body = {"path": path, "type": "ASSET_PROCESSING"}
    emulator.admin.post("/bin/guides/v1/assets/process", json=body, auth=("admin", PASSWORD)).raise_for_status()
    emulator.fault("history", "history_lag", seconds=3600)
    ti = Task("start")
    task = AemGuidesStartProcessingOperator(task_id="start", path=path, on_active_job="queue")
    with pytest.raises(TaskDeferred):
        task.execute(ti.context())
    written = [cast("JsonObject", value)["intent"] for value in ti.store.past]
    assert written[0] is not None
    assert written[-1] is None
    assert ti.pushed[IN_DOUBT_KEY] is False
    assert len(emulator.jobs(path)) == 1


def test_a_history_that_is_not_there_yet_keeps_what_is_known_of_a_start_in_doubt(emulator: EmulatorProcess) -> None:
    """An instance that restarts answers 404 until it has started; the job that it accepted before goes on."""
    path = f"/content/dam/restarting-{uuid.uuid4().hex[:8]}"
    emulator.virtual_folder(path, 10, rate=100)
    emulator.fault("start", "reset_after")
    emulator.fault("history", "status", status=404, after=1)
    ti = Task("start")
    task = AemGuidesStartProcessingOperator(task_id="start", path=path)
    with pytest.raises(NotFoundError) as caught:
        task.execute(ti.context())
    assert caught.value.retry is Retry.USEFUL
    started = task.execute(ti.begin_try(2, max_tries=7).context())
    (job,) = emulator.jobs(path)
    assert (started["processing_id"], started["origin"]) == (job["processing_id"], "recovered")


def test_the_time_to_queue_is_one_over_all_tries(emulator: EmulatorProcess) -> None:
    path = f"/content/dam/queueing-{uuid.uuid4().hex[:8]}"
    emulator.virtual_folder(path, 1000, rate=0.5)
    body = {"path": path, "type": "ASSET_PROCESSING"}
    emulator.admin.post("/bin/guides/v1/assets/process", json=body, auth=("admin", PASSWORD)).raise_for_status()
    ti, deadlines = Task("start"), []
    task = AemGuidesStartProcessingOperator(task_id="start", path=path, on_active_job="queue")
    for number, max_tries in ((1, 5), (2, 5), (3, 8)):
        with pytest.raises(TaskDeferred) as deferred:
            task.execute(ti.begin_try(number, max_tries).context())
        deadlines.append(deferred.value.trigger.deadline_at)
    assert deadlines[0] == deadlines[1] < deadlines[2], "Clear begins anew, a retry does not"


def test_a_start_of_which_nobody_heard_is_in_doubt_until_a_later_try_has_found_its_job(
    emulator: EmulatorProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = f"/content/dam/unheard-{uuid.uuid4().hex[:8]}"
    emulator.virtual_folder(path, 1000, rate=0.5)
    ti = Task("start")
    task = AemGuidesStartProcessingOperator(task_id="start", path=path)

    def attempt(number: int) -> Task:
        with contextlib.suppress(WorkerKilledError, UnreachableError):
            task.execute(ti.begin_try(number).context())
        return ti

    with monkeypatch.context() as patch:
        patch.setattr(start_operator, "start_once", dies_after_its_post(start_once))
        assert attempt(1).pushed[IN_DOUBT_KEY] is True
    with monkeypatch.context() as patch:
        patch.setattr(AemGuidesHook, "drive", _unreachable)
        assert attempt(2).pushed[IN_DOUBT_KEY] is True
    third = attempt(3)
    assert third.pushed[IN_DOUBT_KEY] is False
    assert [job["processing_id"] for job in emulator.jobs(path)] == [third.pushed["processing_id"]]


def _unreachable(*_: object) -> None:
    raise UnreachableError("history", "connection refused", sent=False, attempts=5)


@pytest.mark.parametrize("policy", ["adopt", "fail"])
def test_of_two_that_wait_for_room_for_one_path_one_starts_and_the_other_takes_its_job_or_fails(
    emulator: EmulatorProcess, policy: str
) -> None:
    path, busy = (f"/content/dam/{name}-{uuid.uuid4().hex[:8]}" for name in ("wanted", "busy"))
    for folder in (path, busy):
        emulator.virtual_folder(folder, 1000, rate=0.5)
    with AemGuidesHook() as hook:
        stranger = hook.start_processing(ProcessingRequest(busy))
        full = len([job for job in hook.get_history().jobs if job.is_active])
    waiting = []
    for _ in range(2):
        task = AemGuidesStartProcessingOperator(
            task_id="start", path=path, on_active_job=policy, max_active_jobs=full, longest_look=2.0
        )
        ti = Task("start")
        with pytest.raises(TaskDeferred) as deferred:
            task.execute(ti.context())
        waiting.append((task, ti, cast("AemGuidesTrigger", deferred.value.trigger)))
    emulator.post("/emulator/jobs/fail", {"processingId": stranger})

    def go_on(task: AemGuidesStartProcessingOperator, ti: Task, trigger: AemGuidesTrigger) -> JsonObject:
        event = asyncio.run(trigger.outcome())
        return task.execute_after_wait(ti.context(), event)

    first, second = waiting
    started = go_on(*first)
    assert started["origin"] == "started"
    if policy == "adopt":
        assert go_on(*second) == {**started, "origin": "adopted"}
    else:
        with pytest.raises(ActiveJobError):
            go_on(*second)
    (job,) = emulator.jobs(path)
    emulator.post("/emulator/jobs/fail", {"processingId": job["processing_id"]})
