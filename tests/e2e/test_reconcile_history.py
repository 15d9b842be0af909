"""The reconciliation and the control of single jobs on the real Airflow."""

from __future__ import annotations

import json
import uuid
from typing import Any

import httpx
import psycopg2
import pytest

from tests.support.airflow_stack import DAG, WAIT, LiveAirflow
from tests.support.emulator import PASSWORD, EmulatorProcess

RECONCILE = "aem_guides_reconcile_history"
CONTROL = "aem_guides_control_job"


def folder(airflow: LiveAirflow, files: int = 20, **more: object) -> str:
    path = f"/content/dam/ledger-{uuid.uuid4().hex[:8]}"
    airflow.emulator.virtual_folder(path, files, **more)
    return path


def start_foreign(emulator: EmulatorProcess, path: str) -> str:
    """As a person with curl."""
    answer = httpx.post(
        f"{emulator.url}/bin/guides/v1/assets/process",
        json={"path": path, "type": "ASSET_PROCESSING"},
        auth=("admin", PASSWORD),
        trust_env=False,
    )
    return str(answer.raise_for_status().json()["processingId"])


def reconcile(airflow: LiveAirflow, **conf: object) -> tuple[str, str, str]:
    """One run: its id, its state, and the log of its report."""
    run_id, state = airflow.run_dag(RECONCILE, conf)
    report = airflow.rest.log_events(RECONCILE, run_id, "write_report", 1)
    if state != "success":
        states = {(i["task_id"], i["map_index"]): i["state"] for i in airflow.rest.task_instances(RECONCILE, run_id)}
        print(f"{run_id} is {state}: {states}", *report, sep="\n")
    return run_id, state, "\n".join(report)


def control(airflow: LiveAirflow, action: str, processing_id: str, **conf: object) -> tuple[str, Any, str]:
    """One action on one job: the run's state, what the task returned, and its log."""
    run_id, state = airflow.run_dag(CONTROL, {"action": action, "processing_id": processing_id, **conf})
    (instance,) = airflow.rest.task_instances(CONTROL, run_id)
    where = f"/dags/{CONTROL}/dagRuns/{run_id}/taskInstances/control_job/logs/{instance['try_number']}"
    headers = {"Accept": "application/json"}
    log = json.dumps(airflow.rest.request("GET", where, params={"full_content": "true"}, headers=headers))
    result = airflow.rest.xcom(CONTROL, run_id, "control_job") if state == "success" else None
    return state, result, log


def test_jobs_of_ours_and_of_others_are_in_the_ledger_and_the_report_is_everywhere(airflow: LiveAirflow) -> None:
    ours, theirs = folder(airflow), folder(airflow)
    foreign = start_foreign(airflow.emulator, theirs)
    run_id, state = airflow.run({"paths": [ours]})
    assert state == "success"
    (row,) = airflow.rest.xcom(DAG, run_id, "report")
    # Somebody else's job is announced once it cannot be one of ours that is not noted yet.
    airflow.emulator.post("/emulator/clock", {"advance_seconds": 200})
    reconcile_id, state, report = reconcile(airflow)
    assert state == "success"
    assert "Reconciliation of 127.0.0.1" in report
    assert f"admin started job {foreign}" in report
    assert f"started job {row['processing_id']}" not in report
    latest = airflow.folder / "archive" / "reconciliations" / "latest.md"
    assert foreign in latest.read_text().replace("\\", "")
    assert foreign in latest.with_suffix(".csv").read_text()
    events = airflow.rest.request("GET", "/assets/events", params={"source_dag_id": RECONCILE})["asset_events"]
    (event,) = (event for event in events if event["source_run_id"] == reconcile_id)
    assert event["extra"]["opened_by_kind"]["new_external"] >= 1
    _, state, again = reconcile(airflow)
    assert state == "success"
    assert f"started job {foreign}" not in again
    state, inspected, log = control(airflow, "inspect", row["processing_id"])
    assert state == "success"
    assert inspected["ledger"]["run"] == {"dag_id": DAG, "run_id": run_id}
    assert inspected["ledger"]["reported_state"] == "SUCCESS"
    assert inspected["ledger"]["sha256"] == row["sha256"]
    assert airflow.emulator.log_lines(row["processing_id"])[-1] in log


def test_a_job_whose_run_is_gone_is_adopted_archived_and_told(airflow: LiveAirflow) -> None:
    path = folder(airflow, rate=0.2)
    run_id = airflow.rest.trigger(DAG, {"paths": [path], "deadline_hours": 0.001, "on_deadline": "leave"})
    assert airflow.rest.wait_for_run(DAG, run_id, 180) == "failed"
    (job,) = airflow.emulator.jobs(path)
    assert job["state"] not in ("CANCELLED", "SUCCESS")
    _, state, report = reconcile(airflow)
    assert state == "success"
    assert f"is over, and its job {job['processing_id']}" in report
    assert "the reconciliation looks after the job" in report
    airflow.emulator.virtual_folder(path, 20, rate=100)
    airflow.wait_until(lambda: airflow.emulator.jobs(path)[0]["state"] == "SUCCESS", "the job's end")
    _, state, report = reconcile(airflow)
    assert state == "success"
    assert f"Job {job['processing_id']} on {path} ended as SUCCESS" in report
    assert "Archived as file://" in report
    (manifest,) = (airflow.folder / "archive" / "127.0.0.1").glob(f"*/*/*/{job['processing_id']}/manifest.json")
    assert '"state": "SUCCESS"' in manifest.read_text()
    assert job["processing_id"] in (airflow.folder / "alerts.txt").read_text()


