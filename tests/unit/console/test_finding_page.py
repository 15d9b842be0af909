"""What the reconciliation found, as people read it."""

from __future__ import annotations

import pytest

from aem_guides.console.rendering import REMEDY_STATES, advice
from aem_guides.ledger.findings import FindingKind
from aem_guides.ledger.queries import BEGUN, DONE, FAILED, WANTED
from aem_guides.ledger.store import Ledger
from tests.support.console import VIEWER, Host, read
from tests.support.worlds import INSTANCE, MINUTE, NOW, apply, job, snapshot


def two_findings(ledger: Ledger) -> None:
    """One that is open, one that is over."""
    apply(ledger, snapshot(job("first")))
    apply(ledger, snapshot(job("first"), job("odd", "<b>SIDEWAYS</b>"), at=NOW + MINUTE))


@pytest.mark.parametrize("kind", list(FindingKind))
def test_there_is_advice_for_each_kind(kind: FindingKind) -> None:
    assert advice(kind)


def test_each_state_of_a_remedy_has_words() -> None:
    assert set(REMEDY_STATES) == {None, WANTED, BEGUN, DONE, FAILED}


def test_the_open_ones_are_shown_and_those_that_are_over_on_request(host: Host, ledger: Ledger) -> None:
    client = host.client(VIEWER)
    assert "Nothing is open" in read(client.get("findings").text).words
    two_findings(ledger)
    shown = read(client.get("findings").text)
    assert "Unknown state" in shown.words
    assert "<b>SIDEWAYS</b>" in shown.words
    assert "b" not in shown.tags
    assert "New external" not in shown.words.split("Show")[1]
    assert "New external" in read(client.get("findings?which=all").text).words.split("Show")[1]
    assert any(address.startswith(f"job?instance={INSTANCE}&name=odd") for address in shown.addresses)
    assert "No finding is like this" in read(client.get("findings?kind=lost").text).words


def test_the_page_of_a_job_says_what_one_can_do(host: Host, ledger: Ledger) -> None:
    two_findings(ledger)
    words = read(host.client().get(f"job?instance={INSTANCE}&name=odd").text).words
    assert advice(FindingKind.UNKNOWN_STATE) in words


def test_many_findings_are_read_page_by_page(host: Host, ledger: Ledger) -> None:
    apply(ledger, snapshot(job("first")))
    apply(ledger, snapshot(*(job(f"new-{n:03}") for n in range(60)), at=NOW + MINUTE))
    client = host.client()
    first = read(client.get("findings?which=all&kind=new_external").text)
    further = next(address for address in first.addresses if "before=" in address)
    second = read(client.get(further).text)
    assert first.words.count("To the job") == 50
    assert second.words.count("To the job") == 11


@pytest.mark.parametrize("odd", ["x", "-1", "9" * 400, "<script>", "²", "ä" * 2000])
@pytest.mark.parametrize("name", ["instance", "kind", "which", "before"])
def test_whatever_is_asked_for_a_page_comes(host: Host, ledger: Ledger, name: str, odd: str) -> None:
    two_findings(ledger)
    answer = host.client().get("findings", params={name: odd})
    assert answer.status_code == 200
    assert read(answer.text).tags.count("script") == 1
