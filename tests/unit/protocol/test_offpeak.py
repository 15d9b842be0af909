"""Off-peak hours: when they begin and end, over midnight, through both changes of the clocks, and what is refused."""

from __future__ import annotations

import itertools
import json
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from aem_guides.protocol.errors import InvalidInputError
from aem_guides.protocol.hours import AtEnd, OffPeakHours, parse_only_between
from aem_guides.protocol.models import JsonObject, JsonValue

PARIS, NEW_YORK = "Europe/Paris", "America/New_York"
ZONES = (PARIS, NEW_YORK, "UTC", "Australia/Lord_Howe", "America/Santiago", "Asia/Kathmandu", "Africa/Casablanca")


def entry(begin: str, end: str, zone: str = PARIS, **more: JsonValue) -> JsonObject:
    return {"from": begin, "to": end, "timezone": zone, **more}


def hours(*entries: JsonObject) -> OffPeakHours:
    parsed = parse_only_between(list(entries))
    assert parsed is not None
    return parsed


def at(text: str, zone: str = PARIS, fold: int = 0) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone), fold=fold).timestamp()


def nights(wanted: OffPeakHours, first: float, last: float) -> list[tuple[float, float]]:
    """All stretches that begin between two instants, found as a caller finds them: one opening after the other."""
    found: list[tuple[float, float]] = []
    now = first
    while (opens := wanted.opens_at(now)) < last:
        closes = wanted.closes_at(opens)
        assert closes is not None
        found.append((opens, closes))
        now = closes
    return found


def test_hours_over_midnight_are_one_night() -> None:
    night = hours(entry("22:00", "06:00"))
    assert not night.is_open(at("2026-11-24T21:59:59"))
    assert night.is_open(at("2026-11-24T22:00"))
    assert night.is_open(at("2026-11-25T05:59:59"))
    assert not night.is_open(at("2026-11-25T06:00"))
    assert night.closes_at(at("2026-11-24T23:00")) == at("2026-11-25T06:00")
    assert night.opens_at(at("2026-11-25T06:00")) == at("2026-11-25T22:00")


def test_weekdays_are_those_on_which_the_hours_begin() -> None:
    friday = hours(entry("22:00", "06:00", weekdays=["fri"]))
    assert friday.is_open(at("2026-11-28T03:00"))  # the morning of Saturday
    assert not friday.is_open(at("2026-11-27T03:00"))
    assert friday.opens_at(at("2026-11-28T06:00")) == at("2026-12-04T22:00")


def test_hours_that_meet_are_one_stretch_and_several_a_day_are_several() -> None:
    meeting = hours(entry("20:00", "00:00"), entry("00:00", "06:00"))
    assert meeting.closes_at(at("2026-11-24T21:00")) == at("2026-11-25T06:00")
    lunch = hours(entry("12:00", "13:00"), entry("22:00", "06:00"))
    assert lunch.closes_at(at("2026-11-24T12:30")) == at("2026-11-24T13:00")
    assert lunch.opens_at(at("2026-11-24T13:00")) == at("2026-11-24T22:00")


def test_the_seconds_of_a_time_count() -> None:
    short = hours(entry("22:00:10", "22:00:12"))
    assert short.opens_at(at("2026-11-24T21:00")) == at("2026-11-24T22:00:10")
    assert short.closes_at(at("2026-11-24T22:00:11")) == at("2026-11-24T22:00:12")


@pytest.mark.parametrize(
    ("zone", "spring", "autumn"), [(PARIS, "2026-03-29", "2026-10-25"), (NEW_YORK, "2026-03-08", "2026-11-01")]
)
def test_the_nights_of_a_clock_change_are_an_hour_shorter_and_longer(zone: str, spring: str, autumn: str) -> None:
    wanted = hours(entry("22:00", "06:00", zone))
    for day, length in ((spring, 7), (autumn, 9)):
        middle = at(f"{day}T01:00", zone)
        closes = wanted.closes_at(middle)
        assert closes == at(f"{day}T06:00", zone)
        opened = wanted.opens_at(middle - 12 * 3600)
        assert closes - opened == length * 3600


