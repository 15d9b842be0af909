"""Answers that do not end, or not in time: a trickle, a flood, invalid chunks."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Awaitable, Callable, Sequence
from functools import cache

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from emulator.transport import reset, transport_of

ENDLESS_FAULTS = ("trickle", "trickle_headers", "trickle_status", "gzip_bomb", "endless_body", "broken_chunks")
BOMB_BYTES = 600_000_000
_BLOCK = b"[" * 65_536
_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"
_FIELD = b"x-a: b\r\n"
_MOST = 1_000_000
"""Parts of an endless answer. After that many parts it ends nevertheless."""


def endless(kind: str, pause: Callable[[], Awaitable[None]]) -> Response:
    """An answer of one of the kinds. A trickle pauses after every byte of its body, header fields or status line."""
    if kind == "gzip_bomb":
        headers = {"content-encoding": "gzip", "content-type": "application/json"}
        return Response(_bomb(), 200, headers)
    return _Raw(_RAW[kind], pause)


@cache
def _bomb() -> bytes:
    packer = zlib.compressobj(9, wbits=31)
    return b"".join(packer.compress(_BLOCK) for _ in range(BOMB_BYTES // len(_BLOCK))) + packer.flush()


class _Raw(Response):
    """Raw bytes, until the connection closes."""

    def __init__(
        self,
        write: Callable[[asyncio.Transport, Callable[[], Awaitable[None]]], Awaitable[None]],
        pause: Callable[[], Awaitable[None]],
    ) -> None:
        super().__init__(status_code=200)
        self._write = write
        self._pause = pause

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._write(transport_of(scope), self._pause)
        await reset(scope)


async def _trickle(transport: asyncio.Transport, pause: Callable[[], Awaitable[None]]) -> None:
    transport.write(_HEAD + b"content-length: 1000000\r\n\r\n{")
    await _repeat(transport, (b" ",), pause)


async def _headers(transport: asyncio.Transport, pause: Callable[[], Awaitable[None]]) -> None:
    transport.write(_HEAD)
    await _repeat(transport, [bytes([byte]) for byte in _FIELD], pause)


async def _status_line(transport: asyncio.Transport, pause: Callable[[], Awaitable[None]]) -> None:
    transport.write(b"HTTP/1.1 200 O")
    await _repeat(transport, (b"K",), pause)


async def _flood(transport: asyncio.Transport, _pause: Callable[[], Awaitable[None]]) -> None:
    transport.write(_HEAD + b"transfer-encoding: chunked\r\n\r\n")

    async def drained() -> None:
        while transport.get_write_buffer_size() and not transport.is_closing():  # noqa: ASYNC110  # it has no event
            await asyncio.sleep(0.001)

    await _repeat(transport, (b"10000\r\n" + _BLOCK + b"\r\n",), drained)


async def _chunks(transport: asyncio.Transport, _pause: Callable[[], Awaitable[None]]) -> None:
    transport.write(_HEAD + b"transfer-encoding: chunked\r\n\r\n-5\r\n[[[[[\r\n")
    await asyncio.sleep(0.05)


async def _repeat(transport: asyncio.Transport, parts: Sequence[bytes], pause: Callable[[], Awaitable[None]]) -> None:
    for number in range(_MOST):
        if transport.is_closing():
            return
        transport.write(parts[number % len(parts)])
        await pause()


_RAW = {
    "trickle": _trickle,
    "trickle_headers": _headers,
    "trickle_status": _status_line,
    "endless_body": _flood,
    "broken_chunks": _chunks,
}
