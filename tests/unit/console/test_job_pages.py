"""The list of jobs and the page of one, as a browser gets them."""

from __future__ import annotations

from urllib.parse import quote

import pytest
from sqlalchemy import URL

from aem_guides.console import PREFIX, VIEWS, asked
from aem_guides.ledger import database
from aem_guides.ledger.database import LedgerSlowError, LedgerUnavailableError
from aem_guides.ledger.lookup import Mark
from aem_guides.ledger.store import Ledger
from tests.support.console import ADMIN, STRANGER, VIEWER, Host, read
from tests.support.worlds import INSTANCE, MINUTE, NOW, RUN, apply, job, note, snapshot

ODD = ["/", "a/b/c", "'", '"', "<script>alert(1)</script>", "' OR 1=1 --", "%", "ä" * 2000, "x" * 2000, "../..", "\x00"]

PAGES = (
    "",
    "now",
    "jobs",
    "run?dag_id=x&run_id=y",
    f"instance?name={INSTANCE}",
    "static/console.css",
    "static/console.js",
)


def one_job(ledger: Ledger, name: str = "job-1", **more: object) -> str:
    apply(ledger, snapshot(job(name, **more)))  # type: ignore[arg-type]  # of the tests' own making
    return f"job?instance={INSTANCE}&name={quote(name)}"


def test_a_ledger_that_does_not_answer_is_said_to_be_so_without_anything_of_its_connection(
    host: Host, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    where = URL.create("postgresql+psycopg2", "user-canary", "password-canary", "127.0.0.1", 9, "name-canary")
    monkeypatch.setattr(database, "ledger_url", lambda: where)
    for page in ("", "jobs", "findings", "trends", f"job?instance={INSTANCE}&name=it"):
        answer = host.client(VIEWER).get(page)
        assert answer.status_code == 503
        assert "The ledger cannot be read" in read(answer.text).words
        assert "The log of the API server says why" in read(answer.text).words
        for secret in ("canary", "127.0.0.1", "port 9"):
            assert secret not in answer.text
    assert "Connection refused" in caplog.text
    assert "password-canary" not in caplog.text


def test_an_empty_ledger_says_what_will_come(host: Host) -> None:
    for page, told in (("", "No instance is known yet"), ("jobs", "The ledger has no job yet")):
        answer = host.client().get(page)
        assert answer.status_code == 200
        assert told in read(answer.text).words


def test_jobs_are_listed_with_state_path_progress_and_starter(host: Host, ledger: Ledger) -> None:
    one_job(ledger, "job-1", start=NOW)
    ledger.take_note(note("ours"))
    words = read(host.client(VIEWER).get("jobs").text).words
    for told in ("Succeeded", "/content/dam/job-1", "10 of 20 (50 %)", "10 min", "author", RUN.dag_id, INSTANCE):
        assert told in words


def test_a_page_leads_to_the_next_and_back(host: Host, ledger: Ledger) -> None:
    apply(ledger, snapshot(*(job(f"job-{n:03}", start=NOW - n * MINUTE) for n in range(120))))
    client = host.client()
    first = read(client.get("jobs").text)
    further = next(address for address in first.addresses if "from=" in address)
    second = read(client.get(further).text)
    assert "job-049" in first.words
    assert "job-050" in second.words
    assert "job-049" not in second.words
    back = next(address for address in second.addresses if "from=" in address)
    assert read(client.get(back).text).words == first.words.replace("Further", "Further")


def test_filters_are_kept_in_the_form_and_in_the_pages(host: Host, ledger: Ledger) -> None:
    apply(ledger, snapshot(*(job(f"job-{n:03}", "FAILED", start=NOW - n * MINUTE) for n in range(60)), job("good")))
    shown = read(host.client().get("jobs?state=FAILED&path=/content").text)
    assert "good" not in shown.words
    assert any("state=FAILED" in a and "path=%2Fcontent" in a and "from=" in a for a in shown.addresses)
    assert "No job is like this" in read(host.client().get("jobs?state=LOST").text).words


@pytest.mark.parametrize("odd", ODD)
@pytest.mark.parametrize("name", ["instance", "path", "name", "state", "starter", "order", "since", "until", "from"])
def test_whatever_is_searched_for_a_page_comes_and_nothing_of_it_is_an_element(
    host: Host, ledger: Ledger, name: str, odd: str
) -> None:
    one_job(ledger)
    answer = host.client().get("jobs", params={name: odd})
    assert answer.status_code == 200
    assert read(answer.text).tags.count("script") == 1


@pytest.mark.parametrize("odd", ODD[:-1])
def test_a_job_with_an_odd_id_and_path_has_its_page(host: Host, ledger: Ledger, odd: str) -> None:
    one_job(ledger, odd, path=f"/content/dam/{odd}")
    client = host.client()
    listed = read(client.get("jobs").text)
    answer = client.get(next(address for address in listed.addresses if address.startswith("job?")))
    assert answer.status_code == 200
    shown = read(answer.text)
    assert f"/content/dam/{odd}"[:500] in shown.words
    assert shown.tags.count("script") == 1


def test_the_page_of_a_job_has_its_timeline_facts_and_findings(host: Host, ledger: Ledger) -> None:
    address = one_job(ledger, start=NOW - MINUTE)
    apply(ledger, snapshot(job("job-1", "FAILED", start=NOW - MINUTE, resumable=True), at=NOW + MINUTE))
    words = read(host.client().get(address).text).words
    for told in ("From Succeeded to Failed", "Started", "Ended: Failed", "State changed", "Read the log"):
        assert told in words


def test_the_tab_of_a_run_has_the_jobs_of_that_run_only(host: Host, ledger: Ledger) -> None:
    one_job(ledger, "others")
    ledger.take_note(note("ours"))
    here = f"run?dag_id={RUN.dag_id}&run_id={RUN.run_id}"
    for address in (here, f"{here}&map_index=0"):
        words = read(host.client().get(address).text).words
        assert "ours" in words
        assert "others" not in words
    for address in (f"{here}&map_index=4", "run?dag_id=x&run_id=y"):
        assert "No job of AEM Guides" in read(host.client().get(address).text).words


def test_what_is_not_there_is_said_kindly(host: Host, ledger: Ledger) -> None:
    client = host.client()
    for address, status, told in (
        ("job?instance=x&name=nobody", 404, "does not know this job"),
        ("job", 400, "not complete"),
        ("nowhere", 404, "Nothing is here"),
        ("static/../app.py", 404, "Nothing is here"),
    ):
        answer = client.get(address)
        assert answer.status_code == status
        assert told in read(answer.text).words


def test_a_place_behind_the_end_leads_to_the_beginning(host: Host, ledger: Ledger) -> None:
    one_job(ledger)
    place = asked.written(Mark(0, "", ""))
    assert "The list ends before this" in read(host.client().get("jobs", params={"from": place or ""}).text).words


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (LedgerUnavailableError("Opening: it is locked."), "it is locked"),
        (LedgerSlowError("Reading: slow."), "Choose an instance"),
    ],
)
def test_a_ledger_that_cannot_be_read_says_why(
    host: Host, monkeypatch: pytest.MonkeyPatch, error: Exception, told: str
) -> None:
    def fail() -> None:
        raise error

    monkeypatch.setattr(database, "ledger_url", fail)
    answer = host.client().get("jobs")
    assert answer.status_code == 503
    assert told in read(answer.text).words


