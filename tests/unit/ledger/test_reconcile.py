"""The effect of a snapshot on the ledger: every finding, when it is opened and when it is not."""

from __future__ import annotations

import dataclasses
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aem_guides.ledger.findings import EVENTS, REMEDY, SEVERITY, FindingKind
from aem_guides.ledger.reconcile import GRACE_MS, LedgerView, ReconcilePolicy, reconcile
from aem_guides.ledger.records import LOST, LedgerJob, Snapshot
from aem_guides.protocol.models import Job
from aem_guides.storage import ArchiveCondition
from tests.support.worlds import (
    MINUTE,
    NOW,
    POLICY,
    RUN,
    after,
    entry,
    found,
    job,
    key,
    kinds,
    ours,
    snapshot,
    view,
)

OVER = {RUN: "failed"}
RUNNING = {RUN: "running"}


def test_every_kind_has_a_severity_and_only_what_lasts_has_a_remedy() -> None:
    assert set(SEVERITY) == set(FindingKind)
    assert not EVENTS & set(REMEDY)


def test_a_job_of_another_user_is_kept_and_reported_once() -> None:
    shown = snapshot(job("a"))
    result = reconcile(shown, LedgerView(), POLICY)
    assert "author started job a on /content/dam/a" in found(result)["new_external"]
    (kept,) = result.jobs
    assert (kept.state, kept.ours, kept.announced) == ("SUCCESS", False, True)
    again = reconcile(snapshot(job("a"), at=NOW + MINUTE), after(LedgerView(), shown, result), POLICY)
    assert not again.opened


