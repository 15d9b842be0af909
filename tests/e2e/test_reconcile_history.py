"""The reconciliation and the control of single jobs on the real Airflow."""

from __future__ import annotations

import psycopg2
import pytest

from tests.support.airflow_stack import DAG, LEDGER, LiveAirflow
from tests.support.control import CONTROL, LEDGER_TURNS, RECONCILE, control, reconcile, start_foreign
from tests.support.instances import FAST, SLOW
from tests.support.runs import Run
from tests.support.together import Played, Scenario, Stage, lasting, scenarios

ABANDONED = {"deadline_hours": 0.001, "on_deadline": "leave"}
"""Options of a run that ends soon and leaves its job alone."""

MANY = 2000


@lasting
def jobs_of_all_are_in_the_ledger_and_those_whose_run_is_gone_are_adopted_archived_and_resumed(stage: Stage) -> None:
    airflow = stage.airflow
    with stage.instances.new() as instance:
        emulator = instance.emulator
        foreign = start_foreign(emulator, instance.folder(20, rate=FAST))
        ours = Run.begin(instance, files=20, rate=FAST)
        left = Run.begin(instance, files=MANY, rate=SLOW, conf=ABANDONED)
        failed = Run.begin(instance, files=100, rate=SLOW, conf=ABANDONED, fail_at=0.5)
        assert (ours.end(), left.end(), failed.end()) == ("success", "failed", "failed")
        emulator.virtual_folder(failed.path, 100, rate=FAST, fail_at=0.5)
        failed.wait_until_job_is("FAILED")
        # Another user's job is reported once it cannot be one of ours without a note.
        emulator.post("/emulator/clock", {"advance_seconds": 200})
        assert left.jobs()[0]["state"] == "RUNNING"
        own, kept, resumed = (str(run.jobs()[0]["processing_id"]) for run in (ours, left, failed))

        first = reconcile(airflow, instance)
        assert first.state == "success"
        assert "Reconciliation of 127.0.0.1" in first.report
        assert f"admin started job {foreign}" in first.report
        assert f"started job {own}" not in first.report
        assert foreign in first.latest[".md"].replace("\\", "")
        assert foreign in first.latest[".csv"]
        events = airflow.rest.request("GET", "/assets/events", params={"source_dag_id": RECONCILE})["asset_events"]
        (event,) = (event for event in events if event["source_run_id"] == first.run_id)
        assert event["extra"]["opened_by_kind"]["new_external"] >= 1
        assert f"is over, but its job {kept}" in first.report
        assert "the reconciliation follows the job" in first.report
        assert f"Job {resumed} on {failed.path} failed at 50 of 100 assets" in first.report
        assert f"Its id is now {resumed}" in first.report
        failed.wait_until_job_is("SUCCESS")
        assert failed.times_processed() == [1] * 100

        emulator.virtual_folder(left.path, MANY, rate=MANY)
        left.wait_until_job_is("SUCCESS")
        second = reconcile(airflow, instance)
        assert second.state == "success"
        assert f"started job {foreign}" not in second.report
        assert f"Job {kept} on {left.path} ended as SUCCESS" in second.report
        assert "Archived as file://" in second.report
        (manifest,) = (airflow.folder / "archive").rglob(f"{kept}/manifest.json")
        assert '"state": "SUCCESS"' in manifest.read_text()
        assert kept in (airflow.folder / "alerts.txt").read_text()

        state, inspected, log = control(airflow, "inspect", own, connection_id=instance.connection_id)
        assert state == "success"
        assert inspected["ledger"]["run"] == {"dag_id": DAG, "run_id": ours.run_id}
        assert inspected["ledger"]["reported_state"] == "SUCCESS"
        assert inspected["ledger"]["sha256"] == ours.row()["sha256"]
        assert emulator.log_lines(own)[-1] in log


