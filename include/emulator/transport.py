"""HTTP answers that fail on purpose, down to their connection."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Awaitable, Callable
from email.utils import formatdate
from typing import Any

from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

_TRANSPORT = "emulator_transport"
_MISSING_BYTES = 64
_LONGEST_DRAIN_SECONDS = 5.0
_MOMENT_SECONDS = 0.05
_SLOW_BLOCK = 64 * 1024


class OpenProtocol(H11Protocol):
    """Uvicorn's HTTP protocol, which also gives the application access to its transport."""

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self.app_state = {**self.app_state, _TRANSPORT: transport}
        # asyncio does not set it for a listener that we made ourselves: every answer would wait 40 ms.
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


class Dated:
    """Adds a `Date` header to every answer. `now` gives seconds since the epoch."""

    def __init__(self, app: ASGIApp, now: Callable[[], float]) -> None:
        self.app = app
        self.now = now

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_dated(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message)["date"] = formatdate(self.now(), usegmt=True)
            await send(message)

        await self.app(scope, receive, send_dated)


def transport_of(scope: Scope) -> asyncio.Transport:
    """The transport of a request."""
    transport: asyncio.Transport = scope["state"][_TRANSPORT]
    return transport


async def reset(scope: Scope) -> None:
    """Reset the connection: the client sees it end without an answer."""
    transport = transport_of(scope)
    connection = transport.get_extra_info("socket")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()
    await asyncio.sleep(_MOMENT_SECONDS)  # the server must notice the end before the application's call ends


class ResetResponse(Response):
    """No answer: the connection is reset. Its status is 0."""

    def __init__(self) -> None:
        super().__init__(status_code=0)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await reset(scope)


class _CutError(Exception):
    """Ends an answer in the middle."""


class TornResponse(Response):
    """An answer that announces more than it sends. A reset ends it in the middle of its body."""

    def __init__(self, whole: Response) -> None:
        super().__init__(status_code=whole.status_code)
        self._whole = whole
        self._left = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def cut(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                size = int(headers.get("content-length", "0"))
                self._left = size // 2
                headers["content-length"] = str(size + _MISSING_BYTES)
                await send(message)
                return
            block = bytes(message.get("body", b""))[: self._left]
            self._left -= len(block)
            await send({"type": "http.response.body", "body": block, "more_body": True})
            if self._left <= 0:
                raise _CutError

        try:
            await self._whole(scope, receive, cut)
        except _CutError:
            await _drain(scope["state"][_TRANSPORT])
            await reset(scope)
        finally:
            await clean_up(self._whole)


class SlowResponse(Response):
    """An answer whose body pauses before every block (at most 64 KiB) but the first."""

    def __init__(self, whole: Response, pause: Callable[[], Awaitable[None]]) -> None:
        super().__init__(status_code=whole.status_code)
        self._whole = whole
        self._pause = pause

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        first = True

        async def send_slowly(message: Message) -> None:
            nonlocal first
            body = bytes(message.get("body", b""))
            if message["type"] != "http.response.body" or not body:
                await send(message)
                return
            for start in range(0, len(body), _SLOW_BLOCK):
                if not first:
                    await self._pause()
                first = False
                more = bool(message.get("more_body")) or start + _SLOW_BLOCK < len(body)
                block = body[start : start + _SLOW_BLOCK]
                await send({"type": "http.response.body", "body": block, "more_body": more})

        await self._whole(scope, receive, send_slowly)


async def _drain(transport: asyncio.Transport) -> None:
    """Wait until the written data has been sent, because a reset discards unsent data."""
    loop = asyncio.get_running_loop()
    ends = loop.time() + _LONGEST_DRAIN_SECONDS
    while transport.get_write_buffer_size() and loop.time() < ends:  # noqa: ASYNC110  # a transport has no event for it
        await asyncio.sleep(_MOMENT_SECONDS)
    await asyncio.sleep(_MOMENT_SECONDS)


async def clean_up(response: Response) -> None:
    """Run the background task of an answer that is not sent."""
    if response.background is not None:
        background, response.background = response.background, None
        await background()


async def whole_body(response: Response, request: Request) -> bytes:
    """The complete body of an answer."""
    blocks: list[bytes] = []

    async def collect(message: Message) -> None:
        blocks.append(bytes(message.get("body", b"")))

    await response(request.scope, request.receive, collect)
    return b"".join(blocks)


async def until_client_leaves(request: Request) -> None:
    """Wait until the client has closed the connection."""
    while not await request.is_disconnected():  # noqa: ASYNC110  # Starlette has no event for it
        await asyncio.sleep(_MOMENT_SECONDS)
