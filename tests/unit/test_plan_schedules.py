"""When a plan's runs start, by the timetable that Airflow itself uses: the one it reads back from its database."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from typing import cast
from zoneinfo import ZoneInfo

import pendulum
import pytest
from airflow.serialization.decoders import decode_timetable
from airflow.serialization.encoders import encode_timetable
from airflow.timetables.base import DagRunInfo, DataInterval, TimeRestriction, Timetable

from aem_guides.plans import dags as plan_dags
from aem_guides.plans.loading import parse_plans

NIGHTS = [
    ("Europe/Paris", date(2026, 3, 29), 23),
    ("Europe/Paris", date(2026, 10, 25), 25),
    ("America/New_York", date(2026, 3, 8), 23),
    ("America/New_York", date(2026, 11, 1), 25),
]
TIMES = ["0 0 * * *", "30 0 * * *", "0 1 * * *", "30 1 * * *", "0 2 * * *", "30 2 * * *", "0 3 * * *", "30 3 * * *"]


def timetable(schedule: str, *, incremental: bool) -> Timetable:
    plans = parse_plans(
        f"plans: [{{name: p, schedule: {schedule}, paths: [/content/dam/a], incremental: {str(incremental).lower()}, "
        "start_date: 2026-01-01}]"
    )
    assert plans.problems == ()
    written = encode_timetable(cast("Timetable", plan_dags.timetable(plans.plans[0].schedule, incremental=incremental)))
    return decode_timetable(written)


def runs(schedule: Timetable, first: datetime, last: datetime) -> Iterator[DagRunInfo]:
    """The runs that Airflow's scheduler would start, one after the other."""
    restriction = TimeRestriction(earliest=pendulum.instance(first), latest=None, catchup=True)
    info = schedule.next_dagrun_info(last_automated_data_interval=None, restriction=restriction)
    while info is not None and info.run_after <= last:
        yield info
        info = schedule.next_dagrun_info(last_automated_data_interval=info.data_interval, restriction=restriction)


def interval_of(info: DagRunInfo) -> DataInterval:
    assert info.data_interval is not None
    return info.data_interval


@pytest.mark.parametrize("incremental", [True, False])
@pytest.mark.parametrize("cron", TIMES)
@pytest.mark.parametrize(("zone", "night", "_hours"), NIGHTS)
def test_no_night_is_skipped_and_none_comes_twice(
    zone: str, night: date, _hours: int, cron: str, incremental: bool
) -> None:
    schedule = timetable(f"{{cron: '{cron}', timezone: {zone}}}", incremental=incremental)
    first = datetime(night.year, night.month, night.day, 12, tzinfo=ZoneInfo(zone)) - timedelta(days=5)
    begun = [info.run_after.astimezone(ZoneInfo(zone)).date() for info in runs(schedule, first, first + timedelta(10))]
    assert night in begun
    assert all(later - earlier == timedelta(days=1) for earlier, later in pairwise(begun))


@pytest.mark.parametrize("cron", [*TIMES, "0 * * * *", "*/15 * * * *", "0 */2 * * *", "30 1,2,3 * * *"])
@pytest.mark.parametrize(("zone", "night", "hours"), NIGHTS)
def test_every_interval_adjoins_the_next(zone: str, night: date, hours: int, cron: str) -> None:
    schedule = timetable(f"{{cron: '{cron}', timezone: {zone}}}", incremental=True)
    first = datetime(night.year, night.month, night.day, 12, tzinfo=ZoneInfo(zone)) - timedelta(days=2)
    intervals = [interval_of(info) for info in runs(schedule, first, first + timedelta(days=4))]
    assert all(earlier.end == later.start for earlier, later in pairwise(intervals))
    assert all(interval.start < interval.end for interval in intervals)
    if cron == "0 0 * * *":
        (changing,) = [i for i in intervals if i.start.astimezone(ZoneInfo(zone)).date() == night]
        assert changing.end - changing.start == timedelta(hours=hours)


@pytest.mark.parametrize(("zone", "night", "hours"), NIGHTS)
def test_an_hourly_plan_runs_in_every_hour_that_passes(zone: str, night: date, hours: int) -> None:
    schedule = timetable(f"{{cron: '@hourly', timezone: {zone}}}", incremental=True)
    midnight = datetime(night.year, night.month, night.day, tzinfo=ZoneInfo(zone))
    morrow = datetime.combine(night + timedelta(days=1), midnight.timetz())
    of_the_day = list(runs(schedule, midnight, morrow.astimezone(UTC)))
    assert len(of_the_day) == hours


def test_an_interval_of_hours_counts_hours_whatever_the_clocks_show() -> None:
    schedule = timetable("{interval: {hours: 24}}", incremental=True)
    first = datetime(2026, 3, 20, tzinfo=UTC)
    found = [interval_of(info) for info in runs(schedule, first, first + timedelta(days=13))]
    assert all(interval.end - interval.start == timedelta(hours=24) for interval in found)
    assert all(earlier.end == later.start for earlier, later in pairwise(found))


def test_a_run_of_a_plan_that_is_not_incremental_starts_at_the_time_itself() -> None:
    schedule = timetable("{cron: '30 1 * * *', timezone: Europe/Paris}", incremental=False)
    info = next(runs(schedule, datetime(2026, 1, 10, tzinfo=UTC), datetime(2026, 1, 12, tzinfo=UTC)))
    assert info.run_after == info.logical_date == datetime(2026, 1, 10, 0, 30, tzinfo=UTC)
