"""What the page shows of an instance: read over HTTP, also from one that does not answer."""

from __future__ import annotations

import asyncio
import json
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from aem_guides.console import instance_health
from aem_guides.console.instance_health import MOST_LINES, Watch, ask
from aem_guides.hooks.hook import AemGuidesHook
from aem_guides.ledger.store import Ledger
from aem_guides.protocol.models import History, ProcessingRequest
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


def three_jobs(emulator: EmulatorProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    connect(monkeypatch, emulator.connection())
    with AemGuidesHook() as hook:
        for number in range(3):
            path = f"/content/dam/one-of-{uuid.uuid4().hex[:6]}-{number}"
            emulator.virtual_folder(path, 1_000, rate=1)
            hook.start_processing(ProcessingRequest(path))


async def test_a_job_whose_log_is_not_there_yet_hides_the_last_line_of_no_other(
    emulator: EmulatorProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    three_jobs(emulator, monkeypatch)
    emulator.fault("logs", "status", status=404)
    health = await ask("aem_guides_default")
    assert len(health.last_lines) == min(MOST_LINES, len(health.active)) - 1


async def test_logs_that_come_slowly_hold_up_the_page_once_and_not_once_a_job(
    emulator: EmulatorProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    three_jobs(emulator, monkeypatch)
    monkeypatch.setattr(instance_health, "ANSWER_SECONDS", 5.0)
    emulator.fault("logs", "delay", seconds=3.5, count=None)
    began = time.monotonic()
    health = await ask("aem_guides_default")
    assert time.monotonic() - began < 10.0
    emulator.delete("/emulator/faults")
    assert health.answers
    assert len(health.last_lines) <= 1, "the second cannot come in time"


def history_with(jobs: int, comment: str = "") -> str:
    """A history as a hostile instance may send it."""
    told = {"path": "/content/dam/x", "status": "RUNNING", "comments": comment}
    return json.dumps({"executionHistory": [{"processingId": f"it-{number}", **told} for number in range(jobs)]})


def test_of_an_instance_that_shows_very_many_jobs_some_are_shown_and_all_are_counted(
    emulator: EmulatorProcess, shown: tuple[Host, Ledger], monkeypatch: pytest.MonkeyPatch
) -> None:
    host, ledger = shown
    connect(monkeypatch, emulator.connection())
    apply(ledger, snapshot(job("ended")))
    emulator.fault("history", "status", status=200, body=history_with(3_000), count=None)
    page = host.client().get(f"instance?name={INSTANCE}").text
    emulator.delete("/emulator/faults")
    words = read(page).words
    assert "3,000 jobs active" in words
    assert "2,800 more are active" in words
    assert len(page) < 200_000


async def test_an_answer_of_megabytes_is_not_read_to_its_end(
    emulator: EmulatorProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect(monkeypatch, emulator.connection())
    emulator.fault("history", "status", status=200, body=history_with(8, "x" * 1_000_000), count=None)
    health = await ask("aem_guides_default")
    emulator.delete("/emulator/faults")
    assert (health.answers, health.said) == (False, "Gives no answer that can be read")


async def test_an_instance_is_asked_once_for_all_who_look_at_its_history(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    async def history_of(connection_id: str) -> History | str:
        asked.append(connection_id)
        await asyncio.sleep(0.01)
        return History(())

    monkeypatch.setattr(instance_health, "history_of", history_of)
    watch = Watch()
    await asyncio.gather(*(watch.history(name) for name in ("a", "b") for _ in range(20)))
    await watch.history("a")
    assert sorted(asked) == ["a", "b"]


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
