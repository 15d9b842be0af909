"""Who waits on an instance is stored by the process in which they wait, for as long as they do."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable
from datetime import timedelta

import pytest

from aem_guides.hooks.bodies import surroundings
from aem_guides.protocol.models import JsonValue
from aem_guides.protocol.waiters import MOST, STALE_SECONDS, Waiter, Waiters
from aem_guides.runtime import notes
from aem_guides.runtime.waiters import decoded, encoded
from aem_guides.triggers.lifecycle import AemGuidesLifecycleTrigger
from tests.support.batch import start_as_stranger
from tests.support.clocks import Clock
from tests.support.emulator import EmulatorProcess
from tests.support.notes import KeptNotes
from tests.support.path_triggers import event_of, path_trigger


@pytest.fixture(autouse=True)
def _connection(emulator: EmulatorProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_AEM_GUIDES_DEFAULT", emulator.connection(read_timeout=5))


def stored(register: KeptNotes) -> list[Waiters]:
    found = [decoded(register.get(key)) for key in sorted(register.values) if key.startswith(notes.AWAITS)]
    return [waiters for waiters in found if waiters is not None]


def folder(emulator: EmulatorProcess, *, files: int = 10_000, rate: float = 0.1) -> str:
    path = f"/content/dam/waits-{uuid.uuid4().hex[:8]}"
    emulator.virtual_folder(path, files, rate=rate)
    return path


async def until(met: Callable[[], object], seconds: float = 120.0) -> None:
    end = surroundings().now() + seconds
    while not met():
        assert surroundings().now() < end
        await asyncio.sleep(0.01)


async def while_running(triggers: list[AemGuidesLifecycleTrigger], met: Callable[[], object]) -> None:
    running = [asyncio.create_task(event_of(trigger)) for trigger in triggers]
    await until(met)
    for task in running:
        task.cancel()
    await asyncio.wait(running)


async def test_those_in_the_line_are_stored_with_why_they_wait_and_not_once_they_have_gone(
    emulator: EmulatorProcess, register: KeptNotes
) -> None:
    busy = folder(emulator)
    start_as_stranger(emulator, busy)
    paths = [folder(emulator) for _ in range(2)]
    triggers = [
        path_trigger(register, path, index, max_active_jobs=1, run_key="my_dag / manual__1 / odd")
        for index, path in enumerate(paths)
    ]
    await while_running(triggers, lambda: any(waiters.queued == 2 for waiters in stored(register)))
    (waiters,) = stored(register)
    assert (waiters.instance, waiters.limit, waiters.held_back) == (emulator.url.removeprefix("http://"), 1, 0)
    assert [(waiter.path, waiter.index) for waiter in waiters.queue] == [(paths[0], 0), (paths[1], 1)]
    assert {waiter.dag_and_run for waiter in waiters.queue} == {("my_dag", "manual__1 / odd")}
    assert "(max_active_jobs)" in waiters.queue[0].why
    assert "1 waits ahead of it" in waiters.queue[1].why
    await until(lambda: stored(register) == [])
    emulator.post("/emulator/jobs/fail", {"processingId": emulator.jobs(busy)[0]["processing_id"]})


def hours_from_now(clock: Clock, minutes: float) -> list[JsonValue]:
    begin = clock.today() + timedelta(minutes=minutes)
    end = begin + timedelta(minutes=5)
    return [{"from": f"{begin:%H:%M:%S}", "to": f"{end:%H:%M:%S}", "timezone": "UTC", "at_end": "cancel"}]


async def test_those_that_wait_for_the_off_peak_hours_are_stored_with_when_these_begin(
    emulator: EmulatorProcess, register: KeptNotes, clock: Clock
) -> None:
    path = folder(emulator)
    trigger = path_trigger(register, path, only_between=hours_from_now(clock, 30))
    now = clock.now()
    await while_running([trigger], lambda: any(waiters.held_back for waiters in stored(register)))
    (waiters,) = stored(register)
    (waiter,) = waiters.held
    assert (waiter.path, waiter.job, waiters.queued, waiters.limit) == (path, None, 0, None)
    assert "held back until" in waiter.why
    assert waiter.until is not None
    assert 1_700 < waiter.until - now < 1_900
    await until(lambda: stored(register) == [])


async def test_processes_store_theirs_beside_each_other_and_take_the_place_of_one_that_has_ended(
    emulator: EmulatorProcess, register: KeptNotes, clock: Clock
) -> None:
    key = notes.waiters_key(emulator.url, 0)
    theirs = Waiters("another", "127.0.0.1", clock.now() + STALE_SECONDS / 2, queued=7)
    register.set(key, encoded(theirs))
    busy = folder(emulator)
    start_as_stranger(emulator, busy)

    def mine() -> list[Waiters]:
        return [waiters for waiters in stored(register) if waiters.by != "another" and waiters.queued]

    await while_running([path_trigger(register, folder(emulator), max_active_jobs=1)], mine)
    assert decoded(register.get(key)) == theirs
    assert len(mine()) == 1
    register.set(key, encoded(Waiters("another", "127.0.0.1", clock.now() - 2 * STALE_SECONDS, queued=7)))
    emulator.post("/emulator/jobs/fail", {"processingId": emulator.jobs(busy)[0]["processing_id"]})


async def test_what_airflow_does_not_take_is_stored_the_next_time_and_who_comes_back_is_stored_again(
    emulator: EmulatorProcess, register: KeptNotes, clock: Clock
) -> None:
    path = folder(emulator)
    register.refuse('"held_back": 1', 2)
    trigger = path_trigger(register, path, only_between=hours_from_now(clock, 60))
    for _ in range(2):
        await while_running([trigger], lambda: any(waiters.held_back for waiters in stored(register)))
        await until(lambda: stored(register) == [])
    assert register.refusals_left == 0


def test_what_is_stored_is_read_as_it_was_and_nothing_else_is() -> None:
    one = Waiter("/content/dam/a", "d / r", -1, 5.0, "because", 7.5, "job")
    whole = Waiters("me", "author", 9.0, (one,) * MOST, 700, (one,), 1, 4)
    assert decoded(encoded(whole)) == whole
    others: list[JsonValue] = [None, [], "x", {"by": "me"}, {**encoded(whole), "at": "now"}]
    assert [decoded(other) for other in others] == [None] * 5
