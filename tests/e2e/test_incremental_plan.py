"""Plans on the real Airflow: increments of ten days by its own backfill, and a broken plan beside a good one."""

from __future__ import annotations

import itertools
import json
import os
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from tests.support.airflow_stack import LiveAirflow
from tests.support.together import Played, Scenario, Stage, scenarios

PLAN = "aem_guides_plan_ten_days"
FOLDER = "/content/dam/ten-days"
CHECK = "aem_guides_plans_check.py"
PARIS = ZoneInfo("Europe/Paris")
FIRST, LAST = datetime(2025, 3, 25, tzinfo=PARIS), datetime(2025, 4, 3, tzinfo=PARIS)
HOURS = 239  # ten days, with the night when the clocks go forward
READ_AGAIN_SECONDS = 6.0
MARGIN = 24  # hours with assets ahead of the first interval, and after the last

BROKEN = """
  - name: broken
    schedule: "@daily"
    paths: [content/dam/a]
"""


def runs(airflow: LiveAirflow, kind: str) -> list[dict[str, Any]]:
    answer = airflow.rest.request("GET", f"/dags/{PLAN}/dagRuns", params={"run_type": kind, "limit": 100})
    return list(answer["dag_runs"])


def read_until(airflow: LiveAirflow, met: Callable[[], object], what: str) -> None:
    """Make the DAG processor read the files that depend on the plans until a condition is met.

    It is repeated, because the processor misses a change of a file that it is just reading; but not at each look,
    because then it would read all the time.
    """
    touched = -READ_AGAIN_SECONDS

    def read_again_and_look() -> object:
        nonlocal touched
        if time.monotonic() > touched + READ_AGAIN_SECONDS:
            touched = time.monotonic()
            for name in ("aem_guides_plans.py", CHECK):
                os.utime(airflow.folder / "dags" / name)
        return met()

    airflow.wait_until(read_again_and_look, what)


def a_backfill_over_ten_days_processes_every_asset_once(stage: Stage) -> None:
    airflow = stage.airflow
    begin = FIRST.astimezone(UTC) - timedelta(hours=MARGIN)
    files = HOURS + 2 * MARGIN
    airflow.emulator.virtual_folder(
        FOLDER,
        files,
        created_from=int(begin.timestamp() * 1000),
        created_to=int((begin + timedelta(hours=files)).timestamp() * 1000),
    )
    airflow.wait_until(lambda: airflow.rest.has_dag(PLAN), "the DAG of the plan")
    by_hand = airflow.rest.trigger(PLAN, {})
    backfill = {"dag_id": PLAN, "from_date": FIRST.isoformat(), "to_date": LAST.isoformat(), "max_active_runs": 3}
    airflow.rest.request("POST", "/backfills", json=backfill)

    airflow.wait_until(
        lambda: all(run["state"] in ("success", "failed") for run in runs(airflow, "backfill")), "the backfill"
    )
    done = runs(airflow, "backfill")
    assert [run["state"] for run in done] == ["success"] * 10
    wanted = {f"{FOLDER}/topic_{number:07d}.dita" for number in range(MARGIN, MARGIN + HOURS)}
    counted = {asset["path"]: asset["times_processed"] for asset in airflow.emulator.assets(FOLDER)}
    assert counted == dict.fromkeys(wanted, 1)

    jobs = airflow.emulator.jobs(FOLDER)
    assert sorted(job["total"] for job in jobs) == [23] + [24] * 9
    bounds = sorted((job["filter"]["startTime"], job["filter"]["endTime"]) for job in jobs)
    assert all(earlier[1] == later[0] for earlier, later in itertools.pairwise(bounds))
    shown = sorted((run["data_interval_start"], run["data_interval_end"]) for run in done)
    assert [tuple(int(datetime.fromisoformat(t).timestamp() * 1000) for t in pair) for pair in shown] == bounds

    assert airflow.end_of(PLAN, by_hand) == "failed"
    where = f"/dags/{PLAN}/dagRuns/{by_hand}/taskInstances/plan_requests/logs/1"
    log = airflow.rest.request("GET", where, params={"full_content": "true"})
    assert "data_interval: None is not valid" in json.dumps(log)
    reported = airflow.folder / "plan-alerts.txt"
    airflow.wait_until(reported.exists, "the notification")
    assert reported.read_text() == f"failed: {by_hand}\n"


@scenarios(a_backfill_over_ten_days_processes_every_asset_once)
def test_increments_are_whole(aftermath: Played, scenario: Scenario) -> None:
    aftermath.result(scenario)


def a_broken_plan_is_an_import_error_and_the_others_stay_in_the_schedule(stage: Stage) -> None:
    airflow = stage.airflow
    began = datetime.now(UTC)
    good = airflow.plans_file.read_text()
    airflow.plans_file.write_text(good + BROKEN)
    try:
        read_until(airflow, lambda: CHECK in airflow.rest.import_errors_since(began), "the import error")
        reported = airflow.rest.import_errors_since(began)
        line = good.count("\n") + 4
        assert list(reported) == [CHECK]
        assert (
            f"{airflow.plans_file}, line {line}: plan 'broken', field paths.0: 'content/dam/a' should match"
            in reported[CHECK]
        )
        assert "List absolute paths below /content" in reported[CHECK]
        moment = datetime.now(UTC)
        read_until(airflow, lambda: airflow.rest.parsed_since(PLAN, moment), "the DAGs read again")
        dag = airflow.rest.request("GET", f"/dags/{PLAN}")
        assert (dag["has_import_errors"], dag["is_stale"]) == (False, False)
    finally:
        airflow.plans_file.write_text(good)
    read_until(airflow, lambda: not airflow.rest.import_errors_since(began), "the end of the import error")


@scenarios(a_broken_plan_is_an_import_error_and_the_others_stay_in_the_schedule)
def test_plans_disturb_no_others(played: Played, scenario: Scenario) -> None:
    played.result(scenario)
