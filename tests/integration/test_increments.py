"""Increments at the instance: each asset is in exactly one, however the instance reads the end of a filter."""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from aem_guides.hooks.hook import AemGuidesHook
from aem_guides.pipelines.incremental import FilterEnd, interval_bounds
from aem_guides.protocol.conversation import RetrySettings
from aem_guides.protocol.errors import RejectedError
from aem_guides.protocol.models import ProcessingRequest
from aem_guides.protocol.pacing import Pacing
from aem_guides.protocol.procedures.follow import FollowPlan, follow
from aem_guides.protocol.procedures.start import Started, StartPolicy, start_once
from aem_guides.protocol.requests import parse_requests
from tests.support.emulator import EmulatorProcess

DAY_ONE = datetime(2026, 3, 28, tzinfo=UTC)
DAYS = 3
PLAN = FollowPlan(
    deadline_at=2e10, stall_seconds=60, pacing=Pacing(shortest=0.05, longest=0.1), log_budget=0, first_look=0
)


@pytest.fixture(autouse=True)
def _connection(emulator: EmulatorProcess, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("AIRFLOW_CONN_AEM_GUIDES_DEFAULT", emulator.connection(read_timeout=30))
    yield
    emulator.settings(filter_end_inclusive=False, filters_supported=True)


@pytest.fixture
def folder(emulator: EmulatorProcess) -> str:
    """A folder with an asset in every hour, the first at midnight: one at each boundary of the days."""
    path = f"/content/dam/increments-{uuid.uuid4().hex[:8]}"
    begin, end = (int(moment.timestamp() * 1000) for moment in (DAY_ONE, DAY_ONE + timedelta(days=DAYS)))
    emulator.virtual_folder(path, 24 * DAYS, created_from=begin, created_to=end)
    return path


def increment(path: str, day: int, filter_end: FilterEnd) -> ProcessingRequest:
    start = DAY_ONE + timedelta(days=day)
    after, before = interval_bounds(start, start + timedelta(days=1), filter_end)
    (request,) = parse_requests([path], created_after=after, created_before=before)
    return request


def process_all_days(emulator: EmulatorProcess, path: str, filter_end: FilterEnd) -> Counter[int]:
    """The number of assets, by how often they were processed."""
    with AemGuidesHook(retries=RetrySettings(attempts=2, base_seconds=0.01, cap_seconds=0.02)) as hook:
        for day in range(DAYS):
            steps = start_once(hook.talk, increment(path, day, filter_end), policy=StartPolicy(), run=f"day {day}")
            started = hook.drive(steps)
            assert isinstance(started, Started)
            hook.drive(follow(hook.talk, started.processing_id, PLAN))
    return Counter(asset["times_processed"] for asset in emulator.assets(path))


@pytest.mark.parametrize("reading", list(FilterEnd))
def test_every_asset_is_processed_once_where_the_plan_knows_how_the_instance_reads_the_end(
    emulator: EmulatorProcess, folder: str, reading: FilterEnd
) -> None:
    emulator.settings(filter_end_inclusive=reading is FilterEnd.INCLUSIVE)
    assert process_all_days(emulator, folder, reading) == {1: 24 * DAYS}


def test_an_undeclared_inclusive_end_costs_no_asset(emulator: EmulatorProcess, folder: str) -> None:
    emulator.settings(filter_end_inclusive=True)
    at_boundaries = DAYS - 1
    assert process_all_days(emulator, folder, FilterEnd.EXCLUSIVE) == {1: 24 * DAYS - at_boundaries, 2: at_boundaries}


def test_an_instance_that_does_not_know_filters_is_said_to_be_one(emulator: EmulatorProcess, folder: str) -> None:
    emulator.settings(filters_supported=False)
    with pytest.raises(RejectedError, match=r"before 2026\.01 has no .* and cannot process an incremental plan"):
        process_all_days(emulator, folder, FilterEnd.EXCLUSIVE)
    assert emulator.jobs(folder) == []


def test_a_folder_called_filter_that_is_not_there_is_not_taken_for_a_lack_of_filters(emulator: EmulatorProcess) -> None:
    with pytest.raises(RejectedError, match="Check that it exists"):
        process_all_days(emulator, "/content/dam/filter", FilterEnd.EXCLUSIVE)
