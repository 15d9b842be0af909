"""An object that is read block by block gives the same as when it is read whole, and costs at most one block of
memory."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aem_guides.protocol.json import JsonError, read_json
from aem_guides.protocol.json_stream import LONGEST_ENTRY, ObjectStream
from aem_guides.protocol.models import JsonValue

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**20), 10**20) | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)


def streamed(body: bytes, size: int = 64 * 1024, charset: str = "") -> tuple[list[JsonValue], ObjectStream]:
    """The entries of `assets`, read in blocks of that size."""
    headers = {"content-type": f"application/json; charset={charset}"} if charset else {}
    stream = ObjectStream(headers, streamed="assets", kept=("status", "jobId"))
    found: list[JsonValue] = []
    for start in range(0, len(body), size):
        found += stream.feed(body[start : start + size])
    return found + stream.finish(), stream


@given(
    st.lists(VALUES, max_size=5),
    st.dictionaries(st.sampled_from(["status", "jobId", "other", "assets2"]), VALUES),
    st.integers(1, 40),
    st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-32", "latin-1"]),
    st.booleans(),
    st.sampled_from([None, 2]),
)
def test_in_whatever_blocks_it_comes_it_gives_what_the_whole_gives(
    entries: list[JsonValue], others: dict[str, JsonValue], size: int, charset: str, escaped: bool, indent: int | None
) -> None:
    reported: dict[str, JsonValue] = {**others, "assets": entries, "last": None}
    body = json.dumps(reported, ensure_ascii=escaped, indent=indent).encode(charset, errors="replace")
    declared = charset if charset == "latin-1" else ""
    found, stream = streamed(body, size, declared)
    headers = {"content-type": f"application/json; charset={declared}"} if declared else {}
    whole = read_json(body, headers)
    assert isinstance(whole, dict)
    assert found == whole["assets"]
    assert stream.members == {name: whole[name] for name in whole if name in ("status", "jobId")}
    assert stream.has_list


@pytest.mark.parametrize(
    "reported", ["{}", '{"assets": null}', '{"assets": {"a": []}}', '{"assets": 3, "status": "x"}']
)
def test_a_list_that_is_none_gives_no_entries_and_is_not_taken_for_an_empty_one(reported: str) -> None:
    found, stream = streamed(reported.encode(), 3)
    assert (found, stream.has_list) == ([], False)


@pytest.mark.parametrize(
    "reported",
    [
        "",
        "[]",
        "3",
        "<html>",
        "{",
        '{"assets": [',
        '{"assets": [{}',
        '{"assets": [{}, ',
        '{"assets": [{}]',
        '{"assets": [1 2]}',
        '{"assets": [,]}',
        '{"assets" []}',
        '{"assets": []} x',
        '{"assets": [] "a": 1}',
        "{assets: []}",
        '{"assets": ["\n"]}',
    ],
)
@pytest.mark.parametrize("size", [1, 5, 1000])
def test_an_incomplete_object_is_refused(reported: str, size: int) -> None:
    with pytest.raises(JsonError, match="not JSON"):
        streamed(reported.encode(), size)


@pytest.mark.parametrize("flood", ["[", '"a', "9", '{"a":', " x"], ids=["lists", "text", "digits", "objects", "words"])
def test_a_value_without_end_is_refused_before_it_fills_the_memory(flood: str) -> None:
    stream = ObjectStream({}, streamed="assets", kept=())
    stream.feed(b'{"assets": [')
    block = (flood * 64 * 1024)[: 64 * 1024].encode()
    with pytest.raises(JsonError):  # noqa: PT012  # it may be any of the blocks
        for _ in range(2 + LONGEST_ENTRY // len(block)):
            stream.feed(block)


def test_nothing_is_kept_of_what_was_given_out() -> None:
    stream = ObjectStream({}, streamed="assets", kept=())
    stream.feed(b'{"assets": [')
    block = b'{"path": "/content/dam/a", "status": "SUCCESS"}, ' * 1000
    for _ in range(50):
        assert len(stream.feed(block)) == 1000
        assert len(stream._text) - stream._at < 100
