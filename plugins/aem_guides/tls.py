"""How both bodies check TLS certificates: the same trust roots in either."""

from __future__ import annotations

import functools
import ssl
from collections.abc import Sequence

import certifi
from requests.adapters import HTTPAdapter
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


@functools.lru_cache(maxsize=8)
def tls_context(verify: bool, ca_file: str | None) -> ssl.SSLContext:
    """How TLS certificates are checked: by the system's trust roots, the public ones, and those of the CA file.

    Kept, since reading the roots costs 50 ms of processor time each time.
    """
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


def _tell_handshakes_apart(manager: PoolManager) -> None:
    manager.pool_classes_by_scheme = {"http": HTTPConnectionPool, "https": _ConnectionPool}
