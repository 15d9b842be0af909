"""Starts runs through Airflow's own API as the user, so that permissions, audit and checks are Airflow's.

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

HOST = "aem_guides_host"
"""Where a request's scope names Airflow's own application."""
_LONGEST_REASON = 500


@dataclass(frozen=True)
class AirflowRun:
    """A run of Airflow and its state."""

    dag_id: str
    run_id: str
    state: str

    @property
    def is_over(self) -> bool:
        return self.state in ("success", "failed")


async def start(request: Request, dag_id: str, run_id: str, conf: Mapping[str, object]) -> AirflowRun:
    """Start a run; one that is there already under this id is the same. Raises HTTPException with a Problem."""
    body = {"dag_run_id": run_id, "logical_date": None, "conf": dict(conf)}
    status, told = await _ask(request, "POST", f"/api/v2/dags/{quote(dag_id, safe='')}/dagRuns", body)
    if status == 409:
        return AirflowRun(dag_id, run_id, "queued")
    if status != 200:
        raise HTTPException(status if status < 500 else 502, _refusal(dag_id, status, told))
    return AirflowRun(dag_id, run_id, str(told.get("state")))


async def look(request: Request, dag_id: str, run_id: str) -> AirflowRun | None:
    """The run as it is now, None where Airflow does not show it."""
    where = f"/api/v2/dags/{quote(dag_id, safe='')}/dagRuns/{quote(run_id, safe='')}"
    status, told = await _ask(request, "GET", where, None)
    return AirflowRun(dag_id, run_id, str(told.get("state"))) if status == 200 else None


async def _ask(request: Request, method: str, path: str, body: object) -> tuple[int, JsonObject]:
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
