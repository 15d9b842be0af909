"""The part of Airflow's REST API that the demo and the tests use."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

import httpx

from local.problems import StackError

END_STATES = ("success", "failed")


class AirflowRest:
    """A client that logs in by itself. Raises httpx.HTTPStatusError for refusals."""

    def __init__(self, url: str, username: str, password: str) -> None:
        self.url = url
        self.login = {"username": username, "password": password}
        self._client = httpx.Client(base_url=url, timeout=30.0, trust_env=False)

    def close(self) -> None:
        self._client.close()

    def be_patient(self, seconds: float) -> None:
        """Set the time-out. On a very busy machine even a server with one user is slow."""
        self._client.timeout = httpx.Timeout(seconds)

    def healthy(self) -> bool:
        """Whether the API answers and scheduler, triggerer and DAG processor have a heartbeat."""
        try:
            health = self._client.get("/api/v2/monitor/health").json()
        except (httpx.HTTPError, ValueError):
            return False
        parts = ("metadatabase", "scheduler", "triggerer", "dag_processor")
        return all((health.get(part) or {}).get("status") == "healthy" for part in parts)

    def request(self, method: str, path: str, **arguments: Any) -> Any:
        """Send a request with a token, and read the JSON of its answer."""
        if "Authorization" not in self._client.headers:
            answer = self._client.post("/auth/token", json=self.login)
            answer.raise_for_status()
            self._client.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"
        answer = self._client.request(method, f"/api/v2{path}", **arguments)
        answer.raise_for_status()
        return answer.json() if answer.content else None

    def trigger(self, dag_id: str, conf: Mapping[str, object]) -> str:
        """Start a run and return its id."""
        body = {"logical_date": None, "conf": dict(conf)}
        return str(self.request("POST", f"/dags/{dag_id}/dagRuns", json=body)["dag_run_id"])

    def run_state(self, dag_id: str, run_id: str) -> str:
        return str(self.request("GET", f"/dags/{dag_id}/dagRuns/{run_id}")["state"])

    def task_instances(self, dag_id: str, run_id: str) -> list[dict[str, Any]]:
        """All task instances of a run. Mapped ones have their `map_index`."""
        answer = self.request("GET", f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances", params={"limit": 1000})
        return list(answer["task_instances"])

    def tries(self, dag_id: str, run_id: str, task_id: str, map_index: int = -1) -> list[int]:
        """The numbers of a task's tries that Airflow has stored."""
        path = f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}"
        answer = self.request("GET", f"{path}/{map_index}/tries" if map_index >= 0 else f"{path}/tries")
        return [int(found["try_number"]) for found in answer["task_instances"]]

    def log_events(self, dag_id: str, run_id: str, task_id: str, attempt: int, map_index: int = -1) -> list[str]:
        """The records of a task log, as text."""
        path = f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/logs/{attempt}"
        answer = self.request(
            "GET",
            path,
            params={"full_content": "true", "map_index": map_index},
            headers={"Accept": "application/json"},
        )
        return [str(entry["event"]) if isinstance(entry, dict) else str(entry) for entry in answer["content"]]

    def xcom(self, dag_id: str, run_id: str, task_id: str, key: str = "return_value", map_index: int = -1) -> Any:
        """One XCom value, or None."""
        path = f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/xcomEntries/{key}"
        try:
            value = self.request("GET", path, params={"map_index": map_index, "deserialize": "false"})["value"]
        except httpx.HTTPStatusError as error:
            if error.response.status_code == 404:
                return None
            raise
        return json.loads(value) if isinstance(value, str) and value[:1] in "[{" else value

    def has_dag(self, dag_id: str) -> bool:
        return self._dag(dag_id) is not None

    def parsed_since(self, dag_id: str, moment: datetime) -> bool:
        """Whether the DAG processor has read the DAG since a moment."""
        dag = self._dag(dag_id)
        parsed = dag and dag["last_parsed_time"]
        return bool(parsed) and datetime.fromisoformat(parsed) > moment

    def import_errors_since(self, moment: datetime) -> dict[str, str]:
        """The DAG files that could not be read since a moment, each with its traceback."""
        errors = self.request("GET", "/importErrors", params={"limit": 100})["import_errors"]
        return {
            str(error["filename"]): str(error["stack_trace"])
            for error in errors
            if datetime.fromisoformat(error["timestamp"]) > moment
        }

    def unpause(self, dag_id: str) -> None:
        """Unpause the DAG."""
        self.request("PATCH", f"/dags/{dag_id}", params={"update_mask": "is_paused"}, json={"is_paused": False})

    def _dag(self, dag_id: str) -> Any:
        try:
            return self.request("GET", f"/dags/{dag_id}")
        except httpx.HTTPStatusError as error:
            if error.response.status_code == 404:
                return None
            raise

    def wait_for_run(
        self, dag_id: str, run_id: str, within: float, look: Callable[[], None] = lambda: None, every: float = 0.5
    ) -> str:
        """Wait until a run has ended and return its state. Raises StackError when the time is over."""
        deadline = time.monotonic() + within
        while (state := self.run_state(dag_id, run_id)) not in END_STATES:
            look()
            if time.monotonic() > deadline:
                raise StackError(f"Run {run_id} of {dag_id} is still {state} after {within:.0f} s.")
            time.sleep(every)
        look()
        return state