@pytest.mark.parametrize(
    ("begin", "end", "begins", "ends"),
    [
        ("02:30", "05:00", "2026-03-29T03:00", "2026-03-29T05:00"),
        ("01:00", "02:30", "2026-03-29T01:00", "2026-03-29T03:00"),
        ("02:10", "02:50", "2026-03-29T03:10", "2026-03-29T03:50"),
        ("02:00", "03:00", "2026-03-29T03:00", "2026-03-29T04:00"),
    ],
)
def test_a_time_that_is_left_out_is_the_moment_of_the_change(begin: str, end: str, begins: str, ends: str) -> None:
    wanted = hours(entry(begin, end))
    assert nights(wanted, at("2026-03-29T00:00"), at("2026-03-30T00:00")) == [(at(begins), at(ends))]


@pytest.mark.parametrize(
    ("begin", "end", "length"), [("02:30", "05:00", 3.5), ("01:00", "02:30", 1.5), ("02:10", "02:50", 40 / 60)]
)
def test_a_time_that_comes_twice_begins_and_ends_once(begin: str, end: str, length: float) -> None:
    ((opens, closes),) = nights(hours(entry(begin, end)), at("2026-10-25T00:00"), at("2026-10-26T00:00"))
    assert opens == at(f"2026-10-25T{begin}", fold=0)
    assert closes - opens == pytest.approx(length * 3600)


times = st.times().map(lambda value: value.replace(microsecond=0).isoformat())


@settings(max_examples=50)
@given(begin=times, end=times, zone=st.sampled_from(ZONES), year=st.integers(2020, 2030))
def test_every_day_of_a_year_has_its_hours_once(begin: str, end: str, zone: str, year: int) -> None:
    assume(begin != end)
    (daily,) = hours(entry(begin, end, zone)).daily
    spans = [daily.on(date(year, 1, 1) + timedelta(days=number)) for number in range(365)]
    found = [span for span in spans if span is not None]
    assert len(found) == 365
    assert all(0 < closes - opens <= 25 * 3600 for opens, closes in found)
    assert all(22 * 3600 <= after[0] - before[0] <= 26 * 3600 for before, after in itertools.pairwise(found))


def closes_within_a_week(wanted: OffPeakHours, now: float) -> bool:
    """In a part of the year, hours of several places may leave no gap."""
    closes = wanted.closes_at(now)
    return closes is None or closes < now + 7 * 86_400


@settings(max_examples=100)
@given(
    spans=st.lists(st.tuples(times, times, st.sampled_from(ZONES)), min_size=1, max_size=4),
    now=st.integers(1_700_000_000, 1_900_000_000),
)
def test_open_closed_and_next_always_agree(spans: list[tuple[str, str, str]], now: int) -> None:
    assume(all(begin != end for begin, end, _ in spans))
    wanted = OffPeakHours(tuple(daily for span in spans for daily in hours(entry(*span)).daily))
    assume(closes_within_a_week(wanted, now))
    opens, closes = wanted.opens_at(now), wanted.closes_at(now)
    if closes is not None:
        assert opens == now < closes
        assert wanted.is_open(closes - 1)
        assert not wanted.is_open(closes)
    else:
        assert opens > now
        assert wanted.is_open(opens)
        assert not wanted.is_open(opens - 1)
    alone = OffPeakHours(wanted.daily[:1])
    assert parse_only_between(json.loads(json.dumps(alone.to_json()))) == alone


def test_nothing_given_is_no_restriction_and_text_is_read_as_json() -> None:
    for nothing in (None, "", "null", "  "):
        assert parse_only_between(nothing) is None
    read = parse_only_between(json.dumps(entry("22:00", "06:00", at_end="cancel")))
    assert read is not None
    assert read.at_end is AtEnd.CANCEL
    assert hours(entry("22:00", "06:00")).at_end is AtEnd.LEAVE


