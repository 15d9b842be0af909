"""The run's true state: only a clear success counts as one."""

from __future__ import annotations

from dataclasses import replace

import pytest

from aem_guides.protocol.contract import read_job
from aem_guides.protocol.errors import (
    DeadlineExceededError,
    InvalidInputError,
    JobCancelledError,
    JobError,
    JobFailedError,
    JobLostError,
    JobOutcomeUnknownError,
    NotFoundError,
    Retry,
    UnavailableError,
)
from aem_guides.protocol.models import Job, JsonValue
from aem_guides.protocol.procedures.follow import Followed, FollowEnd
from aem_guides.results.outcome import Ending, WaitOutcome, conclude
from aem_guides.results.rows import PathResults, build_row, problems, render_table, unverified
from aem_guides.runtime.retry_policy import AemGuidesRetryPolicy


def a_job(status: str, **noticed: JsonValue) -> Job:
    return read_job(
        {
            "processingId": "p",
            "status": status,
            "path": "/content/a",
            "completedAt": 61_000,
            "startedAt": 1000,
            **noticed,
        }
    )


def ending(end: FollowEnd, job: Job | None, *, cancel: str | None = None, left: int = 2) -> Ending:
    return Ending(Followed(end, job, 0), cancel, "p", resumes=0, resumes_left=left, hours=24)


def test_a_success_is_reported_with_its_duration() -> None:
    said = conclude(ending(FollowEnd.ENDED, a_job("Completed", triggeredCount=5, migrationSet={"totalFiles": 5})))
    assert said == "Job p succeeded: 5 of 5 assets (100.0 %), in 1 min"


@pytest.mark.parametrize("status", ["FAILED", "Cancelled"])
@pytest.mark.parametrize("starter", ["start_processing", "this task"])
def test_an_adopted_job_is_not_said_to_be_resumed_by_a_task_that_does_not(status: str, starter: str) -> None:
    adopted = replace(ending(FollowEnd.ENDED, a_job(status, resumable=True)), adopted=True, starter=starter)
    with pytest.raises(JobError) as caught:
        conclude(adopted)
    said = str(caught.value)
    assert "from its checkpoint" not in said
    assert "This run adopted the job" in said
    assert f"clear {starter} to start a new job" in said


@pytest.mark.parametrize(
    ("found", "error", "state"),
    [
        (ending(FollowEnd.ENDED, a_job("FAILED")), JobFailedError, "FAILED"),
        (ending(FollowEnd.ENDED, a_job("Cancelled")), JobCancelledError, "CANCELLED"),
        (ending(FollowEnd.UNCLEAR, a_job("ODD")), JobOutcomeUnknownError, "UNKNOWN"),
        (ending(FollowEnd.LOST, a_job("RUNNING")), JobLostError, "LOST"),
        (ending(FollowEnd.LOST, None), JobLostError, "LOST"),
        (ending(FollowEnd.DEADLINE, a_job("RUNNING")), DeadlineExceededError, "RUNNING"),
        (ending(FollowEnd.DEADLINE, a_job("RUNNING"), cancel="cancelled"), DeadlineExceededError, "CANCELLED"),
        (ending(FollowEnd.DEADLINE, None, cancel="unknown"), DeadlineExceededError, "UNKNOWN"),
    ],
)
def test_everything_else_is_an_error(found: Ending, error: type[JobError], state: str) -> None:
    with pytest.raises(error):
        conclude(found)
    assert WaitOutcome.of(found).state == state


@pytest.mark.parametrize(
    ("resumable", "left", "retry"), [(True, 2, Retry.USEFUL), (True, 0, Retry.POINTLESS), (False, 2, Retry.POINTLESS)]
)
def test_only_a_resumable_job_with_resumes_left_is_worth_a_retry(resumable: bool, left: int, retry: Retry) -> None:
    with pytest.raises(JobFailedError) as caught:
        conclude(ending(FollowEnd.ENDED, a_job("FAILED", resumable=resumable), left=left))
    assert caught.value.retry is retry


