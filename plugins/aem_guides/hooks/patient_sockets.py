"""Sockets with a time limit for the whole answer.

The time-out of a socket begins again with every byte: an answer that trickles would never end.
"""

from __future__ import annotations

import io
import logging
import socket
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, cast

from urllib3 import HTTPConnectionPool, HTTPResponse, HTTPSConnectionPool
from urllib3.connection import HTTPConnection

from aem_guides.hooks.tls import HandshakeConnection
from aem_guides.protocol.limits import too_slow

_OURS = ContextVar("_OURS", default=False)


class _NoHeaders(logging.Filter):
    """A log filter that drops urllib3's warnings about unreadable header fields: they show all fields in full."""

    def filter(self, record: logging.LogRecord) -> bool:
        return not _OURS.get()


logging.getLogger("urllib3.connection").addFilter(_NoHeaders())


class TooSlowError(TimeoutError):
    """The answer took too long as a whole. The time-out of a socket does not detect that."""


@dataclass
class Watch:
    """The remaining time of the answer that is being received.

    :param elapsed: a monotonic clock, in seconds.
    """

    elapsed: Callable[[], float]
    _ends: float = float("inf")
    _seconds: float = field(default=0.0)

    def begin(self, seconds: float) -> None:
        """Start the limit: so many seconds are left from now on."""
        self._seconds, self._ends = seconds, self.elapsed() + seconds

    def left(self) -> float:
        """The remaining seconds. Raises TooSlowError if none are left."""
        left = self._ends - self.elapsed()
        if left <= 0:
            raise TooSlowError(too_slow(self._seconds))
        return left


class _PatientReader(io.RawIOBase):
    """Reads from a socket until the time of its watch is over."""

    def __init__(self, sock: socket.socket, raw: io.RawIOBase, watch: Watch) -> None:
        super().__init__()
        self._sock = sock
        self._raw = raw
        self._watch = watch

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:  # a buffer of any kind, as io has it
        left, usual = self._watch.left(), self._sock.gettimeout()
        self._sock.settimeout(min(left, usual) if usual is not None else left if left < float("inf") else None)
        try:
            return self._raw.readinto(buffer)
        except TimeoutError:
            self._watch.left()
            raise
        finally:
            if self._sock.fileno() >= 0:
                self._sock.settimeout(usual)

    def close(self) -> None:
        if not self.closed:
            self._raw.close()
        super().close()


class PatientSocket:
    """A connected socket whose files are read within the time of a watch. All other attributes are the socket's own."""

    def __init__(self, sock: socket.socket, watch: Watch) -> None:
        self._sock = sock
        self._watch = watch

    def __getattr__(self, name: str) -> Any:  # whatever the socket has
        return getattr(self._sock, name)

    def makefile(self, _mode: str = "rb", _buffering: int = -1) -> io.BufferedReader:
        """The file from which http.client reads an answer."""
        raw = self._sock.makefile("rb", buffering=0)
        return io.BufferedReader(_PatientReader(self._sock, raw, self._watch))


def pools_by(watch: Watch) -> dict[str, type[HTTPConnectionPool]]:
    """Connection pools that obey a watch."""

    class Patient(HTTPConnection):
        _was_connected = False

        def connect(self) -> None:
            self._was_connected = False
            super().connect()
            self._was_connected = True
            self.sock = cast("socket.socket", PatientSocket(self.sock, watch))

        @property
        def has_connected_to_proxy(self) -> bool:
            """True also after the connection was closed: a failure after the request was sent is not a failure to
            connect."""
            return self._was_connected or super().has_connected_to_proxy

        def _tunnel(self) -> None:
            plain = self.sock
            self.sock = cast("socket.socket", PatientSocket(plain, watch))
            try:
                super()._tunnel()
            finally:
                if self.sock is not None:
                    self.sock = plain

        def getresponse(self) -> HTTPResponse:  # type: ignore[override]  # as urllib3 has it
            ours = _OURS.set(True)
            try:
                return super().getresponse()
            finally:
                _OURS.reset(ours)

    class Plain(Patient):
        pass

    class Secure(Patient, HandshakeConnection):
        pass

    class PlainPool(HTTPConnectionPool):
        ConnectionCls = Plain

    class SecurePool(HTTPSConnectionPool):
        ConnectionCls = Secure

    return {"http": PlainPool, "https": SecurePool}
