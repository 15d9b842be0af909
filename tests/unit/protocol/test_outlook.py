"""When a job is looked at: near its end often, before it seldom, and never more often than it is worth."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aem_guides.protocol.pacing import LONGEST_LOOK, MOST_LOOKS, Outlook, Pacing
from tests.support.virtual_jobs import Told, VirtualJob, watched, watched_by_a_fixed_poll

MINUTE, HOUR = 60.0, 3600.0
LENGTHS = [MINUTE + 7, 10 * MINUTE + 7, HOUR + 7, 6 * HOUR + 7, 24 * HOUR + 7]
PACING = Pacing(longest=LONGEST_LOOK)
ETAS = st.none() | st.floats(0, 1e6)


def outlook(*seen: tuple[float, float | None], pacing: Pacing = PACING) -> Outlook:
    """What is known after looks at these moments that showed these estimates."""
    known = Outlook(pacing, 0.0)
    for now, eta in seen:
        known.see(now, eta=eta, done=None, total=None)
    return known


@pytest.mark.parametrize("seconds", LENGTHS)
@pytest.mark.parametrize("told", [Told.TRUE, Told.NOISY, Told.TWICE, Told.MINUTES])
@pytest.mark.parametrize("counts", [True, False], ids=["counts", "no counts"])
def test_with_an_estimate_true_or_noisy_the_end_is_seen_within_two_seconds(
    seconds: float, told: Told, counts: bool
) -> None:
    for seed in range(5):
        assert watched(VirtualJob(seconds, told, counts, seed)).lag <= 2


@pytest.mark.parametrize("seconds", LENGTHS)
@pytest.mark.parametrize("told", [Told.COUNTS, Told.WAVES])
def test_without_an_estimate_rate_and_count_show_the_end_within_fifteen_seconds(seconds: float, told: Told) -> None:
    assert watched(VirtualJob(seconds, told)).lag <= 15


@pytest.mark.parametrize("seconds", LENGTHS)
def test_where_nothing_is_known_the_end_is_seen_late_by_a_small_part_of_the_time(seconds: float) -> None:
    assert watched(VirtualJob(seconds, Told.NOTHING)).lag <= max(
        2, seconds / 10 if seconds < 600 else seconds / 60 + 60
    )


@pytest.mark.parametrize("told", list(Told))
def test_a_long_job_costs_few_requests_whatever_it_says_and_fewer_than_a_look_a_minute(told: Told) -> None:
    for hours, most in ((6, 250), (24, 400)):
        job = VirtualJob(hours * HOUR + 7, told)
        found = watched(job)
        assert found.looks <= most
        assert found.looks < watched_by_a_fixed_poll(job, MINUTE).looks


@pytest.mark.parametrize("told", [Told.TRUE, Told.COUNTS])
def test_the_pages_of_its_log_are_within_that_too(told: Told) -> None:
    for hours, most in ((6, 250), (24, 400)):
        found = watched(VirtualJob(hours * HOUR + 7, told), log_lines=100_000)
        assert found.looks + found.log_pages <= most


@pytest.mark.parametrize("told", [Told.TRUE, Told.NOISY, Told.COUNTS])
@pytest.mark.parametrize("seconds", LENGTHS[2:])
def test_progress_is_fresh_within_a_minute_for_the_first_while(seconds: float, told: Told) -> None:
    assert watched(VirtualJob(seconds, told)).stale <= 61


@given(
    etas=st.lists(ETAS, min_size=1, max_size=20),
    counts=st.lists(st.none() | st.integers(0, 1000), min_size=1, max_size=7),
    random=st.floats(0, 1, exclude_max=True),
)
def test_whatever_an_instance_says_the_looks_are_bounded(
    etas: list[float | None], counts: list[int | None], random: float
) -> None:
    known, now, looks = Outlook(PACING, 0.0), 2.0, 0
    while now < 24 * HOUR:
        looks += 1
        known.see(now, eta=etas[looks % len(etas)], done=counts[looks % len(counts)], total=1000)
        look = known.next_look(now, random)
        assert PACING.shortest <= look.seconds <= PACING.longest
        assert look.why
        now += look.seconds
        if now >= 6 * HOUR > now - look.seconds:
            assert looks <= MOST_LOOKS[6 * HOUR]
    assert looks <= MOST_LOOKS[24 * HOUR]


@given(near=st.floats(0, 1e5), farther=st.floats(0, 1e5), age=st.floats(2, 1e5))
def test_the_nearer_the_end_the_sooner_the_look(near: float, farther: float, age: float) -> None:
    near, farther = sorted((near, farther))
    assert outlook((age, near)).next_look(age, 0.5).seconds <= outlook((age, farther)).next_look(age, 0.5).seconds


@given(age=st.floats(2, 1e6), later=st.floats(0, 1e6))
def test_the_older_a_wait_of_which_nothing_is_known_the_later_the_look(age: float, later: float) -> None:
    first, second = (outlook((at, None)).next_look(at, 0.5).seconds for at in (age, age + later))
    assert first <= second


def test_an_estimate_that_was_wrong_is_trusted_less() -> None:
    right = outlook(*((at, 4000 - at) for at in range(0, 1000, 100)))
    wrong = outlook(*((at, (4000 - at) * (0.7, 1.4)[at % 200 // 100]) for at in range(0, 1000, 100)))
    assert right._best.doubt < 0.1 < 0.3 < wrong._best.doubt


def test_an_estimate_that_falls_twice_as_fast_as_time_goes_by_is_corrected() -> None:
    known = outlook(*((at, 2.0 * (1000 - at)) for at in range(0, 1000, 20)))
    assert known.left == pytest.approx(20, abs=8)


def test_the_source_that_was_right_counts_estimate_or_count() -> None:
    known = Outlook(PACING, 0.0)
    for at in range(0, 900, 20):
        known.see(at, eta=(100.0, 9000.0)[at % 40 // 20], done=at, total=1000)
    assert known.left == pytest.approx(120, abs=5)


def test_the_reason_says_what_the_look_is_for() -> None:
    whys = [outlook((1000, eta)).next_look(1000, 0.5).why for eta in (None, 9000, 60, 3)]
    assert whys == [
        "nothing says when it ends",
        "its progress is worth showing",
        "its end comes nearer",
        "its end is due",
    ]


def test_an_end_that_is_due_and_does_not_come_is_looked_for_ever_less_often() -> None:
    known, now, pauses = Outlook(PACING, 0.0), 6 * HOUR, list[float]()
    for _ in range(100):
        known.see(now, eta=0.0, done=None, total=None)
        pauses.append(known.next_look(now, 1.0).seconds)
        now += pauses[-1]
    assert pauses[:40] == [1.5] * 40
    assert pauses == sorted(pauses)
    assert pauses[-1] > 10


def test_a_count_that_begins_anew_begins_a_new_forecast() -> None:
    known = Outlook(PACING, 0.0)
    for at, done in ((0, 0), (100, 500), (200, 0), (300, 100)):
        known.see(at, eta=None, done=done, total=1000)
    assert known.left == pytest.approx(900)


@pytest.mark.parametrize("longest", [2.0, 15.0])
def test_the_longest_pause_is_kept_by_a_job_of_hours(longest: float) -> None:
    assert outlook((9000, 9e4), pacing=Pacing(longest=longest)).next_look(9000, 0.9).seconds <= longest
