"""When to look again, and how progress is shown."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aem_guides.protocol.contract import read_job
from aem_guides.protocol.models import JsonObject
from aem_guides.protocol.pacing import Pacing, Speedometer
from aem_guides.protocol.wording import counted, crowd, describe_progress, in_words

BOUNDS = st.tuples(st.floats(0.1, 10), st.floats(10, 1000))
RANDOM = st.floats(0, 1, exclude_max=True)


@given(age=st.floats(0, 1e7), bounds=BOUNDS, random=RANDOM)
def test_a_look_is_never_sooner_than_the_shortest_pause_nor_later_than_the_longest(
    age: float, bounds: tuple[float, float], random: float
) -> None:
    assert bounds[0] <= Pacing(*bounds).next_look(age=age, random=random) <= bounds[1]


@given(failures=st.integers(1, 10_000), random=RANDOM)
def test_failed_looks_grow_apart_and_stay_bounded(failures: int, random: float) -> None:
    assert 1.5 <= Pacing().after_failures(failures, random) <= 60


def test_one_is_not_shown_as_many() -> None:
    assert [counted(count, "path") for count in (0, 1, 2000)] == ["0 paths", "1 path", "2,000 paths"]
    assert crowd(1, 1) == "1 job is active on the instance, 1 is allowed"
    assert crowd(5, 4) == "5 jobs are active on the instance, 4 are allowed"


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "0 s"),
        (45.4, "45 s"),
        (60, "1 min"),
        (119, "2 min"),
        (3600, "1 h"),
        (12_000, "3 h 20 min"),
        (187_200, "2 days 4 h"),
    ],
)
def test_durations_are_shown_in_words(seconds: float, words: str) -> None:
    assert in_words(seconds) == words


def test_progress_is_shown_with_share_rate_and_what_is_left() -> None:
    job = read_job(
        {
            "processingId": "p",
            "status": "RUNNING",
            "triggeredCount": 12340,
            "migrationSet": {"totalFiles": 50000},
            "eta": {"value": 121, "unit": "SECONDS"},
        }
    )
    assert describe_progress(job, 310.2) == "12,340 of 50,000 assets (24.7 %), 310/s, about 2 min left"


def test_progress_without_a_counted_set_says_so() -> None:
    assert (
        describe_progress(read_job({"processingId": "p", "status": "WAITING"}), None) == "WAITING: counting the assets"
    )


def test_an_empty_folder_has_no_share() -> None:
    job = read_job({"processingId": "p", "status": "SUCCESS", "migrationSet": {"totalFiles": 0}})
    assert describe_progress(job, None) == "0 of 0 assets"


def test_a_count_that_begins_anew_begins_a_new_rate() -> None:
    speed = Speedometer()
    for count, at in ((0, 0.0), (100, 10.0), (300, 20.0)):
        speed.note(count, at)
    assert speed.rate == 15
    speed.note(5, 30.0)
    assert speed.rate is None


def test_looks_at_what_nothing_is_known_of_grow_rarer_with_age() -> None:
    looks = [Pacing().next_look(age=age, random=1.0) for age in (5, 100, 900)]
    assert looks == pytest.approx([1.5, 10, 60])
    assert Pacing().next_look(age=100, random=0.0) == pytest.approx(9.5)


def test_after_failures_the_pause_doubles_up_to_the_longest() -> None:
    pauses = [Pacing().after_failures(failures, 1.0) for failures in (1, 2, 3, 4, 5, 6, 99)]
    assert pauses == pytest.approx([3, 6, 12, 24, 48, 60, 60])


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (-3, "0 s"),
        (59.4, "59 s"),
        (59.6, "1 min"),
        (3569, "59 min"),
        (3571, "1 h"),
        (47 * 3600, "47 h"),
        (48 * 3600, "2 days"),
        (49 * 3600, "2 days 1 h"),
        (48 * 3600 - 1, "2 days"),
    ],
)
def test_durations_change_their_unit_where_they_round_to_it(seconds: float, words: str) -> None:
    assert in_words(seconds) == words


@pytest.mark.parametrize(
    ("reported", "rate", "words"),
    [
        ({}, None, "RUNNING: counting the assets"),
        ({"triggeredCount": 1234}, None, "RUNNING: 1,234 assets so far"),
        ({"triggeredCount": 10, "migrationSet": {"totalFiles": 40}}, None, "10 of 40 assets (25.0 %)"),
        (
            {"triggeredCount": 10, "migrationSet": {"totalFiles": 40}},
            10.0,
            "10 of 40 assets (25.0 %), 10/s, about 3 s left",
        ),
        (
            {"triggeredCount": 10, "migrationSet": {"totalFiles": 40}},
            0.5,
            "10 of 40 assets (25.0 %), 0.5/s, about 1 min left",
        ),
        ({"triggeredCount": 40, "migrationSet": {"totalFiles": 40}}, 5.0, "40 of 40 assets (100.0 %), about 0 s left"),
        ({"migrationSet": {"totalFiles": 4}, "eta": {"value": 9}}, None, "0 of 4 assets (0.0 %), about 9 s left"),
        ({"migrationSet": {"totalFiles": 4}, "status": "SUCCESS", "eta": {"value": 9}}, None, "0 of 4 assets (0.0 %)"),
    ],
)
def test_progress_shows_what_is_known_and_no_more(reported: JsonObject, rate: float | None, words: str) -> None:
    job = read_job({"processingId": "p", "status": "RUNNING", **reported})
    assert describe_progress(job, rate) == words


def test_a_rate_is_smoothed_over_the_looks_and_a_look_at_the_same_moment_changes_nothing() -> None:
    speed = Speedometer()
    rates = []
    for count, at in ((0, 100.0), (100, 110.0), (100, 110.0), (100, 120.0)):
        speed.note(count, at)
        rates.append(speed.rate)
    assert rates == [None, 10, 10, 5]
