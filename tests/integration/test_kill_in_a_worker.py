"""A task that is killed while it waits in a worker, against a real instance: its job is cancelled, or left alone."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from aem_guides.hooks.hook import AemGuidesHook
from aem_guides.operators import AemGuidesProcessAssetsOperator, AemGuidesStartProcessingOperator
from aem_guides.operators.path_task import PathTask
from aem_guides.protocol.models import JsonObject, ProcessingRequest
from aem_guides.protocol.procedures.cancel import CancelResult
from aem_guides.protocol.procedures.path_state import PathState, Phase
from aem_guides.runtime.task_states import TaskKey
from aem_guides.sensors import AemGuidesProcessingSensor
from aem_guides.triggers import lifecycle
from aem_guides.triggers.lifecycle import TaskKilledError
from tests.support.emulator import EmulatorProcess
from tests.support.notes import KeptNotes
from tests.support.tasks import Task


@pytest.fixture(autouse=True)
def _connection(emulator: EmulatorProcess, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("AIRFLOW_CONN_AEM_GUIDES_DEFAULT", emulator.connection(read_timeout=5))
    yield
    emulator.delete("/emulator/faults")


@pytest.fixture
def folder(emulator: EmulatorProcess) -> Iterator[str]:
    """A folder that takes longer than any test."""
    path = f"/content/dam/killed-{uuid.uuid4().hex[:8]}"
    emulator.virtual_folder(path, 10_000, rate=0.5)
    yield path
    for job in emulator.jobs(path):
        if job["state"] == "RUNNING":
            emulator.post("/emulator/jobs/fail", {"processingId": job["processing_id"]})


def a_waiting_task(path: str) -> PathTask:
    with AemGuidesHook() as hook:
        job: JsonObject = {"processing_id": hook.start_processing(ProcessingRequest(path)), "origin": "started"}
    return AemGuidesProcessingSensor(task_id="path", job=job, deferrable=False, longest_look=1.0, stream_logs=False)


def a_path_of_a_batch(path: str) -> PathTask:
    return AemGuidesProcessAssetsOperator(task_id="path", path=path, deferrable=False, longest_look=1.0)


ways = pytest.mark.parametrize("make", [a_waiting_task, a_path_of_a_batch])


def held_to_be(monkeypatch: pytest.MonkeyPatch, *states: str) -> None:
    """Airflow reports these states of the task; none if it was cleared."""

    async def answer(_key: TaskKey) -> frozenset[str]:
        return frozenset(states)

    monkeypatch.setattr(lifecycle, "task_states", answer)


def killed_once(
    task: PathTask, emulator: EmulatorProcess, register: KeptNotes, met: Callable[[PathState], object]
) -> PathState:
    """The last state of a path whose task is killed, at its last try, as soon as a condition is met."""

    def last() -> PathState | None:
        kept = [key for key in register.values if key.startswith("path:")]
        return register.state(kept[0]) if kept else None

    with ThreadPoolExecutor() as worker:
        running = worker.submit(task.execute, Task("path", max_tries=0).context())
        emulator.wait_until(lambda: (state := last()) is not None and met(state))
        task.on_kill()
        with pytest.raises(TaskKilledError):
            running.result()
    state = last()
    assert state is not None
    return state


def follows(state: PathState) -> bool:
    return state.phase is Phase.FOLLOWING and state.deadline_at is not None


@ways
@pytest.mark.parametrize(("states", "ended"), [(["failed"], "CANCELLED"), ([], "RUNNING")])
def test_a_kill_cancels_the_job_and_a_clear_does_not(
    emulator: EmulatorProcess,
    folder: str,
    monkeypatch: pytest.MonkeyPatch,
    register: KeptNotes,
    make: Callable[[str], PathTask],
    states: list[str],
    ended: str,
) -> None:
    held_to_be(monkeypatch, *states)
    monkeypatch.setattr(lifecycle, "KILL_CANCEL_SECONDS", 600.0)  # a busy machine, and a fast clock
    state = killed_once(make(folder), emulator, register, follows)
    assert emulator.jobs(folder)[0]["state"] == ended
    assert state.is_left_behind is (ended == "RUNNING")


@ways
def test_a_job_that_could_not_be_cancelled_is_left_to_the_tasks_after(
    emulator: EmulatorProcess,
    folder: str,
    monkeypatch: pytest.MonkeyPatch,
    register: KeptNotes,
    make: Callable[[str], PathTask],
) -> None:
    held_to_be(monkeypatch, "failed")
    emulator.fault("cancel", "status", status=503, count=None)
    state = killed_once(make(folder), emulator, register, follows)
    assert (state.cancel, state.is_left_behind) == (CancelResult.UNKNOWN, True)


def test_a_start_that_is_on_its_way_is_found_and_its_job_cancelled(
    emulator: EmulatorProcess, folder: str, monkeypatch: pytest.MonkeyPatch, register: KeptNotes
) -> None:
    held_to_be(monkeypatch, "failed")
    monkeypatch.setattr(lifecycle, "KILL_CANCEL_SECONDS", 600.0)
    emulator.fault("start", "delay", seconds=3.0)
    start = AemGuidesStartProcessingOperator(task_id="path", path=folder)
    before = len(emulator.requests("start"))
    state = killed_once(start, emulator, register, lambda _: len(emulator.requests("start")) > before)
    assert (state.cancel, state.processing_id) == (CancelResult.CANCELLED, emulator.jobs(folder)[0]["processing_id"])
    assert emulator.jobs(folder)[0]["state"] == "CANCELLED"
