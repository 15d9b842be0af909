"""How single values are read and compared: numbers, times, paths and ids."""

from __future__ import annotations

from dataclasses import replace

import pytest

from aem_guides.protocol.contract import read_job
from aem_guides.protocol.models import (
    LARGEST_NUMBER,
    JobFilter,
    JsonObject,
    SystemStatus,
    ids_before,
    is_below,
    milliseconds,
    newest_first,
    number,
    same_path,
)
from aem_guides.protocol.steps import HttpRequest


@pytest.mark.parametrize(
    ("reported", "read"),
    [
        (0, 0),
        (7, 7),
        ("7", 7),
        (7.9, 7),
        ("9" * 19, LARGEST_NUMBER),
        (10**400, LARGEST_NUMBER),
        ("9" * 20, None),
        ("٣", None),
        ("7.5", None),
        ("", None),
        (-1, None),
        (-1.0, None),
        (True, None),
        (float("nan"), None),
        (float("inf"), None),
        (float("-inf"), None),
        (None, None),
        ([7], None),
    ],
)
def test_a_number_is_whole_and_not_negative_or_none(reported: object, read: int | None) -> None:
    assert number(reported) == read


def test_a_time_is_none_before_the_first_millisecond_and_after_the_last_year() -> None:
    assert [milliseconds(at) for at in (0, 1, 253_402_300_799_999)] == [None, 1, 253_402_300_799_999]
    assert milliseconds(253_402_300_800_000) is None


def test_two_spellings_of_a_path_are_one() -> None:
    assert {same_path(path) for path in ("/content/é/", "content/e\u0301", "//content/é")} == {"/content/é"}


@pytest.mark.parametrize(
    ("path", "folder", "below"),
    [
        ("/content/a", "/content", True),
        ("content/a/", "/content/", True),
        ("/content", "/content", False),
        ("/contents", "/content", False),
        ("/content", "/content/a", False),
        ("/content", "/", True),
    ],
)
def test_below_is_what_lies_in_a_folder_and_not_the_folder(path: str, folder: str, below: bool) -> None:
    assert is_below(path, folder) is below


@pytest.mark.parametrize(
    ("earlier", "current", "goes_on_as", "ids"),
    [
        ((), "a", "b", ("a",)),
        (("a",), "b", "c", ("a", "b")),
        (("a", "b"), "b", "c", ("a", "b")),
        (("a",), "b", "a", ("b",)),
        (("a",), None, "b", ("a",)),
    ],
)
def test_the_ids_that_a_job_had_are_kept_in_order_and_once(
    earlier: tuple[str, ...], current: str | None, goes_on_as: str, ids: tuple[str, ...]
) -> None:
    assert ids_before(earlier, current, goes_on_as) == ids


def test_jobs_that_have_not_started_yet_are_the_newest() -> None:
    one = read_job({"processingId": "p", "status": "RUNNING"})
    jobs = [replace(one, processing_id=name, started_at=at) for name, at in (("old", 1), ("none", None), ("new", 2))]
    assert [job.processing_id for job in newest_first(jobs)] == ["none", "new", "old"]


@pytest.mark.parametrize(
    ("is_database", "check", "fit"),
    [
        (True, "Passed", True),
        (True, "failed", False),
        (True, None, True),
        (False, "failed", True),
        (None, "failed", True),
    ],
)
def test_a_database_that_did_not_pass_its_check_is_not_fit(
    is_database: bool | None, check: str | None, fit: bool
) -> None:
    assert SystemStatus(is_database, check).is_fit is fit


@pytest.mark.parametrize(
    ("reported", "none"),
    [
        ({"migrationSet": {"totalFiles": 0}}, True),
        ({"migrationSet": {"totalFiles": 0}, "triggeredCount": 0}, True),
        ({"migrationSet": {"totalFiles": 0}, "triggeredCount": 1}, False),
        ({"migrationSet": {"totalFiles": 1}}, False),
        ({}, False),
    ],
)
def test_a_job_had_no_assets_only_where_the_instance_says_so(reported: JsonObject, none: bool) -> None:
    assert read_job({"processingId": "p", "status": "SUCCESS", **reported}).had_no_assets is none


def test_a_filter_without_anything_in_it_is_none() -> None:
    job = read_job({"processingId": "p", "status": "SUCCESS"})
    assert not job.has_filter
    assert not replace(job, job_filter=JobFilter()).has_filter
    for kept in (JobFilter(("DITAMAP",)), JobFilter((), 5), JobFilter((), None, 5)):
        assert replace(job, job_filter=kept).has_filter


def test_a_request_is_shown_without_its_query() -> None:
    assert HttpRequest("GET", "/a/b?token=x?y", {}).label == "GET /a/b"
    assert HttpRequest("GET", "/a/b", {}).label == "GET /a/b"
