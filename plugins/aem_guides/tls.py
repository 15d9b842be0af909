"""How both bodies check TLS certificates: the same trust roots in either."""

from __future__ import annotations

import os
import ssl
from collections.abc import Callable, Sequence

import certifi
import requests
from requests.adapters import BaseAdapter, HTTPAdapter
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool, PoolManager, ProxyManager
from urllib3.connection import HTTPSConnection

SocketOptions = Sequence[tuple[int, int, int]]


class HandshakeError(ssl.SSLError):
    """TLS could not be agreed on, so that nothing was sent; any other error of TLS may come after the request too."""


class _Connection(HTTPSConnection):
    def connect(self) -> None:
        try:
            super().connect()
        except ssl.SSLError as error:
            raise HandshakeError(*error.args) from error


class _ConnectionPool(HTTPSConnectionPool):
    ConnectionCls = _Connection


_FileVersion = tuple[int, int, int] | None
_kept: dict[tuple[bool, str | None], tuple[_FileVersion, ssl.SSLContext]] = {}


def tls_context(verify: bool, ca_file: str | None) -> ssl.SSLContext:
    """How TLS certificates are checked: by the system's trust roots, the public ones, and those of the CA file.

    Kept, since reading the roots costs 50 ms of processor time each time, until the CA file changes. While one is half
    written, the earlier one counts.
    """
    version, kept = _version(ca_file), _kept.get((verify, ca_file))
    if kept is not None and kept[0] == version:
        return kept[1]
    try:
        context = _new_context(verify, ca_file)
    except (ssl.SSLError, OSError):
        if kept is None:
            raise
        return kept[1]
    _kept[verify, ca_file] = version, context
    return context


def _version(file: str | None) -> _FileVersion:
    """What changes when a file does, also where it is written in place; None where there is none."""
    if file is None:
        return None
    try:
        found = os.stat(file)
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


def _new_context(verify: bool, ca_file: str | None) -> ssl.SSLContext:
    context = ssl.create_default_context()
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        return context
    context.load_verify_locations(cafile=certifi.where())
    if ca_file is not None:
        context.load_verify_locations(cafile=ca_file)
    return context


class TlsAdapter(HTTPAdapter):
    """What requests talks TLS with, directly and through a proxy."""

    def __init__(self, context: ssl.SSLContext, socket_options: SocketOptions) -> None:
        self._context = context
        self._socket_options = socket_options
        super().__init__()

    def init_poolmanager(self, connections: int, maxsize: int, block: bool = False, **kwargs: object) -> None:
        """Every direct connection has the context."""
        kwargs |= {"ssl_context": self._context, "socket_options": self._socket_options}
        super().init_poolmanager(connections, maxsize, block, **kwargs)
        _tell_handshakes_apart(self.poolmanager)

    def proxy_manager_for(self, proxy: str, **kwargs: object) -> ProxyManager:
        """Every connection through a proxy has it too."""
        manager: ProxyManager = super().proxy_manager_for(proxy, **kwargs | {"ssl_context": self._context})
        _tell_handshakes_apart(manager)
        return manager


class TlsSession(requests.Session):
    """A session that reads the trust roots when it first talks TLS: a task that never does need not pay for them.

    :param new_adapter: makes what it talks TLS with.
    """

    def __init__(self, new_adapter: Callable[[], HTTPAdapter]) -> None:
        super().__init__()
        self._new_adapter: Callable[[], HTTPAdapter] | None = new_adapter

    def get_adapter(self, url: str) -> BaseAdapter:
        """What a URL is asked with."""
        if self._new_adapter is not None and url.lower().startswith("https:"):
            self.mount("https://", self._new_adapter())
            self._new_adapter = None
        return super().get_adapter(url)


def _tell_handshakes_apart(manager: PoolManager) -> None:
    manager.pool_classes_by_scheme = {"http": HTTPConnectionPool, "https": _ConnectionPool}