def test_a_job_that_began_a_moment_ago_may_be_ours_and_is_announced_later() -> None:
    fresh = job("a", "RUNNING", start=NOW - GRACE_MS // 2)
    result = reconcile(snapshot(fresh), LedgerView(), POLICY)
    assert not result.opened
    assert not result.jobs[0].announced
    ledger = after(LedgerView(), snapshot(fresh), result)
    assert "new_external" in kinds(snapshot(fresh, at=NOW + GRACE_MS), ledger)
    noted = dataclasses.replace(result.jobs[0], run=RUN)
    assert "new_external" not in kinds(snapshot(fresh, at=NOW + GRACE_MS), view(noted))


def test_a_change_of_state_is_reported_and_stored() -> None:
    result = reconcile(snapshot(job("a")), view(entry(job("a", "RUNNING"))), POLICY)
    assert found(result)["state_changed"] == "Job a on /content/dam/a went from RUNNING to SUCCESS."
    assert [(c.before, c.after) for c in result.changes] == [("RUNNING", "SUCCESS")]


def test_an_end_that_our_run_did_not_see_is_a_missed_completion_and_one_that_it_may_yet_see_is_not() -> None:
    ledger = view(ours(job("a", "RUNNING")))
    assert "missed_completion" in kinds(snapshot(job("a"), runs=OVER), ledger)
    assert "missed_completion" in kinds(snapshot(job("a"), runs={RUN: None}), ledger)
    assert "missed_completion" not in kinds(snapshot(job("a"), runs=RUNNING), ledger)
    assert "missed_completion" not in kinds(snapshot(job("a")), view(entry(job("a", "RUNNING"))))


@pytest.mark.parametrize(("said", "shown"), [("SUCCESS", "FAILED"), ("FAILED", "SUCCESS"), ("CANCELLED", "SUCCESS")])
def test_our_run_and_the_instance_can_disagree_both_ways(said: str, shown: str) -> None:
    known = ours(job("a", shown), reported_state=said, archive_uri="file:///a")
    result = reconcile(snapshot(job("a", shown), runs=OVER), view(known), POLICY)
    assert f" as {said}, but the instance shows " in found(result)["disagreement"]
    assert f"the instance shows {shown}" in found(result)["disagreement"]
    kept = dataclasses.replace(known, kept=True)
    assert "disagreement" not in kinds(snapshot(job("a", shown), runs=OVER), view(kept))


def test_a_job_that_goes_on_without_its_run_is_a_disagreement_and_one_whose_run_waits_is_none() -> None:
    ledger = view(ours(job("a", "RUNNING")))
    assert (
        "is over, but its job a"
        in found(reconcile(snapshot(job("a", "RUNNING"), runs=OVER), ledger, POLICY))["disagreement"]
    )
    assert not kinds(snapshot(job("a", "RUNNING"), runs=RUNNING), ledger)


def test_our_job_is_lost_when_neither_history_nor_status_knows_it() -> None:
    known = ours(job("a", "RUNNING"), at=NOW - 10 * MINUTE)
    result = reconcile(snapshot(job("b"), statuses={"a": None}, runs=RUNNING), view(known, entry(job("b"))), POLICY)
    assert "in neither history nor status" in found(result)["lost"]
    assert {j.processing_id: j.state for j in result.jobs}["a"] == LOST
    ledger = after(view(known, entry(job("b"))), snapshot(job("b")), result)
    back = reconcile(snapshot(job("b"), job("a"), at=NOW + MINUTE, runs=RUNNING), ledger, POLICY)
    assert [str(k.kind) for k in back.closed] == ["lost"]
    assert {j.processing_id: j.state for j in back.jobs}["a"] == "SUCCESS"


def test_a_job_whose_status_cannot_be_had_or_that_has_just_begun_is_not_lost() -> None:
    old, fresh = ours(job("a", "RUNNING"), at=NOW - 10 * MINUTE), ours(job("a", "RUNNING"), at=NOW - GRACE_MS // 2)
    assert not kinds(snapshot(job("b"), runs=RUNNING), view(old, entry(job("b"))))
    assert not kinds(snapshot(job("b"), statuses={"a": None}, runs=RUNNING), view(fresh, entry(job("b"))))


def test_no_progress_for_too_long_is_stalled_until_there_is_some() -> None:
    quiet = entry(job("a", "RUNNING"), progress_at=NOW - 61 * MINUTE)
    result = reconcile(snapshot(job("a", "RUNNING")), view(quiet), POLICY)
    assert "no progress for 1 h 1 min; it is at 10 of 20 assets" in found(result)["stalled"]
    ledger = after(view(quiet), snapshot(job("a", "RUNNING")), result)
    moved = reconcile(snapshot(job("a", "RUNNING", triggered_count=11), at=NOW + MINUTE), ledger, POLICY)
    assert [str(k.kind) for k in moved.closed] == ["stalled"]


def test_a_failed_job_that_no_run_will_resume_is_found_and_one_that_was_repeated_later_is_not() -> None:
    failed = job("a", "FAILED", resumable=True)
    known = ours(failed, reported_state="FAILED", archive_uri="file:///a")
    assert kinds(snapshot(failed, runs=OVER), view(known)) == {"failed_resumable"}
    assert not kinds(snapshot(failed, runs=RUNNING), view(known))
    assert not kinds(snapshot(failed), view(entry(failed)))
    later = entry(job("b", "RUNNING", start=NOW - MINUTE, path="/content/dam/a"))
    shown = snapshot(failed, job("b", "RUNNING", start=NOW - MINUTE, path="/content/dam/a"), runs=OVER)
    assert "failed_resumable" not in kinds(shown, view(known, later))
    goes_on = entry(job("c", start=NOW - MINUTE), continues="a")
    assert "failed_resumable" not in kinds(snapshot(failed, runs=OVER), view(known, goes_on))


def test_a_log_that_is_to_be_archived_is_missed_once_the_run_is_over() -> None:
    known = ours(job("a"), reported_state="SUCCESS")
    assert kinds(snapshot(job("a"), runs=OVER), view(known)) == {"log_not_archived"}
    assert not kinds(snapshot(job("a"), runs=RUNNING), view(known))
    assert not kinds(snapshot(job("a"), runs=OVER), view(dataclasses.replace(known, wants_archive=False)))
    assert not kinds(snapshot(job("a"), runs=OVER), view(dataclasses.replace(known, archive_uri="file:///a")))
    assert not kinds(snapshot(job("a", has_logs=False), runs=OVER), view(known))


def test_the_logs_of_others_are_archived_if_configured() -> None:
    policy = ReconcilePolicy(archive_foreign=True)
    assert "log_not_archived" in kinds(snapshot(job("a")), LedgerView(), policy)
    assert "log_not_archived" not in kinds(snapshot(job("a")), LedgerView())


@pytest.mark.parametrize(
    ("condition", "said"),
    [(ArchiveCondition.MISSING, "is gone"), (ArchiveCondition.DIFFERENT, "is not the one that was stored")],
)
def test_an_archive_that_is_gone_or_differs_is_found_and_lasts_until_it_is_there(
    condition: ArchiveCondition, said: str
) -> None:
    known = entry(job("a"), archive_uri="file:///a/logs.zip")
    result = reconcile(snapshot(job("a"), archives={"a": condition}), view(known), POLICY)
    assert said in found(result)["archive_missing"]
    ledger = after(view(known), snapshot(job("a")), result)
    assert not reconcile(snapshot(job("a"), at=NOW + MINUTE), ledger, POLICY).closed
    mended = snapshot(job("a"), at=NOW + MINUTE, archives={"a": ArchiveCondition.OK})
    assert reconcile(mended, ledger, POLICY).closed == (key(FindingKind.ARCHIVE_MISSING, "a"),)


def test_a_window_without_anything_of_the_last_one_is_a_gap() -> None:
    ledger = view(entry(job("a")), entry(job("b")))
    shown = snapshot(job("c"), job("d"))
    result = reconcile(shown, ledger, POLICY)
    assert "none of its 2 jobs is still shown" in found(result)["window_gap"]
    assert "window_gap" not in kinds(snapshot(job("d"), job("e"), at=NOW + MINUTE), after(ledger, shown, result))
    assert "window_gap" not in kinds(snapshot(job("b"), job("c")), ledger)
    assert "window_gap" not in kinds(snapshot(job("c")), LedgerView())
    assert "window_gap" in kinds(snapshot(), ledger)


def test_a_job_that_came_back_by_a_resume_does_not_hide_a_gap() -> None:
    ledger = view(entry(job("a", "FAILED")), entry(job("b")))
    back = job("a", "RUNNING", start=NOW - MINUTE)
    assert "window_gap" in kinds(snapshot(job("c"), back), ledger)


def test_two_jobs_that_do_the_same_at_the_same_time_are_duplicates_and_reported_once() -> None:
    one, other = (job(n, "RUNNING", path="/content/dam/x", start=NOW - 20 * MINUTE) for n in "ab")
    ledger = view(entry(one), entry(other))
    result = reconcile(snapshot(one, other), ledger, POLICY)
    assert "Jobs a (by author) and b (by author) had the same request" in found(result)["duplicate"]
    assert not reconcile(snapshot(other, one, at=NOW + 1), after(ledger, snapshot(one, other), result), POLICY).opened


def test_one_after_the_other_or_another_request_is_no_duplicate() -> None:
    first = job("a", path="/content/dam/x", start=NOW - 30 * MINUTE)
    second = job("b", path="/content/dam/x", start=NOW - 20 * MINUTE)
    assert not kinds(snapshot(first, second), view(entry(first), entry(second)))
    other = job("c", path="/content/dam/x", start=NOW - 25 * MINUTE, excluded_paths=("/content/dam/x/y",))
    assert not kinds(snapshot(first, other), view(entry(first), entry(other)))
    assert "duplicate" in kinds(snapshot(first, job("d", path="/content/dam/x", start=NOW - 25 * MINUTE)), LedgerView())


def test_an_unknown_state_is_found_and_polled_on() -> None:
    odd = job("a", "Paused", start=NOW - MINUTE)
    result = reconcile(snapshot(odd), LedgerView(), POLICY)
    assert "the unknown state 'Paused'" in found(result)["unknown_state"]
    assert result.jobs[0].active
    judged = reconcile(snapshot(job("a", "Archived", restartable=True, cancellable=False)), LedgerView(), POLICY)
    assert "by its other fields it is UNKNOWN" not in found(judged)["unknown_state"]


def test_an_entry_that_cannot_be_read_is_reported_and_the_others_are_used() -> None:
    shown = snapshot(job("a"), unreadable=("entry 3: status of job x is missing",))
    result = reconcile(shown, LedgerView(), POLICY)
    assert "status of job x is missing" in found(result)["unreadable_entry"]
    assert [j.processing_id for j in result.jobs] == ["a"]
    moved = snapshot(job("a"), at=NOW + 1, unreadable=("entry 4: status of job x is missing",))
    assert not reconcile(moved, after(LedgerView(), shown, result), POLICY).opened


def test_entries_that_are_odd_in_the_same_way_are_one_finding() -> None:
    shown = snapshot(
        job("a"), unreadable=("entry 1: a job is not a JSON object", "entry 2: a job is not a JSON object")
    )
    opened = [finding.key for finding in reconcile(shown, LedgerView(), POLICY).opened]
    assert len(opened) == len(set(opened))


def test_a_resume_under_the_same_id_is_counted_and_its_old_archive_forgotten() -> None:
    known = ours(job("a", "FAILED"), archive_uri="file:///a", resumes=1)
    result = reconcile(snapshot(job("a", "RUNNING", start=NOW - MINUTE), runs=RUNNING), view(known), POLICY)
    assert (result.jobs[0].resumes, result.jobs[0].archive_uri, result.jobs[0].completed_at) == (2, None, None)


WORDS = ["WAITING", "RUNNING", "SUCCESS", "FAILED", "CANCELLED", "Paused"]
NAMES = [f"job-{n}" for n in range(8)]
STARTS = st.integers(0, 200).map(lambda minutes: NOW - minutes * MINUTE)


@st.composite
def shown_jobs(draw: st.DrawFn) -> Job:
    return job(
        draw(st.sampled_from(NAMES)),
        draw(st.sampled_from(WORDS)),
        start=draw(STARTS),
        path=draw(st.sampled_from(["/content/dam/x", "/content/dam/y"])),
        resumable=draw(st.booleans()),
        triggered_count=draw(st.integers(0, 20)),
    )


def windows() -> st.SearchStrategy[list[Job]]:
    return st.lists(shown_jobs(), max_size=6, unique_by=lambda shown: shown.processing_id)


@st.composite
def ledger_entries(draw: st.DrawFn) -> LedgerJob:
    make = draw(st.sampled_from([entry, ours]))
    reported = draw(st.sampled_from([None, "SUCCESS", "FAILED", "CANCELLED", "RUNNING"]))
    return make(
        draw(shown_jobs()),
        at=draw(STARTS),
        reported_state=reported if make is ours else None,
        archive_uri=draw(st.sampled_from([None, "file:///a/logs.zip"])),
        kept=draw(st.booleans()),
        announced=draw(st.booleans()),
    )


def ledgers() -> st.SearchStrategy[LedgerView]:
    entries = st.lists(ledger_entries(), max_size=6, unique_by=lambda known: known.processing_id)
    return entries.map(lambda known: view(*known))


@st.composite
def snapshots(draw: st.DrawFn, skew: int = 0) -> Snapshot:
    window = draw(windows())
    gone = draw(st.sets(st.sampled_from(NAMES))) - {shown.processing_id for shown in window}
    return snapshot(
        *window,
        skew=skew,
        statuses=dict.fromkeys(sorted(gone)),
        runs={RUN: draw(st.sampled_from(["running", "success", "failed", None]))},
        archives=draw(st.dictionaries(st.sampled_from(NAMES), st.sampled_from(ArchiveCondition), max_size=3)),
    )


@given(snapshots(), ledgers())
def test_the_second_time_nothing_is_found_and_nothing_changes(shown: Snapshot, ledger: LedgerView) -> None:
    first = reconcile(shown, ledger, POLICY)
    second = reconcile(shown, after(ledger, shown, first), POLICY)
    assert (second.jobs, second.changes, second.opened, second.closed) == ((), (), (), ())


@given(snapshots(), ledgers(), st.randoms())
def test_the_order_of_the_window_does_not_matter(shown: Snapshot, ledger: LedgerView, chance: object) -> None:
    mixed = list(shown.window)
    chance.shuffle(mixed)  # type: ignore[attr-defined]  # hypothesis gives random.Random
    one = reconcile(shown, ledger, POLICY)
    other = reconcile(dataclasses.replace(shown, window=tuple(mixed)), ledger, POLICY)
    assert one.jobs == other.jobs
    assert {f.key for f in one.opened} == {f.key for f in other.opened}


@given(windows(), ledgers(), st.integers(-86_400_000, 86_400_000))
def test_a_difference_between_the_clocks_does_not_matter(window: list[Job], ledger: LedgerView, skew: int) -> None:
    def moved(times: int | None) -> int | None:
        return None if times is None else times + skew

    shifted = [
        dataclasses.replace(shown, started_at=moved(shown.started_at), completed_at=moved(shown.completed_at))
        for shown in window
    ]
    entries = [
        dataclasses.replace(known, started_at=moved(known.started_at), completed_at=moved(known.completed_at))
        for known in ledger.jobs.values()
    ]
    one = reconcile(snapshot(*window, runs=OVER), ledger, POLICY)
    other = reconcile(snapshot(*shifted, skew=skew, runs=OVER), view(*entries), POLICY)
    assert [f.key.kind for f in one.opened] == [f.key.kind for f in other.opened]


@given(st.lists(windows(), min_size=2, max_size=6))
def test_every_job_that_was_ever_in_a_window_is_in_the_ledger_with_its_last_state(rolls: list[list[Job]]) -> None:
    ledger, last = LedgerView(), dict[str, Job]()
    for number, window in enumerate(rolls):
        shown = snapshot(*window, at=NOW + number * 5 * MINUTE)
        ledger = after(ledger, shown, reconcile(shown, ledger, POLICY))
        last.update((seen.processing_id, seen) for seen in window)
    assert {name: known.status_word for name, known in ledger.jobs.items()} == {
        name: seen.status_word for name, seen in last.items()
    }


@given(st.lists(st.sets(st.integers(0, 9), min_size=1, max_size=5), min_size=2, max_size=6))
def test_a_gap_is_flagged_exactly_where_two_windows_in_a_row_share_nothing(rolls: list[set[int]]) -> None:
    ledger, flagged = LedgerView(), []
    for number, names in enumerate(rolls):
        shown = snapshot(*(job(f"j{n}", start=NOW - (100 - n) * MINUTE) for n in names), at=NOW + number * MINUTE)
        result = reconcile(shown, ledger, POLICY)
        flagged.append("window_gap" in found(result))
        ledger = after(ledger, shown, result)
    assert flagged == [False, *(not before & now for before, now in pairwise(rolls))]
