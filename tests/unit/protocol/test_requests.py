"""Input of users becomes requests, or an error that names field, value and remedy."""

from __future__ import annotations

import json
from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aem_guides.protocol.contract import start
from aem_guides.protocol.errors import InvalidInputError
from aem_guides.protocol.models import JsonValue, ProcessingRequest
from aem_guides.protocol.requests import parse_processing_type, parse_requests, parse_time

NAMES = st.text(st.characters(exclude_categories=("C", "Z"), exclude_characters="/"), min_size=1, max_size=12).filter(
    lambda name: name not in (".", "..")
)


def test_each_path_gets_the_exclusions_below_it() -> None:
    one, two = parse_requests(
        ["/content/dam/a", "/content/dam/ab/"],
        excluded_paths=["/content/dam/a/x", "content/dam/ab/y"],
        file_types=["DITAMAP", "DITAMAP"],
        created_after="2026-01-01T00:00:00+01:00",
        created_before="2026-01-02T00:00:00Z",
    )
    assert (one.path, one.excluded_paths) == ("/content/dam/a", ("/content/dam/a/x",))
    assert (two.path, two.excluded_paths) == ("/content/dam/ab", ("/content/dam/ab/y",))
    assert one.file_types == ("DITAMAP",)
    assert (one.created_after, one.created_before) == (1_767_222_000_000, 1_767_312_000_000)


@pytest.mark.parametrize(
    ("arguments", "field", "shown"),
    [
        ({"paths": []}, "paths", "[]"),
        ({"paths": "/content/dam/a"}, "paths", "/content/dam/a"),
        ({"paths": ["content/dam/a"]}, "paths", "content/dam/a"),
        ({"paths": ["/etc"]}, "paths", "/etc"),
        ({"paths": ["/contents/a"]}, "paths", "/contents/a"),
        ({"paths": ["/content/a/../b"]}, "paths", "/content/a/../b"),
        ({"paths": ["/content//a"]}, "paths", "/content//a"),
        ({"paths": [" /content/a"]}, "paths", " /content/a"),
        ({"paths": ["/content/a\n"]}, "paths", "/content/a"),
        ({"paths": ["/content/\ud800"]}, "paths", "/content/"),
        ({"paths": [5]}, "paths", "5"),
        ({"paths": ["/content/a", "/content/a/"]}, "paths", "/content/a"),
        ({"paths": ["/content/a", "/content/a b", "/content/a/b"]}, "paths", "/content/a/b"),
        ({"paths": ["/content/é", "/content/e\u0301"]}, "paths", "/content/"),
        ({"paths": ["/content/a"], "excluded_paths": ["/content/b"]}, "excluded_paths", "/content/b"),
        ({"paths": ["/content/a"], "excluded_paths": ["content/b"]}, "excluded_paths", "content/b"),
        ({"paths": ["/content/a"], "excluded_paths": ["/content/a"]}, "excluded_paths", "/content/a"),
        ({"paths": ["/content/a"], "file_types": ["PDF"]}, "file_types", "PDF"),
        ({"paths": ["/content/a"], "created_after": "2026-13-01T00:00Z"}, "created_after", "2026-13-01"),
        ({"paths": ["/content/a"], "created_after": "2026-01-01T00:00"}, "created_after", "2026-01-01"),
        ({"paths": ["/content/a"], "created_after": "9999-12-31T23:59:59-12:00"}, "created_after", "9999-12-31"),
        ({"paths": ["/content/a"], "created_before": "9999-12-31T23:59:59-00:01"}, "created_before", "9999-12-31"),
        ({"paths": ["/content/a"], "created_after": "9999-12-31T23:59:59.9999Z"}, "created_after", "9999-12-31"),
        ({"paths": ["/content/a"], "created_after": "1970-01-01T00:00:00Z"}, "created_after", "1970-01-01"),
        ({"paths": ["/content/a"], "created_before": "1969-12-31T23:59:59Z"}, "created_before", "1969-12-31"),
        ({"paths": ["/content/a"], "created_before": "0001-01-01T00:00:00+14:00"}, "created_before", "0001-01-01"),
        ({"paths": ["/content/a"], "created_after": "1970-01-01T01:00:00+02:00"}, "created_after", "1970-01-01"),
        ({"paths": ["/content/a"], "created_before": 5}, "created_before", "5"),
        (
            {"paths": ["/content/a"], "created_after": "2026-01-02T00:00Z", "created_before": "2026-01-02T00:00Z"},
            "created_before",
            "2026-01-02",
        ),
        ({"paths": ["/content/a"], "processing_type": "TRANSLATION"}, "processing_type", "TRANSLATION"),
    ],
)
def test_bad_input_names_field_value_and_remedy(arguments: dict[str, object], field: str, shown: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        parse_requests(**arguments)  # type: ignore[arg-type]  # wrong on purpose
    assert caught.value.field == field
    assert shown in str(caught.value)
    assert caught.value.remedy.endswith(".")


@given(st.lists(st.lists(NAMES, min_size=1, max_size=4), min_size=1, max_size=8))
def test_accepted_paths_never_overlap(paths: list[list[str]]) -> None:
    written = ["/content/" + "/".join(parts) for parts in paths]
    try:
        requests = parse_requests(written)
    except InvalidInputError:
        return
    found = [request.path for request in requests]
    assert not any(a != b and b.startswith(a + "/") for a in found for b in found)
    assert len(set(found)) == len(found) == len(written)


@given(st.text(max_size=40))
def test_no_text_crashes_the_reading_of_times(value: str) -> None:
    try:
        parsed = parse_time("created_after", value)
    except InvalidInputError:
        return
    assert parsed is None or parsed > 0


@given(st.datetimes(timezones=st.timezones()), st.sampled_from(["created_after", "created_before"]))
def test_a_time_that_is_taken_is_sent_and_survives_being_stored(moment: datetime, field: str) -> None:
    try:
        (request,) = parse_requests(["/content/a"], **{field: moment.isoformat()})
    except InvalidInputError:
        return
    sent = json.loads(start(request).request.body or b"")
    assert list(sent["filter"].values()) == [getattr(request, field)]
    assert ProcessingRequest.from_json(request.to_json()) == request


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("created_after", 253_402_300_800_000),
        ("created_before", -1),
        ("created_before", 0),
        ("created_after", "soon"),
        ("created_after", True),
        ("file_types", "DITAMAP"),
        ("file_types", ["DITAMAP", 5]),
        ("excluded_paths", {"/content/a/x": 1}),
    ],
)
def test_a_stored_request_whose_filter_cannot_be_read_is_not_taken_for_one_without(name: str, value: JsonValue) -> None:
    stored = ProcessingRequest("/content/a").to_json() | {name: value}
    with pytest.raises(ValueError, match=name):
        ProcessingRequest.from_json(stored)


