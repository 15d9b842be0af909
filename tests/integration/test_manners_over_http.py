"""The load of both bodies on an instance: a limited number of looks a second, and its own cookie sent back."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator

import pytest

from aem_guides.hooks.hook import AemGuidesAsyncHook, AemGuidesHook
from aem_guides.hooks.transport import COOKIES
from aem_guides.protocol import contract
from tests.support.clocks import Clock
from tests.support.emulator import EmulatorProcess

AFFINITY = "affinity=0123456789abcdef; Path=/; HttpOnly; SameSite=Lax"
LOGIN = "login-token=should-not-be-kept; Path=/; HttpOnly"
Ask = Callable[[int], None]


def ask_blocking(times: int) -> None:
    """Look at the history so many times with the blocking body."""
    with AemGuidesHook() as hook:
        for _ in range(times):
            hook.drive(hook.talk.call(contract.history()))


def ask_asynchronous(times: int) -> None:
    """The same with the asynchronous body, with a new hook each time in one event loop, as many triggers do."""

    async def ask() -> None:
        for _ in range(times):
            async with AemGuidesAsyncHook() as hook:
                await hook.call(contract.history())

    asyncio.run(ask())


both_bodies = pytest.mark.parametrize("ask", [ask_blocking, ask_asynchronous], ids=["blocking", "asynchronous"])


@pytest.fixture(autouse=True)
def _connection(emulator: EmulatorProcess, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("AIRFLOW_CONN_AEM_GUIDES_DEFAULT", emulator.connection())
    COOKIES.clear()
    yield
    emulator.delete("/emulator/faults")


@both_bodies
@pytest.mark.parametrize(("cookie", "kept"), [(AFFINITY, True), (LOGIN, False)], ids=["affinity", "login"])
def test_the_cookie_that_leads_to_the_same_pod_is_kept_and_no_login(
    ask: Ask, emulator: EmulatorProcess, cookie: str, kept: bool
) -> None:
    headers = {"Set-Cookie": cookie, "Content-Type": "application/json"}
    emulator.fault("history", "status", status=200, body=json.dumps({"executionHistory": []}), headers=headers)
    ask(3)
    sent = ["cookie" in request["headers"] for request in emulator.requests("history")[-3:]]
    assert sent == [False, kept, kept]


@both_bodies
def test_looks_keep_to_two_a_second_and_to_what_the_connection_says(
    ask: Ask, emulator: EmulatorProcess, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    began = clock.elapsed()
    ask(30)
    assert clock.elapsed() - began >= 10
    monkeypatch.setenv("AIRFLOW_CONN_AEM_GUIDES_DEFAULT", emulator.connection(requests_per_second=0.5))
    began = clock.elapsed()
    ask(10)
    assert clock.elapsed() - began >= 15


@both_bodies
def test_an_instance_that_wants_less_is_asked_less_by_the_tasks_after_too(
    ask: Ask, emulator: EmulatorProcess, clock: Clock
) -> None:
    emulator.fault("history", "status", status=429, headers={"Retry-After": "20"})
    began = clock.elapsed()
    ask(1)
    ask(1)
    assert clock.elapsed() - began >= 20
