"""Batches on the real Airflow, while somebody else uses the same instance."""

from __future__ import annotations

import itertools
import json
import uuid
from pathlib import Path

import httpx
import pytest

from aem_guides.batch_pipeline import IN_FLIGHT
from tests.support.airflow_stack import LiveAirflow
from tests.support.batch import (
    BATCH,
    PATHS,
    Watcher,
    a_stranger_starting_jobs,
    outcome_rows,
    start_as_stranger,
    starts_beyond,
    states_of_paths,
    virtual_folders,
)

FOLDERS = 200
LIMIT = 4


@pytest.fixture
def root() -> str:
    return f"/content/dam/batch-{uuid.uuid4().hex[:8]}"


def tries(airflow: LiveAirflow, run_id: str) -> str:
    """Which tasks were tried more than once: they start later than their place in the batch says."""
    again = [t for t in airflow.rest.task_instances(BATCH, run_id) if t["try_number"] > 1]
    return f"each once and in order, but for {[(t['map_index'], t['try_number']) for t in again]}"


def test_two_hundred_paths_share_the_instance_with_a_stranger(airflow: LiveAirflow, root: str) -> None:
    emulator = airflow.emulator
    paths = virtual_folders(emulator, root, FOLDERS, files=3, rate=4)
    listed = airflow.paths_files_folder / "paths.csv"
    listed.write_text("path\n" + "\n".join(paths) + "\n")
    conf = {"paths_file": listed.name, "max_active_jobs": LIMIT, "verify_assets": False}
    strangers = virtual_folders(emulator, f"{root}-full", LIMIT, files=100_000, rate=0.1)
    for path in strangers:
        start_as_stranger(emulator, path)
    run_id = airflow.rest.trigger(BATCH, conf)

    def all_wait() -> bool:
        return states_of_paths(airflow, run_id, "deferred") == IN_FLIGHT

    airflow.wait_until(all_wait, "all that may wait with the triggerer do", within=300)
    assert states_of_paths(airflow, run_id, "running", "queued") == 0
    assert [job["path"] for job in emulator.jobs() if job["path"].startswith(root + "/")] == []
    for path in strangers:
        emulator.virtual_folder(path, 100_000, rate=10_000_000)
    watcher = Watcher(airflow)
    with a_stranger_starting_jobs(emulator, every=3.0, files=2, rate=2):
        state = airflow.rest.wait_for_run(BATCH, run_id, 600, look=watcher.look, every=3.0)
    assert state == "success"
    ours = [job for job in emulator.jobs() if job["path"].startswith(root + "/")]
    assert [job["path"] for job in ours] == paths, tries(airflow, run_id)
    assert {job["state"] for job in ours} == {"SUCCESS"}
    assert starts_beyond(emulator, root + "/", LIMIT) == []
    assert airflow.rest.healthy()
    for component in ("triggerer", "scheduler"):
        assert watcher.late_growth(component) < 1.15, f"the {component} grows"
    progress = airflow.rest.log_events(BATCH, run_id, "batch_progress", 1)
    assert any(line.startswith(f"0 of {FOLDERS} paths, 0 running, 0 failed") for line in progress)
    assert any(" running, 0 failed, about " in line for line in progress)
    assert any(line.startswith(f"{FOLDERS} of {FOLDERS} paths") for line in progress)
    outcome = airflow.rest.xcom(BATCH, run_id, "report")
    assert (outcome["paths"], outcome["succeeded"], outcome["failed"]) == (FOLDERS, FOLDERS, 0)
    rows = outcome_rows(outcome)
    assert [row["path"] for row in rows] == paths
    assert all(Path(row["archive_uri"].removeprefix("file://")).exists() for row in rows)


def test_one_failure_leaves_the_others_alone_and_nothing_is_done_twice_afterwards(
    airflow: LiveAirflow, root: str
) -> None:
    emulator = airflow.emulator
    paths = virtual_folders(emulator, root, 4, files=4, rate=20)
    emulator.virtual_folder(paths[1], 4, rate=20, fail_at=0.5)
    conf = {"paths": paths, "batch_name": root, "max_resumes": 0, "max_active_jobs": 50}
    first = airflow.rest.trigger(BATCH, conf)
    assert airflow.rest.wait_for_run(BATCH, first, 120) == "failed"
    outcome = airflow.rest.xcom(BATCH, first, "report")
    assert (outcome["succeeded"], outcome["failed"]) == (3, 1)
    states = {row["path"]: row["state"] for row in outcome_rows(outcome)}
    assert states == dict.fromkeys(paths, "SUCCESS") | {paths[1]: "FAILED"}

    second = airflow.rest.trigger(BATCH, conf | {"paths": [*paths[:1], *paths[2:]]})
    cleared = {"dry_run": False, "only_failed": False}
    airflow.rest.request(
        "POST", f"/dags/{BATCH}/dagRuns/{first}/clear", json=cleared | {"run_on_latest_version": False}
    )
    airflow.wait_until(lambda: airflow.rest.run_state(BATCH, first) != "failed", "the cleared run to start")
    assert airflow.rest.wait_for_run(BATCH, second, 120) == "success"
    assert airflow.rest.xcom(BATCH, second, "report")["done_before"] == 3
    assert airflow.rest.wait_for_run(BATCH, first, 120) == "success"
    jobs = [job for job in emulator.jobs() if job["path"].startswith(root)]
    assert sorted(job["path"] for job in jobs) == paths
    assert [job["resumes"] for job in emulator.jobs(paths[1])] == [1]


