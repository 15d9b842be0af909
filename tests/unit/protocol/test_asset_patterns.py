"""Patterns for assets that do not count, and which patterns are refused."""

from __future__ import annotations

import time
import unicodedata

import pytest

from aem_guides.protocol.asset_patterns import MOST_PATTERNS, parse_patterns
from aem_guides.protocol.errors import InvalidInputError


@pytest.mark.parametrize(
    ("pattern", "path", "matches"),
    [
        ("/content/dam/x/fragments/*", "/content/dam/x/fragments/deep/er", True),
        ("/content/dam/x/fragments/*", "/content/dam/x/fragments", False),
        ("*/fragments/*", "/content/dam/y/fragments/a", True),
        ("*.json", "/content/dam/a.json", True),
        ("*.json", "/content/dam/a.json/b", False),
        ("/content/dam/a?.dita", "/content/dam/ab.dita", True),
        ("/content/dam/a[bc].dita", "/content/dam/ac.dita", True),
        ("/content/dam/A.dita", "/content/dam/a.dita", False),
        ("/content/dam/a+b(1).dita", "/content/dam/a+b(1).dita", True),
        (" /content/dam/a ", "/content/dam/a", True),
        ("/content/dam/[a", "/content/dam/[a", True),
        ("/content/dam/[", "/content/dam/a", False),
        ("/content/dam/[z-a]", "/content/dam/b", False),
        ("**/fragments/**", "/content/dam/fragments/a", True),
        ("/content/dam/caf?", "/content/dam/cafe\u0301", True),
        ("/content/dam/caf[\u00e9]", "/content/dam/cafe\u0301", True),
    ],
)
def test_a_pattern_is_of_whole_paths_and_a_star_stands_for_slashes_too(pattern: str, path: str, matches: bool) -> None:
    assert parse_patterns("verify_ignore", [pattern]).match(path) is matches


@pytest.mark.parametrize("given", [None, "", [], (), "[]", "null"])
def test_nothing_given_is_no_pattern(given: object) -> None:
    assert parse_patterns("verify_ignore", given).patterns == ()


def test_a_list_may_come_as_the_json_that_a_template_makes_of_it() -> None:
    assert parse_patterns("verify_ignore", '["/a/*", "*/b"]').patterns == ("/a/*", "*/b")


@pytest.mark.parametrize("given", ["/a/*", '"/a/*"', 3, {"a": 1}, '{"a": 1}'])
def test_a_value_that_is_not_a_list_of_patterns_is_refused(given: object) -> None:
    with pytest.raises(InvalidInputError, match=r"verify_ignore: .* Give a list"):
        parse_patterns("verify_ignore", given)


def test_without_patterns_every_asset_counts() -> None:
    assert not parse_patterns("verify_ignore", []).match("/content/dam/a")


def test_one_of_several_patterns_is_enough() -> None:
    patterns = parse_patterns("verify_ignore", ["/a/*", "/b/*", "/a/*"])
    assert patterns.patterns == ("/a/*", "/b/*")
    assert [patterns.match(path) for path in ("/a/x", "/b/x", "/c/x")] == [True, True, False]


def test_two_spellings_of_one_letter_are_one() -> None:
    composed = unicodedata.normalize("NFC", "/content/dam/é/*")
    split = unicodedata.normalize("NFD", composed)
    assert composed != split
    assert parse_patterns("verify_ignore", [split]).match(composed)
    assert parse_patterns("verify_ignore", [composed]).match(split)


@pytest.mark.parametrize(
    ("value", "why"),
    [
        ("", "Give patterns of whole asset paths"),
        (" ", "Give patterns"),
        (3, "Give patterns"),
        (None, "Give patterns"),
        ("/" + "x" * 1000, "At most 1,000 characters"),
        ("content/dam/x/*", "It would match no asset"),
        ("fragments", "It would match no asset"),
        ("*", "switch verify_assets off"),
        ("/**", "switch verify_assets off"),
        ("/*/*", "switch verify_assets off"),
        ("[!x]*", "switch verify_assets off"),
        ("/content/dam/*", "switch verify_assets off"),
        ("*c*d?m*", "switch verify_assets off"),
    ],
)
def test_a_bad_pattern_is_refused_with_field_value_and_remedy(value: object, why: str) -> None:
    with pytest.raises(InvalidInputError) as raised:
        parse_patterns("verify_ignore", ["/good/*", value])
    assert (raised.value.field, raised.value.value) == ("verify_ignore", value)
    assert why in str(raised.value)


def test_more_patterns_than_are_looked_at_are_refused() -> None:
    with pytest.raises(InvalidInputError, match="101 patterns"):
        parse_patterns("verify_ignore", [f"/a{number}" for number in range(MOST_PATTERNS + 1)])


def test_no_pattern_takes_long_whatever_the_path() -> None:
    patterns = parse_patterns("verify_ignore", ["/" + "*a" * 400 + "b"])
    began = time.process_time()
    assert not patterns.match("/" + "a" * 4000)
    assert time.process_time() - began < 5
