"""The main job, over REST, on the real Airflow: what a user does and sees."""

from __future__ import annotations

import json
import uuid
import zipfile
from pathlib import Path

import httpx
import pytest

from tests.conftest import CORPUS
from tests.support.airflow_stack import ARCHIVE, DAG, PULL, START, VERIFY, WAIT, LiveAirflow

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


def pulled_lines(records: list[str]) -> list[str]:
    """The instance's lines among the records of a pull_logs log."""
    first = next(n for n, record in enumerate(records) if record.endswith("from its first line:"))
    last = next(n for n, record in enumerate(records) if "ends here:" in record)
    return "\n".join(records[first + 1 : last]).split("\n")


def check_path(airflow: LiveAirflow, run_id: str, row: dict[str, object], map_index: int) -> None:
    """Everything that a path's tasks left behind is what the emulator has."""
    emulator = airflow.emulator
    (job,) = [job for job in emulator.jobs() if job["processing_id"] == row["processing_id"]]
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


PAIRS = [[GUIDES, REFERENCE]]
if CORPUS.exists():
    PAIRS.append(["/content/dam/corpus/topics", "/content/dam/corpus/reference"])


@pytest.mark.parametrize("paths", PAIRS)
def test_two_paths_are_processed_pulled_archived_verified_and_reported(airflow: LiveAirflow, paths: list[str]) -> None:
    run_id, state = airflow.run({"paths": paths})
    assert state == "success"
    rows = airflow.rest.xcom(DAG, run_id, "report")
    assert [row["path"] for row in rows] == paths
    for index, row in enumerate(rows):
        check_path(airflow, run_id, row, index)
        for task_id in (START, WAIT, PULL, ARCHIVE, VERIFY):
            assert airflow.instance(run_id, task_id, index)["rendered_map_index"] == row["path"]


def test_progress_and_log_lines_appear_while_the_job_runs(airflow: LiveAirflow) -> None:
    path = f"/content/dam/slow-{uuid.uuid4().hex[:8]}"
    airflow.emulator.virtual_folder(path, 60, rate=6)
    run_id = airflow.rest.trigger(DAG, {"paths": [path]})
    airflow.wait_for_state(run_id, WAIT, "deferred", map_index=0)
    airflow.wait_until(
        lambda: any(" of 60 assets (" in record for record in airflow.log(run_id, WAIT, map_index=0)), "progress"
    )
    assert airflow.instance(run_id, WAIT, 0)["state"] == "deferred"
    assert airflow.rest.wait_for_run(DAG, run_id, 90) == "success"
    (job,) = airflow.emulator.jobs(path)
    records = "\n".join(airflow.log(run_id, WAIT, map_index=0))
    for line in airflow.emulator.log_lines(job["processing_id"]):
        assert records.count(line) == 1


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
    assert said in caught.value.response.text


def test_what_only_a_task_can_see_fails_the_first_task_before_anything_is_sent(airflow: LiveAirflow) -> None:
    cases: list[tuple[dict[str, object], str]] = [
        ({"paths": [GUIDES, f"{GUIDES}/installation"]}, "lies below"),
        ({"paths": [GUIDES], "excluded_paths": ["/content/dam/other"]}, "excluded_paths: '/content/dam/other'"),
        ({"paths": [GUIDES], "excluded_paths": ["content/dam/other"]}, "excluded_paths: 'content/dam/other'"),
        (
            {"paths": [GUIDES], "created_after": "2026-02-01T00:00Z", "created_before": "2026-01-01T00:00Z"},
            "created_before: '2026-01-01T00:00Z'",
        ),
        ({"paths": [GUIDES], "created_after": "2026-02-31T00:00Z"}, "created_after: '2026-02-31T00:00Z'"),
    ]
    before = len(airflow.emulator.requests())
    runs = [(airflow.rest.trigger(DAG, conf), said) for conf, said in cases]
    for run_id, said in runs:
        assert airflow.rest.wait_for_run(DAG, run_id, 120) == "failed"
        instance = airflow.instance(run_id, "plan_requests")
        assert (instance["state"], instance["try_number"]) == ("failed", 1)
        assert said in task_log(airflow, run_id, "plan_requests")
    assert len(airflow.emulator.requests()) == before


def test_a_folder_that_does_not_exist_fails_the_start_at_once_and_says_so(airflow: LiveAirflow) -> None:
    run_id, state = airflow.run({"paths": ["/content/dam/nowhere"]})
    assert state == "failed"
    instance = airflow.instance(run_id, START, 0)
    assert (instance["state"], instance["try_number"]) == ("failed", 1)
    (row,) = airflow.rest.xcom(DAG, run_id, "report")
    assert row["state"] == "NOT_STARTED"


def test_a_connection_that_cannot_work_fails_the_check_at_once_and_starts_nothing(airflow: LiveAirflow) -> None:
    before = len(airflow.emulator.jobs())
    cases = {
        "nobody_made_this": "is not an Airflow connection",
        "no_host": "field host",
        "wrong_password": "Check the credentials of the Airflow connection",
    }
    runs = {name: airflow.rest.trigger(DAG, {"paths": [GUIDES], "connection_id": name}) for name in cases}
    for name, run_id in runs.items():
        assert airflow.rest.wait_for_run(DAG, run_id, 120) == "failed"
        instance = airflow.instance(run_id, "check_instance")
        assert (instance["state"], instance["try_number"]) == ("failed", 1)
        assert cases[name] in task_log(airflow, run_id, "check_instance")
    assert len(airflow.emulator.jobs()) == before


def test_an_instance_that_is_down_is_tried_again_and_said_to_be_down(airflow: LiveAirflow) -> None:
    run_id = airflow.rest.trigger(DAG, {"paths": [GUIDES], "connection_id": "nobody_there"})
    airflow.wait_until(lambda: airflow.instance(run_id, "check_instance")["try_number"] >= 2, "the second try")
    assert "no answer after 5 attempts" in task_log(airflow, run_id, "check_instance")
    airflow.rest.request("PATCH", f"/dags/{DAG}/dagRuns/{run_id}", json={"state": "failed"})


def task_log(airflow: LiveAirflow, run_id: str, task_id: str) -> str:
    """The whole log of a task's first try, exceptions and all."""
    path = f"/dags/{DAG}/dagRuns/{run_id}/taskInstances/{task_id}/logs/1"
    return json.dumps(airflow.rest.request("GET", path, params={"full_content": "true"}), ensure_ascii=False)