def test_every_address_is_relative_and_every_route_asks_who_it_is(host: Host, ledger: Ledger) -> None:
    address = one_job(ledger)
    for page in (*PAGES, address, "nowhere"):
        answer = host.client(ADMIN).get(page)
        assert [a for a in read(answer.text).addresses if a.startswith(("/", "http", "//"))] == []
        assert "default-src 'none'" in answer.headers["content-security-policy"]
    for page in (*PAGES, address):
        ended, refused = host.client(None).get(page), host.client(STRANGER).get(page)
        assert (ended.status_code, refused.status_code) == (401, 403)
        assert "job-1" not in ended.text + refused.text
    assert "Your session has ended" in read(host.client(None).get("jobs").text).words


def test_the_days_of_a_search_are_those_of_the_viewer() -> None:
    complaints: list[str] = []
    paris = {"since": "2026-07-01", "until": "2026-07-01", "offset": "-120"}
    found = asked.search(paris, complaints)
    assert found.since is not None
    assert found.until is not None
    assert found.until - found.since == 24 * 3600 * 1000
    assert found.since == 1_782_856_800_000
    assert complaints == []
    for odd in ("2026-02-30", "yesterday", "9999-99-99"):
        complaints.clear()
        assert asked.search({"since": odd}, complaints).since is None
        assert "no day" in complaints[0]


def test_airflow_shows_the_pages_at_addresses_that_hold_below_the_path_of_a_proxy() -> None:
    assert [view["href"] for view in VIEWS if not str(view["href"]).startswith(f"{PREFIX[1:]}/")] == []
    assert len({view["url_route"] for view in VIEWS}) == len(VIEWS)
