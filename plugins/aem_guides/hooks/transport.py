"""HTTP sessions of the two bodies: they read the trust roots late, and limit the time and the size of answers."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from http.cookiejar import Cookie, DefaultCookiePolicy
from http.cookies import BaseCookie
from typing import TypeVar, cast
from urllib.request import Request

import aiohttp
import requests
import yarl
from requests.adapters import BaseAdapter, HTTPAdapter
from urllib3 import HTTPConnectionPool, PoolManager, ProxyManager
from urllib3.exceptions import DecodeError, ProtocolError, ReadTimeoutError, SSLError

from aem_guides.hooks.bodies import USER_AGENT, surroundings
from aem_guides.hooks.connection import InstanceSettings
from aem_guides.hooks.patient_sockets import Watch, pools_by
from aem_guides.hooks.tls import tls_context
from aem_guides.protocol.limits import too_slow

T = TypeVar("T")
BLOCK_BYTES = 64 * 1024
SocketOptions = Sequence[tuple[int, int, int]]

_LOGINS = frozenset({"login-token"})
"""Cookies that log in. They would still be sent after the credentials have changed."""
COOKIES: dict[str, InstanceCookies] = {}
"""By base URL. All tasks of a process reach the same pod, and see the same data."""


_ANY = yarl.URL()


class InstanceCookies(aiohttp.CookieJar):
    """Sends the cookies of an instance, such as the one that selects the pod, but no login."""

    def filter_cookies(self, request_url: yarl.URL = _ANY) -> BaseCookie[str]:
        """The cookies for a request."""
        found = super().filter_cookies(request_url)
        for name in _LOGINS:
            found.pop(name, None)
        return found


class _NoLogins(DefaultCookiePolicy):
    """The same for the blocking body."""

    def set_ok(self, cookie: Cookie, request: Request) -> bool:
        return cookie.name not in _LOGINS and super().set_ok(cookie, request)


class PatientAdapter(HTTPAdapter):
    """The transport adapter of requests, direct and through a proxy: every connection obeys the watch.

    :param context: the TLS check; None if no TLS is used.
    """

    def __init__(self, watch: Watch, socket_options: SocketOptions, context: ssl.SSLContext | None = None) -> None:
        self._pools: Mapping[str, type[HTTPConnectionPool]] = pools_by(watch)
        self._socket_options = socket_options
        self._checks = {"ssl_context": context} if context is not None else {}
        super().__init__()

    def init_poolmanager(self, connections: int, maxsize: int, block: bool = False, **kwargs: object) -> None:
        """Gives the context to every direct connection."""
        kwargs |= {"socket_options": self._socket_options, **self._checks}
        super().init_poolmanager(connections, maxsize, block, **kwargs)
        self._go_by_the_watch(self.poolmanager)

    def proxy_manager_for(self, proxy: str, **kwargs: object) -> ProxyManager:
        """Gives the context to every connection through a proxy."""
        manager: ProxyManager = super().proxy_manager_for(proxy, **kwargs | self._checks)
        self._go_by_the_watch(manager)
        return manager

    def _go_by_the_watch(self, manager: PoolManager) -> None:
        manager.pool_classes_by_scheme = dict(self._pools)


class TlsSession(requests.Session):
    """A session that reads the trust roots at its first TLS connection, so that tasks without TLS do not pay for them.

    :param new_adapter: makes the adapter for TLS.
    """

    def __init__(self, new_adapter: Callable[[], HTTPAdapter]) -> None:
        super().__init__()
        self._new_adapter: Callable[[], HTTPAdapter] | None = new_adapter

    def get_adapter(self, url: str) -> BaseAdapter:
        """The adapter for a URL."""
        if self._new_adapter is not None and url.lower().startswith("https:"):
            self.mount("https://", self._new_adapter())
            self._new_adapter = None
        return super().get_adapter(url)

    def get_redirect_target(self, resp: requests.Response) -> str | None:
        """None: redirects are not followed, and requests would raise an error for a `Location` that is not text."""
        return None


def new_session(settings: InstanceSettings, watch: Watch, socket_options: SocketOptions) -> requests.Session:
    """A session of the blocking body that obeys a watch."""

    def secure() -> HTTPAdapter:
        return PatientAdapter(watch, socket_options, tls_context(settings.verify, settings.ca_file))

    session = TlsSession(secure)
    session.mount("http://", PatientAdapter(watch, socket_options))
    session.trust_env = False
    session.cookies.set_policy(_NoLogins())
    session.headers["User-Agent"] = USER_AGENT
    session.verify = settings.verify
    return session


async def new_client(settings: InstanceSettings) -> aiohttp.ClientSession:
    """A session of the asynchronous body."""
    context = await asyncio.to_thread(tls_context, settings.verify, settings.ca_file)
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(ssl=context),
        timeout=aiohttp.ClientTimeout(
            total=None, sock_connect=settings.connect_timeout, sock_read=settings.read_timeout
        ),
        headers={"User-Agent": USER_AGENT},
        cookie_jar=_cookies_of(settings.base_url),
    )


def _cookies_of(base_url: str) -> InstanceCookies:
    if base_url not in COOKIES:
        COOKIES[base_url] = InstanceCookies(unsafe=True, quote_cookie=False)  # hosts may be addresses
    return COOKIES[base_url]


def read_body(response: requests.Response, largest: int) -> bytes:
    """The unpacked body, or more than `largest` bytes of a larger one. Raises requests.RequestException."""
    gathered = bytearray()
    while len(gathered) <= largest and (block := next_block(response)):
        gathered += block
    return bytes(gathered)


def next_block(response: requests.Response) -> bytes:
    """The next part of the unpacked body, at most 64 KiB; b"" at its end. Raises requests.RequestException."""
    with _errors_of_requests():
        return bytes(response.raw.read1(BLOCK_BYTES, decode_content=True))


@contextmanager
def _errors_of_requests() -> Iterator[None]:
    """Turn errors of urllib3 into those that requests raises when it reads a body itself."""
    try:
        yield
    except ProtocolError as error:
        raise requests.exceptions.ChunkedEncodingError(error) from error
    except DecodeError as error:
        raise requests.exceptions.ContentDecodingError(error) from error
    except ReadTimeoutError as error:
        raise requests.exceptions.ConnectionError(error) from error
    except SSLError as error:
        raise requests.exceptions.SSLError(error) from error
    except TimeoutError as error:
        raise requests.exceptions.ConnectionError(error) from error


async def aread_body(response: aiohttp.ClientResponse, largest: int) -> bytes:
    """The unpacked body, or more than `largest` bytes of a larger one. Raises aiohttp.ClientError."""
    gathered = bytearray()
    while len(gathered) <= largest and (block := await response.content.read(BLOCK_BYTES)):
        gathered += block
    return bytes(gathered)


async def in_time(what: Awaitable[T], seconds: float) -> T:
    """Await something. Raises TimeoutError if it takes longer than so many seconds."""
    try:
        return cast("T", await surroundings().wait_for(what, seconds))
    except TimeoutError as error:
        # The time-out of a socket has its own text.
        raise error if str(error) else TimeoutError(too_slow(seconds)) from None
