"""A job that ended with errors is neither a plain success nor a failure, from the instance's word to the report."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, cast

import pytest
from airflow.sdk import Context

from aem_guides.assets import PROCESSED, announce
from aem_guides.ledger.records import observed
from aem_guides.protocol.models import Job, JsonObject, ProcessingRequest
from aem_guides.protocol.procedures.follow import Followed, FollowEnd
from aem_guides.protocol.procedures.path_state import PathState, Phase
from aem_guides.protocol.procedures.start import Origin
from aem_guides.protocol.procedures.take_up import LifecycleOptions, take_up
from aem_guides.protocol.states import JobState, Verdict, state_of_word
from aem_guides.results.batch_rows import done_before, is_well, store_outcome
from aem_guides.results.outcome import Ending, WaitOutcome, conclude
from aem_guides.results.rows import PathResults, Row, build_row, problems_of

WORD = "COMPLETED WITH ERRORS"


def a_job(word: str = WORD, /, **more: object) -> Job:
    return Job("p", state_of_word(word), word, "/content/a", total_files=5, triggered_count=5, **more)  # type: ignore[arg-type]  # fields of a job


@pytest.mark.parametrize(
    "word", [WORD, "Completed with errors", "COMPLETED_WITH_ERRORS", "success-with-failures", "Partial success"]
)
def test_every_spelling_and_its_kin_is_a_state_of_its_own(word: str) -> None:
    assert state_of_word(word) is JobState.WITH_ERRORS
    assert str(JobState.WITH_ERRORS) == WORD


@pytest.mark.parametrize(
    ("flags", "verdict"),
    [
        ({}, Verdict.WITH_ERRORS),
        ({"restartable": True}, Verdict.WITH_ERRORS),
        ({"resumable": True}, Verdict.WITH_ERRORS),
        ({"cancellable": True}, Verdict.ENDED_UNCLEAR),
    ],
)
def test_it_has_ended_unless_it_can_still_be_cancelled(flags: dict[str, bool], verdict: Verdict) -> None:
    assert a_job(**flags).verdict is verdict


def test_the_outcome_says_so_and_is_no_error() -> None:
    ending = Ending(Followed(FollowEnd.ENDED, a_job(), 0), None, "p", resumes=0, resumes_left=2, hours=1)
    assert conclude(ending).startswith(f"Job p ended with errors ({WORD}): 5 of 5")
    assert WaitOutcome.of(ending).state == WORD


@pytest.mark.parametrize("cleared", [True, False])
def test_no_try_and_no_clear_resumes_or_restarts_it(cleared: bool) -> None:
    state = PathState(ProcessingRequest("/content/a")).works("p", Origin.STARTED)
    job = a_job(resumable=True)
    taken_up = take_up(state, job, cleared=cleared, later_try=True, now=0.0, options=LifecycleOptions())
    assert (taken_up.phase, taken_up.end, taken_up.job) == (Phase.ENDED, FollowEnd.ENDED, job)


@pytest.mark.parametrize(
    ("found", "verify", "limited", "problems"),
    [
        ({"failed": 2, "too_many": False}, True, True, 0),
        ({"failed": 2, "too_many": True}, True, True, 1),
        ({"failed": None, "undecided": True}, True, True, 1),
        (None, True, False, 1),
        (None, False, False, 0),
        (None, False, True, 1),
    ],
)
def test_the_limit_of_failed_assets_gives_the_run_its_state(
    found: JsonObject | None, verify: bool, limited: bool, problems: int
) -> None:
    result = PathResults(
        {"path": "/content/a"}, {"processing_id": "p"}, outcome={"state": WORD}, logs={"lines": 1}, verification=found
    )
    row = build_row(result)
    assert row.state == WORD
    wrong = problems_of(row, result, archive_logs=False, verify_assets=verify, limited=limited)
    assert len(wrong) == problems
    plain = replace(result, outcome={"state": "SUCCESS"})
    if not verify:
        assert problems_of(build_row(plain), plain, archive_logs=False, verify_assets=False, limited=limited) == []


def test_a_batch_takes_it_for_good_enough_to_be_green_and_not_to_be_left_out_next_time(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__AEM_GUIDES__ARCHIVE_URI", f"file://{tmp_path}")
    rows = [Row("/content/a", WORD, "with errors"), Row("/content/b", "SUCCESS", "well")]
    assert all(is_well(row, archived=False) for row in rows)
    assert not is_well(replace(rows[0], error="too many"), archived=False)
    store_outcome("b", "run", "author", rows)
    assert done_before("b", "author", {"with errors", "well"}) == {"well"}


@dataclass
class Outlets:
    """A task with the outlet of all paths, and its asset events."""

    outlets: tuple[object, ...] = (PROCESSED,)
    reported: list[dict[str, object]] = field(default_factory=list)

    def __getitem__(self, _alias: object) -> Outlets:
        return self

    def add(self, _asset: object, extra: dict[str, object]) -> None:
        self.reported.append(extra)


@pytest.mark.parametrize(("state", "events"), [(WORD, [WORD]), ("SUCCESS", ["SUCCESS"]), ("FAILED", [])])
def test_the_asset_event_has_the_state(state: str, events: list[str]) -> None:
    outlets = Outlets()
    context = cast("Context", {"task": outlets, "outlet_events": outlets})
    announce(context, "author", {"path": "/content/a", "state": state}, "run")
    assert [extra["state"] for extra in outlets.reported] == events


def test_the_ledger_has_it_as_it_is() -> None:
    entry = observed(a_job(completed_at=5_000, started_at=1_000), None, 6_000)
    assert (entry.state, entry.active) == (WORD, False)
    assert entry.fingerprint == ProcessingRequest("/content/a").fingerprint()
