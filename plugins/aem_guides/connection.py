"""What the Airflow connection of type `aem_guides` says of an instance, checked field by field.

The connection's own fields hold the base URL (host, or schema, host and port) and the login. Its extra fields
are listed in `EXTRA_FIELDS`; none of them ever becomes a header.
"""

from __future__ import annotations

import json
import os
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Protocol
from urllib.parse import SplitResult, unquote, urlsplit

from aem_guides.protocol.credentials import BasicCredentials, BearerCredentials, Credentials
from aem_guides.protocol.errors import ConfigurationError
from aem_guides.protocol.tokens import (
    OAUTH_IMS_URL,
    OAuthCredentials,
    parse_service_credentials,
)

LOCAL_HOSTS = ("localhost", "127.0.0.1", "::1", "[::1]")
START_PAGE = "/aem/start.html"
EXTRA_FIELDS = (
    "auth",
    "token",
    "service_token",
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
    "bulk_processor_page",
)
_STANDARD_PORTS = {"http": 80, "https": 443}


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
    additional trust root. Time-outs are in seconds. `bulk_processor_page` is a path on the instance. `warnings` are
    worth telling, and no error.
    """

    conn_id: str
    base_url: str
    credentials: Credentials = field(repr=False)
    verify: bool = True
    ca_file: str | None = None
    proxy: str | None = field(default=None, repr=False)
    connect_timeout: float = 10.0
    read_timeout: float = 60.0
    bulk_processor_page: str = START_PAGE
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

    @property
    def secrets(self) -> tuple[str, ...]:
        """What must never be shown: of the credentials, and the proxy's password."""
        password = urlsplit(self.proxy).password if self.proxy else None
        return (*self.credentials.secrets, *({password, unquote(password)} if password else ()))


class _Fields:
    """The fields of one connection, read with errors that name them."""

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

    def secret(self, name: str, told: str | None, *, missing: str) -> str:
        """A secret, from the field of this name or from where `told` is. It has no white space in it."""
        value = self.text(name) or (told or "").strip()
        if not value:
            raise self.wrong(name, missing)
        if any(letter.isspace() for letter in value):
            raise self.wrong(name, "It has white space or line breaks in it. Paste it as one line.")
        return value

    def seconds(self, name: str, default: float) -> float:
        value = self.values.get(name)
        if value is None or value == "":
            return default
        try:
            seconds = float(str(value))
        except ValueError:
            seconds = 0.0
        if not 0 < seconds <= 3600:
            raise self.wrong(name, f"{value!r} is not a time in seconds. Give a number above 0, and at most 3600.")
        return seconds

    def flag(self, name: str, default: bool) -> bool:
        value = self.values.get(name)
        if value is None or value == "":
            return default
        known = {"true": True, "false": False, "1": True, "0": False, "yes": True, "no": False}
        if str(value).lower() not in known:
            raise self.wrong(name, f"{value!r} is neither true nor false. Give one of them.")
        return known[str(value).lower()]

    def url(self, name: str, url: str, example: str) -> SplitResult:
        """A URL with http or https and a host, and without white space. It is not shown: it may hold a password."""
        try:
            parts = urlsplit(url)
            known = parts.scheme in _STANDARD_PORTS and bool(parts.hostname) and parts.port != 0
        except ValueError:
            known = False
        if not known or any(letter.isspace() for letter in url):
            raise self.wrong(name, f"It is no URL with a scheme and a host. Give it as in {example}.")
        return parts


def read_connection(connection: ConnectionLike) -> InstanceSettings:
    """Check a connection. Raises ConfigurationError that names the field and the remedy, never a secret."""
    fields = _Fields(connection.conn_id, connection.extra_dejson)
    settings = InstanceSettings(
        conn_id=connection.conn_id,
        base_url=_base_url(connection, fields),
        credentials=_credentials(connection, fields),
        verify=fields.flag("verify", True),
        ca_file=_ca_file(fields),
        proxy=_proxy(fields),
        connect_timeout=fields.seconds("connect_timeout", 10.0),
        read_timeout=fields.seconds("read_timeout", 60.0),
        bulk_processor_page=_bulk_processor_page(fields),
    )
    return replace(settings, warnings=tuple(_warnings(settings, fields)))


