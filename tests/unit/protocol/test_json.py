"""Bytes become values: whatever comes in, the result can be stored, shown and carried."""

from __future__ import annotations

import codecs
import json
from collections.abc import Callable, Mapping
from functools import partial
from typing import TypeVar

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aem_guides.protocol import contract
from aem_guides.protocol.contract import ShapeError
from aem_guides.protocol.json import LONGEST_LINE, LONGEST_TEXT, JsonError, clean_text, decoded, read_json
from aem_guides.protocol.models import LARGEST_NUMBER, JsonValue
from aem_guides.protocol.steps import Reply

T = TypeVar("T")
PLAIN: Mapping[str, str] = {}
READERS: list[Callable[[Reply], object]] = [
    contract.status("a").read,
    contract.logs("a").read,
    contract.history().read,
    contract.resume("a").read,
    contract.system_status().read,
    contract.asset_status("a").read,
    contract.start_asset_status(("/content/dam/a",)).read,
    contract.csrf_token().read,
]
FIELDS = (
    "processingId",
    "status",
    "path",
    "excludedPaths",
    "triggeredCount",
    "startedAt",
    "completedAt",
    "hasLogs",
    "createdBy",
    "migrationSet",
    "totalFiles",
    "calculationStatus",
    "eta",
    "value",
    "unit",
    "comments",
    "filter",
    "fileTypes",
    "startTime",
    "executionHistory",
    "lines",
    "offset",
    "assets",
    "jobId",
    "reason",
    "token",
    "isDatabase",
    "databaseConnectionCheck",
)


def storable(value: object) -> bool:
    """Whether every text in it can be stored in JSONB and encoded, and every number fits in a BIGINT."""
    if isinstance(value, str):
        return "\x00" not in value and not any("\ud800" <= letter <= "\udfff" for letter in value)
    if isinstance(value, int | float):
        return abs(value) <= LARGEST_NUMBER
    if isinstance(value, dict):
        return all(storable(key) and storable(item) for key, item in value.items())
    if isinstance(value, list | tuple):
        return all(map(storable, value))
    return True


def reply(value: object, content_type: str = "application/json") -> Reply:
    return Reply(200, {"content-type": content_type}, json.dumps(value).encode())


@pytest.mark.parametrize("mark", [codecs.BOM_UTF8, codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE, codecs.BOM_UTF32_LE])
def test_a_byte_order_mark_says_the_charset_whatever_is_declared(mark: bytes) -> None:
    charset = {
        codecs.BOM_UTF8: "utf-8",
        codecs.BOM_UTF16_LE: "utf-16-le",
        codecs.BOM_UTF16_BE: "utf-16-be",
        codecs.BOM_UTF32_LE: "utf-32-le",
    }[mark]
    body = mark + '{"path": "/content/dam/Précautions"}'.encode(charset)
    declared = {"content-type": "application/json;charset=ISO-8859-1"}
    assert read_json(body, declared) == {"path": "/content/dam/Précautions"}


@pytest.mark.parametrize(
    ("content_type", "charset"),
    [
        ("application/json;charset=ISO-8859-1", "latin-1"),
        ('application/json; charset="windows-1252"', "cp1252"),
        ("application/json; Charset = utf-16-le; x=1", "utf-16-le"),
        ("application/json", "utf-8"),
        ("application/json; charset=klingon", "utf-8"),
        ("application/json; charset=base64", "utf-8"),
        ("application/json; charset=rot13", "utf-8"),
        ("application/json; charset=", "utf-8"),
        ("application/json; charset=punycode", "utf-8"),
        ("application/json; charset=Unicode_Escape", "utf-8"),
    ],
)
def test_the_declared_charset_is_honoured_where_there_is_such_a_one(content_type: str, charset: str) -> None:
    body = '{"path": "/content/dam/Précautions"}'.encode(charset)
    assert read_json(body, {"content-type": content_type}) == {"path": "/content/dam/Précautions"}


