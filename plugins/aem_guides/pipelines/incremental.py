"""The creation times of a run's requests, from its data interval."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from datetime import datetime, timedelta

from aem_guides.protocol.errors import InvalidInputError
from aem_guides.protocol.models import JsonObject, JsonValue

_REMEDY = (
    "An incremental plan processes the assets that were created in the data interval of the run. Start the run with a "
    "logical date (its interval is the one before that date), over REST also with data_interval_start and "
    "data_interval_end, as a backfill, or with created_after and created_before."
)


class FilterEnd(enum.StrEnum):
    """How an instance reads `filter.endTime`: whether it includes an asset that was created exactly at that time.

    The API's documentation calls it an upper bound and leaves this open; EXCLUSIVE is how the bound is used here.
    """

    EXCLUSIVE = "exclusive"
    INCLUSIVE = "inclusive"


def with_interval(
    params: Mapping[str, JsonValue], start: datetime | None, end: datetime | None, filter_end: FilterEnd
) -> JsonObject:
    """The parameters of a run with the times of its data interval, unless the run was started with its own times.

    Raises InvalidInputError if it has neither.
    """
    if params["created_after"] or params["created_before"]:
        return dict(params)
    after, before = interval_bounds(start, end, filter_end)
    return {**params, "created_after": after, "created_before": before}


def interval_bounds(start: datetime | None, end: datetime | None, filter_end: FilterEnd) -> tuple[str, str]:
    """`created_after` and `created_before` of a data interval, ISO 8601 with offset.

    Both ends are sent as they are, so each asset belongs to exactly one of two adjacent intervals. For an instance with
    an inclusive end, the end is sent a millisecond earlier, because creation times are whole milliseconds. If an end is
    inclusive but not declared so, no asset is missed, and an asset created in exactly the boundary millisecond is
    processed twice. Raises InvalidInputError without an interval.
    """
    if start is None or end is None:
        raise InvalidInputError("data_interval", None, _REMEDY)
    last = end - timedelta(milliseconds=1) if filter_end is FilterEnd.INCLUSIVE else end
    if last <= start:
        raise InvalidInputError("data_interval", f"{start.isoformat()} to {end.isoformat()}", "It is empty. " + _REMEDY)
    return start.isoformat(), last.isoformat()