@pytest.mark.parametrize(
    ("value", "field"),
    [
        ("22-06", "only_between"),
        (5, "only_between"),
        ([], "only_between"),
        ({}, "only_between.from"),
        (entry("22:00", "22:00"), "only_between.to"),
        (entry("24:00", "06:00"), "only_between.from"),
        (entry("10 pm", "06:00"), "only_between.from"),
        ({**entry("22:00", "06:00"), "from": 1320}, "only_between.from"),
        (entry("22:00", "6:00"), "only_between.to"),
        (entry("22:00", "06:00", "Paris"), "only_between.timezone"),
        (entry("22:00", "06:00", "../etc/passwd"), "only_between.timezone"),
        (entry("22:00", "06:00", "America"), "only_between.timezone"),
        (entry("22:00", "06:00", at_end="stop"), "only_between.at_end"),
        (entry("22:00", "06:00", weekdays=[]), "only_between.weekdays"),
        (entry("22:00", "06:00", weekdays=["monday"]), "only_between.weekdays"),
        (entry("22:00", "06:00", until="x"), "only_between.until"),
        ([entry("22:00", "06:00"), entry("12:00", "12:00")], "only_between[1].to"),
        ([entry("22:00", "06:00"), entry("12:00", "13:00", at_end="cancel")], "only_between.at_end"),
        ([entry("00:00", "12:00"), entry("12:00", "00:00")], "only_between"),
    ],
)
def test_bad_hours_are_refused_by_field_value_and_remedy(value: object, field: str) -> None:
    with pytest.raises(InvalidInputError) as refusal:
        parse_only_between(value)
    assert refusal.value.field == field
    assert refusal.value.remedy


def test_hours_are_shown_without_needless_seconds_and_with_their_days_if_not_all() -> None:
    assert str(hours(entry("22:00", "06:00"))) == "22:00 to 06:00 Europe/Paris"
    reported = str(hours(entry("22:00:30", "06:00", weekdays=["fri", "mon"]), entry("12:00", "13:00", "UTC")))
    assert reported == "22:00:30 to 06:00 Europe/Paris mon, fri, 12:00 to 13:00 UTC"


def test_an_instant_is_shown_in_the_time_of_the_place() -> None:
    night = hours(entry("22:00", "06:00"))
    assert night.describe(at("2026-11-24T22:00")) == "2026-11-24 22:00 Europe/Paris"
    assert night.describe(at("2026-11-24T22:00:05")) == "2026-11-24 22:00:05 Europe/Paris"


def test_a_list_may_have_a_hundred_hours() -> None:
    entries: list[JsonValue] = [entry(f"{n // 60:02}:{n % 60:02}", "04:00") for n in range(101)]
    assert parse_only_between(entries[:100]) is not None
    for wrong in (entries, []):
        with pytest.raises(InvalidInputError, match="Give one to 100 hours"):
            parse_only_between(wrong)


def test_a_wrong_entry_among_several_is_reported_with_its_place() -> None:
    for wrong, field in (
        ([entry("22:00", "6")], "only_between.to"),
        ([entry("1:00", "02:00")] * 2, "only_between[0].from"),
    ):
        with pytest.raises(InvalidInputError) as caught:
            parse_only_between(list(wrong))
        assert caught.value.field == field


def test_hours_survive_their_json_with_days_and_what_becomes_of_jobs() -> None:
    one = hours(entry("22:00:30", "06:00", weekdays=["fri", "mon"], at_end="cancel"))
    assert one.to_json() == [
        {
            "from": "22:00:30",
            "to": "06:00:00",
            "timezone": PARIS,
            "weekdays": ["mon", "fri"],
            "at_end": "cancel",
        }
    ]
    assert parse_only_between(one.to_json()) == one
