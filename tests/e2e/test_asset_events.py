"""A processed path starts the next DAG, whether Airflow or another user had it processed."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote, urlsplit

from tests.support.airflow_stack import DAG, LiveAirflow
from tests.support.control import start_foreign
from tests.support.instances import FAST, Instance
from tests.support.runs import Run
from tests.support.together import Played, Scenario, Stage, lasting, scenarios

DOWNSTREAM = "publish_for_tests"
_DAG = """
from airflow.sdk import DAG, get_current_context, task
from aem_guides.assets import watched_asset

WATCHED = watched_asset("{host}", "{path}", aem_guides_conn_id="{connection_id}", poll_seconds=1)

with DAG(dag_id="publish_for_tests", schedule=[WATCHED], catchup=False):

    @task
    def publish():
        return [event.extra for event in get_current_context()["triggering_asset_events"][WATCHED]]

    publish()
"""


@contextmanager
def downstream_of(instance: Instance, path: str) -> Iterator[None]:
    """A context with a DAG that is scheduled on a path."""
    airflow, host = instance.airflow, urlsplit(instance.emulator.url).netloc
    file: Path = airflow.folder / "dags" / "publish_for_tests.py"
    file.write_text(_DAG.format(host=host, path=path, connection_id=instance.connection_id), encoding="utf-8")
    try:
        airflow.wait_until(lambda: airflow.rest.has_dag(DOWNSTREAM), "the DAG")
        yield
    finally:
        file.unlink()


def reported(airflow: LiveAirflow) -> list[dict[str, object]]:
    """The extras of all events for which the downstream DAG has run."""
    runs = airflow.rest.request("GET", f"/dags/{DOWNSTREAM}/dagRuns")["dag_runs"]
    found = [airflow.rest.xcom(DOWNSTREAM, run["dag_run_id"], "publish") or [] for run in runs]
    return [extra for extras in found for extra in extras]


def uris_of_assets(airflow: LiveAirflow) -> set[str]:
    return {asset["uri"] for asset in airflow.rest.request("GET", "/assets", params={"limit": 1000})["assets"]}


@lasting
def a_run_and_a_job_of_another_user_start_the_next_dag(stage: Stage) -> None:
    airflow, name = stage.airflow, f"Handbücher {uuid.uuid4().hex[:6]}"
    path = f"/content/dam/{name}"
    with stage.instances.new() as instance, downstream_of(instance, path):
        emulator = instance.emulator
        emulator.virtual_folder(path, 5)
        run = Run(instance, path, instance.trigger(path))
        assert run.end() == "success"
        row, label = run.row(), f"{DAG} / {run.run_id}"
        airflow.wait_until(lambda: any(extra.get("run") == label for extra in reported(airflow)), "the run's event")
        (extra,) = (extra for extra in reported(airflow) if extra.get("run") == label)
        assert {name: extra[name] for name in ("processing_id", "archive_uri", "sha256", "triggered_count")} == {
            name: row[name] for name in ("processing_id", "archive_uri", "sha256", "triggered_count")
        }
        assert f"aem-guides://{urlsplit(emulator.url).netloc}/content/dam/{quote(name)}" in uris_of_assets(airflow)
        # What had ended before the watcher's first look is no news. Since the run's end nobody else looks.
        looks = len(emulator.requests("history"))
        instance.wait_for_requests("history", looks + 2)
        started = start_foreign(emulator, path)

        def is_reported() -> bool:
            payloads = [extra.get("payload") for extra in reported(airflow)]
            return any(isinstance(p, dict) and p["processing_id"] == started for p in payloads)

        airflow.wait_until(is_reported, "the event of a job of somebody else")


@lasting
def a_failed_job_updates_nothing(stage: Stage) -> None:
    run = Run.begin(stage.common, files=10, rate=FAST, fail_at=0.5, resumable=False)
    assert run.end() == "failed"
    assert not any(uri.endswith(run.path) for uri in uris_of_assets(stage.airflow))


@scenarios(
    a_run_and_a_job_of_another_user_start_the_next_dag,
    a_failed_job_updates_nothing,
)
def test_assets_show_what_was_processed(played: Played, scenario: Scenario) -> None:
    played.result(scenario)