def test_the_triggerer_may_die_and_a_path_be_marked_failed_and_cleared(airflow: LiveAirflow, root: str) -> None:
    emulator = airflow.emulator
    paths = virtual_folders(emulator, root, 2, files=1000, rate=1)
    run_id = airflow.rest.trigger(BATCH, {"paths": paths, "max_active_jobs": 50})
    airflow.wait_until(
        lambda: len([job for job in emulator.jobs() if job["path"] in paths and job["position"]]) == 2, "both jobs run"
    )
    airflow.kill("triggerer")
    airflow.restart("triggerer")
    looks = len(emulator.requests("status"))
    airflow.wait_until(lambda: len(emulator.requests("status")) > looks + 2, "the jobs are followed again")
    where = f"/dags/{BATCH}/dagRuns/{run_id}/taskInstances/{PATHS}/0"
    airflow.rest.request("PATCH", where, json={"new_state": "failed"}, params={"update_mask": "new_state"})
    airflow.wait_until(lambda: emulator.jobs(paths[0])[0]["state"] == "CANCELLED", "the job is cancelled")
    assert emulator.jobs(paths[1])[0]["state"] == "RUNNING"
    for path in paths:
        emulator.virtual_folder(path, 1000, rate=2000)
    body = {"dry_run": False, "dag_run_id": run_id, "task_ids": [[PATHS, 0]], "only_failed": False}
    airflow.rest.request("POST", f"/dags/{BATCH}/clearTaskInstances", json=body | {"include_downstream": True})
    airflow.wait_until(lambda: airflow.rest.run_state(BATCH, run_id) == "success", "the run succeeds", within=120)
    assert [len(emulator.jobs(path)) for path in paths] == [1, 1]
    assert emulator.jobs(paths[0])[0]["resumes"] == 1


@pytest.mark.parametrize(
    ("conf", "said"),
    [
        ({"paths": ["content/dam/a"]}, "content/dam/a"),
        ({"paths": ["/content/a"], "batch_name": ""}, "batch_name"),
        ({"paths": ["/content/a"], "queue_hours": 0}, "queue_hours"),
    ],
)
def test_bad_input_is_refused_at_the_rest_call(airflow: LiveAirflow, conf: dict[str, object], said: str) -> None:
    with pytest.raises(httpx.HTTPStatusError) as caught:
        airflow.rest.trigger(BATCH, conf)
    assert caught.value.response.status_code == 400
    assert said in caught.value.response.text


def test_what_only_a_task_can_see_fails_the_plan_before_anything_is_sent(airflow: LiveAirflow, tmp_path: Path) -> None:
    wrong = airflow.paths_files_folder / "paths.txt"
    wrong.write_text("/content/dam/a\ncontent/dam/b\n")
    secret = tmp_path / "secret.txt"
    secret.write_text("the password\n")
    cases: list[tuple[dict[str, object], str]] = [
        ({}, "Give paths, or a file that has some"),
        (
            {"paths_file": f"file://{wrong}"},
            "paths_file (paths.txt, line 2): what stands there is not valid.",
        ),
        ({"paths_file": "none.txt"}, "There is no such file"),
        ({"paths_file": f"file://{secret}"}, "A local file must lie below"),
        ({"paths": ["/content/dam/a", "/content/dam/a/b"]}, "lies below /content/dam/a"),
    ]
    before = len(airflow.emulator.requests())
    runs = [(airflow.rest.trigger(BATCH, conf), said) for conf, said in cases]
    for (run_id, said), number in zip(runs, itertools.count()):
        assert airflow.rest.wait_for_run(BATCH, run_id, 120) == "failed", number
        where = f"/dags/{BATCH}/dagRuns/{run_id}/taskInstances/plan_batch/logs/1"
        log = airflow.rest.request("GET", where, params={"full_content": "true"})
        assert said in json.dumps(log, ensure_ascii=False)
        assert "the password" not in json.dumps(log)
    assert len(airflow.emulator.requests()) == before