def test_a_job_that_failed_after_its_run_was_over_is_resumed(airflow: LiveAirflow) -> None:
    path = folder(airflow, 100, rate=0.2, fail_at=0.5)
    run_id = airflow.rest.trigger(DAG, {"paths": [path], "deadline_hours": 0.001, "on_deadline": "leave"})
    assert airflow.rest.wait_for_run(DAG, run_id, 180) == "failed"
    airflow.emulator.virtual_folder(path, 100, rate=100, fail_at=0.5)
    airflow.wait_until(lambda: airflow.emulator.jobs(path)[0]["state"] == "FAILED", "the job's failure")
    (job,) = airflow.emulator.jobs(path)
    _, state, report = reconcile(airflow)
    assert state == "success"
    assert f"Job {job['processing_id']} on {path} failed at 50 of 100 assets" in report
    assert f"it goes on as {job['processing_id']}" in report
    airflow.wait_until(lambda: airflow.emulator.jobs(path)[0]["state"] == "SUCCESS", "the job's end")
    assert [asset["times_processed"] for asset in airflow.emulator.assets(path)] == [1] * 100


def test_the_job_of_a_run_that_was_failed_while_nobody_listened_is_cancelled(airflow: LiveAirflow) -> None:
    path = folder(airflow, 100, rate=0.2)
    airflow.kill("triggerer")
    try:
        run_id = airflow.rest.trigger(DAG, {"paths": [path]})
        airflow.wait_for_state(run_id, WAIT, "deferred", map_index=0)
        airflow.rest.request("PATCH", f"/dags/{DAG}/dagRuns/{run_id}", json={"state": "failed"})
        _, state, report = reconcile(airflow)
    finally:
        airflow.restart("triggerer")
    assert state == "success"
    assert "failed while nobody was there to cancel it" in report
    assert airflow.emulator.jobs(path)[0]["state"] == "CANCELLED"


def test_an_instance_that_is_down_fails_its_own_branch_only_and_a_dry_run_writes_nothing(airflow: LiveAirflow) -> None:
    run_id, state, report = reconcile(airflow, connection_ids=["aem_guides_default", "nobody_there"], dry_run=True)
    assert state == "failed"
    assert "(dry run: nothing was written)" in report
    assert "Reconciliation of nobody_there failed" in report
    found = airflow.rest.xcom(RECONCILE, run_id, "write_report")
    assert (found["instances"], found["failed_instances"]) == (2, ["nobody_there"])


def test_a_job_of_anybody_is_cancelled_resumed_and_archived_by_its_id(airflow: LiveAirflow) -> None:
    path = folder(airflow, 100, rate=0.2)
    foreign = start_foreign(airflow.emulator, path)
    state, _, log = control(airflow, "archive", foreign)
    assert (state, "its log is not whole yet" in log) == ("failed", True)
    state, result, _ = control(airflow, "cancel", foreign)
    assert (state, result["result"]) == ("success", "cancelled")
    state, _, log = control(airflow, "cancel", foreign)
    assert (state, "there is nothing to cancel" in log) == ("failed", True)
    airflow.emulator.virtual_folder(path, 100, rate=100)
    state, result, _ = control(airflow, "resume", foreign)
    assert (state, result["goes_on_as"]) == ("success", foreign)
    airflow.wait_until(lambda: airflow.emulator.jobs(path)[0]["state"] == "SUCCESS", "the job's end")
    state, _, log = control(airflow, "resume", foreign)
    assert (state, "has succeeded: there is nothing to resume" in log) == ("failed", True)
    state, result, _ = control(airflow, "archive", foreign)
    assert state == "success"
    assert result["archive_uri"].startswith("file://")
    state, _, log = control(airflow, "inspect", "no-such-job")
    assert (state, "is known neither to status nor to history" in log) == ("failed", True)


def test_a_ledger_that_is_locked_delays_no_job_and_loses_nothing(airflow: LiveAirflow) -> None:
    path, notes = folder(airflow), airflow.folder / "archive" / "ledger-notes"
    address = airflow.stack.environment["AIRFLOW_CONN_AEM_GUIDES_LEDGER"].replace("+psycopg2", "")
    holder = psycopg2.connect(address)
    try:
        with holder.cursor() as cursor:
            cursor.execute("LOCK TABLE aem_guides_instance IN ACCESS EXCLUSIVE MODE")
        run_id, state = airflow.run({"paths": [path]})
        assert state == "success"
        assert len(list(notes.glob("*.json"))) == 2
    finally:
        holder.close()
    (row,) = airflow.rest.xcom(DAG, run_id, "report")
    assert reconcile(airflow)[1] == "success"
    assert not list(notes.glob("*.json"))
    _, inspected, _ = control(airflow, "inspect", row["processing_id"])
    assert inspected["ledger"]["run"] == {"dag_id": DAG, "run_id": run_id}
    assert inspected["ledger"]["sha256"] == row["sha256"]


def test_an_action_that_does_not_exist_is_refused_at_the_rest_call(airflow: LiveAirflow) -> None:
    with pytest.raises(Exception, match="400"):
        airflow.rest.trigger(CONTROL, {"action": "explode", "processing_id": "x"})
