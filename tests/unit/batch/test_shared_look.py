"""The window is read once for all waiting paths, and a job's own status only if the window does not decide."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable
from typing import cast

import pytest

from aem_guides.hooks.hook import AemGuidesAsyncHook
from aem_guides.protocol.contract import read_job
from aem_guides.protocol.conversation import Conversation
from aem_guides.protocol.models import Job, JsonObject
from aem_guides.protocol.pacing import Pacing
from aem_guides.protocol.procedures.shared_look import SharedLook
from aem_guides.protocol.steps import Answer, HttpRequest, Reply, SeeWindow, Steps, T, TransportFailure, Window
from aem_guides.triggers.admission import Coordinator
from aem_guides.triggers.start_lease import StartLease
from tests.support.notes import KeptNotes
from tests.unit.protocol.driving import World, reply


def a_job(status: str, done: int = 0) -> JsonObject:
    return {"processingId": "a", "path": "/content/a", "status": status, "triggeredCount": done}


class Instance(World):
    """An instance whose window is read by its body, as a coordinator reads it."""

    def __init__(self, window: Callable[[float], list[JsonObject] | None], status: str = "RUNNING") -> None:
        super().__init__(lambda _request: reply(200, a_job(status)))
        self.began = self.clock
        self.window = window
        self.read = 0

    def _emitted(self, item: object) -> Answer:
        if not isinstance(item, SeeWindow):
            return super()._emitted(item)
        self.read += 1
        shown = self.window(self.clock - self.began)
        return None if shown is None else Window({str(entry["processingId"]): job_of(entry) for entry in shown})

    def looks(self, *moments: float) -> list[str]:
        """The requests of each look at these moments, and the state that it saw."""
        shared, talk, reported = SharedLook(), self.conversation(attempts=1), list[str]()
        for moment in moments:
            self.clock = self.began + moment
            sent, read = len(self.sent), self.read
            found = self.run(shared.find(talk, "a"))
            asked = "window " * (self.read - read) + "status " * (len(self.sent) - sent)
            reported.append(asked + (found.status_word if found else "unknown"))
        return reported


def job_of(entry: JsonObject) -> Job:
    return read_job(entry)


def test_while_the_window_shows_a_job_at_work_nothing_else_is_asked_for() -> None:
    instance = Instance(lambda passed: [a_job("RUNNING", int(passed))])
    assert instance.looks(1, 30, 300, 3000) == ["window RUNNING"] * 4


def test_an_end_is_believed_by_the_job_s_own_status_alone() -> None:
    instance = Instance(lambda _passed: [a_job("SUCCESS")], status="RUNNING")
    assert instance.looks(1) == ["window status RUNNING"]


def test_a_job_that_newer_ones_have_pushed_out_is_asked_for_by_itself_and_costs_one_request_a_look() -> None:
    instance = Instance(lambda passed: [a_job("RUNNING", int(passed))] if passed < 100 else [])
    looks = instance.looks(50, 99, 101, 160, 200, 800)
    assert looks == ["window RUNNING"] * 2 + ["window status RUNNING"] * 2 + ["status RUNNING"] * 2


def test_a_window_that_lags_behind_a_start_is_looked_at_again() -> None:
    instance = Instance(lambda passed: [] if passed < 30 else [a_job("RUNNING", int(passed))])
    assert instance.looks(1, 20, 40, 100) == ["window status RUNNING"] * 2 + ["window RUNNING"] * 2


def test_an_old_copy_of_the_window_is_not_believed_for_longer_than_a_minute() -> None:
    instance = Instance(lambda _passed: [a_job("RUNNING", 7)], status="SUCCESS")
    assert instance.looks(0, 30, 61, 90) == ["window RUNNING"] * 2 + ["window status SUCCESS", "status SUCCESS"]


def test_if_the_window_cannot_be_read_the_status_of_a_job_is_read_and_the_window_tried_again() -> None:
    instance = Instance(lambda _passed: None)
    assert instance.looks(1, 100) == ["window status RUNNING"] * 2


class Hook:
    """Reads an instance that answers the history only when it is allowed to. `asked` counts."""

    def __init__(self, answer: Reply | TransportFailure) -> None:
        self.asked = 0
        self.let = asyncio.Event()
        self._answer = answer

    async def talk(self) -> Conversation:
        return World(self._respond, clock=time.time()).conversation()

    async def drive(self, steps: Steps[T]) -> T:
        self.asked += 1
        await self.let.wait()
        return World(self._respond, clock=time.time()).run(steps)

    def _respond(self, _request: HttpRequest) -> Reply | TransportFailure:
        return self._answer


def windows_of(hook: Hook, count: int, *, cancelled: int = 0) -> list[Window | None]:
    """The results of so many callers at the same time. The first `cancelled` of them are cancelled meanwhile."""

    async def all_at_once() -> list[Window | None]:
        coordinator = Coordinator(StartLease(KeptNotes(), "lease"), Pacing())
        asking = [
            asyncio.create_task(coordinator.window(cast("AemGuidesAsyncHook", hook), math.inf)) for _ in range(count)
        ]
        await asyncio.sleep(0)
        for one in asking[:cancelled]:
            one.cancel()
        await asyncio.sleep(0)
        hook.let.set()
        return list(await asyncio.gather(*asking[cancelled:]))

    return asyncio.run(all_at_once())


def test_the_window_is_read_once_for_all_callers_at_about_the_same_time() -> None:
    hook = Hook(reply(200, {"executionHistory": [a_job("RUNNING")]}))
    seen = windows_of(hook, 50)
    assert [list(window.jobs) for window in seen if window is not None] == [["a"]] * 50
    assert hook.asked == 1


@pytest.mark.parametrize("answer", [reply(503), TransportFailure("reset", sent=True), reply(200, b"{")])
def test_a_window_that_cannot_be_read_is_asked_for_once_for_all_too(answer: Reply | TransportFailure) -> None:
    hook = Hook(answer)
    assert windows_of(hook, 50) == [None] * 50
    assert hook.asked == 1


def test_if_the_reading_caller_is_cancelled_another_reads_for_all() -> None:
    hook = Hook(reply(200, {"executionHistory": [a_job("RUNNING")]}))
    assert all(windows_of(hook, 50, cancelled=1))
    assert hook.asked == 2


def test_a_moment_that_is_due_waits_for_no_window_and_another_reads_on() -> None:
    hook = Hook(reply(200, {"executionHistory": [a_job("RUNNING")]}))

    async def ask() -> tuple[Window | None, Window | None]:
        coordinator = Coordinator(StartLease(KeptNotes(), "lease"), Pacing())
        asked = cast("AemGuidesAsyncHook", hook)
        due = asyncio.create_task(coordinator.window(asked, time.time() + 0.05))
        other = asyncio.create_task(coordinator.window(asked, math.inf))
        first = await due
        hook.let.set()
        return first, await other

    first, second = asyncio.run(ask())
    assert first is None
    assert second is not None
    assert hook.asked == 2