def test_bytes_that_are_not_text_in_their_charset_are_marked() -> None:
    assert decoded(b"caf\xe9", PLAIN) == "caf�"


@pytest.mark.parametrize(
    ("reported", "kept"),
    [
        (r'"half an emoji \ud83d"', "half an emoji �"),
        (r'"\ude00\ud83d"', "��"),
        (r'"a whole one \ud83d\ude00"', "a whole one \U0001f600"),
        (r'"NUL \u0000, escape \u001b[2J, delete \u007f"', "NUL �, escape �[2J, delete �"),
        (r'"tab\tand\r\nline"', "tab\tand\r\nline"),
        (r'{"\u0000": 1}', {"�": 1}),
        ("1e999", float(LARGEST_NUMBER)),
        ("-1e999", -float(LARGEST_NUMBER)),
        ("9" * 400, LARGEST_NUMBER),
        ("-" + "9" * 400, -LARGEST_NUMBER),
        ("9" * 5000, LARGEST_NUMBER),
        ("[NaN, Infinity, -Infinity]", [None, None, None]),
        ("20260226085910755123456", 20260226085910755123456),
    ],
)
def test_characters_that_cannot_be_kept_are_replaced(reported: str, kept: JsonValue) -> None:
    assert read_json(reported.encode(), PLAIN) == kept


def test_a_long_text_is_cut_with_a_mark() -> None:
    reported = read_json(json.dumps("a" * (LONGEST_TEXT + 7)).encode(), PLAIN)
    assert reported == "a" * LONGEST_TEXT + " … [cut: 7 more characters]"
    assert clean_text("a" * LONGEST_TEXT) == "a" * LONGEST_TEXT


def test_a_log_line_is_kept_longer_than_other_texts() -> None:
    page = contract.logs("a").read(reply({"lines": ["a" * (LONGEST_TEXT + 1), "b" * (LONGEST_LINE + 1)]}))
    assert page.lines[0] == "a" * (LONGEST_TEXT + 1)
    assert page.lines[1].endswith(" … [cut: 1 more characters]")


@pytest.mark.parametrize("depth", [101, 5_000, 100_000])
@pytest.mark.parametrize("shape", [("[", "]"), ('{"a":', "}")])
def test_a_value_that_is_nested_too_deep_is_refused(depth: int, shape: tuple[str, str]) -> None:
    opened, closed = shape
    with pytest.raises(JsonError, match="nested too deep"):
        read_json((opened * depth + "1" + closed * depth).encode(), PLAIN)


@pytest.mark.parametrize("value", ["[]", "{}", "1", '""', '"a"', "[[1]]"])
def test_more_values_than_the_memory_bears_are_refused(value: str) -> None:
    many = f"[{','.join([value] * 1_100)}]".encode()
    with pytest.raises(JsonError, match="more than 1,000 values"):
        read_json(many, PLAIN, most=1_000)
    assert len(read_json(many, PLAIN, most=4_000)) == 1_100  # type: ignore[arg-type]  # a list, as written above


@pytest.mark.parametrize("line", ["[{,", '\\"[{,', "\\\\", '\\\\\\"[['])
def test_the_content_of_a_string_is_not_counted(line: str) -> None:
    reported = f'["{line * 10}", "{line * 10}"]'
    assert read_json(reported.encode(), PLAIN, most=3) == json.loads(reported)


def test_a_text_without_its_end_is_no_json_however_long() -> None:
    with pytest.raises(JsonError, match="the answer is not JSON"):
        read_json(b"[" * 50 + b'"' + b'\\"[' * 300_000, PLAIN, most=1_000)


@pytest.mark.parametrize("body", [b"", b"<html>", b"{", b"\xff\xfe", b"[" * 50, b"{'a': 1}"])
def test_a_body_that_is_not_json_is_refused(body: bytes) -> None:
    with pytest.raises(JsonError, match="the answer is not JSON"):
        read_json(body, PLAIN)


