"""What was processed starts what comes after, whoever had it processed."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote, urlsplit

import pytest

from tests.e2e.test_reconcile_history import start_foreign
from tests.support.airflow_stack import DAG, LiveAirflow

NAME = f"Handbücher {uuid.uuid4().hex[:6]}"
PATH = f"/content/dam/{NAME}"
DOWNSTREAM = "publish_for_tests"
_DAG = """
from airflow.sdk import DAG, get_current_context, task
from aem_guides.assets import watched_asset

WATCHED = watched_asset("{host}", "{path}", poll_seconds=1)

with DAG(dag_id="publish_for_tests", schedule=[WATCHED], catchup=False):

    @task
    def publish():
        return [event.extra for event in get_current_context()["triggering_asset_events"][WATCHED]]

    publish()
"""


@pytest.fixture(scope="module")
def downstream(airflow: LiveAirflow) -> Iterator[str]:
    host = urlsplit(airflow.emulator.url).netloc
    airflow.emulator.virtual_folder(PATH, 5)
    file: Path = airflow.folder / "dags" / "publish_for_tests.py"
    file.write_text(_DAG.format(host=host, path=PATH), encoding="utf-8")
    airflow.wait_until(lambda: airflow.rest.has_dag(DOWNSTREAM), "the DAG", within=180)
    try:
        yield f"aem-guides://{host}/content/dam/{quote(NAME)}"
    finally:
        file.unlink()


def told(airflow: LiveAirflow) -> list[dict[str, object]]:
    """The extras of all events that the downstream DAG has run for."""
    runs = airflow.rest.request("GET", f"/dags/{DOWNSTREAM}/dagRuns")["dag_runs"]
    found = [airflow.rest.xcom(DOWNSTREAM, run["dag_run_id"], "publish") or [] for run in runs]
    return [extra for extras in found for extra in extras]


def test_a_success_updates_the_asset_with_counts_archive_and_checksum(airflow: LiveAirflow, downstream: str) -> None:
    run_id, state = airflow.run({"paths": [PATH]})
    assert state == "success"
    (row,) = airflow.rest.xcom(DAG, run_id, "report")
    airflow.wait_until(lambda: any(e.get("run") == f"{DAG} / {run_id}" for e in told(airflow)), "the event", 180)
    (extra,) = (extra for extra in told(airflow) if extra.get("run") == f"{DAG} / {run_id}")
    assert {name: extra[name] for name in ("processing_id", "archive_uri", "sha256", "triggered_count")} == {
        name: row[name] for name in ("processing_id", "archive_uri", "sha256", "triggered_count")
    }
    uris = {asset["uri"] for asset in airflow.rest.request("GET", "/assets", params={"limit": 1000})["assets"]}
    assert downstream in uris


def test_a_job_that_nobody_started_through_airflow_starts_what_comes_after(
    airflow: LiveAirflow, downstream: str
) -> None:
    started: set[str] = set()

    def is_told() -> bool:
        # What had ended before the watcher's first look is no news: so jobs are started until one is told.
        if all(job["state"] == "SUCCESS" for job in airflow.emulator.jobs(PATH)):
            started.add(start_foreign(airflow.emulator, PATH))
        payloads = [extra.get("payload") for extra in told(airflow)]
        return any(isinstance(p, dict) and p["processing_id"] in started for p in payloads)

    airflow.wait_until(is_told, "the event", within=180)


def test_a_failed_job_updates_nothing(airflow: LiveAirflow, downstream: str) -> None:
    path = f"/content/dam/never-{uuid.uuid4().hex[:6]}"
    airflow.emulator.virtual_folder(path, 10, fail_at=0.5, resumable=False)
    _, state = airflow.run({"paths": [path]})
    assert state == "failed"
    uris = {asset["uri"] for asset in airflow.rest.request("GET", "/assets", params={"limit": 1000})["assets"]}
    assert not any(uri.endswith(path) for uri in uris)
