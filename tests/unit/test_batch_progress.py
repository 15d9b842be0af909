"""The progress of a batch, second by second, without Airflow and without an instance."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace

import pytest
from airflow.sdk.bases.xcom import BaseXCom
from airflow.sdk.exceptions import AirflowRuntimeError, ErrorType
from airflow.sdk.execution_time.comms import ErrorResponse, XComResult
from airflow.triggers.base import TaskSuccessEvent, TriggerEvent

from aem_guides.hooks import bodies
from aem_guides.pipelines import batch_progress
from aem_guides.pipelines.batch_plan import BLOCK, BatchPlan
from aem_guides.pipelines.batch_progress import AemGuidesBatchProgressTrigger
from aem_guides.protocol.models import JsonObject
from aem_guides.runtime.task_states import TaskKey

PATHS = BLOCK


@dataclass
class Batch:
    """A batch whose paths end one after the other, `every` seconds apart, and a clock that only waiting moves."""

    every: float
    clock: float = 0.0
    questions: int = 0
    refused: int = 0

    @property
    def done(self) -> int:
        return min(PATHS, int(self.clock / self.every))

    async def asleep(self, seconds: float) -> None:
        self.clock += seconds

    async def count(self, _dag: str, _run: str, _task: str, states: tuple[str, ...]) -> int:
        self.questions += 1
        if self.questions <= self.refused:
            raise AirflowRuntimeError(ErrorResponse(error=ErrorType.API_SERVER_ERROR))
        return self.done if "success" in states else 0


def progress_of(batch: Batch, monkeypatch: pytest.MonkeyPatch, **given: bool) -> AemGuidesBatchProgressTrigger:
    """The trigger that shows the progress of a batch."""

    async def plan(_trigger: object) -> BatchPlan:
        return BatchPlan("host", "name", tuple((f"/content/dam/{index}", "") for index in range(PATHS)))

    async def running(*_: object) -> int:
        return PATHS - batch.done

    world = replace(bodies.REAL_SURROUNDINGS, elapsed=lambda: batch.clock, now=lambda: batch.clock, asleep=batch.asleep)
    monkeypatch.setattr(bodies, "REAL_SURROUNDINGS", world)
    monkeypatch.setattr(batch_progress, "count_instances", batch.count)
    monkeypatch.setattr(AemGuidesBatchProgressTrigger, "_plan", plan)
    monkeypatch.setattr(AemGuidesBatchProgressTrigger, "_running", running)
    monkeypatch.setattr(AemGuidesBatchProgressTrigger, "_task_key", lambda _self: TaskKey("dag", "run", "path", -1))
    return AemGuidesBatchProgressTrigger(
        aem_guides_conn_id="aem_guides_default", plan_task_id="plan", path_task_id="path", look_every=30.0, **given
    )


def watched(batch: Batch, monkeypatch: pytest.MonkeyPatch) -> str:
    """The last progress that is shown of a batch."""
    return str(asyncio.run(progress_of(batch, monkeypatch).outcome())["text"])


def test_it_ends_within_three_seconds_of_the_last_path_however_long_the_batch_took(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for every in (0.5, 7.0, 100.0, 5000.0):
        batch = Batch(every)
        assert f"{PATHS} of {PATHS}" in watched(batch, monkeypatch)
        assert batch.clock - PATHS * every <= 3.0


def test_an_airflow_that_does_not_answer_for_a_while_ends_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    batch = Batch(100.0, refused=50)
    assert f"{PATHS} of {PATHS}" in watched(batch, monkeypatch)


def fired(trigger: AemGuidesBatchProgressTrigger, monkeypatch: pytest.MonkeyPatch) -> tuple[TriggerEvent, JsonObject]:
    """The one event of a trigger, and the XComs that it pushed."""
    pushed: JsonObject = {}

    async def push(_key: TaskKey, values: JsonObject) -> None:
        pushed.update(values)

    async def fire() -> TriggerEvent:
        return await anext(trigger.run())

    monkeypatch.setattr("aem_guides.triggers.base.push_xcoms", push)
    return asyncio.run(fire()), pushed


def test_it_ends_its_task_without_a_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    event, pushed = fired(progress_of(Batch(1.0), monkeypatch, ends_task=True), monkeypatch)
    assert isinstance(event, TaskSuccessEvent)
    assert f"{PATHS} of {PATHS}" in str(pushed["return_value"])


def test_a_worker_says_so_if_the_progress_could_not_be_shown_to_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    trigger = progress_of(Batch(1.0), monkeypatch, ends_task=True)

    async def lost(_trigger: object) -> BatchPlan:
        raise OSError("the plan cannot be read")

    monkeypatch.setattr(AemGuidesBatchProgressTrigger, "_plan", lost)
    event, pushed = fired(trigger, monkeypatch)
    assert "the plan cannot be read" in event.payload["error"]
    assert pushed == {}


def test_it_reads_the_plan_also_where_xcoms_are_stored_outside_of_airflow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise it shows at once that all of 0 paths have ended."""
    plan = BatchPlan("host", "name", (("/content/dam/a", ""),))
    trigger = AemGuidesBatchProgressTrigger(
        aem_guides_conn_id="aem_guides_default", plan_task_id="plan", path_task_id="path", look_every=30.0
    )

    class Elsewhere(BaseXCom):
        @staticmethod
        def deserialize_value(result: object) -> object:
            assert getattr(result, "value", None) == "s3://xcoms/plan"
            return plan.to_json()

    class Supervisor:
        async def asend(self, _question: object) -> XComResult:
            return XComResult(key="planned", value="s3://xcoms/plan")

    monkeypatch.setattr("airflow.sdk.execution_time.xcom.XCom", Elsewhere)
    monkeypatch.setattr("airflow.sdk.execution_time.task_runner.SUPERVISOR_COMMS", Supervisor(), raising=False)
    monkeypatch.setattr(trigger, "_task_key", lambda: TaskKey("dag", "run", "progress", -1))
    assert asyncio.run(trigger._plan()) == plan
