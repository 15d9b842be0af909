"""The outcome of every asset after the job, and the reaction of a run."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from tests.support.airflow_stack import DAG, VERIFY, LiveAirflow
from tests.support.instances import FAST
from tests.support.runs import Run
from tests.support.together import Played, Scenario, Stage, scenarios


def failures_are_shown_and_stored_completely_and_too_many_fail_the_run_on_request(stage: Stage) -> None:
    reported = Run.begin(stage.common, files=300, rate=10 * FAST, failed_assets=150)
    assert reported.end() == "success"
    row = reported.row()
    assert row["failed_assets"] == 150
    stored = Path(str(row["archive_uri"]).removeprefix("file://")).with_name("failed-assets.csv")
    with stored.open(encoding="utf-8", newline="") as file:
        listed = [line["path"] for line in csv.DictReader(file)]
    assets = stage.common.emulator.assets(reported.path)
    assert listed == [asset["path"] for asset in assets if asset["state"] == "FAILURE"]
    log = "\n".join(reported.log(VERIFY))
    assert log.count("Not processed: ") == 100
    assert "... and 50 more" in log
    too_many = reported.again(fail_on_asset_failures="50%")
    assert too_many.end() == "failed"
    assert too_many.tries_that_said("and fail_on_asset_failures is 50%", VERIFY) == 1


def assets_still_at_work_are_waited_for_without_a_worker(stage: Stage) -> None:
    with stage.instances.new({"late_assets": 5, "late_seconds": 3600.0}) as instance:
        run = Run.begin(instance, files=20, rate=10 * FAST)
        run.wait_for(VERIFY, "deferred")
        run.wait_for_words("5 of 20 assets below", VERIFY)
        assert stage.airflow.instance(run.run_id, VERIFY, 0)["state"] == "deferred"
        instance.emulator.settings(late_assets=0, late_seconds=0.0)
        assert run.end() == "success"
        assert stage.airflow.rest.xcom(DAG, run.run_id, VERIFY, map_index=0)["succeeded"] == 20


def an_instance_that_cannot_be_asked_is_passed_over_with_a_note_unless_a_limit_is_set(stage: Stage) -> None:
    with stage.instances.new({"asset_status": False}) as instance:
        run = Run.begin(instance, files=5, rate=FAST)
        assert run.end() == "success"
        assert stage.airflow.instance(run.run_id, VERIFY, 0)["state"] == "skipped"
        assert "has no asset status" in "".join(run.log(VERIFY))
        limited = run.again(fail_on_asset_failures="1")
        assert limited.end() == "failed"
        assert limited.tries_that_said("It is not known whether too many assets failed", VERIFY) == 1


@scenarios(
    failures_are_shown_and_stored_completely_and_too_many_fail_the_run_on_request,
    assets_still_at_work_are_waited_for_without_a_worker,
    an_instance_that_cannot_be_asked_is_passed_over_with_a_note_unless_a_limit_is_set,
)
def test_the_outcome_of_the_assets(played: Played, scenario: Scenario) -> None:
    played.result(scenario)


@pytest.mark.parametrize("limit", ["0", "five", "101%", "-1"])
def test_a_limit_that_is_none_is_refused_at_the_rest_call(airflow: LiveAirflow, limit: str) -> None:
    with pytest.raises(Exception, match="400"):
        airflow.rest.trigger(DAG, {"paths": ["/content/dam/aurora"], "fail_on_asset_failures": limit})
