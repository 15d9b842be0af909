"""The state of a task instance in Airflow. It is the only sign of why a task was stopped.

Also the XComs of task instances, which may be missing.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Protocol

from airflow.sdk.exceptions import AirflowRuntimeError
from airflow.sdk.execution_time import task_runner
from airflow.sdk.execution_time.comms import (
    DagRunStateResult,
    GetDagRunState,
    GetTaskStates,
    GetTICount,
    TaskStatesResult,
    TICount,
)
from airflow.sdk.execution_time.xcom import XCom

from aem_guides.hooks.bodies import whole
from aem_guides.protocol.models import JsonObject

KILLED_STATES = frozenset({"failed", "skipped", "upstream_failed"})
"""The states of a killed task: it was marked failed itself, or its run failed or timed out."""

SUCCEEDED = "success"

NOT_RUN = "upstream_failed"
"""The state of a task that did not run, because an earlier one failed. Its XComs from before a Clear are still
there."""


class Instance(Protocol):
    """The fields that identify a task instance. `map_index` is None or -1 for a task that is not mapped."""

    dag_id: str
    run_id: str
    task_id: str

    @property
    def map_index(self) -> int | None: ...


@dataclass(frozen=True)
class TaskKey:
    """One task instance. `map_index` is -1 for a task that is not mapped."""

    dag_id: str
    run_id: str
    task_id: str
    map_index: int

    @classmethod
    def of(cls, ti: Instance) -> TaskKey:
        """The key of a task instance."""
        return cls(ti.dag_id, ti.run_id, ti.task_id, -1 if ti.map_index is None else ti.map_index)


class Pulling(Protocol):
    """The part of a task's `ti` that is used here."""

    def xcom_pull(self, task_ids: str, *, key: str, map_indexes: int = ...) -> object:
        """The XCom at a map index; without one, those of all map indexes."""
        ...


class LeftBehind:
    """The XComs that the tasks of a run left, some of which may be missing.

    Airflow logs an error if the XCom at a map index is missing, but not if all map indexes are read. So this reads all
    of them to find a task that left none. It does that once for each task, because a thousand paths may have left some.
    """

    def __init__(self, ti: Pulling) -> None:
        self._ti = ti
        self._left_any: dict[tuple[str, str], bool] = {}

    def by(self, task_id: str, key: str, map_index: int) -> object:
        """The XCom of a task, or None. `map_index` is -1 for a task that is not mapped."""
        if (task_id, key) not in self._left_any:
            self._left_any[task_id, key] = self._ti.xcom_pull(task_ids=task_id, key=key) is not None
        return (
            self._ti.xcom_pull(task_ids=task_id, key=key, map_indexes=map_index)
            if self._left_any[task_id, key]
            else None
        )


def _question(key: TaskKey) -> GetTaskStates:
    return GetTaskStates(
        dag_id=key.dag_id,
        map_index=key.map_index if key.map_index >= 0 else None,
        task_ids=[key.task_id],
        run_ids=[key.run_id],
    )


def _states(answer: object) -> frozenset[str]:
    """The states in `{run id: {task id: state}}`. A cleared task has no state."""
    if not isinstance(answer, TaskStatesResult):
        return frozenset()
    return frozenset(_words(answer.task_states))


def _words(value: object) -> Iterable[str]:
    if isinstance(value, Mapping):
        for inner in value.values():
            yield from _words(inner)
    elif value is not None:
        yield str(getattr(value, "value", value))


async def task_states(key: TaskKey) -> frozenset[str]:
    """The states of a task instance, from within a trigger."""
    return _states(await whole(task_runner.SUPERVISOR_COMMS.asend(_question(key))))


async def push_xcoms(key: TaskKey, values: JsonObject) -> None:
    """Push XComs of a task instance, from within its trigger. Raises AirflowRuntimeError."""
    for name, value in values.items():
        await whole(
            XCom.aset(name, value, dag_id=key.dag_id, task_id=key.task_id, run_id=key.run_id, map_index=key.map_index)
        )


def states_in_task(key: TaskKey) -> frozenset[str]:
    """The states of a task instance, from within another task."""
    return _states(task_runner.SUPERVISOR_COMMS.send(_question(key)))


def task_states_within(key: TaskKey, seconds: float) -> frozenset[str]:
    """The states of a task instance, from a signal handler. Empty if they do not come in time.

    The handler may have interrupted a request to the supervisor, and a second request must wait for that one. So
    another thread sends it, with a time limit.
    """
    found: list[frozenset[str]] = []

    def ask() -> None:
        found.append(_states(task_runner.SUPERVISOR_COMMS.send(_question(key))))

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(seconds)
    return found[0] if found else frozenset()


def run_state(dag_id: str, run_id: str) -> str | None:
    """The state of a DAG run, from within a task. None if Airflow no longer knows the run."""
    try:
        answer = task_runner.SUPERVISOR_COMMS.send(GetDagRunState(dag_id=dag_id, run_id=run_id))
    except AirflowRuntimeError as error:
        if (error.error.detail or {}).get("status_code") == HTTPStatus.NOT_FOUND:
            return None
        raise
    return str(answer.state.value) if isinstance(answer, DagRunStateResult) else None


async def count_instances(dag_id: str, run_id: str, task_id: str, states: Iterable[str]) -> int:
    """How many instances of a mapped task are in one of the states, from within a trigger."""
    question = GetTICount(dag_id=dag_id, run_ids=[run_id], task_ids=[task_id], states=list(states))
    answer = await task_runner.SUPERVISOR_COMMS.asend(question)
    return answer.count if isinstance(answer, TICount) else 0