@pytest.mark.parametrize("field", ["created_after", "created_before"])
@pytest.mark.parametrize(
    ("value", "remedy"),
    [
        (5, "Write ISO 8601 with an offset"),
        ("soon", "Write ISO 8601 with an offset"),
        ("2026-01-01T00:00", "The offset is missing. Write ISO 8601"),
        ("1970-01-01T00:00:00Z", "Give a time after 1970-01-01T00:00:00Z and before"),
        ("1960-01-01T00:00:00Z", "Give a time after 1970-01-01T00:00:00Z and before"),
    ],
)
def test_a_time_that_cannot_be_sent_is_reported_with_its_field(field: str, value: object, remedy: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        parse_time(field, value)
    assert (caught.value.field, caught.value.value) == (field, value)
    assert caught.value.remedy.startswith(remedy)


def test_the_first_millisecond_can_be_sent_and_nothing_is_no_time() -> None:
    assert parse_time("created_after", "1970-01-01T00:00:00.001Z") == 1
    assert [parse_time("created_after", nothing) for nothing in (None, "")] == [None, None]


@pytest.mark.parametrize(
    ("paths", "shown"),
    [
        (["/content/a"], "(/content/a)"),
        (["/content/a", "/content/b", "/content/c"], "(/content/a, /content/b, /content/c)"),
        (["/content/a", "/content/b", "/content/c", "/content/d"], "(/content/a, /content/b, /content/c, …)"),
    ],
)
def test_an_exclusion_elsewhere_is_reported_with_the_paths_it_may_lie_below(paths: list[str], shown: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        parse_requests(paths, excluded_paths=["/content/x"])
    assert caught.value.remedy == f"An exclusion must lie below a processed path {shown}."


def test_a_path_that_overlaps_another_is_reported_with_that_one() -> None:
    with pytest.raises(InvalidInputError, match=r"It lies below /content/a\. Everything below") as caught:
        parse_requests(["/content/a/b", "/content/a"])
    assert caught.value.value == "/content/a/b"
    with pytest.raises(InvalidInputError, match="It is listed twice"):
        parse_requests(["/content/a", "/content/b", "/content/a"])


def test_a_processing_type_is_read_in_any_case_and_sent_in_capitals() -> None:
    (request,) = parse_requests(["/content"], processing_type=" asset_processing ")
    assert (request.path, request.processing_type) == ("/content", "ASSET_PROCESSING")
    for wrong in ("", " ", None):
        with pytest.raises(InvalidInputError) as caught:
            parse_processing_type(wrong)
        assert (caught.value.field, caught.value.value) == ("processing_type", wrong)


@pytest.mark.parametrize("field", ["paths", "excluded_paths", "file_types"])
def test_one_text_is_no_list(field: str) -> None:
    lists: dict[str, object] = {"paths": ["/content/a"], field: "/content/a"}
    with pytest.raises(InvalidInputError, match=r"Give a list of strings\.") as caught:
        parse_requests(**lists)  # type: ignore[arg-type]  # wrong on purpose
    assert (caught.value.field, caught.value.value) == (field, "/content/a")
