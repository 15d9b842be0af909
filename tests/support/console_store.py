"""What the console asks of Airflow about paths: the state store of the notes, task instances, and to clear them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from fastapi import HTTPException, Request

from aem_guides.runtime.task_states import TaskKey
from tests.support.console import Host
from tests.support.notes import KeptNotes

ASSET_ID = 7


@dataclass
class AirflowState:
    """The store, and the states of task instances ("none": cleared). `refusal`: what it answers instead."""

    host: Host
    notes: KeptNotes = field(default_factory=KeptNotes)
    tasks: dict[TaskKey, str] = field(default_factory=dict)
    cleared: list[dict[str, Any]] = field(default_factory=list)
    refusal: int | None = None
    clear_refusal: int | None = None

    def __post_init__(self) -> None:
        app = self.host.app

        @app.get("/api/v2/assets")
        def assets() -> dict[str, object]:
            self._refuse(self.refusal)
            return {"assets": [{"id": 1, "name": "aem_guides_notes_2"}, {"id": ASSET_ID, "name": "aem_guides_notes"}]}

        @app.get(f"/api/v2/assets/{ASSET_ID}/state-store")
        def entries(limit: int, offset: int = 0) -> dict[str, object]:
            self._refuse(self.refusal)
            keys = sorted(self.notes.values)[offset : offset + limit]
            told = [{"key": key, "value": self.notes.get(key), "updated_at": "2026-01-01T00:00:00Z"} for key in keys]
            return {"asset_state_store": told, "total_entries": len(self.notes.values)}

        @app.get(f"/api/v2/assets/{ASSET_ID}/state-store/{{key:path}}")
        def value(key: str) -> dict[str, object]:
            self._refuse(self.refusal)
            if key not in self.notes.values:
                raise HTTPException(404, f"Asset state store key {key!r} not found")
            return {"key": key, "value": self.notes.get(key)}

        place = "/api/v2/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}"

        @app.get(place)
        def task(dag_id: str, run_id: str, task_id: str) -> dict[str, object]:
            return self._task(TaskKey(dag_id, run_id, task_id, -1))

        @app.get(place + "/{map_index}")
        def mapped(dag_id: str, run_id: str, task_id: str, map_index: int) -> dict[str, object]:
            return self._task(TaskKey(dag_id, run_id, task_id, map_index))

        @app.post("/api/v2/dags/{dag_id}/clearTaskInstances")
        async def clear(dag_id: str, request: Request) -> dict[str, object]:
            self._refuse(self.clear_refusal)
            body = await request.json()
            self.cleared.append({"dag_id": dag_id, **body})
            for marked in body["task_ids"]:
                task_id, map_index = (marked, -1) if isinstance(marked, str) else marked
                self.tasks[TaskKey(dag_id, body["dag_run_id"], task_id, map_index)] = "none"
            return {"task_instances": [], "total_entries": 0}

    def _task(self, key: TaskKey) -> dict[str, object]:
        if key not in self.tasks:
            raise HTTPException(404, "There is no such task instance")
        state = self.tasks[key]
        if state == "hidden":
            raise HTTPException(403, "Forbidden")
        return {"task_id": key.task_id, "state": None if state == "none" else state}

    @staticmethod
    def _refuse(status: int | None) -> None:
        if status is not None:
            raise HTTPException(status, "as the test wants it")
