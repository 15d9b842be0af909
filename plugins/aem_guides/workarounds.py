"""Makes the Test button work for a connection without a port.

Airflow's UI sends 0 for the missing port, and Airflow 3.3.2 treats that as another destination than the stored one: it
answers 400 and tests nothing. apache/airflow#73298 fixes that in a later version, and then this module changes nothing.
Our connections have no port: it is part of the base URL.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING

from airflow.plugins_manager import AirflowPlugin

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

_ROUTE = "/api/v2/connections/test"
_LONGEST_BODY = 64 * 1024
_MOST_PARTS = 256


class NoPortForZero:
    """ASGI middleware that removes the port 0 from requests to test a connection of ours. It passes on all other
    requests unchanged."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] == "http" and scope["method"] == "POST" and scope["path"].endswith(_ROUTE):
            scope, receive = await _with_mended_body(scope, receive)
        await self._app(scope, receive, send)


async def _with_mended_body(scope: Scope, receive: Receive) -> tuple[Scope, Receive]:
    """The request, and how it is read: first the part that was read here, then the rest.

    Requests arrive here before the login. So a body that is declared as large is not read at all, and a body that turns
    out to be large is passed on unchanged.
    """
    if _is_long(scope):
        return scope, receive
    read: list[Message] = []
    size, more = 0, True
    while more:
        message = await receive()
        read.append(message)
        size += len(message.get("body", b""))
        more = message["type"] == "http.request" and message.get("more_body", False)
        if message["type"] != "http.request" or size > _LONGEST_BODY or len(read) > _MOST_PARTS:
            return scope, _again(read, receive)
    body = b"".join(message.get("body", b"") for message in read)
    mended = _without_port_zero(body)
    if mended is body:
        return scope, _again(read, receive)
    headers = [(name, value) for name, value in scope["headers"] if name != b"content-length"]
    headers.append((b"content-length", str(len(mended)).encode()))
    whole: Message = {"type": "http.request", "body": mended, "more_body": False}
    return {**scope, "headers": headers}, _again([whole], receive)


def _is_long(scope: Scope) -> bool:
    """Whether the request declares a body that is too long, or does not declare its length."""
    lengths = [value for name, value in scope["headers"] if name == b"content-length"]
    return any(not value.isdigit() or len(value) > 9 or int(value) > _LONGEST_BODY for value in lengths)


def _again(read: Sequence[Message], receive: Receive) -> Receive:
    waiting = deque(read)

    async def next_message() -> Message:
        return waiting.popleft() if waiting else await receive()

    return next_message


def _without_port_zero(body: bytes) -> bytes:
    try:
        posted = json.loads(body)
    except (ValueError, RecursionError):
        return body
    if isinstance(posted, dict) and posted.get("conn_type") == "aem_guides" and posted.get("port") == 0:
        return json.dumps({**posted, "port": None}).encode()
    return body


class TestButtonPlugin(AirflowPlugin):
    """Puts the middleware before Airflow's API."""

    name = "aem_guides_test_button"
    fastapi_root_middlewares = [{"name": name, "middleware": NoPortForZero}]  # noqa: RUF012  # as Airflow declares it
