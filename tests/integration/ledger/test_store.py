"""The ledger on SQLite and PostgreSQL: values that are written can be read, actions are done once, and faults are
reported."""

from __future__ import annotations

import dataclasses
import itertools
import threading
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import URL, make_url, text

from aem_guides.ledger.clock import now_ms
from aem_guides.ledger.database import LedgerUnavailableError, LedgerVersionError, make_engine, open_engine
from aem_guides.ledger.notes import Outcome
from aem_guides.ledger.recorder import record
from aem_guides.ledger.store import Ledger, SupersededError
from aem_guides.ledger.tables import LEFT_TO_DO, jobs, metadata
from aem_guides.protocol.contract import LONGEST_ID
from aem_guides.protocol.json import clean_text
from aem_guides.protocol.models import Job, ProcessingRequest
from aem_guides.protocol.states import JobState
from tests.support.children import children
from tests.support.pages import blocks
from tests.support.worlds import ALL, INSTANCE, MINUTE, NOW, POLICY, RUN, apply, job, note, snapshot


def test_the_migrated_schema_is_that_of_the_tables(address: URL) -> None:
    engine = open_engine(address)
    with engine.begin() as connection:
        for table in metadata.sorted_tables:
            found = connection.execute(text(f"SELECT * FROM {table.name}"))  # noqa: S608  # a name of ours
            assert list(found.keys()) == [column.name for column in table.columns]


def test_a_second_reconciliation_finds_nothing_twice(ledger: Ledger) -> None:
    shown = snapshot(job("a"), job("b", "RUNNING"))
    assert apply(ledger, shown) == {"new_external"}
    assert apply(ledger, snapshot(job("b", "RUNNING"), job("a"), at=NOW + MINUTE)) == set()
    kept = ledger.find(INSTANCE, "a")
    assert kept is not None
    assert (kept.state, kept.started_at, kept.completed_at) == ("SUCCESS", NOW - 30 * MINUTE, NOW - 20 * MINUTE)
    assert kept.request == ProcessingRequest("/content/dam/a").to_json()


def test_the_try_after_a_crash_reports_the_same_findings(ledger: Ledger) -> None:
    apply(ledger, snapshot(job("a", "Paused")))
    shown = snapshot(job("a", "RUNNING"), job("b"), at=NOW + MINUTE)
    apply(ledger, shown)
    apply(ledger, shown)
    opened, closed = ledger.findings_of(INSTANCE, shown.taken_at)
    assert {str(finding.key.kind) for finding in opened} == {"state_changed", "new_external"}
    assert [str(finding.key.kind) for finding in closed] == ["unknown_state"]


def test_a_dry_run_writes_nothing(ledger: Ledger) -> None:
    result = ledger.reconcile(snapshot(job("a")), POLICY, ALL, run_id="r", dry_run=True)
    assert [str(finding.key.kind) for finding in result.opened] == ["new_external"]
    assert ledger.find(INSTANCE, "a") is None
    assert apply(ledger, snapshot(job("a"))) == {"new_external"}


def test_a_snapshot_that_was_overtaken_is_refused(ledger: Ledger) -> None:
    apply(ledger, snapshot(job("a"), at=NOW))
    with pytest.raises(SupersededError):
        apply(ledger, snapshot(job("a", "RUNNING"), at=NOW - 1))
    assert ledger.find(INSTANCE, "a").state == "SUCCESS"  # type: ignore[union-attr]


def test_a_clock_that_was_ahead_once_supersedes_nothing(ledger: Ledger) -> None:
    ahead = now_ms() + 86_400_000
    apply(ledger, snapshot(job("a", "RUNNING"), at=ahead))
    assert "state_changed" in apply(ledger, snapshot(job("a"), at=NOW))
    apply(ledger, snapshot(job("b", "RUNNING"), at=ahead))
    assert ledger.take_note(note("b", at=NOW, outcome=Outcome("SUCCESS"))).state == "SUCCESS"


