"""A job at its deadline, against a real instance: what cancels it, and the message about one that is left running."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable

import pytest

from aem_guides.hooks.hook import AemGuidesHook
from aem_guides.protocol.errors import DeadlineExceededError
from aem_guides.protocol.models import JsonObject, ProcessingRequest
from aem_guides.protocol.procedures.cancel import CancelResult
from aem_guides.protocol.procedures.follow import FollowEnd
from aem_guides.protocol.procedures.path_state import PathState
from aem_guides.protocol.procedures.start import Origin
from aem_guides.sensors import AemGuidesProcessingSensor
from tests.support.emulator import EmulatorProcess
from tests.support.notes import KeptNotes
from tests.support.path_triggers import deferred_trigger, event_of, path_trigger
from tests.support.tasks import Task

ADOPTED_AND_LEFT = "It was left running, because this run only adopted it (cancel_adopted is off)."
CASES = pytest.mark.parametrize(
    ("origin", "cancel_adopted", "cancelled"),
    [("started", False, True), ("recovered", False, True), ("adopted", False, False), ("adopted", True, True)],
)


@pytest.fixture(autouse=True)
def _connection(emulator: EmulatorProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_AEM_GUIDES_DEFAULT", emulator.connection(read_timeout=5))


@pytest.fixture
def folder(emulator: EmulatorProcess) -> str:
    """A folder that takes longer than any test."""
    path = f"/content/dam/slow-{uuid.uuid4().hex[:8]}"
    emulator.virtual_folder(path, 10_000, rate=0.5)
    return path


def started(path: str) -> str:
    with AemGuidesHook() as hook:
        return hook.start_processing(ProcessingRequest(path))


def state_of(emulator: EmulatorProcess, path: str) -> str:
    (job,) = emulator.jobs(path)
    state = str(job["state"])
    if state == "RUNNING":
        emulator.post("/emulator/jobs/fail", {"processingId": job["processing_id"]})
    return state


def in_a_worker(sensor: Callable[..., AemGuidesProcessingSensor]) -> None:
    sensor(deferrable=False).execute(Task().context())


def in_the_triggerer(sensor: Callable[..., AemGuidesProcessingSensor]) -> None:
    task = Task()
    event = asyncio.run(event_of(deferred_trigger(sensor(), task)))
    sensor().execute_complete(task.context(), event)


@CASES
@pytest.mark.parametrize("wait", [in_a_worker, in_the_triggerer])
def test_at_its_deadline_a_job_is_cancelled_unless_it_was_adopted(
    emulator: EmulatorProcess,
    folder: str,
    wait: Callable[[Callable[..., AemGuidesProcessingSensor]], None],
    origin: str,
    cancel_adopted: bool,
    cancelled: bool,
) -> None:
    job: JsonObject = {"processing_id": started(folder), "path": folder, "origin": origin}

    def sensor(**more: bool) -> AemGuidesProcessingSensor:
        return AemGuidesProcessingSensor(
            task_id="wait",
            job=job,
            deadline_hours=3 / 3600,
            cancel_adopted=cancel_adopted,
            stream_logs=False,
            longest_look=1.0,
            deferrable=more.get("deferrable", True),
        )

    with pytest.raises(DeadlineExceededError) as caught:
        wait(sensor)
    assert state_of(emulator, folder) == ("CANCELLED" if cancelled else "RUNNING")
    assert str(caught.value).endswith(ADOPTED_AND_LEFT) is not cancelled


@CASES
def test_at_its_deadline_a_job_of_a_batch_is_cancelled_unless_it_was_adopted(
    emulator: EmulatorProcess, folder: str, origin: str, cancel_adopted: bool, cancelled: bool
) -> None:
    notes = KeptNotes()
    trigger = path_trigger(
        notes,
        folder,
        state=PathState(ProcessingRequest(folder), cancel_adopted=cancel_adopted).works(
            started(folder), Origin(origin)
        ),
        job_seconds=3.0,
        cancel_on_deadline=True,
        cancel_adopted=cancel_adopted,
    )
    assert asyncio.run(event_of(trigger)) == {"phase": "ended"}
    state = notes.state(folder)
    assert state is not None
    assert (state.end, state.cancel) == (FollowEnd.DEADLINE, CancelResult.CANCELLED if cancelled else None)
    assert state_of(emulator, folder) == ("CANCELLED" if cancelled else "RUNNING")
