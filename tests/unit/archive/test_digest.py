"""A log in short."""

from __future__ import annotations

import pytest

from aem_guides.archive import digest
from aem_guides.archive.digest import LogDigest, shape_of

STAMP = "2026-05-31 08:00:00:123: "


def test_errors_and_warnings_are_counted_and_the_frequent_come_first() -> None:
    taken = LogDigest()
    for number in range(1, 31):
        taken.take(number, f"{STAMP}INFO: Processed /content/dam/{number}.dita")
        taken.take(number, f"{STAMP}WARN: /content/dam/{number}: link is broken")
    for number in range(31, 41):
        assert taken.take(number, f"{STAMP}ERROR: Failed to process /content/dam/a{number}.dita: 17 keys")
    assert taken.take(50, "Caused by: java.lang.IllegalStateException: closed")
    assert (taken.lines, taken.warnings, taken.errors) == (71, 30, 11)
    first, second = taken.repeated()
    assert (first.text, first.count, first.first_line) == ("ERROR: Failed to process …: # keys", 10, 31)
    assert (second.count, second.first_line) == (1, 50)
    assert len(taken.repeated(1)) == 1


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("ERROR 17 of 20", "ERROR 9 of 21"),
        ("ERROR id=0f6c1e9a-51f4-4d37-9a4e-6f2b8f1b7c11", "ERROR id=1f6c1e9a-51f4-4d37-9a4e-6f2b8f1b7c12"),
        ("2026-01-01T00:00:00.000Z ERROR x", "2027-02-02T10:00:00.001Z ERROR x"),
        ("ERROR '/content/a b' failed", "ERROR '/content/c b' failed"),
    ],
)
def test_lines_that_differ_in_times_paths_and_numbers_are_of_one_kind(one: str, other: str) -> None:
    assert shape_of(one) == shape_of(other)


@pytest.mark.parametrize("odd", ["", "/" * 5000, "1" * 5000, "ERROR " + "a/" * 5000, "\x00\ud83d", "-" * 5000])
def test_whatever_a_line_holds_its_kind_is_short(odd: str) -> None:
    assert len(shape_of(odd)) <= 201
    LogDigest().take(1, odd)


def test_a_log_of_ever_new_errors_takes_no_more_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(digest, "MOST_SHAPES", 10)
    taken = LogDigest()
    for number in range(100):
        taken.take(number, "ERROR " + "x" * number)
    assert taken.errors == 100
    assert len(taken.repeated(1000)) == 10
