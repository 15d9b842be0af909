"""Lets the Test button of a connection without a port do its work.

Airflow's UI sends 0 for the port that such a connection does not have, and Airflow 3.3.2 takes that for another
destination than the stored one: it answers 400 and tests nothing. apache/airflow#73298 mends it in a later version, and
leaves nothing to do here. Our connections have no port: it is part of the base URL.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from airflow.plugins_manager import AirflowPlugin

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

_ROUTE = "/api/v2/connections/test"


class NoPortForZero:
    """ASGI middleware: takes the port 0 out of requests to test a connection of ours, and lets all else pass."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] == "http" and scope["method"] == "POST" and scope["path"].endswith(_ROUTE):
            scope, receive = await _with_mended_body(scope, receive)
        await self._app(scope, receive, send)


async def _with_mended_body(scope: Scope, receive: Receive) -> tuple[Scope, Receive]:
    """The request, and what it is read with: the whole body first, then what comes."""
    body, more = b"", True
    while more:
        message = await receive()
        if message["type"] != "http.request":
            return scope, _first(message, receive)
        body += message.get("body", b"")
        more = message.get("more_body", False)
    mended = _without_port_zero(body)
    headers = [(name, value) for name, value in scope["headers"] if name != b"content-length"]
    headers.append((b"content-length", str(len(mended)).encode()))
    return {**scope, "headers": headers}, _first({"type": "http.request", "body": mended, "more_body": False}, receive)


def _first(message: Message, receive: Receive) -> Receive:
    waiting = [message]

    async def next_message() -> Message:
        return waiting.pop() if waiting else await receive()

    return next_message


def _without_port_zero(body: bytes) -> bytes:
    try:
        told = json.loads(body)
    except ValueError:
        return body
    if isinstance(told, dict) and told.get("conn_type") == "aem_guides" and told.get("port") == 0:
        return json.dumps({**told, "port": None}).encode()
    return body


class TestButtonPlugin(AirflowPlugin):
    """Puts the middleware before Airflow's API."""

    name = "aem_guides_test_button"
    fastapi_root_middlewares = [{"name": name, "middleware": NoPortForZero}]  # noqa: RUF012  # as Airflow declares it
