"""The charts, and the numbers behind them."""

from __future__ import annotations

import csv
import html
import io
import json
import re
from typing import Any

import pytest

from aem_guides.console import static_files
from aem_guides.ledger.store import Ledger
from tests.support.console import VIEWER, Host, read
from tests.support.worlds import INSTANCE, MINUTE, NOW, apply, job, snapshot

DAY = 24 * 60 * MINUTE


@pytest.fixture(autouse=True)
def _today(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is the day of the jobs."""
    monkeypatch.setattr("aem_guides.console.trend_page.now_ms", lambda: NOW)


def two_days(ledger: Ledger) -> None:
    """Yesterday three jobs, one of which failed; today one. Each took ten minutes for its ten assets."""
    yesterday = [job(f"y{n}", "FAILED" if n == 0 else "SUCCESS", start=NOW - DAY, path="/a") for n in range(3)]
    apply(ledger, snapshot(*yesterday, job("t", start=NOW - 30 * MINUTE, path="=1+1")))


def drawn(text: str) -> list[dict[str, Any]]:
    return [json.loads(html.unescape(told)) for told in re.findall(r'data-chart="([^"]*)"', text)]


def test_a_time_in_which_nothing_happened_says_so(host: Host) -> None:
    answer = host.client(VIEWER).get("trends")
    assert "Nothing happened in this time" in read(answer.text).words
    assert "plotly" not in answer.text


def test_the_charts_show_jobs_by_day_and_state_and_what_folders_took(host: Host, ledger: Ledger) -> None:
    two_days(ledger)
    answer = host.client().get("trends")
    jobs, assets, durations, throughput, found = drawn(answer.text)
    assert jobs["labels"] == ["2027-01-14", "2027-01-15"]
    assert jobs["series"] == [["Succeeded", "success", [2.0, 1.0]], ["Failed", "failed", [1.0, 0.0]]]
    assert assets["series"][0][2] == [60.0, 60.0]
    assert durations["labels"] == ["/a", "=1+1"]
    assert throughput["series"][0][2] == [60.0, 60.0]
    assert found["labels"] == ["new external", "duplicate"]
    shown = read(answer.text)
    assert "Jobs a day, by state" in shown.words
    assert [a for a in shown.addresses if a.startswith(("/", "http"))] == []


def test_the_numbers_behind_each_chart_are_harmless_csv(host: Host, ledger: Ledger) -> None:
    two_days(ledger)
    client = host.client()
    shown = read(client.get("trends").text)
    addresses = [address for address in shown.addresses if address.startswith("numbers?")]
    tables = [list(csv.reader(io.StringIO(client.get(address).text))) for address in addresses]
    assert tables[0] == [["day", "Succeeded", "Failed"], ["2027-01-14", "2", "1"], ["2027-01-15", "1", "0"]]
    numbers = ["600.0", "600.0", "60.0"]
    assert tables[2][1:] == [["/a", "3", "30", *numbers], ["'=1+1", "1", "10", *numbers]]
    assert client.get("numbers?table=secrets").status_code == 404


def test_the_span_and_the_instance_are_what_was_asked_for(host: Host, ledger: Ledger) -> None:
    two_days(ledger)
    client = host.client()
    only = "trends?since=2027-01-15&until=2027-01-15"
    assert drawn(client.get(only).text)[0]["labels"] == ["2027-01-15"]
    assert drawn(client.get(f"{only}&instance=elsewhere").text) == []
    assert drawn(client.get(f"{only}&instance={INSTANCE}").text)[0]["labels"] == ["2027-01-15"]
    # Eight in the morning of the fifteenth in London is still the fourteenth on Hawaii.
    assert "2027-01-14" in drawn(client.get("trends?offset=600").text)[0]["labels"]
    assert "ends before it begins" in read(client.get("trends?since=2027-01-15&until=2027-01-01").text).words
    assert "longer than three years" in read(client.get("trends?since=1990-01-01").text).words


@pytest.mark.parametrize("odd", ["x", "-1", "9" * 400, "<script>", "'", "ä" * 2000, "0001-01-01", "9999-12-31"])
@pytest.mark.parametrize("name", ["instance", "days", "since", "until", "offset"])
def test_whatever_is_asked_for_a_page_and_numbers_come(host: Host, ledger: Ledger, name: str, odd: str) -> None:
    two_days(ledger)
    for page in ("trends", "numbers?table=jobs"):
        answer = host.client().get(page, params={name: odd, "table": "jobs"})
        assert answer.status_code in (200, 404)
        assert "<script>'" not in answer.text


def test_the_library_of_the_charts_comes_from_its_package_and_is_kept(host: Host) -> None:
    answer = host.client().get("static/plotly.min.js")
    assert answer.status_code == 200
    assert len(answer.content) > 1_000_000
    assert "immutable" in answer.headers["cache-control"]
    assert all(file.is_file() for file, _ in static_files.FILES.values())
