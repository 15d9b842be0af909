"""The operators in a user's own DAG, waiting in a worker instead of the triggerer."""

from __future__ import annotations

import uuid

import pytest

from tests.support.airflow_stack import LiveAirflow

ALONE = "operators_alone"
FILES = 120


@pytest.fixture
def folder(airflow: LiveAirflow) -> str:
    path = f"/content/dam/alone-{uuid.uuid4().hex[:8]}"
    airflow.emulator.virtual_folder(path, FILES, rate=8)
    airflow.wait_until(lambda: airflow.rest.has_dag(ALONE), "the DAG")
    return path


def test_start_cancel_resume_wait_pull_archive_verify_and_history_work_by_themselves(
    airflow: LiveAirflow, folder: str
) -> None:
    run_id = airflow.rest.trigger(ALONE, {"path": folder})
    assert airflow.rest.wait_for_run(ALONE, run_id, 180) == "success"
    (job,) = airflow.emulator.jobs(folder)
    assert (job["state"], job["resumes"]) == ("SUCCESS", 1)
    assert [asset["times_processed"] for asset in airflow.emulator.assets(folder)] == [1] * FILES
    assert airflow.rest.xcom(ALONE, run_id, "cancel")["result"] == "cancelled"
    assert airflow.rest.xcom(ALONE, run_id, "resume")["processing_id"] == job["processing_id"]
    assert airflow.rest.xcom(ALONE, run_id, "wait")["state"] == "SUCCESS"
    assert airflow.rest.xcom(ALONE, run_id, "pull")["lines"] == job["lines"]
    assert airflow.rest.xcom(ALONE, run_id, "verify")["succeeded"] == FILES
    assert airflow.rest.xcom(ALONE, run_id, "archive")["sha256"]
    history = airflow.rest.xcom(ALONE, run_id, "history")
    assert job["processing_id"] in {entry["processing_id"] for entry in history}


def test_marking_a_task_failed_that_waits_in_a_worker_cancels_the_job(airflow: LiveAirflow, folder: str) -> None:
    airflow.emulator.virtual_folder(folder, FILES, rate=0.5)
    run_id = airflow.rest.trigger(ALONE, {"path": folder, "interrupt": False})

    def waiting() -> bool:
        states = {i["task_id"]: i["state"] for i in airflow.rest.task_instances(ALONE, run_id)}
        return bool(states["wait"] == "running" and airflow.emulator.jobs(folder)[0]["position"])

    airflow.wait_until(waiting, "waiting in a worker")
    airflow.rest.request(
        "PATCH",
        f"/dags/{ALONE}/dagRuns/{run_id}/taskInstances/wait",
        json={"new_state": "failed"},
        params={"update_mask": "new_state"},
    )
    airflow.wait_until(lambda: airflow.emulator.jobs(folder)[0]["state"] == "CANCELLED", "cancelled")
