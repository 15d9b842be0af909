"""The Test button's request, before it reaches Airflow."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pytest
from airflow import plugins_manager
from starlette.requests import Request
from starlette.types import Message, Receive, Scope, Send

from aem_guides.workarounds import NoPortForZero

ROUTE = "/api/v2/connections/test"


async def passed_on(path: str, *parts: bytes, method: str = "POST") -> tuple[bytes, int]:
    """The body that Airflow gets of a body in parts, and its declared length."""
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


def reported(**changes: object) -> bytes:
    return json.dumps({"connection_id": "x", "conn_type": "aem_guides", "port": 0, **changes}).encode()


async def test_a_port_of_zero_is_taken_for_none() -> None:
    whole = reported()
    body, length = await passed_on(f"/airflow{ROUTE}", whole[:20], whole[20:])
    assert json.loads(body) == {"connection_id": "x", "conn_type": "aem_guides", "port": None}
    assert length == len(body)


@pytest.mark.parametrize("body", [reported(port=443), reported(conn_type="http"), b"[0]", b"not JSON", b""])
async def test_everything_else_comes_through_as_it_is(body: bytes) -> None:
    assert await passed_on(ROUTE, body) == (body, len(body))
    assert (await passed_on("/api/v2/connections", reported()))[0] == reported()
    assert (await passed_on(ROUTE, reported(), method="PATCH"))[0] == reported()


@dataclass
class Upload:
    """A body that is made while it is read."""

    parts: Iterator[bytes]
    headers: Sequence[tuple[bytes, bytes]] = ()
    read: int = 0

    async def receive(self) -> Message:
        part = next(self.parts, None)
        self.read += part is not None
        return {"type": "http.request", "body": part or b"", "more_body": part is not None}

    async def parts_read_before_airflow(self) -> int:
        """Send it through the middleware. Airflow refuses it at once, without a login."""
        before: list[int] = []

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            before.append(self.read)
            assert list(scope["headers"]) == list(self.headers)
            first = await receive()
            assert first["body"] == b"a" * len(first["body"])

        async def send(message: Message) -> None:
            raise AssertionError(message)

        scope = {"type": "http", "method": "POST", "path": ROUTE, "headers": list(self.headers)}
        await NoPortForZero(app)(scope, self.receive, send)
        return before[0]


async def test_a_body_that_says_that_it_is_large_is_not_read() -> None:
    for length in (b"67108864", b"65537", b"9" * 5000, b"-1", b"1e3", b"\xb2"):
        upload = Upload(iter([b"a" * 65536] * 1024), [(b"content-length", length)])
        assert await upload.parts_read_before_airflow() == 0


async def test_a_body_that_turns_out_large_is_handed_on_as_soon_as_that_is_seen() -> None:
    upload = Upload(iter([b"a" * 60_000] * 1000))
    assert await upload.parts_read_before_airflow() == 2
    upload = Upload(iter([b"a" * 60_000] * 1000), [(b"content-length", b"10")])
    assert await upload.parts_read_before_airflow() == 2


async def test_a_body_of_crumbs_is_not_gathered_without_end() -> None:
    upload = Upload(itertools.repeat(b"a", 60_000))
    assert await upload.parts_read_before_airflow() < 300


async def test_a_body_that_is_large_comes_through_whole() -> None:
    whole = reported(extra="x" * 200_000)
    parts = [whole[at : at + 30_000] for at in range(0, len(whole), 30_000)]
    assert await passed_on(ROUTE, *parts) == (whole, len(whole))


async def test_a_body_nested_beyond_reading_comes_through_as_it_is() -> None:
    assert await passed_on(ROUTE, b"[" * 60_000) == (b"[" * 60_000, 60_000)


async def test_a_client_that_hangs_up_in_the_middle_is_not_waited_for() -> None:
    messages: list[Message] = [
        {"type": "http.request", "body": b"{", "more_body": True},
        {"type": "http.disconnect"},
    ]
    expected = list(messages)
    heard: list[Message] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        heard.extend([await receive(), await receive()])

    async def receive() -> Message:
        return messages.pop(0)

    async def send(message: Message) -> None:
        raise AssertionError(message)

    await NoPortForZero(app)({"type": "http", "method": "POST", "path": ROUTE, "headers": []}, receive, send)
    assert heard == expected


async def test_a_client_that_hangs_up_is_not_waited_for() -> None:
    heard: list[Any] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        heard.append(await receive())

    async def receive() -> Message:
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        raise AssertionError(message)

    await NoPortForZero(app)({"type": "http", "method": "POST", "path": ROUTE, "headers": []}, receive, send)
    assert heard == [{"type": "http.disconnect"}]


def test_airflow_puts_it_before_its_api() -> None:
    _, middlewares = plugins_manager.get_fastapi_plugins()
    assert NoPortForZero in [found["middleware"] for found in middlewares]
