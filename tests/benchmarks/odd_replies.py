"""A server on loopback whose every reply is odd in one way or another, by a seed."""

from __future__ import annotations

import asyncio
import gzip
import json
import random
import zlib
from collections.abc import Callable
from multiprocessing.connection import Connection

FIELDS = (
    "processingId",
    "status",
    "path",
    "excludedPaths",
    "triggeredCount",
    "startedAt",
    "completedAt",
    "migrationSet",
    "totalFiles",
    "eta",
    "comments",
    "filter",
    "executionHistory",
    "lines",
    "hasMore",
    "assets",
    "jobId",
    "token",
    "logFilePaths",
    "access_token",
)
TEXTS = ("", "RUNNING", "SUCCESS", "\x00", "\ud83d", "é" * 50, "a" * 20_000, "/content/dam/a", "\x1b[2J", "﻿")
NUMBERS = (0, -1, 7, 2**31, 2**63, 10**40, 10**400, 1.5, 1e308, float("nan"), float("inf"))
STATUSES = (200, 200, 200, 200, 201, 204, 301, 302, 400, 401, 403, 404, 406, 409, 421, 429, 500, 502, 503, 599)
TYPES = (
    "application/json",
    "application/json;charset=ISO-8859-1",
    "application/json; charset=utf-16",
    "application/json; charset=rot13",
    "application/json; charset=klingon",
    "text/html",
    "application/zip",
    "",
)


class Odd:
    """Makes replies."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)

    def reply(self) -> bytes:
        """The bytes of one reply; the connection ends behind them."""
        body = self._body()
        head = [f"HTTP/1.1 {self.chance.choice(STATUSES)} {self.chance.choice(('OK', '', 'Odd '))}".encode()]
        if kind := self.chance.choice(TYPES):
            head.append(f"Content-Type: {kind}".encode())
        head += [self._header() for _ in range(self.chance.choice((0, 0, 1, 3)))]
        encoding, body = self._packed(body)
        head += encoding
        framing, body = self._framed(body)
        return b"\r\n".join([*head, *framing, b"Connection: close", b"", b""]) + body

    def _value(self, depth: int = 3) -> object:
        kind = self.chance.randrange(8 if depth else 5)
        if kind < 2:
            return self.chance.choice(TEXTS)
        if kind == 2:
            return self.chance.choice(NUMBERS)
        if kind < 5:
            return self.chance.choice((None, True, False))
        if kind == 5:
            return [self._value(depth - 1) for _ in range(self.chance.randrange(4))]
        return {self.chance.choice(FIELDS): self._value(depth - 1) for _ in range(self.chance.randrange(6))}

    def _body(self) -> bytes:
        made: list[Callable[[], bytes]] = [self._json] * 8
        made += [
            lambda: self.chance.randbytes(self.chance.randrange(3_000)),
            lambda: b"<html><title>Sign in</title>" + self.chance.randbytes(50),
            lambda: b"[" * self.chance.choice((10, 5_000, 200_000)),
            lambda: b"PK\x03\x04" + self.chance.randbytes(200),
            lambda: b"",
            lambda: b"\xef\xbb\xbf" + self._json(),
            lambda: self._json().decode().encode("utf-16"),
            lambda: json.dumps({"lines": ["a" * self.chance.choice((10, 300_000))] * 5}).encode(),
        ]
        body = self.chance.choice(made)()
        return body[: self.chance.randrange(len(body) + 1)] if self.chance.random() < 0.1 else body

    def _json(self) -> bytes:
        fields = {name: self._value() for name in self.chance.sample(FIELDS, self.chance.randrange(len(FIELDS)))}
        return json.dumps(fields).encode()

    def _header(self) -> bytes:
        return self.chance.choice(
            (
                b"Date: Thu, 99 Foo 10000 99:99:99 GMT",
                b"Retry-After: " + self.chance.choice((b"120", b"-5", b"9" * 400, b"soon", b"\xff")),
                b"Location: \xc3\xa9\xff/login",
                b"X-Odd: " + self.chance.randbytes(20).replace(b"\r", b"").replace(b"\n", b""),
                b"Content-Disposition: attachment; filename=\x80\x81",
                b"No colon at all",
                b"X-Long: " + b"a" * self.chance.choice((10, 9_000, 70_000)),
            )
        )

    def _packed(self, body: bytes) -> tuple[list[bytes], bytes]:
        kind = self.chance.randrange(10)
        if kind == 0:
            return [b"Content-Encoding: gzip"], gzip.compress(body)
        if kind == 1:
            return [b"Content-Encoding: gzip"], body
        if kind == 2:
            return [b"Content-Encoding: deflate"], zlib.compress(body)
        if kind == 3:
            return [b"Content-Encoding: gzip, gzip"], gzip.compress(gzip.compress(body))
        return [], body

    def _framed(self, body: bytes) -> tuple[list[bytes], bytes]:
        kind = self.chance.randrange(12)
        if kind == 0:
            return [b"Transfer-Encoding: chunked"], b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)
        if kind == 1:
            return [b"Transfer-Encoding: chunked"], self.chance.choice((b"-5\r\nabcde\r\n", b"zz\r\n", b"ffffff\r\na"))
        if kind == 2:
            return [b"Content-Length: " + str(len(body) + 10).encode()], body
        if kind == 3:
            return [b"Content-Length: " + self.chance.choice((b"-1", b"x", b"9" * 30, b"1, 2"))], body
        if kind == 4:
            return [], body
        return [b"Content-Length: " + str(len(body)).encode()], body


def serve(told: Connection, seed: int) -> None:
    """Serve for ever; tells its port first."""
    asyncio.run(_serve(told, Odd(seed)))


async def _serve(told: Connection, odd: Odd) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            for line in head.lower().split(b"\r\n"):
                if line.startswith(b"content-length:"):
                    await reader.readexactly(int(line.split(b":")[1]))
            if odd.chance.random() < 0.02:
                writer.transport.abort()
                return
            writer.write(odd.reply())
            await writer.drain()
        except (OSError, asyncio.IncompleteReadError):
            return
        finally:
            writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0, backlog=512)
    told.send(server.sockets[0].getsockname()[1])
    await server.serve_forever()
