"""What the starting task keeps in mind while it must wait, against a real instance."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import cast

import pytest
from airflow.sdk import Context
from airflow.sdk.exceptions import TaskDeferred

from aem_guides.operators import AemGuidesStartProcessingOperator
from aem_guides.protocol.errors import NotFoundError, Retry
from tests.support.emulator import PASSWORD, EmulatorProcess


class Store:
    """A task state store, as far as it is used: what lies in it, and what ever did."""

    def __init__(self) -> None:
        self.kept: dict[str, object] = {}
        self.past: list[object] = []

    def get(self, key: str, default: object = None) -> object:
        return self.kept.get(key, default)

    def set(self, key: str, value: object, *, retention: object = None) -> None:
        self.kept[key] = value
        self.past.append(value)


@dataclass
class TaskInstance:
    dag_id: str = "dag"
    run_id: str = "run"
    task_id: str = "start"
    map_index: int = 0
    try_number: int = 1
    max_tries: int = 5

    def xcom_push(self, key: str, value: object) -> None:
        """What is handed on is not looked at here."""


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
    store = Store()
    context = cast("Context", {"task_state_store": store, "ti": TaskInstance()})
    task = AemGuidesStartProcessingOperator(task_id="start", path=path, on_active_job="queue")
    with pytest.raises(TaskDeferred):
        task.execute(context)
    written = [cast("dict[str, object]", value)["intent"] for value in store.past]
    assert written[0] is not None
    assert written[-1] is None
    assert len(emulator.jobs(path)) == 1


def test_a_history_that_is_not_there_yet_keeps_what_is_known_of_a_start_in_doubt(emulator: EmulatorProcess) -> None:
    """An instance that restarts answers 404 until it has started; the job that it accepted before goes on."""
    path = f"/content/dam/restarting-{uuid.uuid4().hex[:8]}"
    emulator.virtual_folder(path, 10, rate=100)
    emulator.fault("start", "reset_after")
    emulator.fault("history", "status", status=404, after=1)
    store = Store()
    task = AemGuidesStartProcessingOperator(task_id="start", path=path)
    with pytest.raises(NotFoundError) as caught:
        task.execute(cast("Context", {"task_state_store": store, "ti": TaskInstance()}))
    assert caught.value.retry is Retry.BRIEFLY
    cleared = cast("Context", {"task_state_store": store, "ti": TaskInstance(try_number=2, max_tries=7)})
    started = task.execute(cleared)
    (job,) = emulator.jobs(path)
    assert (started["processing_id"], started["origin"]) == (job["processing_id"], "recovered")


def test_the_time_to_queue_is_one_over_all_tries(emulator: EmulatorProcess) -> None:
    path = f"/content/dam/queueing-{uuid.uuid4().hex[:8]}"
    emulator.virtual_folder(path, 1000, rate=0.5)
    body = {"path": path, "type": "ASSET_PROCESSING"}
    emulator.admin.post("/bin/guides/v1/assets/process", json=body, auth=("admin", PASSWORD)).raise_for_status()
    store, deadlines = Store(), []
    task = AemGuidesStartProcessingOperator(task_id="start", path=path, on_active_job="queue")
    for number, max_tries in ((1, 5), (2, 5), (3, 8)):
        context = cast(
            "Context", {"task_state_store": store, "ti": TaskInstance(try_number=number, max_tries=max_tries)}
        )
        with pytest.raises(TaskDeferred) as deferred:
            task.execute(context)
        deadlines.append(deferred.value.trigger.deadline_at)
    assert deadlines[0] == deadlines[1] < deadlines[2], "Clear begins anew, a retry does not"
