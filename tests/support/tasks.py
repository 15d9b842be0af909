"""Airflow's part of a task, for tests that run an operator without Airflow."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import cast

from airflow.sdk import Context

from aem_guides.protocol.models import JsonValue

NOT_GIVEN = -2


@dataclass
class StateStore:
    """The task state store of one task in one run. It outlives tries, Clear and success. `past` has all values ever
    set."""

    kept: dict[str, str] = field(default_factory=dict)
    past: list[JsonValue] = field(default_factory=list)

    def get(self, key: str, default: JsonValue = None) -> JsonValue:
        return cast("JsonValue", json.loads(self.kept[key])) if key in self.kept else default

    def set(self, key: str, value: JsonValue, *, retention: object = None) -> None:
        del retention
        assert value is not None, "Airflow refuses to store nothing"
        self.kept[key] = json.dumps(value)
        self.past.append(json.loads(self.kept[key]))


@dataclass
class Run:
    """A run of a DAG: the XComs of its tasks, by task, map index and key."""

    dag_id: str = "dag"
    run_id: str = "run"
    xcoms: dict[tuple[str, int, str], str] = field(default_factory=dict)
    asked_in_vain: list[tuple[str, str]] = field(default_factory=list)
    """Task and key of each missing XCom that was requested at a map index. Airflow logs an error for each."""

    def push(self, task_id: str, key: str, value: JsonValue, map_index: int = -1) -> None:
        self.xcoms[task_id, map_index, key] = json.dumps(value)

    def pull(self, task_id: str, key: str, map_index: int = -1) -> JsonValue:
        return cast("JsonValue", json.loads(self.xcoms.get((task_id, map_index, key), "null")))

    def indexes(self, task_id: str, key: str) -> list[int]:
        """The map indexes of a task with such an XCom."""
        return sorted(index for task, index, of in self.xcoms if (task, of) == (task_id, key))


@dataclass
class Task:
    """A task over its tries: the task, its XComs, its state store. Clear raises `max_tries`."""

    task_id: str = "wait"
    map_index: int = -1
    try_number: int = 1
    max_tries: int = 3
    id: uuid.UUID = field(default_factory=uuid.uuid4)
    run: Run = field(default_factory=Run)
    store: StateStore = field(default_factory=StateStore)

    @property
    def dag_id(self) -> str:
        return self.run.dag_id

    @property
    def run_id(self) -> str:
        return self.run.run_id

    @property
    def pushed(self) -> Mapping[str, JsonValue]:
        """Its own XComs."""
        mine = [key for task, index, key in self.run.xcoms if (task, index) == (self.task_id, self.map_index)]
        return {key: self.run.pull(self.task_id, key, self.map_index) for key in mine}

    def begin_try(self, number: int, max_tries: int | None = None) -> Task:
        """Begin a later try. Airflow deletes the XComs of the earlier one."""
        for key in self.pushed:
            del self.run.xcoms[self.task_id, self.map_index, key]
        self.try_number = number
        self.max_tries = self.max_tries if max_tries is None else max_tries
        return self

    def xcom_push(self, key: str, value: JsonValue) -> None:
        self.run.push(self.task_id, key, value, self.map_index)

    def xcom_pull(
        self, task_ids: str | None = None, key: str = "return_value", *, map_indexes: int | None = NOT_GIVEN
    ) -> JsonValue:
        """As Airflow does: without a map index all of them, and no list around a single value."""
        task_id = self.task_id if task_ids is None else task_ids
        if map_indexes != NOT_GIVEN:
            if (task_id, -1 if map_indexes is None else map_indexes, key) not in self.run.xcoms:
                self.run.asked_in_vain.append((task_id, key))
            return self.run.pull(task_id, key, -1 if map_indexes is None else map_indexes)
        found = [self.run.pull(task_id, key, index) for index in self.run.indexes(task_id, key)]
        return found[0] if len(found) == 1 else found or None

    def context(self, **more: object) -> Context:
        return cast("Context", {"ti": self, "task_state_store": self.store, **more})
