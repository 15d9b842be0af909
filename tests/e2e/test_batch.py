"""Batches on the real Airflow, while another user works on the same instance."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from tests.support.airflow_stack import LiveAirflow
from tests.support.batch import (
    BATCH,
    PATHS,
    a_stranger_starting_jobs,
    outcome_rows,
    start_as_stranger,
    starts_beyond,
    states_of_paths,
    virtual_folders,
)
from tests.support.together import Played, Scenario, Stage, lasting, scenarios

SMALL, IN_FLIGHT = "small_batch", 8
FOLDERS = 20
LIMIT = 4
ROOT = "/content/dam/batch"


@lasting
def more_paths_than_wait_at_once_share_the_instance_with_a_stranger(stage: Stage) -> None:
    airflow = stage.airflow
    airflow.wait_until(lambda: airflow.rest.has_dag(SMALL), "the DAG")
    with stage.instances.new() as instance:
        emulator = instance.emulator
        paths = virtual_folders(emulator, ROOT, FOLDERS, files=3, rate=4)
        listed = airflow.paths_files_folder / "paths.csv"
        listed.write_text("path\n" + "\n".join(paths) + "\n")
        strangers = virtual_folders(emulator, f"{ROOT}-full", LIMIT, files=100_000, rate=0.1)
        for path in strangers:
            start_as_stranger(emulator, path)
        conf = {"paths_file": listed.name, "max_active_jobs": LIMIT, "verify_assets": False}
        run_id = airflow.rest.trigger(SMALL, {**conf, "connection_id": instance.connection_id})

        def number_of_paths(*states: str) -> int:
            return states_of_paths(airflow, run_id, *states, dag_id=SMALL)

        airflow.wait_until(lambda: number_of_paths("deferred") == IN_FLIGHT, "all that may wait with the triggerer do")
        assert number_of_paths("running", "queued") == 0
        none_yet = f"0 of {FOLDERS} paths, 0 running, 0 failed"
        airflow.wait_for_words(none_yet, run_id, "batch_progress", dag_id=SMALL)
        assert [job["path"] for job in emulator.jobs() if job["path"].startswith(ROOT + "/")] == []
        for path in strangers:
            emulator.virtual_folder(path, 100_000, rate=10_000_000)
        with a_stranger_starting_jobs(emulator, every=3.0, files=2, rate=2):
            state = airflow.end_of(SMALL, run_id)
        assert state == "success"
        assert airflow.components_said("XCom not found", run_id) == []
        ours = [job for job in emulator.jobs() if job["path"].startswith(ROOT + "/")]
        started = [job["path"] for job in ours]
        assert sorted(started) == paths, airflow.account(run_id, dag_id=SMALL)
        # Those that waited together. A path that comes later may find the queue empty.
        assert started[:IN_FLIGHT] == paths[:IN_FLIGHT]
        assert {job["state"] for job in ours} == {"SUCCESS"}
        assert starts_beyond(emulator, ROOT + "/", LIMIT) == []
        assert airflow.rest.healthy()
        progress = airflow.rest.log_events(SMALL, run_id, "batch_progress", 1)
        assert any(line.startswith(none_yet) for line in progress)
        assert any(" running, 0 failed, about " in line for line in progress)
        assert any(line.startswith(f"{FOLDERS} of {FOLDERS} paths") for line in progress)
        assert airflow.starts(run_id, "batch_progress", dag_id=SMALL) == 1, "its trigger has ended it"
        shown = airflow.rest.xcom(SMALL, run_id, "batch_progress")["progress"]
        assert shown.startswith(f"{FOLDERS} of {FOLDERS} paths")
        outcome = airflow.rest.xcom(SMALL, run_id, "report")
        assert (outcome["paths"], outcome["succeeded"], outcome["failed"]) == (FOLDERS, FOLDERS, 0)
        rows = outcome_rows(outcome)
        assert [row["path"] for row in rows] == paths
        assert all(Path(row["archive_uri"].removeprefix("file://")).exists() for row in rows)


@lasting
def one_failure_leaves_the_others_alone_and_nothing_is_done_twice_afterwards(stage: Stage) -> None:
    airflow = stage.airflow
    with stage.instances.new() as instance:
        emulator = instance.emulator
        paths = virtual_folders(emulator, ROOT, 4, files=4, rate=20)
        emulator.virtual_folder(paths[1], 4, rate=20, fail_at=0.5)
        given = {"connection_id": instance.connection_id, "max_active_jobs": 50}
        conf = {**given, "paths": paths, "batch_name": instance.connection_id, "max_resumes": 0}
        first = airflow.rest.trigger(BATCH, conf)
        assert airflow.end_of(BATCH, first) == "failed"
        outcome = airflow.rest.xcom(BATCH, first, "report")
        assert (outcome["succeeded"], outcome["failed"]) == (3, 1)
        states = {row["path"]: row["state"] for row in outcome_rows(outcome)}
        assert states == dict.fromkeys(paths, "SUCCESS") | {paths[1]: "FAILED"}

        second = airflow.rest.trigger(BATCH, conf | {"paths": [*paths[:1], *paths[2:]]})
        cleared = {"dry_run": False, "only_failed": False}
        airflow.rest.request(
            "POST", f"/dags/{BATCH}/dagRuns/{first}/clear", json=cleared | {"run_on_latest_version": False}
        )
        airflow.wait_until(lambda: airflow.run_state(BATCH, first) != "failed", "the cleared run to start")
        assert airflow.end_of(BATCH, second) == "success"
        assert airflow.rest.xcom(BATCH, second, "report")["done_before"] == 3
        assert airflow.end_of(BATCH, first) == "success"
        assert sorted(job["path"] for job in emulator.jobs()) == paths, airflow.account(first, dag_id=BATCH)
        assert [job["resumes"] for job in emulator.jobs(paths[1])] == [1]


def assets_at_work_are_waited_for_without_a_worker_and_a_kill_meanwhile_cancels_nothing(stage: Stage) -> None:
    airflow = stage.airflow
    with stage.instances.new({"late_assets": 2, "late_seconds": 3600.0}) as instance:
        emulator = instance.emulator
        paths = virtual_folders(emulator, ROOT, 2, files=4, rate=20)
        conf = {"connection_id": instance.connection_id, "paths": paths, "max_active_jobs": 50}
        run_id = airflow.rest.trigger(BATCH, conf)
        for index in range(len(paths)):
            airflow.wait_for_words("2 of 4 assets below", run_id, PATHS, index, dag_id=BATCH)
        airflow.wait_until(lambda: states_of_paths(airflow, run_id, "deferred") == len(paths), "both to wait")
        airflow.set_state(run_id, PATHS, "failed", 0, dag_id=BATCH)
        emulator.settings(late_assets=0, late_seconds=0.0)
        assert airflow.end_of(BATCH, run_id) == "failed"
        killed, well = outcome_rows(airflow.rest.xcom(BATCH, run_id, "report"))
        assert (killed["state"], well["state"], well["error"], well["failed_assets"]) == ("SUCCESS", "SUCCESS", "", "0")
        assert "They were not verified" in killed["error"]
        assert Path(well["archive_uri"].removeprefix("file://")).exists()
        assert [job["state"] for job in emulator.jobs()] == ["SUCCESS", "SUCCESS"]


def what_only_a_task_can_see_fails_the_plan_before_anything_is_sent(stage: Stage) -> None:
    airflow = stage.airflow
    secret = stage.instances.folder / "secret.txt"
    secret.write_text("the password\n")
    with stage.instances.new() as instance:
        conf = {"connection_id": instance.connection_id, "paths_file": f"file://{secret}"}
        run_id = airflow.rest.trigger(BATCH, conf)
        assert airflow.end_of(BATCH, run_id) == "failed"
        log = airflow.whole_log(run_id, "plan_batch", attempt=1, dag_id=BATCH)
        assert "A local file must lie below" in log
        assert "the password" not in log
        assert instance.emulator.requests() == []


@scenarios(
    more_paths_than_wait_at_once_share_the_instance_with_a_stranger,
    one_failure_leaves_the_others_alone_and_nothing_is_done_twice_afterwards,
    assets_at_work_are_waited_for_without_a_worker_and_a_kill_meanwhile_cancels_nothing,
    what_only_a_task_can_see_fails_the_plan_before_anything_is_sent,
)
def test_a_batch_does_what_it_promises(played: Played, scenario: Scenario) -> None:
    played.result(scenario)


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
