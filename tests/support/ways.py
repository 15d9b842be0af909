"""All ways to run a path: as five tasks or as one task of a batch, deferred or in a worker.

The tasks are the real operators in a real DAG object, against an emulator. Airflow itself is replaced. The test's own
event loop runs the trigger of a deferred task, as a triggerer does.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, cast

import pytest
from airflow.sdk import DAG, BaseOperator, TaskGroup
from airflow.sdk.exceptions import AirflowSkipException, TaskDeferred
from airflow.triggers.base import TaskSuccessEvent, TriggerEvent

from aem_guides.hooks import AemGuidesHook
from aem_guides.operators import (
    AemGuidesArchiveLogsOperator,
    AemGuidesProcessAssetsOperator,
    AemGuidesPullLogsOperator,
    AemGuidesStartProcessingOperator,
    AemGuidesVerifyAssetsOperator,
)
from aem_guides.pipelines.batch import _killed_row
from aem_guides.protocol.errors import AemGuidesError
from aem_guides.protocol.models import JsonObject, JsonValue, ProcessingRequest
from aem_guides.protocol.procedures.path_state import PathState
from aem_guides.results.rows import PathResults, Row, build_row, problems, problems_of
from aem_guides.runtime.notes import path_key
from aem_guides.runtime.retry_policy import AemGuidesRetryPolicy
from aem_guides.runtime.task_states import TaskKey
from aem_guides.sensors import AemGuidesProcessingSensor
from aem_guides.triggers.base import AemGuidesTrigger
from tests.support.notes import KeptNotes
from tests.support.tasks import Run, Task

GROUP = "process_path"
MOST_TRIES = 6
_DEFERRED: ContextVar[Task] = ContextVar("the task whose trigger runs")
_BUILDING = threading.Lock()
"""Only one DAG can be built at a time in a process."""
TASKS: Mapping[str, Callable[..., BaseOperator]] = {
    "start": AemGuidesStartProcessingOperator,
    "wait": AemGuidesProcessingSensor,
    "verify": AemGuidesVerifyAssetsOperator,
    "pull": AemGuidesPullLogsOperator,
    "archive": AemGuidesArchiveLogsOperator,
    "batch": AemGuidesProcessAssetsOperator,
}
FIELDS = {
    "start": {"on_active_job", "max_active_jobs", "queue_hours", "only_between", "longest_look"},
    "wait": {
        "deadline_hours",
        "on_deadline",
        "max_resumes",
        "max_active_jobs",
        "cancel_adopted",
        "only_between",
        "longest_look",
        "stream_logs",
    },
    "verify": {"fail_on_asset_failures", "verify_ignore", "archive_uri"},
    "archive": {"archive_uri"},
}


@dataclass
class PathRun:
    """One path of one run, over all tries of its tasks. `options` are fields of the operators."""

    way: Way
    path: str
    register: KeptNotes
    monkeypatch: pytest.MonkeyPatch
    options: Mapping[str, Any]
    run_id: str = "run"
    created_after: int | None = None
    errors: dict[str, BaseException] = field(default_factory=dict)
    results: dict[str, JsonValue] = field(default_factory=dict)
    states: dict[str, str] = field(default_factory=dict)
    triggers: list[AemGuidesTrigger] = field(default_factory=list)
    wait_is_over: Callable[[AemGuidesTrigger], None] = lambda _trigger: None
    """Called when a trigger has fired, before its task continues."""

    def __post_init__(self) -> None:
        self.run = Run(run_id=self.run_id)
        self.tasks: dict[str, Task] = {}
        self.ended_in_trigger: list[str] = []
        self.monkeypatch.setattr("aem_guides.triggers.kill.states_in_task", self._states)
        self.monkeypatch.setattr("aem_guides.triggers.lifecycle.task_states", self._astates)
        self.monkeypatch.setattr("aem_guides.triggers.base.push_xcoms", _push)
        self.monkeypatch.setattr("aem_guides.operators.process.announce", lambda *_: None)

    @property
    def request(self) -> ProcessingRequest:
        return ProcessingRequest(self.path, created_after=self.created_after)

    @property
    def state(self) -> PathState | None:
        """The stored state of the path."""
        task_id = f"{GROUP}.start" if self.way.five_tasks else GROUP
        return self.register.state(path_key(self.run.dag_id, self.run.run_id, task_id, self.request.fingerprint()))

    @property
    def outcome(self) -> JsonObject:
        """The outcome of the path: that of the wait, or the row of a batch."""
        task, key = ("wait", "outcome") if self.way.five_tasks else ("batch", "row")
        pushed = self.tasks[task].pushed if task in self.tasks else {}
        return cast("JsonObject", pushed.get(key) or {})

    @property
    def error(self) -> BaseException | None:
        """The last error of the tasks that take the path to its end."""
        names = ("start", "wait") if self.way.five_tasks else ("batch",)
        return next((self.errors[name] for name in reversed(names) if name in self.errors), None)

    @property
    def verification(self) -> tuple[JsonValue, str]:
        """How many assets failed (None if unknown), and the problems of a run that is not green."""
        task, key, field = (
            ("verify", "return_value", "failed") if self.way.five_tasks else ("batch", "row", "failed_assets")
        )
        pushed = self.tasks[task].pushed if task in self.tasks else {}
        found = cast("JsonObject", pushed.get(key) or {})
        return found.get(field), str(self.errors.get(task, ""))

    @property
    def begins(self) -> str:
        """The task that starts the job."""
        return "start" if self.way.five_tasks else "batch"

    @property
    def waits(self) -> str:
        """The task that waits for the job."""
        return "wait" if self.way.five_tasks else "batch"

    def to_the_end(self) -> JsonObject:
        """Run all tasks, each with its retries. Tasks after a failure run too, because their trigger rule is
        all_done."""
        if self.way.five_tasks:
            if self.play("start") and self.play("wait") and self.options.get("verify_assets"):
                self.play("verify")
            self.afterwards()
        else:
            self.play("batch")
        return self.outcome

    @property
    def waits_for_its_turn(self) -> bool:
        """Whether the path is in the queue."""
        return self.state is not None and self.state.queue_until is not None

    def problems(self) -> list[str]:
        """The problems that fail its run, as the report lists them."""
        if not self.way.five_tasks:
            return problems(Row.from_json(self.outcome), archive_logs=True, pull_logs=False)
        left = {name: cast("JsonObject | None", self.results.get(name)) for name in ("start", "pull", "archive")}
        result = PathResults(
            self.request.to_json(), left["start"], outcome=self.outcome, logs=left["pull"], archive=left["archive"]
        )
        return problems_of(build_row(result), result, archive_logs=True, verify_assets=False)

    def afterwards(self) -> None:
        """Run the tasks after the waiting one. They settle what a killed task left."""
        if self.way.five_tasks:
            for name in ("pull", "archive"):
                self.play(name)
        elif "batch" in self.states:
            with AemGuidesHook() as hook:
                _killed_row(Task("report", run=self.run).context(), hook, -1, self.request)

    def play(self, name: str) -> bool:
        """Run a task over its tries. Returns whether it succeeded."""
        policy = AemGuidesRetryPolicy()
        for number in range(1, MOST_TRIES + 1):
            try:
                self.attempt(name)
            except AemGuidesError as error:
                if policy.evaluate(error, number, MOST_TRIES - 1).action.value != "retry":
                    break
            except AirflowSkipException:
                self.states[name] = "skipped"
                return True
            else:
                self.states[name] = "success"
                return True
        self.states[name] = "failed"
        return False

    def attempt(self, name: str) -> None:
        """Run one try of a task. Raises what the task raises."""
        self._begin(name, self._task(name))

    def begin_twice(self, name: str) -> None:
        """Let Airflow begin the last try of a task once more."""
        self._begin(name, self.tasks[name])

    def _begin(self, name: str, ti: Task) -> None:
        operator = self._operator(name)
        self.errors.pop(name, None)
        try:
            result = _or_deferred(operator.execute, ti.context())
            while isinstance(result, TaskDeferred):
                result = _or_deferred(self._come_back, operator, ti, result)
        except BaseException as error:
            self.errors[name] = error
            raise
        if isinstance(result, TaskSuccessEvent):  # then the trigger has pushed everything
            self.ended_in_trigger.append(name)
            self.results[name] = ti.pushed["return_value"]
            return
        self.results[name] = cast("JsonValue", result)
        if result is not None:
            ti.xcom_push("return_value", self.results[name])

    def clear(self, *names: str) -> None:
        """Clear tasks as a user does. Their XComs stay until the next try begins."""
        for name in names:
            task = self.tasks[name]
            task.max_tries = task.try_number + MOST_TRIES

    def _task(self, name: str) -> Task:
        if name not in self.tasks:
            self.tasks[name] = Task(self._task_id(name), max_tries=MOST_TRIES - 1, run=self.run)
            return self.tasks[name]
        return self.tasks[name].begin_try(self.tasks[name].try_number + 1)

    def _task_id(self, name: str) -> str:
        return f"{GROUP}.{name}" if self.way.five_tasks else GROUP

    def _operator(self, name: str) -> BaseOperator:
        with _BUILDING, DAG("dag", schedule=None):
            if not self.way.five_tasks:
                request = self.request.to_json()
                return TASKS["batch"](task_id=GROUP, request=request, deferrable=self.way.deferred, **self.options)
            with TaskGroup(GROUP):
                tasks = {task: self._of_five(task) for task in ("start", "wait", "verify", "pull", "archive")}
                tasks["start"] >> tasks["wait"] >> tasks["verify"] >> [tasks["pull"], tasks["archive"]]
        return tasks[name]

    def _of_five(self, name: str) -> BaseOperator:
        request = self.request.to_json()
        given: dict[str, Any] = {key: value for key, value in self.options.items() if key in FIELDS.get(name, ())}
        if name == "start":
            given |= {"request": request, "deferrable": self.way.deferred}
        elif name == "wait":
            job = self.results.get("start") or {"processing_id": "none"}
            given |= {"job": job, "deferrable": self.way.deferred}
        elif name == "verify":
            minutes = self.options.get("verify_minutes", 60)
            processing_id = self.state.processing_id if self.state is not None else None
            given |= {"request": request, "processing_id": processing_id, "within_minutes": minutes}
            given |= {"deferrable": self.way.deferred}
        else:
            given |= {"request": request, "processing_id": ""}
        return TASKS[name](task_id=name, **given)

    def _come_back(self, operator: BaseOperator, ti: Task, deferred: TaskDeferred) -> object:
        trigger = cast("AemGuidesTrigger", deferred.trigger)
        trigger.task_instance = ti  # type: ignore[assignment]  # of which its key is read
        self.triggers.append(trigger)

        async def fire() -> TriggerEvent:
            _DEFERRED.set(ti)
            return await anext(trigger.run())

        event = asyncio.run(fire())
        self.wait_is_over(trigger)
        if isinstance(event, TaskSuccessEvent):
            return event
        return getattr(operator, deferred.method_name)(ti.context(), event.payload)

    def _states(self, key: TaskKey) -> frozenset[str]:
        name = "batch" if key.task_id == GROUP else key.task_id.removeprefix(f"{GROUP}.")
        return frozenset({self.states[name]}) if name in self.states else frozenset()

    async def _astates(self, key: TaskKey) -> frozenset[str]:
        return self._states(key)


async def _push(_key: TaskKey, values: JsonObject) -> None:
    """Push XComs of the task whose trigger runs."""
    for name, value in values.items():
        _DEFERRED.get().xcom_push(name, value)


def _or_deferred(work: Callable[..., object], *arguments: object) -> object:
    """The result, or the deferral that it raises."""
    try:
        return work(*arguments)
    except TaskDeferred as deferred:
        return deferred


@dataclass(frozen=True)
class Way:
    """A way to run a path."""

    five_tasks: bool
    deferred: bool

    def __str__(self) -> str:
        return f"{'five tasks' if self.five_tasks else 'batch'}, {'deferred' if self.deferred else 'in a worker'}"


WAYS = [Way(five_tasks, deferred) for five_tasks in (True, False) for deferred in (True, False)]
Begin = Callable[..., PathRun]
"""Returns a new path to run, in the way of the test."""

every_way = pytest.mark.parametrize("way", WAYS, ids=str)
every_deferred_way = pytest.mark.parametrize("way", [way for way in WAYS if way.deferred], ids=str)
