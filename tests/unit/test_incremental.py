"""The creation times for a data interval."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from aem_guides.pipelines.incremental import FilterEnd, interval_bounds, with_interval
from aem_guides.protocol.errors import InvalidInputError
from aem_guides.protocol.models import JsonObject
from aem_guides.protocol.requests import parse_requests

START = datetime(2026, 3, 28, 23, tzinfo=UTC)
END = datetime(2026, 3, 29, 22, tzinfo=UTC)


def milliseconds(filter_end: FilterEnd) -> tuple[int | None, int | None]:
    after, before = interval_bounds(START, END, filter_end)
    (request,) = parse_requests(["/content/dam/a"], created_after=after, created_before=before)
    return request.created_after, request.created_before


def test_an_exclusive_end_is_sent_as_it_is() -> None:
    assert milliseconds(FilterEnd.EXCLUSIVE) == (START.timestamp() * 1000, END.timestamp() * 1000)


def test_an_inclusive_end_is_the_millisecond_before() -> None:
    assert milliseconds(FilterEnd.INCLUSIVE) == (START.timestamp() * 1000, END.timestamp() * 1000 - 1)


def test_a_run_has_the_times_of_its_interval_unless_it_was_given_times() -> None:
    given: JsonObject = {"paths": ["/content/dam/a"], "created_after": None, "created_before": ""}
    assert with_interval(given, START, END, FilterEnd.EXCLUSIVE) == {
        **given,
        "created_after": START.isoformat(),
        "created_before": END.isoformat(),
    }
    own: JsonObject = {**given, "created_before": "2026-01-01T00:00Z"}
    assert with_interval(own, START, END, FilterEnd.EXCLUSIVE) == own
    assert with_interval(own, None, None, FilterEnd.EXCLUSIVE) == own


@pytest.mark.parametrize(
    ("start", "end"), [(None, None), (START, None), (None, END), (START, START), (END, START)], ids=str
)
def test_a_run_without_an_interval_gets_a_message_that_says_how_to_get_one(
    start: datetime | None, end: datetime | None
) -> None:
    with pytest.raises(InvalidInputError, match=r"data_interval: .* as a backfill, or with created_after") as caught:
        interval_bounds(start, end, FilterEnd.EXCLUSIVE)
    assert caught.value.field == "data_interval"


def test_the_shortest_interval_is_a_millisecond() -> None:
    last = START + timedelta(milliseconds=1)
    assert interval_bounds(START, last, FilterEnd.EXCLUSIVE)[1] == last.isoformat()
    with pytest.raises(InvalidInputError):
        interval_bounds(START, last, FilterEnd.INCLUSIVE)
