"""The Test button's request, before it reaches Airflow."""

from __future__ import annotations

import json
from typing import Any

import pytest
from airflow import plugins_manager
from starlette.requests import Request
from starlette.types import Message, Receive, Scope, Send

from aem_guides.test_button import NoPortForZero

ROUTE = "/api/v2/connections/test"


async def passed_on(path: str, *parts: bytes, method: str = "POST") -> tuple[bytes, int]:
    """What comes through of a body that arrives in parts, and the length that is told of it."""
    seen: list[tuple[bytes, int]] = []
    messages: list[Message] = [
        {"type": "http.request", "body": part, "more_body": number < len(parts)} for number, part in enumerate(parts, 1)
    ]

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        seen.append((await request.body(), int(request.headers["content-length"])))

    async def receive() -> Message:
        return messages.pop(0)

    async def send(message: Message) -> None:
        raise AssertionError(message)

    length = str(sum(map(len, parts))).encode()
    scope = {"type": "http", "method": method, "path": path, "headers": [(b"content-length", length)]}
    await NoPortForZero(app)(scope, receive, send)
    return seen[0]


def told(**changes: object) -> bytes:
    return json.dumps({"connection_id": "x", "conn_type": "aem_guides", "port": 0, **changes}).encode()


async def test_a_port_of_zero_is_taken_for_none() -> None:
    whole = told()
    body, length = await passed_on(f"/airflow{ROUTE}", whole[:20], whole[20:])
    assert json.loads(body) == {"connection_id": "x", "conn_type": "aem_guides", "port": None}
    assert length == len(body)


@pytest.mark.parametrize("body", [told(port=443), told(conn_type="http"), b"[0]", b"not JSON", b""])
async def test_everything_else_comes_through_as_it_is(body: bytes) -> None:
    assert await passed_on(ROUTE, body) == (body, len(body))
    assert (await passed_on("/api/v2/connections", told()))[0] == told()
    assert (await passed_on(ROUTE, told(), method="PATCH"))[0] == told()


async def test_one_who_hangs_up_is_not_waited_for() -> None:
    heard: list[Any] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        heard.append(await receive())

    async def receive() -> Message:
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        raise AssertionError(message)

    await NoPortForZero(app)({"type": "http", "method": "POST", "path": ROUTE, "headers": []}, receive, send)
    assert heard == [{"type": "http.disconnect"}]


@pytest.mark.filterwarnings(
    "ignore:GitWildMatchPattern:DeprecationWarning"
)  # Airflow's own, as it reads .airflowignore
def test_airflow_puts_it_before_its_api() -> None:
    _, middlewares = plugins_manager.get_fastapi_plugins()
    assert NoPortForZero in [found["middleware"] for found in middlewares]
