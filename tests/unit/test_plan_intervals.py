"""How Airflow treats the intervals of incremental plans, as `docs/off-peak-and-incremental.md` says."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from typing import cast
from zoneinfo import ZoneInfo

import pendulum
import pytest
from airflow.serialization.decoders import decode_timetable
from airflow.serialization.encoders import encode_timetable
from airflow.timetables.base import DataInterval, TimeRestriction, Timetable

from aem_guides.pipelines.incremental import FilterEnd, interval_bounds
from aem_guides.plans import dags as plan_dags
from aem_guides.plans.loading import parse_plans
from aem_guides.protocol.errors import InvalidInputError

PARIS = ZoneInfo("Europe/Paris")
SIX_HOURS = "{interval: {hours: 6}}"
NIGHTLY = "{cron: '30 1 * * *', timezone: Europe/Paris}"
LEFT_OUT = "{cron: '30 2 * * *', timezone: Europe/Paris}"
CLOCKS_GO_FORWARD = datetime(2026, 3, 29, 12, tzinfo=PARIS)


def timetable(schedule: str) -> Timetable:
    """The timetable of an incremental plan, as Airflow reads it back from its database."""
    plans = parse_plans(
        f"plans: [{{name: p, schedule: {schedule}, paths: [/content/dam/a], incremental: true, "
        "start_date: 2026-01-01}]"
    )
    assert plans.problems == ()
    return decode_timetable(
        encode_timetable(cast("Timetable", plan_dags.timetable(plans.plans[0].schedule, incremental=True)))
    )


def intervals(schedule: str, begin: datetime, end: datetime, *, catchup: bool = True) -> Iterator[DataInterval]:
    """Those of the scheduler from a start date on, or those of a backfill from its `from_date` on: Airflow asks both
    of the timetable in one way.
    """
    found = timetable(schedule)
    restriction = TimeRestriction(pendulum.instance(begin), pendulum.instance(end), catchup)
    last = None
    while info := found.next_dagrun_info(last_automated_data_interval=last, restriction=restriction):
        last = info.data_interval
        assert last is not None
        yield last


def by_hand(schedule: str, logical_date: datetime) -> DataInterval:
    return timetable(schedule).infer_manual_data_interval(run_after=pendulum.instance(logical_date))


def test_a_backfill_of_a_cron_plan_has_the_intervals_of_the_schedule_wherever_it_begins() -> None:
    end = datetime(2026, 4, 5, tzinfo=UTC)
    scheduled = list(intervals(NIGHTLY, datetime(2026, 3, 1, tzinfo=UTC), end))
    for minute in (0, 7, 29, 31, 59):
        backfilled = list(intervals(NIGHTLY, datetime(2026, 3, 20, 23, minute, tzinfo=UTC), end))
        assert len(backfilled) >= 14
        assert [interval for interval in backfilled if interval not in scheduled] == []


def test_a_backfill_of_an_interval_plan_counts_from_its_own_beginning() -> None:
    day, end = datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 2, tzinfo=UTC)
    scheduled = [f"{interval.start:%H:%M}" for interval in intervals(SIX_HOURS, day.replace(hour=1, minute=30), end)]
    assert scheduled == ["01:30", "07:30", "13:30", "19:30"]
    backfilled = [f"{interval.start:%H:%M}" for interval in intervals(SIX_HOURS, day, end)]
    assert backfilled == ["00:00", "06:00", "12:00", "18:00", "00:00"]
    aligned = intervals(SIX_HOURS, day.replace(hour=7, minute=30), end)
    assert [f"{interval.start:%H:%M}" for interval in aligned] == scheduled[1:]


def test_an_interval_plan_without_catchup_counts_from_midnight_utc() -> None:
    begin = datetime(2026, 1, 1, 1, 30, tzinfo=UTC)
    first = next(intervals(SIX_HOURS, begin, datetime(2100, 1, 1, tzinfo=UTC), catchup=False))
    assert (first.start.hour % 6, first.start.minute) == (0, 0)
    assert first.end - first.start == timedelta(hours=6)


@pytest.mark.parametrize(
    ("start_date", "begins", "runs"),
    [
        (datetime(2026, 12, 1, tzinfo=PARIS), 1, 2),
        (datetime(2026, 12, 1, 1, 30, tzinfo=PARIS), 1, 2),
        (datetime(2026, 12, 1, 9, tzinfo=PARIS), 2, 3),
    ],
)
def test_the_first_run_starts_when_the_first_whole_interval_is_over(
    start_date: datetime, begins: int, runs: int
) -> None:
    first = next(intervals(NIGHTLY, start_date, datetime(2100, 1, 1, tzinfo=UTC)))
    assert first.start == datetime(2026, 12, begins, 1, 30, tzinfo=PARIS)
    assert first.end == datetime(2026, 12, runs, 1, 30, tzinfo=PARIS)


def test_a_run_by_hand_of_a_cron_plan_takes_the_last_complete_interval() -> None:
    taken = by_hand(NIGHTLY, datetime(2026, 12, 5, 9, 17, tzinfo=PARIS))
    assert taken == DataInterval(
        pendulum.datetime(2026, 12, 4, 1, 30, tz="Europe/Paris"),
        pendulum.datetime(2026, 12, 5, 1, 30, tz="Europe/Paris"),
    )


def test_a_run_by_hand_of_an_interval_plan_takes_the_interval_that_ends_at_its_logical_date() -> None:
    at = datetime(2026, 12, 5, 9, 17, tzinfo=UTC)
    assert by_hand(SIX_HOURS, at) == DataInterval(pendulum.instance(at - timedelta(hours=6)), pendulum.instance(at))


def test_a_run_by_hand_has_no_interval_where_the_clocks_left_the_cron_time_out_and_is_refused() -> None:
    taken = by_hand(LEFT_OUT, CLOCKS_GO_FORWARD)
    assert taken.start == taken.end
    with pytest.raises(InvalidInputError, match="It is empty"):
        interval_bounds(taken.start, taken.end, FilterEnd.EXCLUSIVE)


def test_scheduled_runs_and_backfills_have_whole_intervals_on_that_day() -> None:
    around = list(intervals(LEFT_OUT, CLOCKS_GO_FORWARD - timedelta(days=3), CLOCKS_GO_FORWARD + timedelta(days=3)))
    assert [interval for interval in around if interval.end - interval.start < timedelta(hours=23)] == []
    assert all(earlier.end == later.start for earlier, later in pairwise(around))


def test_airflow_drops_the_deadlines_of_a_run_only_when_it_succeeds() -> None:
    """Seen with a run of each kind, which takes a database. Checked by Airflow's source: if a later version drops them
    for a failed run, too, the page on plans must be changed."""
    found = find_spec("airflow.models.dagrun")
    assert found is not None
    assert found.origin is not None
    before, *after = Path(found.origin).read_text(encoding="utf-8").split("prune_deadlines(")
    assert len(after) == 1
    assert before.rfind("set_state(DagRunState.SUCCESS)") > before.rfind("set_state(DagRunState.FAILED)")
