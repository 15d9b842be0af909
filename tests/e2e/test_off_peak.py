"""Off-peak hours on the real Airflow: a start that is held back, and a folder that takes three of them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from tests.support.airflow_stack import START, WAIT
from tests.support.runs import Run
from tests.support.together import Played, Scenario, Stage, lasting, scenarios

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


@lasting
def a_folder_that_takes_three_off_peak_hours_is_processed_whole_and_every_asset_once(stage: Stage) -> None:
    with stage.instances.new({"resume_keeps_id": False}) as instance:
        hours = hours_every_few_seconds()
        run = Run.begin(instance, files=FILES, rate=0.5, conf={"only_between": hours, "max_resumes": 0})
        stage.airflow.wait_until(lambda: len(run.jobs()) >= 3, "the third off-peak hours")
        run.hasten()
        assert run.end() == "success"
        *earlier, last = instance.emulator.jobs(run.path)
        assert [job["state"] for job in earlier] == ["CANCELLED"] * len(earlier)
        assert all(within(hours, job["started"]) for job in [*earlier, last])
        assert run.times_processed() == [1] * FILES
        row = run.row()
        assert (row["state"], row["processing_id"], row["resumes"]) == ("SUCCESS", last["processing_id"], len(earlier))
        assert row["log_lines"] == sum(job["lines"] for job in [*earlier, last])
        assert last["processing_id"] in str(row["archive_uri"])
        assert "is held back until" in "\n".join(run.log(WAIT))


def a_start_outside_the_off_peak_hours_waits_for_them_in_the_triggerer_and_says_until_when(stage: Stage) -> None:
    later = datetime.now(UTC) + timedelta(hours=6)
    only_between = {"from": f"{later:%H}:00", "to": f"{later:%H}:30", "timezone": "UTC"}
    run = Run.begin(stage.common, files=5, conf={"only_between": only_between})
    run.wait_for(START, "deferred")
    run.wait_for_words(f"held back until {later:%Y-%m-%d %H}:00 UTC", START)
    run.fail()
    assert not run.jobs()


@scenarios(
    a_folder_that_takes_three_off_peak_hours_is_processed_whole_and_every_asset_once,
    a_start_outside_the_off_peak_hours_waits_for_them_in_the_triggerer_and_says_until_when,
)
def test_off_peak_hours_are_kept(played: Played, scenario: Scenario) -> None:
    played.result(scenario)
