"""The main job, over REST, on the real Airflow: what a user does and sees."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import httpx
import pytest

from tests.conftest import CORPUS
from tests.support.airflow_stack import ARCHIVE, DAG, PULL, START, VERIFY, WAIT, LiveAirflow
from tests.support.runs import Run, pulled_lines
from tests.support.together import Played, Scenario, Stage, lasting, scenarios

GUIDES = "/content/dam/aurora/guides"
REFERENCE = "/content/dam/aurora/reference"
REPORT_FIELDS = {
    "path",
    "processing_id",
    "state",
    "total_files",
    "triggered_count",
    "failed_assets",
    "started_at",
    "completed_at",
    "resumes",
    "log_lines",
    "archive_uri",
    "sha256",
}


def check_path(airflow: LiveAirflow, run_id: str, row: dict[str, object], map_index: int) -> None:
    """The results of a path's tasks match the emulator's data."""
    emulator = airflow.emulator
    job = emulator.job(str(row["processing_id"]))
    logged = emulator.log_lines(job["processing_id"])
    assert pulled_lines(airflow.log(run_id, PULL, map_index=map_index)) == logged
    archive = Path(str(row["archive_uri"]).removeprefix("file://"))
    with zipfile.ZipFile(archive) as stored:
        assert b"".join(stored.read(name) for name in stored.namelist()).decode().split("\n")[:-1] == logged
    manifest = json.loads((archive.parent / "manifest.json").read_text())
    assert manifest["sha256"] == row["sha256"]
    assert manifest["processing_id"] == row["processing_id"]
    assert set(row) == REPORT_FIELDS
    assert row["state"] == "SUCCESS"
    assert row["path"] == job["path"]
    assert row["total_files"] == row["triggered_count"] == job["total"]
    assert row["failed_assets"] == job["failed_assets"]
    assert row["log_lines"] == len(logged)
    assert row["resumes"] == 0
    assert str(row["started_at"]) < str(row["completed_at"])


def process_and_check(stage: Stage, paths: list[str]) -> None:
    airflow = stage.airflow
    run_id, state = airflow.run({"paths": paths, "max_active_jobs": 100})
    assert state == "success"
    assert airflow.components_said("XCom not found", run_id) == []
    rows = airflow.rest.xcom(DAG, run_id, "report")
    assert [row["path"] for row in rows] == paths
    for index, row in enumerate(rows):
        check_path(airflow, run_id, row, index)
        for task_id in (START, WAIT, PULL, ARCHIVE, VERIFY):
            assert airflow.instance(run_id, task_id, index)["rendered_map_index"] == row["path"]


def two_paths_are_processed_pulled_archived_verified_and_reported(stage: Stage) -> None:
    process_and_check(stage, [GUIDES, REFERENCE])


def two_paths_of_the_corpus_are_processed_pulled_archived_verified_and_reported(stage: Stage) -> None:
    process_and_check(stage, ["/content/dam/corpus/topics", "/content/dam/corpus/reference"])


def progress_and_log_lines_appear_while_the_job_runs(stage: Stage) -> None:
    run = Run.begin(stage.common, files=60)
    run.wait_for_progress()
    assert stage.airflow.instance(run.run_id, WAIT, 0)["state"] == "deferred"
    run.hasten()
    assert run.end() == "success"
    (job,) = run.jobs()
    records = "\n".join(stage.airflow.logged_in_all_tries(run.run_id, WAIT, run.index))
    lines = stage.common.emulator.log_lines(str(job["processing_id"]))
    assert [records.count(line) for line in lines] == [1] * len(lines), stage.airflow.account(run.run_id)
    assert job["lines"] == len(lines)


@pytest.mark.parametrize(
    ("conf", "said"),
    [
        ({"paths": ["content/dam/a"]}, "content/dam/a"),
        ({"paths": ["/etc/passwd"]}, "/etc/passwd"),
        ({"paths": []}, "paths"),
        ({"paths": ["/content/dam/a", "/content/dam/a"]}, "paths"),
        ({"paths": [GUIDES], "file_types": ["DOCX"]}, "DOCX"),
        ({"paths": [GUIDES], "max_log_lines": 0}, "max_log_lines"),
        ({"paths": [GUIDES], "max_active_jobs": -1}, "max_active_jobs"),
        ({"paths": [GUIDES], "deadline_hours": 0}, "deadline_hours"),
        ({"paths": [GUIDES], "created_after": "yesterday"}, "yesterday"),
        ({"paths": [GUIDES], "on_active_job": "hope"}, "hope"),
    ],
)
def test_bad_input_is_refused_at_the_rest_call(airflow: LiveAirflow, conf: dict[str, object], said: str) -> None:
    with pytest.raises(httpx.HTTPStatusError) as caught:
        airflow.rest.trigger(DAG, conf)
    assert caught.value.response.status_code == 400
    answer = caught.value.response.text
    assert said in answer
    assert next(reversed(conf)) in answer


def what_only_a_task_can_see_fails_the_first_task_before_anything_is_sent(stage: Stage) -> None:
    airflow = stage.airflow
    with stage.instances.new() as instance:
        run_id = instance.trigger(GUIDES, {"paths": [GUIDES, f"{GUIDES}/installation"]})
        assert airflow.end_of(DAG, run_id) == "failed"
        task = airflow.instance(run_id, "plan_requests")
        assert (task["state"], task["try_number"]) == ("failed", 1)
        assert "lies below" in airflow.whole_log(run_id, "plan_requests")
        assert instance.emulator.requests() == []


def a_folder_that_does_not_exist_fails_the_start_at_once_and_says_so(stage: Stage) -> None:
    airflow = stage.airflow
    run_id, state = airflow.run({"paths": ["/content/dam/nowhere"], "max_active_jobs": 100})
    assert state == "failed"
    task = airflow.instance(run_id, START, 0)
    assert (task["state"], task["try_number"]) == ("failed", 1)
    assert "paths: the instance does not accept '/content/dam/nowhere'" in airflow.whole_log(run_id, START, 0)
    (row,) = airflow.rest.xcom(DAG, run_id, "report")
    assert row["state"] == "NOT_STARTED"


def a_connection_that_cannot_work_fails_the_check_at_once_and_starts_nothing(stage: Stage) -> None:
    airflow = stage.airflow
    path = "/content/dam/aurora/resources"
    cases = {
        "nobody_made_this": "is not an Airflow connection",
        "no_host": "field host",
        "wrong_password": "Check the credentials of the Airflow connection",
    }
    runs = {name: airflow.rest.trigger(DAG, {"paths": [path], "connection_id": name}) for name in cases}
    for name, run_id in runs.items():
        assert airflow.end_of(DAG, run_id) == "failed"
        task = airflow.instance(run_id, "check_instance")
        assert (task["state"], task["try_number"]) == ("failed", 1)
        assert cases[name] in airflow.whole_log(run_id, "check_instance")
    assert airflow.emulator.jobs(path) == []


@lasting
def an_instance_that_is_down_is_tried_again_and_said_to_be_down(stage: Stage) -> None:
    airflow = stage.airflow
    run_id = airflow.rest.trigger(DAG, {"paths": [GUIDES], "connection_id": "nobody_there"})
    airflow.wait_until(lambda: airflow.instance(run_id, "check_instance")["try_number"] >= 2, "the second try")
    first_try = airflow.rest.request(
        "GET", f"/dags/{DAG}/dagRuns/{run_id}/taskInstances/check_instance/logs/1", params={"full_content": "true"}
    )
    assert "no answer after 5 attempts" in json.dumps(first_try)
    airflow.fail_run(DAG, run_id)


@scenarios(
    two_paths_are_processed_pulled_archived_verified_and_reported,
    *([two_paths_of_the_corpus_are_processed_pulled_archived_verified_and_reported] if CORPUS.exists() else []),
    progress_and_log_lines_appear_while_the_job_runs,
    what_only_a_task_can_see_fails_the_first_task_before_anything_is_sent,
    a_folder_that_does_not_exist_fails_the_start_at_once_and_says_so,
    a_connection_that_cannot_work_fails_the_check_at_once_and_starts_nothing,
    an_instance_that_is_down_is_tried_again_and_said_to_be_down,
)
def test_the_main_job_does_what_it_promises(played: Played, scenario: Scenario) -> None:
    played.result(scenario)
