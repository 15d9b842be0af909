"""Who waits and why, on the first page: beside what runs, over all processes, and only what is so now."""

from __future__ import annotations

from urllib.parse import quote

import pytest

from aem_guides.console import now_page
from aem_guides.ledger.store import Ledger
from aem_guides.protocol.waiters import MOST, STALE_SECONDS, Waiter, Waiters
from aem_guides.runtime.notes import waiters_key
from aem_guides.runtime.waiters import encoded
from tests.support.console import VIEWER, Host, read
from tests.support.console_store import AirflowState
from tests.support.worlds import INSTANCE, NOW, apply, job, snapshot

SECONDS = NOW / 1000


@pytest.fixture
def store(host: Host, monkeypatch: pytest.MonkeyPatch) -> AirflowState:
    monkeypatch.setattr(now_page, "now_ms", lambda: NOW)
    return AirflowState(host)


def waiter(path: str, since: float = 0.0, **more: object) -> Waiter:
    told: dict[str, object] = {"run": "my_dag / manual__1", "index": 3, "why": "4 of 4 jobs are active", **more}
    return Waiter(path, since=since, **told)  # type: ignore[arg-type]  # its own fields


def keep(store: AirflowState, waiters: Waiters, place: int = 0) -> None:
    store.notes.set(waiters_key(f"https://{waiters.instance}", place), encoded(waiters))


def part(host: Host, instance: str = INSTANCE) -> str:
    return str(host.client(VIEWER).get(f"instance?name={quote(instance)}").text)


def test_those_that_wait_are_shown_with_why_and_lead_to_their_runs(
    host: Host, ledger: Ledger, store: AirflowState
) -> None:
    apply(ledger, snapshot(job("runs", "RUNNING")))
    odd = "/content/dam/<script>alert('x')</script>"
    keep(store, Waiters("a", INSTANCE, SECONDS, (waiter("/second", 2.0), waiter(odd, 3.0)), 2, limit=4))
    night = waiter("/night", until=SECONDS + 3600, why="held back", run="plan / it's a run")
    resumed = waiter("/resumed", until=SECONDS + 60, job="job/1")
    keep(store, Waiters("b", INSTANCE, SECONDS - 5, (waiter("/first", 1.0),), 1, (night, resumed), 2), 1)
    for html in (host.client(VIEWER).get("").text, part(host)):
        words = read(html).words
        order = [words.index(path) for path in ("/first", "/second", odd, "/resumed", "/night")]
        assert order == sorted(order)
        assert "1 of at most 4 jobs active when last seen · 3 wait · 2 held back" in words
        assert words.count("4 of 4 jobs are active") == 3
        assert "Held back until 2027-01-15 08:01 UTC : then its job is resumed" in words
        assert "Held back until 2027-01-15 09:00 UTC : then it is started" in words
        addresses = read(html).addresses
        assert "../dags/plan/runs/it%27s%20a%20run" in addresses
        assert addresses.count("../dags/my_dag/runs/manual__1") == 4
        assert f"job?instance={INSTANCE}&name=job%2F1" in addresses
        assert "<script>alert" not in html


def test_what_a_process_stored_that_has_ended_is_not_shown(host: Host, ledger: Ledger, store: AirflowState) -> None:
    apply(ledger, snapshot(job("runs", "RUNNING")))
    keep(store, Waiters("a", INSTANCE, SECONDS - STALE_SECONDS - 1, (waiter("/late"),), 1))
    keep(store, Waiters("b", INSTANCE, SECONDS + STALE_SECONDS + 1, (waiter("/early"),), 1), 1)
    store.notes.set(waiters_key("x", 2), {"by": "nobody", "instance": INSTANCE})
    store.notes.set(waiters_key("x", 3), ["odd"])
    words = read(part(host)).words
    assert "Waiting for" not in words
    assert "1 job active" in words


def test_many_that_wait_are_counted_and_some_are_shown(host: Host, ledger: Ledger, store: AirflowState) -> None:
    apply(ledger, snapshot(job("runs", "RUNNING")))
    many = tuple(waiter(f"/path-{number:04}", float(number)) for number in range(MOST))
    for place in range(20):
        keep(store, Waiters(str(place), INSTANCE, SECONDS, many, 5_000), place)
    html = part(host)
    assert html.count("its run</a>") == 20
    assert "99,980 more wait" in read(html).words
    assert len(html) < 20_000


def test_an_instance_of_which_the_ledger_has_no_job_yet_is_shown_where_somebody_waits(
    host: Host, store: AirflowState
) -> None:
    keep(store, Waiters("a", "new.example.com", SECONDS, held=(waiter("/n", until=SECONDS + 60),), held_back=1))
    for html in (host.client().get("").text, part(host, "new.example.com")):
        words = read(html).words
        assert "new.example.com" in words
        assert "Held back until" in words
    for unknown in ("nobody", "x" * 2000, "<script>", "' OR 1=1"):
        assert host.client().get(f"instance?name={quote(unknown)}").status_code == 404


def test_a_store_that_is_not_shown_leaves_the_jobs(host: Host, ledger: Ledger, store: AirflowState) -> None:
    apply(ledger, snapshot(job("runs", "RUNNING")))
    store.refusal = 403
    assert "1 job active" in read(part(host)).words


@pytest.mark.parametrize("at", [-1e300, 1e300, 0.0])
def test_a_time_that_cannot_be_is_shown_somehow(host: Host, store: AirflowState, at: float) -> None:
    keep(store, Waiters("a", "new.example.com", SECONDS, held=(waiter("/n", at, until=at),), held_back=1))
    assert "/n" in read(part(host, "new.example.com")).words
