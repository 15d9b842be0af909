"""What people do to a run while it waits, and what becomes of the job on the instance."""

from __future__ import annotations

import uuid

import pytest

from tests.support.airflow_stack import DAG, START, WAIT, LiveAirflow


@pytest.fixture
def slow_folder(airflow: LiveAirflow) -> str:
    """A folder that takes five minutes, unless it is hastened."""
    path = f"/content/dam/slow-{uuid.uuid4().hex[:8]}"
    airflow.emulator.virtual_folder(path, 150, rate=0.5)
    return path


def hasten(airflow: LiveAirflow, path: str) -> None:
    """Let the job on a slow folder, and the next ones, end soon: the test has seen what it waited for."""
    airflow.emulator.virtual_folder(path, 150, rate=50)


def processed_once(airflow: LiveAirflow, path: str, files: int) -> bool:
    assets = airflow.emulator.assets(path)
    return len(assets) == files and all(asset["times_processed"] == 1 for asset in assets)


def test_marking_the_waiting_task_failed_cancels_the_job_and_clear_resumes_it(
    airflow: LiveAirflow, slow_folder: str
) -> None:
    run_id = airflow.rest.trigger(DAG, {"paths": [slow_folder]})
    airflow.wait_for_state(run_id, WAIT, "deferred", map_index=0)
    airflow.wait_until(lambda: " of 150 assets" in "".join(airflow.log(run_id, WAIT, map_index=0)), "progress")
    airflow.set_state(run_id, WAIT, "failed", 0)
    airflow.wait_until(lambda: airflow.emulator.jobs(slow_folder)[0]["state"] == "CANCELLED", "cancelled")
    assert airflow.rest.wait_for_run(DAG, run_id, 120) == "failed"
    (row,) = airflow.rest.xcom(DAG, run_id, "report")
    assert row["state"] == "CANCELLED"
    assert row["archive_uri"]
    hasten(airflow, slow_folder)
    airflow.clear(run_id, WAIT)
    assert airflow.rest.wait_for_run(DAG, run_id, 150) == "success"
    (row,) = airflow.rest.xcom(DAG, run_id, "report")
    assert (row["state"], row["resumes"]) == ("SUCCESS", 1)
    assert len(airflow.emulator.jobs(slow_folder)) == 1
    assert processed_once(airflow, slow_folder, 150)


def test_a_kill_before_the_trigger_runs_cancels_the_job_all_the_same(airflow: LiveAirflow, slow_folder: str) -> None:
    run_id = airflow.rest.trigger(DAG, {"paths": [slow_folder]})
    airflow.wait_for_state(run_id, WAIT, "deferred", map_index=0)
    airflow.set_state(run_id, WAIT, "failed", 0)
    assert airflow.rest.wait_for_run(DAG, run_id, 120) == "failed"
    assert airflow.emulator.jobs(slow_folder)[0]["state"] == "CANCELLED"
    (row,) = airflow.rest.xcom(DAG, run_id, "report")
    assert row["state"] == "CANCELLED"


def test_failing_the_run_cancels_the_job(airflow: LiveAirflow, slow_folder: str) -> None:
    run_id = airflow.rest.trigger(DAG, {"paths": [slow_folder]})
    airflow.wait_for_state(run_id, WAIT, "deferred", map_index=0)
    airflow.wait_until(lambda: " of 150 assets" in "".join(airflow.log(run_id, WAIT, map_index=0)), "progress")
    airflow.rest.request("PATCH", f"/dags/{DAG}/dagRuns/{run_id}", json={"state": "failed"})
    airflow.wait_until(lambda: airflow.emulator.jobs(slow_folder)[0]["state"] == "CANCELLED", "cancelled")


def test_clearing_the_waiting_task_cancels_nothing_and_takes_the_job_up(airflow: LiveAirflow, slow_folder: str) -> None:
    run_id = airflow.rest.trigger(DAG, {"paths": [slow_folder]})
    airflow.wait_for_state(run_id, WAIT, "deferred", map_index=0)
    airflow.clear(run_id, WAIT)
    airflow.wait_until(lambda: airflow.instance(run_id, WAIT, 0)["try_number"] == 2, "the second try")
    hasten(airflow, slow_folder)
    assert airflow.rest.wait_for_run(DAG, run_id, 150) == "success"
    (job,) = airflow.emulator.jobs(slow_folder)
    assert (job["state"], job["resumes"]) == ("SUCCESS", 0)