def test_a_null_list_is_empty_but_proves_nothing() -> None:
    history = contract.history().read(reply({"executionHistory": None}))
    assert (history.jobs, history.unreadable) == ((), ("executionHistory is null",))
    assert contract.logs("a").read(reply({"lines": None})).lines == ()
    assert contract.asset_status("a").read(reply({"status": "SUCCESS", "assets": None})).assets is None


def test_a_list_that_is_missing_is_no_answer() -> None:
    for call in (contract.history(), contract.logs("a")):
        with pytest.raises(ShapeError, match="is missing"):
            call.read(reply({}))


def test_ids_may_be_numbers_and_are_sent_back_as_they_came() -> None:
    assert contract.resume("a").read(reply({"processingId": 17})) == "17"
    assert contract.start_asset_status(("/a",)).read(reply({"jobId": " 7-b"})) == " 7-b"
    assert contract.read_job({"processingId": 20260226085910755123456, "status": "RUNNING"}).processing_id == (
        "20260226085910755123456"
    )
    with pytest.raises(ShapeError, match="processingId is missing"):
        contract.read_job({"processingId": True, "status": "RUNNING"})


@pytest.mark.parametrize("token", ["a b", "ü", "\x1b[2J", "a\r\nX-Injected: b", "\ud83d"])
def test_a_csrf_token_that_no_header_field_carries_is_no_token(token: str) -> None:
    with pytest.raises(ShapeError, match="no HTTP header may have"):
        contract.csrf_token().read(reply({"token": token}))


def test_an_entry_that_cannot_be_read_costs_that_entry_alone() -> None:
    entries = [None, 7, {"processingId": "a"}, {"processingId": "b", "status": "RUNNING", "comments": None}]
    history = contract.history().read(reply({"executionHistory": entries}))
    assert [job.processing_id for job in history.jobs] == ["b"]
    assert len(history.unreadable) == 3


def test_the_first_of_many_unreadable_entries_are_reported_and_the_others_counted() -> None:
    history = contract.history().read(reply({"executionHistory": [None] * 1_020}))
    assert len(history.unreadable) == 21
    assert history.unreadable[-1] == "and 1,000 more entries"


TEXTS = st.text(st.characters(), max_size=40) | st.sampled_from(["\x00", "\ud83d", "RUNNING", "SUCCESS", "9" * 30])
NUMBERS = st.integers(-(10**60), 10**60) | st.floats() | st.sampled_from([2**31, 2**63 - 1, 2**63, 1e308])
VALUES: st.SearchStrategy[object] = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(FIELDS) | TEXTS, inner, max_size=8),
    max_leaves=30,
)


def carried(read: Callable[[], T]) -> T | str:
    """The value that was read, or the reason why it could not be read."""
    try:
        return read()
    except (ShapeError, JsonError) as error:
        return str(error)


@given(VALUES)
def test_whatever_a_body_holds_every_reader_gives_what_can_be_stored_and_carried(value: object) -> None:
    answer = reply(value)
    for read in READERS:
        found = carried(partial(read, answer))
        plain = msgspec.to_builtins(found)
        assert storable(plain)
        msgspec.json.encode(found)
        msgspec.msgpack.encode(plain)


@given(st.dictionaries(st.sampled_from(FIELDS), VALUES, max_size=20))
def test_a_job_of_any_fields_comes_back_from_its_json_as_it_was(fields: dict[str, object]) -> None:
    answer = reply({"executionHistory": [fields | {"processingId": "a", "status": "RUNNING"}]})
    (job,) = contract.history().read(answer).jobs
    reported = job.to_json()
    assert storable(reported)
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(reported)) == reported
    assert type(job).from_json(reported) == job


@given(st.binary(max_size=300), st.text(max_size=30))
def test_any_bytes_are_a_value_or_no_json(body: bytes, content_type: str) -> None:
    assert storable(carried(lambda: read_json(body, {"content-type": content_type})))
