"""HTTP answers that go wrong on purpose, down to the connection they travel on."""

from __future__ import annotations

import asyncio
import socket
import struct
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

_TRANSPORT = "emulator_transport"


class OpenProtocol(H11Protocol):
    """Uvicorn's HTTP protocol, which also hands its transport to the application."""

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self.app_state = {**self.app_state, _TRANSPORT: transport}


def reset(scope: Scope) -> None:
    """Reset the connection: the peer sees it end without a word."""
    transport: asyncio.Transport = scope["state"][_TRANSPORT]
    connection = transport.get_extra_info("socket")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()


class ResetResponse(Response):
    """No answer: the connection is reset."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        reset(scope)


class TornResponse(Response):
    """An answer whose body ends in the middle, with the connection."""

    def __init__(self, whole: bytes, media_type: str | None) -> None:
        super().__init__(whole, media_type=media_type)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = bytes(self.body)
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        await send({"type": "http.response.body", "body": body[: len(body) // 2], "more_body": True})
        await asyncio.sleep(0.05)
        scope["state"][_TRANSPORT].abort()


async def until_client_leaves(request: Request) -> None:
    """Wait until the client has closed the connection."""
    while not await request.is_disconnected():  # noqa: ASYNC110  # Starlette has no event for it
        await asyncio.sleep(0.05)
