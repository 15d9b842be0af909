"""Shared parts of the two bodies: the meaning of transport errors, URLs, proxies."""

from __future__ import annotations

import asyncio
import contextlib
import random
import re
import time
from collections.abc import Awaitable, Mapping
from itertools import islice
from typing import TypeVar

import aiohttp
import requests
import urllib3.exceptions
from requests.utils import get_environ_proxies, select_proxy
from typing_extensions import TypeIs

from aem_guides import __version__
from aem_guides.hooks.connection import InstanceSettings
from aem_guides.hooks.connection_fields import is_url
from aem_guides.hooks.patient_sockets import TooSlowError
from aem_guides.hooks.tls import HandshakeError
from aem_guides.protocol.conversation import Conversation, RetrySettings
from aem_guides.protocol.credentials import Credentials, RenewableCredentials
from aem_guides.protocol.errors import ConfigurationError
from aem_guides.protocol.json import clean_text
from aem_guides.protocol.manners import Manners
from aem_guides.protocol.steps import HttpRequest, Reply, Surroundings, TransportFailure

T = TypeVar("T")

USER_AGENT = f"airflow-provider-aem-guides/{__version__}"
LONGEST_ERROR_BODY = 64 * 1024
LONGEST_HEADER = 64 * 1024
MANNERS: dict[str, Manners] = {}
"""By base URL."""


async def wait_for(what: Awaitable[object], seconds: float) -> object:
    """Await something for at most so many seconds. Raises TimeoutError.

    `asyncio.wait_for` of Python 3.11 loses a cancellation that arrives together with the result, so a killed task would
    continue.
    """
    async with asyncio.timeout(seconds):
        return await what


REAL_SURROUNDINGS = Surroundings(
    now=time.time,
    random=random.random,
    elapsed=time.monotonic,
    sleep=time.sleep,
    asleep=asyncio.sleep,
    wait_for=wait_for,
)


def surroundings() -> Surroundings:
    """The real surroundings. Callers read them at each use and do not keep them, so that a test can replace them."""
    return REAL_SURROUNDINGS


async def whole(asking: Awaitable[T]) -> T:
    """Send a request to Airflow, and let a cancellation take effect only after the answer.

    Otherwise, in a worker of Airflow 3.3.2, the next request would get the answer of the interrupted one.
    """
    asked = asyncio.ensure_future(asking)
    try:
        return await asyncio.shield(asked)
    except asyncio.CancelledError:
        while not asked.done():
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.wait({asked})
        with contextlib.suppress(asyncio.CancelledError):
            asked.exception()
        raise


def new_conversation(settings: InstanceSettings, retries: RetrySettings | None) -> Conversation:
    """A conversation with the instance, in the real surroundings."""
    return Conversation(
        surroundings(),
        retries=retries,
        secrets=settings.secrets,
        login_remedy=settings.login_remedy,
        manners=manners_for(settings),
    )


def manners_for(settings: InstanceSettings) -> Manners:
    """The rate limit of this process for the instance, shared by all of its tasks."""
    manners = MANNERS.setdefault(settings.base_url, Manners())
    manners.rate = settings.requests_per_second
    return manners


def absolute_url(settings: InstanceSettings, request: HttpRequest) -> str:
    """The request's URL. Its target is already encoded."""
    return request.target if request.is_elsewhere else settings.base_url + request.target


def proxy_for(settings: InstanceSettings, url: str) -> str | None:
    """The proxy of the connection or, without one, of the environment.

    Both bodies read HTTPS_PROXY, HTTP_PROXY, ALL_PROXY and NO_PROXY as requests does. Raises ConfigurationError, which
    does not show the proxy, because it may contain a password.
    """
    if settings.proxy is not None:
        return settings.proxy
    found: str | None = select_proxy(url, get_environ_proxies(url))
    if not found:
        return None
    proxy = found if "://" in found else f"http://{found}"
    if not is_url(proxy):
        raise ConfigurationError(_ODD_PROXY)
    return proxy


def headers_of(fields: Mapping[str, str]) -> dict[str, str]:
    """The header fields of an answer, by lower-case names. Their bytes may not be valid text."""
    return {name.lower(): clean_text(value, LONGEST_HEADER) for name, value in fields.items()}


def reply_of(status: int, headers: dict[str, str], body: bytes, largest: int) -> Reply:
    """The answer. Of a body that is too large, only the beginning."""
    if len(body) <= largest:
        return Reply(status, headers, body)
    return Reply(status, headers, body[:LONGEST_ERROR_BODY], too_large=True)


