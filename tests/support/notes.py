"""The state store of an asset for tests without Airflow. Its notes outlive triggers and tasks."""

from __future__ import annotations

import asyncio
import json
from typing import cast

from airflow.sdk.exceptions import AirflowRuntimeError, ErrorType
from airflow.sdk.execution_time.comms import ErrorResponse

from aem_guides.hooks.bodies import surroundings
from aem_guides.protocol.models import JsonValue, ProcessingRequest
from aem_guides.protocol.procedures.path_state import PathState
from aem_guides.runtime.doubts import PREFIX, Doubt
from aem_guides.runtime.notes import path_key
from aem_guides.runtime.path_store import decoded
from tests.support.tasks import Task


class KeptNotes:
    """Notes that outlive triggers and event loops. A write takes `writes_take` seconds. `written` is set at the first
    write.

    `past` has all values that were written, by key.
    """

    def __init__(self, writes_take: float = 0.0) -> None:
        self.values: dict[str, str] = {}
        self.past: list[tuple[str, JsonValue]] = []
        self.written = asyncio.Event()
        self._writes_take = writes_take
        self._refused: list[str] = []

    async def aget(self, key: str) -> JsonValue:
        return self.get(key)

    async def aset(self, key: str, value: JsonValue) -> None:
        await surroundings().asleep(self._writes_take)
        if self._refused and self._refused[0] in json.dumps(value):
            self._refused.pop()
            raise AirflowRuntimeError(ErrorResponse(error=ErrorType.API_SERVER_ERROR, detail={"status_code": 500}))
        self.set(key, value)

    def refuse(self, word: str, times: int) -> None:
        """Let Airflow refuse the next writes whose value, as JSON, contains the word, as if its API were out of
        order."""
        self._refused = [word] * times

    @property
    def refusals_left(self) -> int:
        """How many further writes are refused."""
        return len(self._refused)

    def get(self, key: str) -> JsonValue:
        return cast("JsonValue", json.loads(self.values.get(key, "null")))

    def set(self, key: str, value: JsonValue) -> None:
        assert value is not None, "Airflow refuses to store nothing"
        self.values[key] = json.dumps(value)
        self.past.append((key, json.loads(self.values[key])))
        self.written.set()

    def delete(self, key: str) -> None:
        self.values.pop(key, None)

    async def adelete(self, key: str) -> None:
        self.delete(key)

    @property
    def doubts(self) -> list[Doubt]:
        """What is listed as waiting for a person."""
        found = [Doubt.from_json(self.get(key)) for key in sorted(self.values) if key.startswith(PREFIX)]
        return [doubt for doubt in found if doubt is not None]

    def state(self, key: str) -> PathState | None:
        """The stored state under a key."""
        return decoded(self.get(key))

    def states(self, key: str) -> list[PathState]:
        """All states that were stored under a key."""
        return [state for of, value in self.past if of == key and (state := decoded(value)) is not None]

    def states_of(self, task: Task, request: ProcessingRequest) -> list[PathState]:
        """All states of a request that a task, or another one of its group, has stored."""
        return self.states(key_of(task, request))

    def state_of(self, task: Task, request: ProcessingRequest) -> PathState:
        """The stored state of a request, by a task or another one of its group."""
        return self.states_of(task, request)[-1]


def key_of(task: Task, request: ProcessingRequest) -> str:
    """The key under which a task stores the state of a request."""
    return path_key(task.dag_id, task.run_id, task.task_id, request.fingerprint())
