"""What people write becomes requests, or an error that names field, value and remedy."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aem_guides.protocol.errors import InvalidInputError
from aem_guides.protocol.requests import parse_requests, parse_time

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