LETTERS = (st.text(st.characters(), max_size=30) | st.sampled_from(["\x00", "\ud83d", "é" * 5_000])).map(clean_text)
TIMES = itertools.count(NOW)
SIZES = st.integers(-(10**30), 10**30) | st.sampled_from([3_000_000_000, 2**63 - 1, 2**63])


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    name=LETTERS.filter(bool).map(lambda name: name[:LONGEST_ID]),
    word=LETTERS,
    path=LETTERS,
    by=LETTERS,
    total=SIZES,
    triggered=SIZES,
    started=st.integers(1, 253_402_300_799_999),
    unreadable=LETTERS,
)
def test_whatever_a_job_shows_the_ledger_stores_it_and_finds_it_again(
    ledger: Ledger, name: str, word: str, path: str, by: str, total: int, triggered: int, started: int, unreadable: str
) -> None:
    odd = Job(name, JobState.RUNNING, word, path, (path,), triggered, started, started, True, by, total_files=total)
    apply(ledger, snapshot(odd, unreadable=(unreadable,), at=next(TIMES)))
    ended = dataclasses.replace(odd, state=JobState.FAILED)
    apply(ledger, snapshot(ended, unreadable=(unreadable,), at=next(TIMES)))
    kept = ledger.find(INSTANCE, name)
    assert kept is not None
    assert kept.triggered_count == min(max(triggered, -(2**63 - 1)), 2**63 - 1) or triggered < 0
    ledger.take_note(note(name, outcome=Outcome(word, total, triggered, started, started, archive_uri=by, sha256=by)))
    ledger.open_findings(INSTANCE)


def test_entries_that_cannot_be_read_hold_up_no_reconciliation_however_alike_they_are(ledger: Ledger) -> None:
    odd = tuple(f"entry {index}: a job is not a JSON object" for index in range(3))
    for at in (next(TIMES), next(TIMES)):
        apply(ledger, snapshot(job("a"), unreadable=odd, at=at))
    reported = [found.finding.text for found in ledger.open_findings(INSTANCE)]
    assert sum("is not a JSON object" in text for text in reported) == 1


def test_two_long_ids_that_begin_alike_stay_two_jobs(ledger: Ledger) -> None:
    apply(ledger, snapshot(job("a" * 3_000 + "1"), job("a" * 3_000 + "2")))
    with ledger.begin("test") as connection:
        assert connection.execute(text(f"SELECT count(*) FROM {jobs.name}")).scalar() == 2  # noqa: S608  # constants