def _base_url(connection: ConnectionLike, fields: _Fields) -> str:
    host = (connection.host or "").strip()
    if not host:
        raise fields.wrong("host", "It is empty. Give the base URL, such as https://author.example.com.")
    named = "host" if "://" in host or not connection.schema else "schema"
    url = host if "://" in host else f"{connection.schema or _usual_scheme(host)}://{host}"
    if any(letter.isspace() for letter in url):
        raise fields.wrong(named, "It has white space or line breaks in it. Give https://author.example.com.")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise fields.wrong("host", f"{_shown(url)!r} is no URL. Give it as https://author.example.com:port.") from None
    if parts.scheme not in _STANDARD_PORTS:
        raise fields.wrong(named, f"{parts.scheme!r} is no scheme for it. Use https (or http).")
    if "@" in parts.netloc:
        raise fields.wrong("host", "It holds user information. Remove it, and use the fields login and password.")
    if not parts.hostname or port == 0:
        raise fields.wrong("host", f"{url!r} has no host name. Give the base URL, such as https://author.example.com.")
    if parts.path.strip("/") or parts.query or parts.fragment:
        raise fields.wrong("host", f"Remove what follows the host name ({parts.path or '?'}).")
    name = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    port = _port(connection, fields, port)
    return f"{parts.scheme}://{name}" + (f":{port}" if port and port != _STANDARD_PORTS[parts.scheme] else "")


def _port(connection: ConnectionLike, fields: _Fields, in_url: int | None) -> int | None:
    told = connection.port
    if told is None:
        return in_url
    if not 0 < told < 65536:
        raise fields.wrong("port", f"{told!r} is not a port. Give a number from 1 to 65535, or leave it empty.")
    if in_url is not None and in_url != told:
        raise fields.wrong("port", f"It is {told}, and the base URL says {in_url}. Leave it empty.")
    return told


def _usual_scheme(host: str) -> str:
    """https, except on this machine: the local SDK has no certificate."""
    return "http" if host.split(":")[0] in LOCAL_HOSTS or host in LOCAL_HOSTS else "https"


def _shown(url: str) -> str:
    """A URL without what may be a password in it."""
    return url.rpartition("@")[2]


def _credentials(connection: ConnectionLike, fields: _Fields) -> Credentials:
    kind = fields.text("auth") or ("basic" if connection.login else "bearer")
    if kind not in CREDENTIAL_KINDS:
        raise fields.wrong("auth", f"{kind!r} is not known. Use one of {', '.join(CREDENTIAL_KINDS)}.")
    return CREDENTIAL_KINDS[kind](connection, fields)


def _basic(connection: ConnectionLike, fields: _Fields) -> Credentials:
    if not connection.login:
        raise fields.wrong("login", "It is empty. Give the AEM user, or choose another kind in the field auth.")
    if ":" in connection.login:
        raise fields.wrong("login", "It holds a colon, which basic authentication cannot send. Give the user alone.")
    if not connection.password:
        raise fields.wrong("password", "It is empty. Give the password of the AEM user.")
    for name, told in (("login", connection.login), ("password", connection.password)):
        if set("\r\n") & set(told):
            raise fields.wrong(name, "It has line breaks in it. Paste it as one line.")
    return BasicCredentials(connection.login, connection.password)


def _bearer(connection: ConnectionLike, fields: _Fields) -> Credentials:
    named = "token" if fields.text("token") else "password"
    missing = "It is empty. Give a login and a password, or an access token as token or password."
    token = fields.secret(named, connection.password, missing=missing)
    if not token.isascii():
        raise fields.wrong(named, "The access token has letters that no token has. Paste it again.")
    return BearerCredentials(token)


