"""What the Airflow connection of type `aem_guides` says of an instance, checked field by field.

The connection's own fields hold the base URL (host, or schema, host and port) and the login. Its extra fields
are listed in `EXTRA_FIELDS`; none of them ever becomes a header.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Protocol
from urllib.parse import urlsplit

from aem_guides.protocol.credentials import BasicCredentials, BearerCredentials, Credentials
from aem_guides.protocol.errors import ConfigurationError
from aem_guides.protocol.tokens import (
    OAUTH_IMS_URL,
    OAuthCredentials,
    parse_service_credentials,
)

LOCAL_HOSTS = ("localhost", "127.0.0.1", "::1", "[::1]")
EXTRA_FIELDS = (
    "auth",
    "token",
    "service_credentials",
    "client_id",
    "client_secret",
    "scopes",
    "ims_url",
    "verify",
    "ca_file",
    "proxy",
    "connect_timeout",
    "read_timeout",
)


class ConnectionLike(Protocol):
    """The part of an Airflow connection that is read here."""

    conn_id: str
    host: str | None
    schema: str | None
    port: int | None
    login: str | None
    password: str | None

    @property
    def extra_dejson(self) -> dict[str, object]: ...


@dataclass(frozen=True)
class InstanceSettings:
    """How to reach an instance.

    `base_url` has no trailing slash. `verify` is False where TLS certificates are not checked; `ca_file` is an
    additional trust root. Time-outs are in seconds. `warnings` are worth telling, and no error.
    """

    conn_id: str
    base_url: str
    credentials: Credentials = field(repr=False)
    verify: bool = True
    ca_file: str | None = None
    proxy: str | None = field(default=None, repr=False)
    connect_timeout: float = 10.0
    read_timeout: float = 60.0
    warnings: tuple[str, ...] = ()

    @property
    def host(self) -> str:
        """The host name: names the instance in the archive."""
        return urlsplit(self.base_url).hostname or ""

    @property
    def instance(self) -> str:
        """Host name, and port where it is not the usual one: names the instance in the ledger."""
        parts = urlsplit(self.base_url)
        return f"{parts.hostname}:{parts.port}" if parts.port else parts.hostname or ""


class _Extras:
    """The extra fields of one connection, read with errors that name them."""

    def __init__(self, conn_id: str, values: Mapping[str, object]) -> None:
        self.conn_id = conn_id
        self.values = values

    def wrong(self, name: str, remedy: str) -> ConfigurationError:
        return ConfigurationError(f"Connection {self.conn_id}, field {name}: {remedy}")

    def text(self, name: str) -> str | None:
        value = self.values.get(name)
        if value is None or value == "":
            return None
        if not isinstance(value, str):
            raise self.wrong(name, "It must be a text.")
        return value.strip()

    def seconds(self, name: str, default: float) -> float:
        value = self.values.get(name)
        if value is None or value == "":
            return default
        try:
            seconds = float(str(value))
        except ValueError:
            seconds = 0.0
        if not 0 < seconds <= 3600:
            raise self.wrong(name, f"{value!r} is not a time in seconds between 0 and 3600.")
        return seconds

    def flag(self, name: str, default: bool) -> bool:
        value = self.values.get(name)
        if value is None or value == "":
            return default
        known = {"true": True, "false": False, "1": True, "0": False, "yes": True, "no": False}
        if str(value).lower() not in known:
            raise self.wrong(name, f"{value!r} is neither true nor false.")
        return known[str(value).lower()]


def read_connection(connection: ConnectionLike) -> InstanceSettings:
    """Check a connection. Raises ConfigurationError that names the field and the remedy, never a secret."""
    extras = _Extras(connection.conn_id, connection.extra_dejson)
    base_url = _base_url(connection)
    ca_file = extras.text("ca_file")
    if ca_file is not None and not os.access(ca_file, os.R_OK):
        raise extras.wrong("ca_file", f"{ca_file!r} cannot be read. Give the path of a PEM file on every worker.")
    return InstanceSettings(
        conn_id=connection.conn_id,
        base_url=base_url,
        credentials=_credentials(connection, extras),
        verify=extras.flag("verify", True),
        ca_file=ca_file,
        proxy=_proxy(extras),
        connect_timeout=extras.seconds("connect_timeout", 10.0),
        read_timeout=extras.seconds("read_timeout", 60.0),
        warnings=_warnings(connection.conn_id, base_url),
    )


def _base_url(connection: ConnectionLike) -> str:
    host = (connection.host or "").strip()
    where = f"Connection {connection.conn_id}, field host"
    if not host:
        raise ConfigurationError(f"{where}: it is empty. Give the base URL, such as https://author.example.com.")
    url = host if "://" in host else f"{connection.schema or _usual_scheme(host)}://{host}"
    try:
        parts = urlsplit(url)
        port = parts.port or connection.port
    except ValueError:
        raise ConfigurationError(f"{where}: {_shown(url)!r} is not a URL. Give it as https://host:port.") from None
    if parts.scheme not in ("http", "https"):
        raise ConfigurationError(f"{where}: {parts.scheme!r} is no scheme for it. Use https (or http).")
    if parts.username or parts.password:
        raise ConfigurationError(f"{where}: it holds user information. Put it into login and password.")
    if not parts.hostname:
        raise ConfigurationError(
            f"{where}: it has no host name. Give the base URL, such as https://author.example.com."
        )
    if parts.path.strip("/") or parts.query or parts.fragment:
        raise ConfigurationError(f"{where}: remove what follows the host name ({parts.path or '?'}).")
    name = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    standard = {"http": 80, "https": 443}[parts.scheme]
    return f"{parts.scheme}://{name}" + (f":{port}" if port and port != standard else "")


def _usual_scheme(host: str) -> str:
    """https, except on this machine: the local SDK has no certificate."""
    return "http" if host.split(":")[0] in LOCAL_HOSTS or host in LOCAL_HOSTS else "https"


def _shown(url: str) -> str:
    """A URL without what may be a password in it."""
    return url.rpartition("@")[2]


def _credentials(connection: ConnectionLike, extras: _Extras) -> Credentials:
    kind = extras.text("auth") or ("basic" if connection.login else "bearer")
    if kind not in CREDENTIAL_KINDS:
        raise extras.wrong("auth", f"{kind!r} is not known. Use one of {', '.join(CREDENTIAL_KINDS)}.")
    return CREDENTIAL_KINDS[kind](connection, extras)


def _basic(connection: ConnectionLike, extras: _Extras) -> Credentials:
    if not connection.login:
        raise extras.wrong("login", "It is empty. Give the AEM user, or choose another kind in the field auth.")
    if not connection.password:
        raise extras.wrong("password", "It is empty. Give the password of the AEM user.")
    return BasicCredentials(connection.login, connection.password)


def _bearer(connection: ConnectionLike, extras: _Extras) -> Credentials:
    token = extras.text("token") or (connection.password or "").strip()
    if not token:
        raise extras.wrong("password", "It is empty. Give a login and a password, or an access token as password.")
    if any(letter.isspace() for letter in token):
        raise extras.wrong("password", "The access token has white space or line breaks in it. Paste it as one line.")
    return BearerCredentials(token)


def _oauth(connection: ConnectionLike, extras: _Extras) -> Credentials:
    client_id = extras.text("client_id") or connection.login
    client_secret = extras.text("client_secret") or (connection.password or "").strip()
    if not client_id:
        raise extras.wrong("client_id", "It is empty. Give the client id of the OAuth server-to-server credential.")
    if not client_secret:
        raise extras.wrong("client_secret", "It is empty. Give the client secret of the credential.")
    for name, value in (("client_id", client_id), ("client_secret", client_secret)):
        if any(letter.isspace() for letter in value):
            raise extras.wrong(name, "It has white space or line breaks in it. Paste it as one line.")
    scopes = tuple(scope.strip() for scope in (extras.text("scopes") or "").split(",") if scope.strip())
    if any(letter.isspace() for scope in scopes for letter in scope):
        raise extras.wrong("scopes", "Separate the scopes by commas, without line breaks.")
    if not scopes:
        raise extras.wrong("scopes", "It is empty. Give the scopes of the credential, separated by commas.")
    return OAuthCredentials(client_id, client_secret, scopes, _ims_url(extras) or OAUTH_IMS_URL)


def _service_credentials(connection: ConnectionLike, extras: _Extras) -> Credentials:
    pasted = extras.values.get("service_credentials") or connection.password
    if isinstance(pasted, dict):
        pasted = json.dumps(pasted)
    if not isinstance(pasted, str) or not pasted.strip():
        raise extras.wrong("service_credentials", "It is empty. Paste the JSON document of the Developer Console.")
    try:
        credentials = parse_service_credentials(pasted)
    except ConfigurationError as error:
        raise ConfigurationError(f"Connection {extras.conn_id}, field {error}") from None
    ims_url = _ims_url(extras)
    return replace(credentials, ims_url=ims_url) if ims_url else credentials


def _ims_url(extras: _Extras) -> str | None:
    url = extras.text("ims_url")
    if url is not None and urlsplit(url).scheme not in ("http", "https"):
        raise extras.wrong("ims_url", f"It must begin with https://, as in {OAUTH_IMS_URL}.")
    return url.rstrip("/") if url else None


CREDENTIAL_KINDS: dict[str, Callable[[ConnectionLike, _Extras], Credentials]] = {
    "basic": _basic,
    "bearer": _bearer,
    "oauth": _oauth,
    "service_credentials": _service_credentials,
}


def _proxy(extras: _Extras) -> str | None:
    proxy = extras.text("proxy")
    if proxy is not None and urlsplit(proxy).scheme not in ("http", "https"):
        raise extras.wrong("proxy", "It must begin with http:// or https://.")
    return proxy


def _warnings(conn_id: str, base_url: str) -> tuple[str, ...]:
    parts = urlsplit(base_url)
    if parts.scheme == "http" and parts.hostname not in LOCAL_HOSTS:
        return (f"Connection {conn_id} uses http: credentials travel unencrypted. Use https.",)
    return ()
