"""A trigger stays until the triggerer has read its log lines and a kill is settled."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from typing import BinaryIO, cast

import pytest
import structlog
from airflow.jobs.triggerer_job_runner import _USER_ACTION_CANCEL_MSG, TriggerRunner
from airflow.sdk._shared.logging.structlog import LoggerFactory, NamedBytesLogger

from aem_guides.protocol.errors import JobLostError
from aem_guides.protocol.models import JsonObject
from aem_guides.triggers import log_channel
from aem_guides.triggers.base import AemGuidesTrigger
from aem_guides.triggers.log_channel import unread_bytes, until_log_is_read

LINE = b"x" * 999 + b"\n"
AIRFLOW_READS = 4096


@pytest.fixture
def channel() -> Iterator[tuple[BinaryIO, socket.socket]]:
    """The log channel of a triggerer's child: the end that triggers write to, and the end that Airflow reads."""
    writing, reading = socket.socketpair()
    before = structlog.get_config()["logger_factory"]
    with writing, reading, writing.makefile("wb", buffering=0) as written:
        structlog.configure(logger_factory=LoggerFactory(NamedBytesLogger, io=cast("BinaryIO", written)))
        yield cast("BinaryIO", written), reading
        structlog.configure(logger_factory=before)


async def test_what_was_logged_is_read_before_the_wait_ends(channel: tuple[BinaryIO, socket.socket]) -> None:
    written, reading = channel
    for _ in range(20):
        written.write(LINE)
    waiting = asyncio.create_task(until_log_is_read())
    read = 0
    while read < 20 * len(LINE):
        await asyncio.sleep(0)
        assert not waiting.done()
        read += len(reading.recv(AIRFLOW_READS))
    await waiting
    assert unread_bytes() == 0


async def test_a_triggerer_that_reads_nothing_is_not_waited_for_for_ever(
    channel: tuple[BinaryIO, socket.socket],
) -> None:
    channel[0].write(LINE)
    await until_log_is_read(longest=0.0)
    assert unread_bytes() > 0


async def test_a_log_that_passes_no_socket_is_not_waited_for() -> None:
    assert unread_bytes() == 0
    await until_log_is_read()


class Killed(AemGuidesTrigger):
    """A trigger that waits forever, and has work to do when it is killed."""

    def __init__(self, may_end: asyncio.Event) -> None:
        super().__init__()
        self.waits, self.is_killed, self.may_end, self.is_done = asyncio.Event(), asyncio.Event(), may_end, False

    async def outcome(self) -> JsonObject:
        self.waits.set()
        await asyncio.Event().wait()
        return {}

    async def settle_kill(self) -> None:
        self.is_killed.set()
        await self.may_end.wait()
        self.is_done = True
        raise JobLostError("refused after all")


async def test_a_kill_is_settled_before_the_trigger_ends_however_often_airflow_cancels_it(
    capsys: pytest.CaptureFixture[str],
) -> None:
    runner, may_end = TriggerRunner(), asyncio.Event()  # type: ignore[no-untyped-call]
    trigger = Killed(may_end)
    runner.triggers[1] = {"task": None, "is_watcher": False, "name": "killed", "events": 0}  # type: ignore[typeddict-item]
    running = asyncio.create_task(runner.run_trigger(1, trigger))
    await trigger.waits.wait()
    running.cancel(_USER_ACTION_CANCEL_MSG)
    await trigger.is_killed.wait()
    for _ in range(10):
        running.cancel(_USER_ACTION_CANCEL_MSG)
        for _ in range(5):
            await asyncio.sleep(0)
        assert not running.done()
    may_end.set()
    await asyncio.wait({running})
    assert (running.cancelled(), trigger.is_done) == (True, True)
    assert "The job could not be cancelled after the kill: refused after all" in capsys.readouterr().out


async def test_a_triggerer_that_ends_is_not_held_up_by_a_trigger(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_channel, "unread_bytes", lambda: 1)
    cleaning = asyncio.create_task(Killed(asyncio.Event()).cleanup())
    await asyncio.sleep(0)
    for task in asyncio.all_tasks() - {asyncio.current_task()}:
        task.cancel()
    await asyncio.wait({cleaning})
    assert cleaning.done()
