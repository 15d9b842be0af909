"""The operators in a user's own DAG, waiting in a worker instead of the triggerer."""

from __future__ import annotations

from tests.support.instances import SLOW
from tests.support.together import Played, Scenario, Stage, lasting, scenarios

ALONE = "operators_alone"
FILES = 120


@lasting
def start_cancel_resume_wait_pull_archive_verify_and_history_work_by_themselves(stage: Stage) -> None:
    airflow = stage.airflow
    with stage.instances.new() as instance:
        path = instance.folder(FILES, rate=SLOW)
        airflow.wait_until(lambda: airflow.rest.has_dag(ALONE), "the DAG")
        run_id = airflow.rest.trigger(ALONE, {"path": path, "connection_id": instance.connection_id})
        airflow.wait_until(lambda: airflow.rest.xcom(ALONE, run_id, "cancel"), "the end of cancel")
        instance.hasten(path, FILES)
        assert airflow.end_of(ALONE, run_id) == "success"
        (job,) = instance.emulator.jobs(path)
        assert (job["state"], job["resumes"]) == ("SUCCESS", 1)
        assert [asset["times_processed"] for asset in instance.emulator.assets(path)] == [1] * FILES
        assert airflow.rest.xcom(ALONE, run_id, "cancel")["result"] == "cancelled"
        assert airflow.rest.xcom(ALONE, run_id, "resume")["processing_id"] == job["processing_id"]
        assert airflow.rest.xcom(ALONE, run_id, "wait")["state"] == "SUCCESS"
        assert airflow.rest.xcom(ALONE, run_id, "pull")["lines"] == job["lines"]
        assert airflow.rest.xcom(ALONE, run_id, "verify")["succeeded"] == FILES
        assert airflow.rest.xcom(ALONE, run_id, "archive")["sha256"]
        history = airflow.rest.xcom(ALONE, run_id, "history")
        assert job["processing_id"] in {entry["processing_id"] for entry in history}


@lasting
def a_task_that_waits_in_a_worker_cancels_its_job_when_marked_failed_but_not_when_it_dies_or_is_cleared(
    stage: Stage,
) -> None:
    airflow = stage.airflow
    with stage.instances.new() as instance:
        path = instance.folder(FILES, rate=SLOW)
        conf = {"path": path, "connection_id": instance.connection_id, "interrupt": False}
        airflow.wait_until(lambda: airflow.rest.has_dag(ALONE), "the DAG")
        run_id = airflow.rest.trigger(ALONE, conf)

        def wait_for_try(number: int) -> None:
            airflow.wait_until(
                lambda: (
                    airflow.instance(run_id, "wait", dag_id=ALONE)["state"] == "running"
                    and f" of {FILES} assets" in airflow.whole_log(run_id, "wait", dag_id=ALONE)
                    and airflow.instance(run_id, "wait", dag_id=ALONE)["try_number"] == number
                ),
                f"try {number} waiting in a worker",
            )

        def states() -> list[str]:
            return [job["state"] for job in instance.emulator.jobs(path)]

        wait_for_try(1)
        airflow.kill_task(run_id, "wait", dag_id=ALONE)
        wait_for_try(2)
        airflow.clear(run_id, "wait", dag_id=ALONE)
        wait_for_try(3)
        assert states() == ["RUNNING"]
        assert instance.emulator.requests("cancel") == []
        airflow.set_state(run_id, "wait", "failed", dag_id=ALONE)
        airflow.wait_until(lambda: states() == ["CANCELLED"], "cancelled")


@scenarios(
    start_cancel_resume_wait_pull_archive_verify_and_history_work_by_themselves,
    a_task_that_waits_in_a_worker_cancels_its_job_when_marked_failed_but_not_when_it_dies_or_is_cleared,
)
def test_a_dag_of_ones_own(played: Played, scenario: Scenario) -> None:
    played.result(scenario)
