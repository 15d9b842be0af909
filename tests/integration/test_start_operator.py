"""What is stored of a start that waits or was cut short, against a real instance."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Iterator

import pytest
from airflow.sdk.exceptions import TaskDeferred

from aem_guides.hooks.hook import AemGuidesAsyncHook, AemGuidesHook
from aem_guides.operators import AemGuidesStartProcessingOperator
from aem_guides.protocol.errors import NotFoundError, Retry, UnreachableError
from aem_guides.protocol.models import JsonObject, ProcessingRequest
from aem_guides.protocol.procedures import begin
from aem_guides.protocol.procedures.path_state import Phase
from aem_guides.protocol.procedures.start import start_once
from aem_guides.triggers.base import FollowingFailedError
from aem_guides.triggers.lifecycle import AemGuidesLifecycleTrigger
from tests.support.deaths import WorkerKilledError, dies_after_its_post
from tests.support.emulator import PASSWORD, EmulatorProcess
from tests.support.notes import KeptNotes
from tests.support.path_triggers import deferred_trigger, event_of
from tests.support.tasks import Run, Task


@pytest.fixture(autouse=True)
def _connection(emulator: EmulatorProcess, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("AIRFLOW_CONN_AEM_GUIDES_DEFAULT", emulator.connection(read_timeout=30))
    yield
    emulator.delete("/emulator/faults")


def test_a_start_that_was_refused_for_another_job_leaves_no_doubt_behind(
    emulator: EmulatorProcess, register: KeptNotes
) -> None:
    path = f"/content/dam/busy-{uuid.uuid4().hex[:8]}"
    emulator.virtual_folder(path, 1000, rate=0.5)
    body = {"path": path, "type": "ASSET_PROCESSING"}
    emulator.admin.post("/bin/guides/v1/assets/process", json=body, auth=("admin", PASSWORD)).raise_for_status()
    emulator.fault("history", "history_lag", seconds=3600, count=2)
    ti = Task("start")
    task = AemGuidesStartProcessingOperator(task_id="start", path=path, on_active_job="queue")
    with pytest.raises(TaskDeferred):
        task.execute(ti.context())
    written = register.states_of(ti, ProcessingRequest(path))
    assert any(state.in_doubt for state in written)
    assert (written[-1].phase, written[-1].intent) == (Phase.QUEUED, None)
    assert len(emulator.jobs(path)) == 1


def test_a_history_that_is_not_there_yet_keeps_what_is_known_of_a_start_in_doubt(emulator: EmulatorProcess) -> None:
    """A restarting instance answers 404 until it has started. The job that it accepted before continues."""
    path = f"/content/dam/restarting-{uuid.uuid4().hex[:8]}"
    emulator.virtual_folder(path, 10, rate=100)
    emulator.fault("start", "reset_after")
    emulator.fault("history", "status", status=404, after=2)
    ti = Task("start")
    task = AemGuidesStartProcessingOperator(task_id="start", path=path)
    with pytest.raises(NotFoundError) as caught:
        task.execute(ti.context())
    assert caught.value.retry is Retry.USEFUL
    started = task.execute(ti.begin_try(2, max_tries=7).context())
    (job,) = emulator.jobs(path)
    assert (started["processing_id"], started["origin"]) == (job["processing_id"], "recovered")


def test_the_time_to_queue_is_one_over_all_tries(emulator: EmulatorProcess, register: KeptNotes) -> None:
    path = f"/content/dam/queueing-{uuid.uuid4().hex[:8]}"
    emulator.virtual_folder(path, 1000, rate=0.5)
    body = {"path": path, "type": "ASSET_PROCESSING"}
    emulator.admin.post("/bin/guides/v1/assets/process", json=body, auth=("admin", PASSWORD)).raise_for_status()
    ti, deadlines = Task("start"), list[float]()
    task = AemGuidesStartProcessingOperator(task_id="start", path=path, on_active_job="queue")
    for number, max_tries in ((1, 5), (2, 5), (3, 8)):
        with pytest.raises(TaskDeferred):
            task.execute(ti.begin_try(number, max_tries).context())
        deadlines.append(register.state_of(ti, ProcessingRequest(path)).queue_until or 0.0)
    assert deadlines[0] == deadlines[1] < deadlines[2], "Clear begins anew, a retry does not"


def test_an_unanswered_start_is_in_doubt_until_a_later_try_has_found_its_job(
    emulator: EmulatorProcess, monkeypatch: pytest.MonkeyPatch, register: KeptNotes
) -> None:
    path = f"/content/dam/unheard-{uuid.uuid4().hex[:8]}"
    emulator.virtual_folder(path, 1000, rate=0.5)
    ti, request = Task("start"), ProcessingRequest(path)
    task = AemGuidesStartProcessingOperator(task_id="start", path=path)
    with monkeypatch.context() as patch:
        patch.setattr(begin, "start_once", dies_after_its_post(start_once))
        with pytest.raises(WorkerKilledError):
            task.execute(ti.context())
    assert register.state_of(ti, request).in_doubt
    with monkeypatch.context() as patch:
        patch.setattr(AemGuidesAsyncHook, "drive", _unreachable)
        with pytest.raises(UnreachableError):
            task.execute(ti.begin_try(2).context())
    assert register.state_of(ti, request).in_doubt
    started = task.execute(ti.begin_try(3).context())
    assert not register.state_of(ti, request).in_doubt
    assert [job["processing_id"] for job in emulator.jobs(path)] == [started["processing_id"]]


async def _unreachable(*_: object) -> None:
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
    for run in ("one", "another"):
        task = AemGuidesStartProcessingOperator(
            task_id="start", path=path, on_active_job=policy, max_active_jobs=full, longest_look=2.0
        )
        ti = Task("start", run=Run(run_id=run))
        waiting.append((task, ti, deferred_trigger(task, ti)))
    emulator.post("/emulator/jobs/fail", {"processingId": stranger})

    def go_on(task: AemGuidesStartProcessingOperator, ti: Task, trigger: AemGuidesLifecycleTrigger) -> JsonObject:
        return task.execute_complete(ti.context(), asyncio.run(event_of(trigger)))

    first, second = waiting
    started = go_on(*first)
    assert started["origin"] == "started"
    if policy == "adopt":
        adopted = go_on(*second)
        assert (adopted["origin"], adopted["processing_id"]) == ("adopted", started["processing_id"])
    else:
        with pytest.raises(FollowingFailedError, match=str(started["processing_id"])) as caught:
            go_on(*second)
        assert caught.value.retry is Retry.POINTLESS
    (job,) = emulator.jobs(path)
    emulator.post("/emulator/jobs/fail", {"processingId": job["processing_id"]})