def requests_failure(error: requests.RequestException) -> TransportFailure:
    """Turn an exception of requests into a TransportFailure. `sent` is False only if no connection was made.

    A failed TLS handshake counts as that. Any other TLS error may follow a sent request.
    """
    reason = error.args[0] if error.args else error
    cause = getattr(reason, "reason", reason)
    if isinstance(slow := getattr(cause, "__cause__", None), TooSlowError):  # urllib3's for a read
        cause = TimeoutError(str(slow))
    unsent = (
        requests.ConnectTimeout,
        requests.exceptions.ProxyError,
        requests.exceptions.InvalidURL,
    )
    sent = not (
        isinstance(error, unsent)
        or isinstance(cause, urllib3.exceptions.NewConnectionError | urllib3.exceptions.ConnectTimeoutError)
        or (isinstance(cause, urllib3.exceptions.SSLError) and isinstance(cause.args[0], HandshakeError))
    )
    return TransportFailure(_reason(cause), sent)


def aiohttp_failure(error: Exception) -> TransportFailure:
    """Turn an exception of aiohttp into a TransportFailure. `sent` is False only if no connection was made."""
    unsent = (
        aiohttp.ClientConnectorError,
        aiohttp.ClientHttpProxyError,
        aiohttp.ConnectionTimeoutError,
        aiohttp.InvalidURL,
    )
    return TransportFailure(_reason(error), not isinstance(error, unsent))


def is_distrust(error: Exception) -> bool:
    """Whether it is a TLS error. The trust roots may have been renewed since, and a session keeps its old ones."""
    return isinstance(error, requests.exceptions.SSLError | aiohttp.ClientSSLError)


_LOGIN_IN_URL = re.compile(r"//[^/\s]*@")
"""Errors show the proxy's URL, and a password in a proxy of the environment is not among the known secrets."""
_ODD_PROXY = (
    "The proxy of the environment (HTTPS_PROXY, HTTP_PROXY or ALL_PROXY) is not a URL with a host. Give a URL such as "
    "http://proxy.example.com:3128. Characters such as # and / in its password must be percent-encoded."
)
_NOBODY = (
    "Nothing listens there. Check host and port in the field host (for the identity service: in the field ims_url), "
    "and whether the server is running."
)
_REMEDIES = {
    "certificate has expired": "The TLS certificate of the instance has expired. It must be renewed there.",
    "self-signed certificate": "The field ca_file takes a PEM file with the authority that signed it.",
    "unable to get local issuer": "The field ca_file takes a PEM file with the authority that signed it.",
    "mismatch": "The TLS certificate is for another host name: check the field host.",
    "wrong_version_number": "What listens there does not speak TLS: check scheme and port in the field host.",
    "name or service not known": "Check the host name in the field host, or set the field proxy.",
    "name resolution": "Check the host name in the field host, or set the field proxy.",
    "proxy": "Check the field proxy of the connection, or HTTP_PROXY and HTTPS_PROXY in the environment.",
    "connection refused": _NOBODY,
    "connect call failed": _NOBODY,
}


def _reason(error: object) -> str:
    """The error with its kind, and the remedy if it is known."""
    text = _LOGIN_IN_URL.sub("//***@", str(error))
    name = type(error).__name__
    shown = f"{name}: {text}" if text and text != name else name
    remedies = (remedy for sign, remedy in _REMEDIES.items() if sign in shown.lower())
    return " ".join([shown, *islice(remedies, 1)]) if shown[-1:] == "." else ". ".join([shown, *islice(remedies, 1)])


def is_renewable(credentials: Credentials) -> TypeIs[RenewableCredentials]:
    """Whether these credentials fetch a token that expires, instead of being sent themselves."""
    return hasattr(credentials, "obtain")


def token_in(headers: Mapping[str, str] | None) -> str | None:
    """The token in these header fields."""
    return headers.get("Authorization", "").rpartition(" ")[2] if headers else None


def unknown_connection(conn_id: str) -> ConfigurationError:
    """The error for a connection id that Airflow does not know."""
    return ConfigurationError(
        f"connection_id: {conn_id!r} is not an Airflow connection. Create it under Admin > Connections with type "
        f"aem_guides, or set the environment variable AIRFLOW_CONN_{conn_id.upper()}."
    )
