"""What a task gets of Airflow, for tests that run an operator without one."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import cast

from airflow.sdk import Context

from aem_guides.protocol.models import JsonValue


@dataclass
class Task:
    """A task over its tries: itself, its XComs, its state store. Clear raises `max_tries`."""

    dag_id: str = "dag"
    run_id: str = "run"
    task_id: str = "wait"
    map_index: int = 0
    try_number: int = 1
    max_tries: int = 3
    pushed: dict[str, JsonValue] = field(default_factory=dict)
    store: dict[str, JsonValue] = field(default_factory=dict)

    def xcom_push(self, key: str, value: JsonValue) -> None:
        self.pushed[key] = value

    def xcom_pull(self, *, task_ids: str, key: str, map_indexes: int) -> JsonValue:
        return self.pushed.get(key) if (task_ids, map_indexes) == (self.task_id, self.map_index) else None

    def get(self, key: str, default: JsonValue = None) -> JsonValue:
        return self.store.get(key, default)

    def set(self, key: str, value: JsonValue, *, retention: object = None) -> None:
        del retention
        self.store[key] = value

    def context(self) -> Context:
        return cast("Context", {"ti": self, "task_state_store": self})