@pytest.mark.parametrize("odd", ["\x00", 7, None, {"a": object()}])
def test_a_note_of_any_kind_makes_no_recording_raise(
    odd: object, address: URL, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("AIRFLOW__AEM_GUIDES__ARCHIVE_URI", f"file://{tmp_path}")
    connection = address.render_as_string(hide_password=False)
    monkeypatch.setenv("AIRFLOW_CONN_AEM_GUIDES_LEDGER", connection)
    record([note("a", instance=odd), note("b")])
    record([note("c", request=odd), note("d")])


def test_a_finding_that_lasts_is_open_once_closed_when_gone_and_opened_anew(ledger: Ledger) -> None:
    odd = job("a", "Paused")
    assert "unknown_state" in apply(ledger, snapshot(odd))
    assert apply(ledger, snapshot(odd, at=NOW + 1)) == set()
    assert [str(f.finding.key.kind) for f in ledger.open_findings(INSTANCE)] == ["unknown_state"]
    assert apply(ledger, snapshot(job("a", "RUNNING"), at=NOW + 2)) == {"state_changed"}
    assert not ledger.open_findings(INSTANCE)
    assert "unknown_state" in apply(ledger, snapshot(odd, at=NOW + 3))


def test_a_note_before_the_window_makes_the_job_ours(ledger: Ledger) -> None:
    ledger.take_note(note("a"))
    assert apply(ledger, snapshot(job("a"), runs={RUN: "running"})) == {"state_changed"}
    kept = ledger.find(INSTANCE, "a")
    assert kept is not None
    assert (kept.run, kept.wants_archive, kept.state) == (RUN, True, "SUCCESS")


def test_notes_that_come_late_twice_or_in_the_wrong_order_end_in_the_same(ledger: Ledger) -> None:
    start = note("a", at=NOW - 9 * MINUTE)
    end = note(
        "a",
        at=NOW - MINUTE,
        outcome=Outcome("SUCCESS", 20, 20, NOW - 9 * MINUTE, NOW - 2 * MINUTE, 1, "file:///a/logs.zip", "ab"),
    )
    entries = []
    for number, order in enumerate([(start, end), (end, start), (start, end, start, end)]):
        for one in order:
            ledger.take_note(dataclasses.replace(one, instance=f"host-{number}"))
        entries.append(ledger.find(f"host-{number}", "a"))
    assert entries[0] == entries[1] == entries[2]
    assert entries[0] is not None
    assert (entries[0].state, entries[0].reported_state, entries[0].resumes) == ("SUCCESS", "SUCCESS", 1)
    assert entries[0].archive_uri == "file:///a/logs.zip"


def test_a_late_note_does_not_undo_what_was_seen_since(ledger: Ledger) -> None:
    apply(ledger, snapshot(job("a", "CANCELLED"), at=NOW))
    ledger.take_note(note("a", at=NOW - MINUTE, outcome=Outcome("RUNNING")))
    kept = ledger.find(INSTANCE, "a")
    assert kept is not None
    assert (kept.state, kept.active, kept.reported_state, kept.run) == ("CANCELLED", False, "RUNNING", RUN)


def test_an_archive_of_a_job_that_goes_on_does_not_count(ledger: Ledger) -> None:
    ledger.take_note(note("a", at=NOW - MINUTE, outcome=Outcome("RUNNING", archive_uri="file:///a", sha256="ab")))
    found = apply(ledger, snapshot(job("a"), runs={RUN: "failed"}))
    assert {"missed_completion", "log_not_archived"} <= found


def test_every_change_of_state_is_kept(ledger: Ledger) -> None:
    ledger.take_note(note("a"))
    apply(ledger, snapshot(job("a", "RUNNING"), at=NOW))
    apply(ledger, snapshot(job("a"), at=NOW + 1))
    with ledger.begin("test") as connection:
        rows = connection.execute(text("SELECT before, after, seen_by FROM aem_guides_state_change ORDER BY id")).all()
    assert [tuple(row) for row in rows] == [
        (None, "WAITING", "run"),
        ("WAITING", "RUNNING", "instance"),
        ("RUNNING", "SUCCESS", "instance"),
    ]


def test_a_remedy_is_wanted_only_where_it_is_switched_on(ledger: Ledger) -> None:
    ledger.take_note(note("a"))
    over = {RUN: "failed"}
    assert "log_not_archived" in apply(ledger, snapshot(job("a"), runs=over), frozenset())
    (item,) = ledger.open_findings(INSTANCE)
    assert (item.remedy, item.remedy_state) == ("archive", None)


def test_an_alert_is_claimed_once_and_given_back_only_where_the_notifier_failed(ledger: Ledger) -> None:
    apply(ledger, snapshot(job("a", "Paused")))
    names = [item.id for item in ledger.unalerted(INSTANCE)]
    assert ledger.claim_alert(names, NOW) == names
    assert ledger.claim_alert(names, NOW) == []
    ledger.end_alert(names, succeeded=False)
    assert ledger.claim_alert(names, NOW) == names
    ledger.end_alert(names, succeeded=True)
    assert ledger.unalerted(INSTANCE) == []


def test_pruning_forgets_what_is_old_and_over_and_nothing_else(ledger: Ledger) -> None:
    apply(ledger, snapshot(job("old", start=NOW - 900 * MINUTE), job("busy", "RUNNING"), at=NOW - 800 * MINUTE))
    apply(ledger, snapshot(job("new"), at=NOW))
    assert ledger.prune(INSTANCE, NOW - 400 * MINUTE) == 1
    assert [ledger.find(INSTANCE, name) is not None for name in ("old", "busy", "new")] == [False, True, True]


def test_the_views_count_a_days_jobs_throughput_failures_and_starters(ledger: Ledger) -> None:
    ledger.take_note(note("a"))
    apply(ledger, snapshot(job("a"), job("b", "FAILED"), job("c"), runs={RUN: "running"}))
    with ledger.begin("test") as connection:

        def rows(view: str, columns: str) -> list[tuple[object, ...]]:
            query = text(f"SELECT {columns} FROM aem_guides_{view} ORDER BY 1")  # noqa: S608  # constants
            return [tuple(row) for row in connection.execute(query)]

        assert rows("jobs_a_day", "jobs, success, failed, by_airflow, assets") == [(3, 2, 1, 1, 30)]
        assert [(p, n, round(float(s)), round(float(r), 4)) for p, n, s, r in _numbers(rows)] == [
            ("/content/dam/a", 1, 600, 0.0167),
            ("/content/dam/c", 1, 600, 0.0167),
        ]
        assert rows("failures", "processing_id, started_by, state") == [("b", "author", "FAILED")]
        assert rows("starters", "started_by, jobs") == [("Airflow: aem_guides_process_assets", 1), ("author", 2)]


def test_a_job_that_ended_with_errors_is_no_plain_success_in_ledger_and_views(ledger: Ledger) -> None:
    apply(ledger, snapshot(job("a"), job("b", "RUNNING")))
    apply(ledger, snapshot(job("a"), job("b", "COMPLETED WITH ERRORS"), at=NOW + MINUTE))
    entry = ledger.find(INSTANCE, "b")
    assert entry is not None
    assert (entry.state, entry.active) == ("COMPLETED WITH ERRORS", False)
    with ledger.begin("test") as connection:
        counts = connection.execute(text("SELECT jobs, success, with_errors FROM aem_guides_jobs_a_day")).one()
        failures = connection.execute(text("SELECT processing_id, state FROM aem_guides_failures")).all()
        folders = connection.execute(text("SELECT path FROM aem_guides_folder_throughput ORDER BY 1")).all()
        changes = connection.execute(text("SELECT before, after FROM aem_guides_state_change ORDER BY id")).all()
    assert tuple(counts) == (2, 1, 1)
    assert [tuple(row) for row in failures] == [("b", "COMPLETED WITH ERRORS")]
    assert [row.path for row in folders] == ["/content/dam/a", "/content/dam/b"]
    assert tuple(changes[-1]) == ("RUNNING", "COMPLETED WITH ERRORS")


def test_the_questions_in_the_pages_are_answered(ledger: Ledger) -> None:
    apply(ledger, snapshot(job("a"), job("b", "FAILED"), job("c", "Paused")))
    questions = [question for block in blocks("sql") for question in block.split(";\n") if question]
    assert len(questions) == 5
    with ledger.begin("test") as connection:
        for question in questions:
            assert connection.execute(text(question)).all()


def _numbers(rows: object) -> list[tuple[str, int, float, float]]:
    return rows("folder_throughput", "path, jobs, average_seconds, assets_a_second")  # type: ignore[operator,no-any-return]


def test_ten_thousand_jobs_in_one_window_are_taken_in(ledger: Ledger) -> None:
    window = [job(f"j{n}", start=NOW - (40_000 - n) * 1000) for n in range(10_000)]
    apply(ledger, snapshot(*window))
    assert apply(ledger, snapshot(*window, at=NOW + 1)) == set()
    with ledger.begin("test") as connection:
        assert connection.execute(text("SELECT COUNT(*) FROM aem_guides_job")).scalar() == 10_000


def test_two_reconciliations_at_once_find_each_thing_once(ledger: Ledger, address: URL) -> None:
    found: list[set[str]] = []

    def work(at: int) -> None:
        with Ledger(open_engine(address)) as own:
            try:
                found.append(apply(own, snapshot(job("a"), job("b", "Paused"), at=at)))
            except SupersededError:
                found.append(set())

    threads = [threading.Thread(target=work, args=(NOW + n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(map(sorted, found))[-1] == ["new_external", "unknown_state"]
    assert sum(map(len, found)) == 2


def _open_it(address: str, barrier: object) -> None:
    barrier.wait()  # type: ignore[attr-defined]  # multiprocessing's barrier
    open_engine(make_url(address)).dispose()


def test_processes_that_start_at_once_migrate_once(address: URL) -> None:
    context = children()
    barrier = context.Barrier(4)
    where = address.render_as_string(hide_password=False)
    processes = [context.Process(target=_open_it, args=(where, barrier)) for _ in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(120)
    assert [process.exitcode for process in processes] == [0, 0, 0, 0]
    with Ledger(open_engine(address)) as ledger:
        assert apply(ledger, snapshot(job("a"))) == {"new_external"}


def test_a_ledger_of_a_newer_version_is_left_alone(address: URL) -> None:
    engine = open_engine(address)
    with engine.begin() as connection:
        connection.execute(text("UPDATE aem_guides_ledger_version SET version_num = '9999'"))
    with pytest.raises(LedgerVersionError, match="schema that this version does not know"):
        open_engine(address)


def test_what_is_read_at_every_reconciliation_is_read_by_index(ledger: Ledger) -> None:
    apply(ledger, snapshot(*(job(f"job-{number}") for number in range(300))))
    with ledger.begin("test") as connection:
        dialect = connection.dialect.name
        connection.execute(text("ANALYZE"))
        for name, condition in LEFT_TO_DO[dialect].items():
            where = f"instance = '{INSTANCE}' AND {condition}"
            query = f"SELECT * FROM {jobs.name} WHERE {where}"  # noqa: S608  # constants
            if dialect == "postgresql":
                connection.execute(text("SET LOCAL enable_seqscan = off"))
                plan = connection.execute(text(f"EXPLAIN {query}")).all()
            else:
                plan = connection.execute(text(f"EXPLAIN QUERY PLAN {query}")).all()
            assert f"aem_guides_job_{name}" in str(plan)


def test_a_server_that_is_not_there_is_reported_without_its_password() -> None:
    nowhere = URL.create("postgresql+psycopg2", "me", "s3cret-canary", "127.0.0.1", 9, "ledger")
    with pytest.raises(LedgerUnavailableError, match="aem_guides_ledger") as caught:
        open_engine(nowhere)
    assert "s3cret-canary" not in str(caught.value)


def test_a_ledger_that_is_locked_is_reported(tmp_path: Path) -> None:
    address = URL.create("sqlite", database=str(tmp_path / "ledger.db"))
    holder = open_engine(address)
    with holder.begin(), pytest.raises(LedgerUnavailableError, match="locked"):
        open_engine(address, lock_seconds=0)


def test_a_ledger_that_is_full_is_reported_and_nothing_is_half_written(tmp_path: Path) -> None:
    engine = open_engine(URL.create("sqlite", database=str(tmp_path / "ledger.db")))
    ledger = Ledger(engine)
    from sqlalchemy import event

    @event.listens_for(engine, "connect")
    def _limit(connection: object, _record: object) -> None:
        connection.execute("PRAGMA max_page_count = 1")  # type: ignore[attr-defined]  # sqlite3's

    with pytest.raises(LedgerUnavailableError, match="full"):
        apply(ledger, snapshot(*(job(f"j{n}") for n in range(2000))))
    with Ledger(make_engine(engine.url)) as other:
        assert other.find(INSTANCE, "j0") is None


def test_a_run_of_another_instance_is_left_alone(ledger: Ledger) -> None:
    ledger.take_note(dataclasses.replace(note("a"), instance="other"))
    assert apply(ledger, snapshot(job("b"))) == {"new_external"}
    assert ledger.find(INSTANCE, "a") is None