def _oauth(connection: ConnectionLike, fields: _Fields) -> Credentials:
    missing = "It is empty. Give the {} of the OAuth server-to-server credential."
    client_id = fields.secret("client_id", connection.login, missing=missing.format("client id"))
    client_secret = fields.secret("client_secret", connection.password, missing=missing.format("client secret"))
    scopes = tuple(scope.strip() for scope in (fields.text("scopes") or "").split(",") if scope.strip())
    if any(letter.isspace() for scope in scopes for letter in scope):
        raise fields.wrong("scopes", "Separate the scopes by commas, without line breaks.")
    if not scopes:
        raise fields.wrong("scopes", "It is empty. Give the scopes of the credential, separated by commas.")
    return OAuthCredentials(client_id, client_secret, scopes, _ims_url(fields) or OAUTH_IMS_URL)


def _service_credentials(connection: ConnectionLike, fields: _Fields) -> Credentials:
    named = next((name for name in ("service_token", "service_credentials") if fields.values.get(name)), "password")
    pasted = fields.values.get(named) or connection.password
    if isinstance(pasted, dict):
        pasted = json.dumps(pasted)
    if not isinstance(pasted, str) or not pasted.strip():
        raise fields.wrong("service_token", "It is empty. Paste the JSON document of the Developer Console.")
    try:
        credentials = parse_service_credentials(pasted)
    except ConfigurationError as error:
        raise fields.wrong(named, str(error)) from None
    ims_url = _ims_url(fields)
    return replace(credentials, ims_url=ims_url) if ims_url else credentials


def _ims_url(fields: _Fields) -> str | None:
    url = fields.text("ims_url")
    if url is None:
        return None
    parts = fields.url("ims_url", url, OAUTH_IMS_URL)
    if "@" in parts.netloc or parts.path.strip("/") or parts.query or parts.fragment:
        raise fields.wrong("ims_url", f"Give scheme and host alone, as in {OAUTH_IMS_URL}.")
    return url.rstrip("/")


CREDENTIAL_KINDS: dict[str, Callable[[ConnectionLike, _Fields], Credentials]] = {
    "basic": _basic,
    "bearer": _bearer,
    "oauth": _oauth,
    "service_credentials": _service_credentials,
}


def _ca_file(fields: _Fields) -> str | None:
    file = fields.text("ca_file")
    if file is None:
        return None
    if not os.access(file, os.R_OK):
        raise fields.wrong("ca_file", f"{file!r} cannot be read. Give the path of a PEM file on every worker.")
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cafile=file)
    except (ssl.SSLError, OSError):
        raise fields.wrong("ca_file", f"{file!r} holds no certificate. Give a PEM file.") from None
    return file


def _proxy(fields: _Fields) -> str | None:
    proxy = fields.text("proxy")
    if proxy is not None:
        fields.url("proxy", proxy, "http://proxy.example.com:3128")
    return proxy


def _bulk_processor_page(fields: _Fields) -> str:
    page = fields.text("bulk_processor_page") or START_PAGE
    if not page.startswith("/") or page.startswith("//") or any(letter.isspace() for letter in page):
        raise fields.wrong("bulk_processor_page", "Give its path on the instance, which begins with a slash.")
    return page


def _warnings(settings: InstanceSettings, fields: _Fields) -> list[str]:
    def warning(name: str, text: str) -> str:
        return f"Connection {settings.conn_id}, field {name}: {text}"

    told = []
    if _is_bare(settings.base_url):
        told.append(warning("host", "With http, credentials travel unencrypted. Use https."))
    if _is_bare(fields.text("ims_url") or ""):
        told.append(warning("ims_url", "With http, credentials travel unencrypted. Use https."))
    if not settings.verify:
        told.append(warning("verify", "Without it anybody may pose as the instance. Use ca_file for an own authority."))
    if isinstance(fields.values.get("service_credentials"), str | dict):
        told.append(
            warning("service_credentials", "Airflow shows a field of this name. Move its value to service_token.")
        )
    told += [
        warning(name, "There is no field of this name, and it is not used.")
        for name in fields.values
        if name not in EXTRA_FIELDS
    ]
    return told


def _is_bare(url: str) -> bool:
    parts = urlsplit(url)
    return parts.scheme == "http" and parts.hostname not in LOCAL_HOSTS