@lasting
def an_instance_that_is_down_fails_its_own_branch_only_and_a_dry_run_writes_nothing(stage: Stage) -> None:
    names = [stage.common.connection_id, "nobody_there"]
    found = reconcile(stage.airflow, connection_ids=names, dry_run=True)
    assert found.state == "failed"
    assert "(dry run: nothing was written)" in found.report
    assert "Reconciliation of nobody_there failed" in found.report
    reported = stage.airflow.rest.xcom(RECONCILE, found.run_id, "write_report")
    assert (reported["instances"], reported["failed_instances"]) == (2, ["nobody_there"])


@lasting
def a_job_of_any_user_is_cancelled_resumed_and_archived_by_its_id(stage: Stage) -> None:
    instance = stage.common
    path = instance.folder(100, rate=SLOW)
    foreign = start_foreign(instance.emulator, path)

    def does(action: str, processing_id: str = foreign) -> tuple[str, dict[str, str], str]:
        where = {"connection_id": instance.connection_id, "max_active_jobs": 100}  # other scenarios work there, too
        state, result, log = control(stage.airflow, action, processing_id, **where)
        return state, result or {}, log

    def is_refused(words: str, action: str, processing_id: str = foreign) -> None:
        state, _, log = does(action, processing_id)
        assert (state, words in log) == ("failed", True)

    is_refused("so its log is not complete", "archive")
    state, result, _ = does("cancel")
    assert (state, result["result"]) == ("success", "cancelled")
    is_refused("There is nothing to cancel", "cancel")
    instance.hasten(path, 100)
    state, result, _ = does("resume")
    assert (state, result["goes_on_as"]) == ("success", foreign)
    stage.airflow.wait_until(lambda: instance.emulator.jobs(path)[0]["state"] == "SUCCESS", "the job's end")
    is_refused("has succeeded. There is nothing to resume", "resume")
    state, result, _ = does("archive")
    assert state == "success"
    assert result["archive_uri"].startswith("file://")
    is_refused("is in neither the status nor the history", "inspect", "no-such-job")


@lasting
def a_ledger_that_is_locked_delays_no_job_and_loses_nothing(stage: Stage) -> None:
    airflow, notes = stage.airflow, stage.airflow.folder / "archive" / "ledger-notes"
    with stage.instances.new() as instance:
        with LEDGER_TURNS.lock():
            holder = psycopg2.connect(airflow.stack.environment[LEDGER].replace("+psycopg2", ""))
            try:
                with holder.cursor() as cursor:
                    cursor.execute("LOCK TABLE aem_guides_instance IN ACCESS EXCLUSIVE MODE")
                run = Run.begin(instance, rate=FAST)
                assert run.end() == "success"
                assert len([note for note in notes.glob("*.json") if run.run_id in note.read_text()]) == 2
            finally:
                holder.close()
        row = run.row()
        assert reconcile(airflow, instance).state == "success"
        assert not [note for note in notes.glob("*.json") if run.run_id in note.read_text()]
        _, inspected, _ = control(airflow, "inspect", str(row["processing_id"]), connection_id=instance.connection_id)
        assert inspected["ledger"]["run"] == {"dag_id": DAG, "run_id": run.run_id}
        assert inspected["ledger"]["sha256"] == row["sha256"]


@scenarios(
    a_ledger_that_is_locked_delays_no_job_and_loses_nothing,
    jobs_of_all_are_in_the_ledger_and_those_whose_run_is_gone_are_adopted_archived_and_resumed,
    a_job_of_any_user_is_cancelled_resumed_and_archived_by_its_id,
    an_instance_that_is_down_fails_its_own_branch_only_and_a_dry_run_writes_nothing,
)
def test_the_ledger_and_the_control_of_jobs_keep_what_they_promise(played: Played, scenario: Scenario) -> None:
    played.result(scenario)


def test_an_action_that_does_not_exist_is_refused_at_the_rest_call(airflow: LiveAirflow) -> None:
    with pytest.raises(Exception, match="400"):
        airflow.rest.trigger(CONTROL, {"action": "explode", "processing_id": "x"})