def test_a_row_claims_nothing_that_no_task_said() -> None:
    request: dict[str, JsonValue] = {"path": "/content/a"}
    assert build_row(PathResults(request)).state == "NOT_STARTED"
    assert build_row(PathResults(request, in_doubt=True)).state == "UNKNOWN"
    assert build_row(PathResults(request, started={"processing_id": "p"})).state == "UNKNOWN"
    assert build_row(PathResults(request, started={"processing_id": "p"}, cancel="cancelled")).state == "CANCELLED"
    done = build_row(
        PathResults(request, started={"processing_id": "p"}, outcome={"state": "SUCCESS", "processing_id": "q"})
    )
    assert (done.state, done.processing_id) == ("SUCCESS", "q")
    assert problems(done, archive_logs=True) == [
        "/content/a: its log was not pulled",
        "/content/a: its log was not archived",
    ]
    assert "/content/a" in render_table([done])


def test_a_job_without_any_log_is_no_reason_to_fail_the_run() -> None:
    request: dict[str, JsonValue] = {"path": "/content/a"}
    started: dict[str, JsonValue] = {"processing_id": "p"}
    done = PathResults(request, started, outcome={"state": "SUCCESS"}, logs={"lines": 0})
    row = build_row(replace(done, archive={"uri": None, "sha256": None}))
    assert problems(row, archive_logs=True) == []
    assert (row.archive_uri, row.log_lines) == (None, 0)
    assert "has_log" not in row.reported()
    assert problems(build_row(done), archive_logs=True) == ["/content/a: its log was not archived"]


def test_a_success_without_its_verification_or_with_too_many_failures_keeps_the_run_from_being_one() -> None:
    request: dict[str, JsonValue] = {"path": "/content/a"}
    done = PathResults(request, started={"processing_id": "p"}, outcome={"state": "SUCCESS"})
    passed_over = replace(done, verification={"supported": False})
    too_many = replace(done, verification={"failed": 1200, "too_many": True})
    fine = replace(done, verification={"failed": 3, "too_many": False})
    at_least = replace(done, verification={"failed": None, "failed_at_least": 5, "too_many": True})
    undecided = replace(done, verification={"failed": None, "too_many": False, "undecided": True})
    results = [done, passed_over, too_many, at_least, undecided, fine]
    assert [said for result in results for said in unverified(build_row(result), result)] == [
        "/content/a: its assets were not verified",
        "/content/a: 1,200 of its assets failed (fail_on_asset_failures)",
        "/content/a: 5 of its assets failed (fail_on_asset_failures)",
        "/content/a: it is not known whether too many of its assets failed (fail_on_asset_failures)",
    ]


def test_the_retry_policy_fails_at_once_on_what_no_retry_mends() -> None:
    policy = AemGuidesRetryPolicy()
    assert policy.evaluate(InvalidInputError("f", "v", "r."), 1, 5).action.value == "fail"
    delays = [policy.evaluate(ConnectionError(), number, 9).retry_delay for number in (1, 2, 3, 9)]
    assert [delay.total_seconds() for delay in delays if delay] == [30, 60, 120, 600]
    noticed = policy.evaluate(UnavailableError("r", 503, "", retry_after=90), 1, 5)
    assert noticed.retry_delay is not None
    assert noticed.retry_delay.total_seconds() == 90


def test_answers_that_a_starting_instance_gives_too_are_retried_some_times() -> None:
    policy, missing = AemGuidesRetryPolicy(), NotFoundError("r", 404, "")
    assert [policy.evaluate(missing, number, 9).action.value for number in (1, 2, 3, 4)] == ["retry"] * 3 + ["fail"]


def test_a_job_that_was_resumed_as_often_as_allowed_says_so_and_what_to_do() -> None:
    over = replace(ending(FollowEnd.ENDED, a_job("FAILED", resumable=True), left=0), resumes=1)
    with pytest.raises(
        JobFailedError, match=r"It was resumed 1 times \(max_resumes\) and is not resumed automatically again\. Clear"
    ):
        conclude(over)