def test_clearing_a_start_that_had_done_its_work_starts_anew_unless_its_job_is_active(
    airflow: LiveAirflow, slow_folder: str
) -> None:
    run_id = airflow.rest.trigger(DAG, {"paths": [slow_folder]})
    airflow.wait_for_state(run_id, WAIT, "deferred", map_index=0)
    airflow.clear(run_id, START)
    airflow.wait_until(lambda: airflow.instance(run_id, START, 0)["try_number"] == 2, "the second try of the start")
    airflow.wait_for_state(run_id, WAIT, "deferred", map_index=0)
    hasten(airflow, slow_folder)
    assert airflow.rest.wait_for_run(DAG, run_id, 150) == "success"
    assert len(airflow.emulator.jobs(slow_folder)) == 1
    airflow.clear(run_id, START)
    assert airflow.rest.wait_for_run(DAG, run_id, 150) == "success"
    assert len(airflow.emulator.jobs(slow_folder)) == 2


def test_a_job_that_fails_half_way_is_resumed_by_the_retry_and_no_asset_is_processed_twice(
    airflow: LiveAirflow,
) -> None:
    path = f"/content/dam/failing-{uuid.uuid4().hex[:8]}"
    airflow.emulator.virtual_folder(path, 100, rate=20, fail_at=0.5)
    run_id, state = airflow.run({"paths": [path]})
    assert state == "success"
    (row,) = airflow.rest.xcom(DAG, run_id, "report")
    assert (row["state"], row["resumes"], row["triggered_count"]) == ("SUCCESS", 1, 100)
    (job,) = airflow.emulator.jobs(path)
    assert job["resumes"] == 1
    assert processed_once(airflow, path, 100)


def test_a_resume_under_another_id_is_followed_there(airflow: LiveAirflow) -> None:
    path = f"/content/dam/renamed-{uuid.uuid4().hex[:8]}"
    airflow.emulator.virtual_folder(path, 60, rate=20, fail_at=0.5)
    airflow.emulator.settings(resume_keeps_id=False)
    try:
        run_id, state = airflow.run({"paths": [path]})
    finally:
        airflow.emulator.settings(resume_keeps_id=True)
    assert state == "success"
    first, second = airflow.emulator.jobs(path)
    (row,) = airflow.rest.xcom(DAG, run_id, "report")
    assert row["processing_id"] == second["processing_id"] != first["processing_id"]
    assert processed_once(airflow, path, 60)


def test_a_job_that_cannot_be_resumed_fails_for_good_at_once_with_its_logs_archived(airflow: LiveAirflow) -> None:
    path = f"/content/dam/final-{uuid.uuid4().hex[:8]}"
    airflow.emulator.virtual_folder(path, 40, rate=100, fail_at=0.5, resumable=False)
    run_id, state = airflow.run({"paths": [path]})
    assert state == "failed"
    assert airflow.instance(run_id, WAIT, 0)["try_number"] == 1
    (row,) = airflow.rest.xcom(DAG, run_id, "report")
    assert row["state"] == "FAILED"
    assert row["archive_uri"]
    assert row["log_lines"]


def test_a_deadline_cancels_the_job_and_says_so_in_words(airflow: LiveAirflow, slow_folder: str) -> None:
    run_id, state = airflow.run({"paths": [slow_folder], "deadline_hours": 0.002})
    assert state == "failed"
    assert airflow.emulator.jobs(slow_folder)[0]["state"] == "CANCELLED"
    (row,) = airflow.rest.xcom(DAG, run_id, "report")
    assert row["state"] == "CANCELLED"
    assert airflow.instance(run_id, WAIT, 0)["try_number"] == 1


def test_queue_waits_for_the_active_job_and_then_starts(airflow: LiveAirflow) -> None:
    path = f"/content/dam/queued-{uuid.uuid4().hex[:8]}"
    airflow.emulator.virtual_folder(path, 150, rate=0.5)
    first = airflow.rest.trigger(DAG, {"paths": [path]})
    airflow.wait_for_state(first, WAIT, "deferred", map_index=0)
    second = airflow.rest.trigger(DAG, {"paths": [path], "on_active_job": "queue"})
    airflow.wait_for_state(second, START, "deferred", map_index=0)
    adopting = airflow.rest.trigger(DAG, {"paths": [path], "on_active_job": "adopt"})
    refusing = airflow.rest.trigger(DAG, {"paths": [path], "on_active_job": "fail"})
    assert airflow.rest.wait_for_run(DAG, refusing, 120) == "failed"
    airflow.wait_for_state(adopting, WAIT, "deferred", map_index=0)
    hasten(airflow, path)
    for run_id in (first, adopting, second):
        assert airflow.rest.wait_for_run(DAG, run_id, 150) == "success"
    assert len(airflow.emulator.jobs(path)) == 2
    assert airflow.rest.xcom(DAG, adopting, START, map_index=0)["origin"] == "adopted"
