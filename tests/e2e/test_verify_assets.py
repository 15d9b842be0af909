"""What became of every asset after the job, and what a run makes of it."""

from __future__ import annotations

import csv
import uuid
from pathlib import Path

import pytest

from tests.support.airflow_stack import DAG, VERIFY, LiveAirflow


def folder(airflow: LiveAirflow, files: int, **more: object) -> str:
    path = f"/content/dam/verified-{uuid.uuid4().hex[:8]}"
    airflow.emulator.virtual_folder(path, files, rate=500, **more)
    return path


def test_failures_are_told_stored_whole_and_decide_the_runs_state_if_asked_to(airflow: LiveAirflow) -> None:
    path = folder(airflow, 300, failed_assets=150)
    told = airflow.rest.trigger(DAG, {"paths": [path]})
    assert airflow.rest.wait_for_run(DAG, told, 180) == "success"
    (row,) = airflow.rest.xcom(DAG, told, "report")
    assert row["failed_assets"] == 150
    stored = Path(row["archive_uri"].removeprefix("file://")).with_name("failed-assets.csv")
    with stored.open(encoding="utf-8", newline="") as file:
        listed = [line["path"] for line in csv.DictReader(file)]
    assert listed == [asset["path"] for asset in airflow.emulator.assets(path) if asset["state"] == "FAILURE"]
    log = "\n".join(airflow.log(told, VERIFY, map_index=0))
    assert log.count("Not processed: ") == 100
    assert "... and 50 more" in log
    too_many = airflow.rest.trigger(DAG, {"paths": [path], "fail_on_asset_failures": "50%"})
    enough = airflow.rest.trigger(DAG, {"paths": [folder(airflow, 50, failed_assets=2)], "fail_on_asset_failures": "3"})
    assert airflow.rest.wait_for_run(DAG, too_many, 180) == "failed"
    assert airflow.tries_that_said("and fail_on_asset_failures is 50%", too_many, VERIFY, 0) == 1
    assert airflow.rest.wait_for_run(DAG, enough, 180) == "success"


def test_assets_still_at_work_are_waited_for_without_a_worker(airflow: LiveAirflow) -> None:
    path = folder(airflow, 20)
    airflow.emulator.settings(late_assets=5, late_seconds=3600.0)
    try:
        run_id = airflow.rest.trigger(DAG, {"paths": [path]})
        airflow.wait_for_state(run_id, VERIFY, "deferred", map_index=0)
        shown = "5 of 20 assets below"
        airflow.wait_until(lambda: shown in "".join(airflow.log(run_id, VERIFY, map_index=0)), "the count")
        assert airflow.instance(run_id, VERIFY, 0)["state"] == "deferred"
    finally:
        airflow.emulator.settings(late_assets=0, late_seconds=0.0)
    assert airflow.rest.wait_for_run(DAG, run_id, 240) == "success"
    assert airflow.rest.xcom(DAG, run_id, VERIFY, map_index=0)["succeeded"] == 20


def test_an_instance_that_cannot_be_asked_is_passed_over_with_a_note(airflow: LiveAirflow) -> None:
    path = folder(airflow, 5)
    airflow.emulator.settings(asset_status=False)
    try:
        run_id, state = airflow.run({"paths": [path], "fail_on_asset_failures": "1"})
    finally:
        airflow.emulator.settings(asset_status=True)
    assert state == "success"
    assert airflow.instance(run_id, VERIFY, 0)["state"] == "skipped"
    assert "has no asset status" in "".join(airflow.log(run_id, VERIFY, map_index=0))


@pytest.mark.parametrize("limit", ["0", "five", "101%", "-1"])
def test_a_limit_that_is_none_is_refused_at_the_rest_call(airflow: LiveAirflow, limit: str) -> None:
    with pytest.raises(Exception, match="400"):
        airflow.rest.trigger(DAG, {"paths": ["/content/dam/aurora"], "fail_on_asset_failures": limit})
