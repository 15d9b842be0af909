"""What people ask the ledger, on both databases."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import pytest
from sqlalchemy import URL, text

from aem_guides.ledger import lookup
from aem_guides.ledger.database import LedgerSlowError, LedgerUnavailableError, open_engine, open_reader
from aem_guides.ledger.lookup import Lookup, Order, Search, Starter
from aem_guides.ledger.store import Ledger
from aem_guides.ledger.trends import Span, trends
from tests.support.worlds import INSTANCE, MINUTE, NOW, RUN, apply, job, note, snapshot

COUNT = 137


@pytest.fixture
def reader(ledger: Ledger, address: URL) -> Iterator[Lookup]:
    """A ledger with jobs that began minute by minute, every tenth of which failed, and one that runs."""
    words = ["FAILED" if number % 10 == 0 else "SUCCESS" for number in range(COUNT)]
    jobs = [
        job(f"job-{number:03}", word, start=NOW - number // 2 * MINUTE, path=f"/content/dam/f{number % 5}/a'b")
        for number, word in enumerate(words)
    ]
    apply(ledger, snapshot(*jobs, job("runs-now", "RUNNING", start=NOW)))
    with Lookup(open_reader(address)) as opened:
        yield opened


def walk(reader: Lookup, search: Search, size: int = 10) -> list[str]:
    """All names, page by page to the end; going back shows the same pages."""
    pages = [reader.page(search, size=size)]
    while pages[-1].further:
        pages.append(reader.page(search, pages[-1].further, size))
    for before, after in pairwise(pages):
        assert after.earlier is not None
        assert reader.page(search, after.earlier, size).jobs == before.jobs
    assert pages[0].earlier is None
    return [listed.job.processing_id for page in pages for listed in page.jobs]


@pytest.mark.parametrize("few", [lookup.FEW, 3])
@pytest.mark.parametrize("order", list(Order))
def test_every_order_shows_each_job_once_forth_and_back(
    reader: Lookup, order: Order, few: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lookup, "FEW", few)
    names = walk(reader, Search(order=order, path="/content/dam/"))
    assert len(names) == len(set(names)) == COUNT + (order is not Order.ENDED)
    assert names == walk(reader, Search(order=order, path="/content/dam/"), size=31)


def test_the_newest_come_first_and_the_oldest_if_asked_for(reader: Lookup) -> None:
    newest = walk(reader, Search())
    assert newest[0] == "runs-now"
    assert walk(reader, Search(order=Order.OLDEST)) == newest[::-1]


def test_what_is_searched_for_is_found_and_nothing_else(reader: Lookup, ledger: Ledger) -> None:
    assert walk(reader, Search(active=True)) == ["runs-now"]
    assert len(walk(reader, Search(state="FAILED"))) == 14
    assert len(walk(reader, Search(path="/content/dam/f3"))) == 27
    assert len(walk(reader, Search(path="/content/dam/f3/a'b"))) == 27
    assert walk(reader, Search(path="/content/dam/f3/a'b" + "x" * 300)) == []
    assert walk(reader, Search(path="/content/dam/_3%")) == []
    assert walk(reader, Search(name="job-013")) == ["job-013"]
    assert len(walk(reader, Search(name="job-01"))) == 10
    assert walk(reader, Search(instance="elsewhere")) == []
    assert walk(reader, Search(since=NOW)) == ["runs-now", "job-001", "job-000"]
    assert len(walk(reader, Search(since=NOW - 10 * MINUTE, until=NOW))) == 20
    ledger.take_note(note("noted"))
    assert walk(reader, Search(run=RUN)) == walk(reader, Search(starter=Starter.AIRFLOW)) == ["noted"]
    assert walk(reader, Search(run=RUN, map_index=0)) == ["noted"]
    assert walk(reader, Search(run=RUN, map_index=1)) == []


def test_a_job_has_its_story(reader: Lookup, ledger: Ledger) -> None:
    apply(ledger, snapshot(job("job-001", "FAILED", start=NOW, resumable=True), at=NOW + MINUTE))
    story = reader.story(INSTANCE, "job-001")
    assert story is not None
    assert [(change.before, change.after) for change in story.changes] == [(None, "SUCCESS"), ("SUCCESS", "FAILED")]
    assert story.connection_id == "aem_guides_default"
    assert {finding.kind for finding in story.findings} == {"state_changed"}
    assert reader.story(INSTANCE, "nobody") is None
    assert [known.name for known in reader.instances()] == [INSTANCE]


def test_a_job_that_was_resumed_under_another_id_leads_there(reader: Lookup, ledger: Ledger) -> None:
    ledger.take_note(note("first"))
    request = note("first").request
    ledger.take_note(note("second", at=NOW, continues="first", request=request))
    first, second = reader.story(INSTANCE, "first"), reader.story(INSTANCE, "second")
    assert first is not None
    assert second is not None
    assert first.goes_on is not None
    assert first.goes_on.name == "second"
    assert (second.goes_on, second.listed.job.continues) == (None, "first")


def test_a_reader_reads_while_somebody_writes(reader: Lookup, ledger: Ledger) -> None:
    with ledger.begin("Writing meanwhile") as writing:
        writing.execute(text("DELETE FROM aem_guides_finding"))
        assert len(reader.page(Search()).jobs) == lookup.PAGE


def test_an_older_ledger_is_brought_up_to_date_by_its_reader(address: URL) -> None:
    with Lookup(open_reader(address)) as reader:
        assert reader.page(Search()).jobs == ()


def test_a_question_that_takes_too_long_is_given_up(address: URL) -> None:
    open_engine(address).dispose()
    endless = (
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000000000) SELECT COUNT(*) FROM n"
    )
    with Lookup(open_reader(address, read_seconds=1)) as reader, pytest.raises(LedgerSlowError):  # noqa: SIM117
        with reader.reading() as connection:
            connection.execute(text(endless)).all()


def test_a_ledger_that_is_down_says_so_at_once(tmp_path_factory: pytest.TempPathFactory) -> None:
    nowhere = URL.create("postgresql+psycopg2", host="127.0.0.1", port=9, database="x")
    with pytest.raises(LedgerUnavailableError, match="aem_guides_ledger"):
        open_reader(nowhere)


def test_the_trends_are_the_same_on_both_databases(reader: Lookup) -> None:
    shown = trends(reader, Span(NOW - 60 * MINUTE, NOW + 1, offset=-60))
    assert sum(day.jobs for day in shown.days) == 123
    assert {day.day for day in shown.days} == {"2027-01-15"}
    assert {folder.path for folder in shown.folders} == {f"/content/dam/f{number}/a'b" for number in range(5)}
    assert {round(folder.average_seconds) for folder in shown.folders} == {600}
    assert dict(shown.findings).keys() == {"duplicate", "new_external"}
