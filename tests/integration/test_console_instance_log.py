"""The log of a job as its instance shows it, in the pages: asked over HTTP, also of an odd instance."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from aem_guides.console import instance_log
from aem_guides.console.instance_log import InstanceLogs, KeptLog
from aem_guides.hooks.hook import AemGuidesHook
from aem_guides.ledger.store import Ledger
from aem_guides.protocol.models import ProcessingRequest
from tests.support.clocks import Clock
from tests.support.console import Host, console, read
from tests.support.emulator import EmulatorProcess
from tests.support.worlds import INSTANCE, apply, job, snapshot

CONNECTION = "aem_guides_default"
FILES = 1_200


@pytest.fixture(scope="module")
def clock() -> Clock:
    """The real one: an answer is waited for in seconds that a busy machine needs."""
    return Clock()


@pytest.fixture(scope="module")
def emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmulatorProcess]:
    with EmulatorProcess(tmp_path_factory.mktemp("emulator")) as running:
        yield running


@pytest.fixture(scope="module")
def ended(emulator: EmulatorProcess) -> str:
    """A job with a log of some pages."""
    return started(emulator, "/content/dam/ended", rate=100_000.0, wait=True)


def started(emulator: EmulatorProcess, path: str, *, rate: float, wait: bool = False) -> str:
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("AIRFLOW_CONN_AEM_GUIDES_DEFAULT", emulator.connection())
        emulator.virtual_folder(path, FILES, rate=rate)
        with AemGuidesHook() as hook:
            name = hook.start_processing(ProcessingRequest(path))
    if wait:
        emulator.wait_until(lambda: emulator.jobs(path)[-1]["state"] not in ("WAITING", "RUNNING"))
    return name


@pytest.fixture(autouse=True)
def _connected(emulator: EmulatorProcess, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("AIRFLOW_CONN_AEM_GUIDES_DEFAULT", emulator.connection())
    yield
    emulator.delete("/emulator/faults")


@pytest.fixture
def shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Host, Ledger]]:
    with console(tmp_path, monkeypatch) as opened:
        yield opened


def test_the_log_of_a_job_that_is_not_archived_is_read_from_its_instance_page_by_page(
    emulator: EmulatorProcess, ended: str, shown: tuple[Host, Ledger]
) -> None:
    host, ledger = shown
    apply(ledger, snapshot(job(ended, "RUNNING")))
    lines = emulator.log_lines(ended)
    here = f"log?instance={INSTANCE}&name={ended}"
    first, second = (read(host.client().get(f"{here}&page={number}").text) for number in (1, 2))
    assert f"As {INSTANCE} shows it" in first.words
    assert " ".join(lines[0].split()) in first.words
    assert " ".join(lines[500].split()) in second.words
    assert any("page=2" in address for address in first.addresses)
    found = read(host.client().get(f"{here}&search=Processed /content/dam/ended").text).words
    assert "Processed" in found
    digest = read(host.client().get(f"log-digest?instance={INSTANCE}&name={ended}").text).words
    assert f"{len(lines):,} lines" in digest
    assert " ".join(lines[-1].split()) in digest


async def test_a_log_that_grows_is_read_on_from_where_the_last_look_ended(
    emulator: EmulatorProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(instance_log, "FRESH_SECONDS", 0.0)
    name = await asyncio.to_thread(started, emulator, "/content/dam/grows", rate=200.0)
    logs = InstanceLogs()
    read_so_far = list((await logs.look(CONNECTION, name)).lines)
    while emulator.jobs("/content/dam/grows")[-1]["state"] in ("WAITING", "RUNNING"):
        kept = await logs.look(CONNECTION, name)
        assert kept.lines[: len(read_so_far)] == read_so_far
        read_so_far = list(kept.lines)
    assert (await logs.look(CONNECTION, name)).lines == emulator.log_lines(name)


async def test_many_who_look_at_once_ask_once(emulator: EmulatorProcess, ended: str) -> None:
    logs = InstanceLogs()
    before = len(emulator.requests("logs"))
    await asyncio.gather(*(logs.look(CONNECTION, ended) for _ in range(10)))
    pages = -(-len(emulator.log_lines(ended)) // 500)
    assert len(emulator.requests("logs")) - before <= pages + 1


async def test_a_log_without_end_is_read_as_far_as_there_is_room(ended: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(instance_log, "MOST_LINES", 700)
    kept = await InstanceLogs().look(CONNECTION, ended)
    assert len(kept.lines) == 700
    assert kept.page().cut
    assert not kept.page().goes_on


async def test_no_more_logs_are_kept_than_there_is_room_for(ended: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(instance_log, "MOST_LOGS", 2)
    logs = InstanceLogs()
    first = await logs.look(CONNECTION, ended)
    for number in range(3):
        assert "Does not show" in (await logs.look(CONNECTION, f"nobody-{number}")).said
    assert await logs.look(CONNECTION, ended) is not first


@pytest.mark.parametrize(
    "fault", ["shrink", "repeat_page", "ignore_limit", "more_forever", "huge_line", "invalid_utf8"]
)
async def test_whatever_the_log_endpoint_answers_a_page_comes(
    emulator: EmulatorProcess, ended: str, fault: str
) -> None:
    emulator.fault("logs", fault, count=50)
    kept = await InstanceLogs().look(CONNECTION, ended)
    page = kept.page()
    assert len(page.lines) <= 500
    assert max((len(line.text) for line in page.lines), default=0) <= 2_002


async def test_an_instance_that_answers_too_slowly_says_so_and_is_read_on_later(
    emulator: EmulatorProcess, ended: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(instance_log, "ANSWER_SECONDS", 0.0)
    logs = InstanceLogs()
    kept = await logs.look(CONNECTION, ended)
    assert "Gives no answer" in kept.said
    monkeypatch.undo()
    monkeypatch.setenv("AIRFLOW_CONN_AEM_GUIDES_DEFAULT", emulator.connection())
    assert (await logs.look(CONNECTION, ended)).lines == emulator.log_lines(ended)


async def test_an_instance_that_is_down_says_so_without_its_address(
    emulator: EmulatorProcess, ended: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = emulator.connection().replace(emulator.url, "http://127.0.0.1:9")
    monkeypatch.setenv("AIRFLOW_CONN_AEM_GUIDES_DEFAULT", there)
    kept = await InstanceLogs().look(CONNECTION, ended)
    assert kept.said == "Cannot be reached"
    assert kept.page().said == "Cannot be reached"


async def test_many_who_look_at_a_slow_log_at_once_wait_for_one_look_and_not_one_after_the_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    looks: list[float] = []

    async def never_at_its_end(kept: KeptLog, _connection_id: str, _processing_id: str) -> None:
        looks.append(time.monotonic())
        await asyncio.sleep(0.05)
        kept.goes_on, kept.read_at = True, time.monotonic()

    monkeypatch.setattr(instance_log, "_read_on", never_at_its_end)
    logs = InstanceLogs()
    await asyncio.gather(*(logs.look(CONNECTION, "it") for _ in range(30)))
    assert len(looks) == 1
    await logs.look(CONNECTION, "it")
    assert len(looks) == 2, "the next look reads on"
