"""What the page shows of an instance: read over HTTP, also from one that does not answer."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from aem_guides.console.instance_health import ask
from aem_guides.hooks.hook import AemGuidesHook
from aem_guides.ledger.store import Ledger
from aem_guides.protocol.models import ProcessingRequest
from tests.support.clocks import Clock
from tests.support.console import Host, console, read
from tests.support.emulator import PASSWORD, EmulatorProcess
from tests.support.worlds import INSTANCE, apply, job, snapshot


@pytest.fixture(scope="module")
def clock() -> Clock:
    """The real clock, because an answer is awaited for the seconds that a busy machine needs."""
    return Clock()


@pytest.fixture(scope="module")
def emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmulatorProcess]:
    """An instance that answers slowly."""
    with EmulatorProcess(tmp_path_factory.mktemp("emulator"), arguments=("--rate", "2")) as running:
        yield running


@pytest.fixture
def shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Host, Ledger]]:
    with console(tmp_path, monkeypatch) as opened:
        yield opened


def connect(monkeypatch: pytest.MonkeyPatch, connection: str) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_AEM_GUIDES_DEFAULT", connection)


def test_a_job_is_shown_as_far_as_the_instance_says(
    emulator: EmulatorProcess, shown: tuple[Host, Ledger], monkeypatch: pytest.MonkeyPatch
) -> None:
    host, ledger = shown
    connect(monkeypatch, emulator.connection())
    apply(ledger, snapshot(job("ended")))
    with AemGuidesHook() as hook:
        hook.start_processing(ProcessingRequest("/content/dam/aurora"))
    words = read(host.client().get(f"instance?name={INSTANCE}").text).words
    assert "Answers" in words
    assert "1 job active" in words
    assert "/content/dam/aurora" in words
    assert "INFO: [BASELINE_MIGRATION]" in words, "the last line of its log"


def test_a_log_that_does_not_come_leaves_the_job(
    emulator: EmulatorProcess, shown: tuple[Host, Ledger], monkeypatch: pytest.MonkeyPatch
) -> None:
    host, ledger = shown
    connect(monkeypatch, emulator.connection())
    apply(ledger, snapshot(job("ended")))
    emulator.fault("logs", "status", status=500)
    words = read(host.client().get(f"instance?name={INSTANCE}").text).words
    assert "Answers" in words
    assert "/content/dam/aurora" in words
    assert "BASELINE_MIGRATION" not in words


async def test_an_instance_that_is_down_or_refuses_is_said_to_be_so_without_its_address(
    emulator: EmulatorProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    for connection, reported in (
        (emulator.connection().replace(emulator.url, "http://127.0.0.1:9"), "Cannot be reached"),
        (emulator.connection().replace(PASSWORD, "canary-wrong"), "Refuses the login"),
        ('{"conn_type": "aem_guides", "login": "x", "password": "canary"}', "connection cannot be used"),
    ):
        connect(monkeypatch, connection)
        health = await ask("aem_guides_default")
        assert reported in health.said
        assert not health.answers
        assert "canary" not in health.said
        assert "127.0.0.1" not in health.said
    assert "connection cannot be used" in (await ask("nobody_knows_it")).said


def test_an_instance_that_is_down_leaves_the_rest_of_the_page(
    shown: tuple[Host, Ledger], monkeypatch: pytest.MonkeyPatch
) -> None:
    host, ledger = shown
    connect(monkeypatch, '{"conn_type": "aem_guides", "host": "http://127.0.0.1:9", "login": "x", "password": "y"}')
    apply(ledger, snapshot(job("runs", "RUNNING"), job("bad", "FAILED")))
    assert "as it was last seen" in read(host.client().get("").text).words
    part = read(host.client().get(f"instance?name={INSTANCE}").text).words
    assert "Cannot be reached" in part
    assert "10 of 20, as it was last seen" in part
