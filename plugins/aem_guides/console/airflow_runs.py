"""Starts and clears runs through Airflow's own API as the user, so that permissions, audit and checks are Airflow's.

The request goes to the application that has mounted the console, within the process: over no network, whatever proxy
stands before it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import quote

import httpx
from fastapi import HTTPException, Request

from aem_guides.console.access import credential
from aem_guides.console.rendering import Problem
from aem_guides.protocol.json import clean_text
from aem_guides.protocol.models import JsonObject
from aem_guides.runtime.task_states import TaskKey

HOST = "aem_guides_host"
"""Where a request's scope names Airflow's own application."""
_DAGS = "/api/v2/dags"
_LONGEST_REASON = 500
NOT_SHOWN = "not shown"


@dataclass(frozen=True)
class AirflowRun:
    """A run of Airflow and its state. `was_there`: it had been started before it was asked for."""

    dag_id: str
    run_id: str
    state: str
    was_there: bool = False

    @property
    def is_over(self) -> bool:
        return self.state in ("success", "failed")


async def start(request: Request, dag_id: str, run_id: str, conf: Mapping[str, object]) -> AirflowRun:
    """Start a run; one that is there already under this id is the same. Raises HTTPException with a Problem."""
    body = {"dag_run_id": run_id, "logical_date": None, "conf": dict(conf)}
    status, told = await ask(request, "POST", f"{_DAGS}/{quote(dag_id, safe='')}/dagRuns", body)
    if status == 409:
        return AirflowRun(dag_id, run_id, "queued", was_there=True)
    if status != 200:
        raise HTTPException(status if status < 500 else 502, _refusal(dag_id, status, told))
    return AirflowRun(dag_id, run_id, str(told.get("state")))


async def look(request: Request, dag_id: str, run_id: str) -> AirflowRun | None:
    """The run as it is now, None where Airflow does not show it."""
    where = f"{_DAGS}/{quote(dag_id, safe='')}/dagRuns/{quote(run_id, safe='')}"
    status, told = await ask(request, "GET", where, None)
    return AirflowRun(dag_id, run_id, str(told.get("state"))) if status == 200 else None


async def task_state(request: Request, task: TaskKey) -> str | None:
    """The state of a task instance: "none" where it was cleared, None where Airflow does not know it.

    `NOT_SHOWN` where Airflow does not show it to this user, or not now.
    """
    status, told = await ask(request, "GET", _place_of(task))
    if status == 404:
        return None
    return str(told.get("state") or "none") if status == 200 else NOT_SHOWN


async def clear(request: Request, task: TaskKey) -> None:
    """Clear a task instance and those after it, so that the run goes on. Raises HTTPException with a Problem."""
    marked: object = task.task_id if task.map_index < 0 else [task.task_id, task.map_index]
    body = {
        "dry_run": False,
        "dag_run_id": task.run_id,
        "task_ids": [marked],
        "include_downstream": True,
        "only_failed": False,
        "prevent_running_task": True,
    }
    status, told = await ask(request, "POST", f"{_DAGS}/{quote(task.dag_id, safe='')}/clearTaskInstances", body)
    if status != 200:
        raise HTTPException(status if status < 500 else 502, _not_cleared(task, status, told))


def _place_of(task: TaskKey) -> str:
    run = f"{_DAGS}/{quote(task.dag_id, safe='')}/dagRuns/{quote(task.run_id, safe='')}"
    place = f"{run}/taskInstances/{quote(task.task_id, safe='')}"
    return place if task.map_index < 0 else f"{place}/{task.map_index}"


def _not_cleared(task: TaskKey, status: int, told: JsonObject) -> Problem:
    reason = clean_text(str(told.get("detail", "")), _LONGEST_REASON)
    why = f"Airflow answered {status}. {reason}"
    if status == 403:
        why = "That needs the right to clear tasks of its DAG."
    elif status == 409:
        why = "Tasks of the run that would be cleared, too, are still at work."
    return Problem(
        "The choice is stored, but the run does not go on yet",
        f"{why} Try again, or clear the task {task.task_id} with those after it (Downstream) in Airflow.",
    )


async def ask(request: Request, method: str, path: str, body: object = None) -> tuple[int, JsonObject]:
    """Airflow's answer to a request of the user: its status, and its body where that is a JSON object."""
    here = httpx.ASGITransport(app=request.scope[HOST], raise_app_exceptions=False)
    address = f"{request.url.scheme}://{request.url.netloc}"
    # Airflow notes a run as started in its UI by this.
    headers = {"authorization": f"Bearer {credential(request)}", "referer": address}
    async with httpx.AsyncClient(transport=here, base_url=address, headers=headers) as client:
        answer = await client.request(method, path, json=body)
    try:
        told = answer.json()
    except ValueError:
        told = {}
    return answer.status_code, told if isinstance(told, dict) else {}


def _refusal(dag_id: str, status: int, told: JsonObject) -> Problem:
    reason = clean_text(str(told.get("detail", "")), _LONGEST_REASON)
    if status == 403:
        return Problem("You may not do this", f"Starting a run of {dag_id} needs the right to trigger that DAG.")
    if status == 404:
        return Problem("The DAG is not there", f"This Airflow has no DAG {dag_id}, or has not read it yet.")
    return Problem("Airflow did not start the run", f"It answered {status}. {reason}")
