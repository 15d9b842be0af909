"""Off-peak hours on the real Airflow: a start held back, and a folder that takes three of them."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta

from tests.support.airflow_stack import DAG, START, WAIT, LiveAirflow

FILES = 200
OPEN, PERIOD, COUNT = 15, 30, 60
TOLERANCE = timedelta(seconds=5)


def hours_every_few_seconds() -> list[dict[str, str]]:
    """Off-peak hours of seconds, one after the other for half an hour, beginning soon."""
    first = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=5)
    begins = [first + timedelta(seconds=PERIOD * number) for number in range(COUNT)]
    return [
        {
            "from": f"{begin:%H:%M:%S}",
            "to": f"{begin + timedelta(seconds=OPEN):%H:%M:%S}",
            "timezone": "UTC",
            "at_end": "cancel",
        }
        for begin in begins
    ]


def within(hours: list[dict[str, str]], milliseconds: int) -> bool:
    """Whether a job's time lies in the hours; a request may take some seconds of its own on a busy machine."""
    moment = datetime.fromtimestamp(milliseconds / 1000, UTC)
    times = [f"{at:%H:%M:%S}" for at in (moment, moment - TOLERANCE)]
    return any(
        entry["from"] <= time <= entry["to"] or (entry["to"] < entry["from"] and not entry["to"] < time < entry["from"])
        for entry in hours
        for time in times
    )


def test_a_folder_that_takes_three_off_peak_hours_is_processed_whole_and_every_asset_once(airflow: LiveAirflow) -> None:
    path = f"/content/dam/nightly-{uuid.uuid4().hex[:8]}"
    airflow.emulator.virtual_folder(path, FILES, rate=0.5)
    airflow.emulator.settings(resume_keeps_id=False)
    try:
        hours = hours_every_few_seconds()
        run_id = airflow.rest.trigger(DAG, {"paths": [path], "only_between": hours, "max_resumes": 0})
        airflow.wait_until(lambda: len(airflow.emulator.jobs(path)) >= 3, "the third off-peak hours", within=300)
        airflow.emulator.virtual_folder(path, FILES, rate=100)
        assert airflow.rest.wait_for_run(DAG, run_id, 180) == "success"
    finally:
        airflow.emulator.settings(resume_keeps_id=True)
    *earlier, last = airflow.emulator.jobs(path)
    assert [job["state"] for job in earlier] == ["CANCELLED"] * len(earlier)
    assert all(within(hours, job["started"]) for job in [*earlier, last])
    assets = airflow.emulator.assets(path)
    assert [asset["times_processed"] for asset in assets] == [1] * FILES
    (row,) = airflow.rest.xcom(DAG, run_id, "report")
    assert (row["state"], row["processing_id"], row["resumes"]) == ("SUCCESS", last["processing_id"], len(earlier))
    assert row["log_lines"] == sum(job["lines"] for job in [*earlier, last])
    assert last["processing_id"] in row["archive_uri"]
    log = "\n".join(airflow.log(run_id, WAIT, map_index=0))
    assert "is held back until" in log


def test_a_start_outside_the_off_peak_hours_waits_for_them_in_the_triggerer_and_says_until_when(
    airflow: LiveAirflow,
) -> None:
    path = f"/content/dam/held-back-{uuid.uuid4().hex[:8]}"
    airflow.emulator.virtual_folder(path, 5)
    later = datetime.now(UTC) + timedelta(hours=6)
    only_between = {"from": f"{later:%H}:00", "to": f"{later:%H}:30", "timezone": "UTC"}
    run_id = airflow.rest.trigger(DAG, {"paths": [path], "only_between": only_between})
    airflow.wait_for_state(run_id, START, "deferred", map_index=0)
    said = f"held back until {later:%Y-%m-%d %H}:00 UTC"
    airflow.wait_until(lambda: said in "".join(airflow.log(run_id, START, map_index=0)), "the log says until when")
    airflow.rest.request("PATCH", f"/dags/{DAG}/dagRuns/{run_id}", json={"state": "failed"})
    assert not airflow.emulator.jobs(path)
