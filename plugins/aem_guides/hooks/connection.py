"""Read the Airflow connection of type `aem_guides` and check it field by field.

The connection's own fields hold the base URL (host, or schema, host and port) and the login. `EXTRA_FIELDS` lists its
extra fields. None of them ever becomes a header.
"""

from __future__ import annotations

import os
import re
import ssl
from dataclasses import dataclass, field, replace
from urllib.parse import SplitResult, unquote, urlsplit

from aem_guides.hooks.connection_fields import STANDARD_PORTS, ConnectionLike, Fields, is_host
from aem_guides.hooks.logins import login_remedy, read_credentials
from aem_guides.protocol.credentials import BasicCredentials, Credentials
from aem_guides.protocol.errors import AuthenticationError, ConfigurationError
from aem_guides.protocol.manners import REQUESTS_PER_SECOND

CONNECTION_TYPE = "aem_guides"
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
    "requests_per_second",
    "bulk_processor_page",
)


@dataclass(frozen=True)
class InstanceSettings:
    """How to reach an instance.

    `base_url` has no trailing slash. `verify` is False if TLS certificates are not checked. `ca_file` is an additional
    trust root. Time-outs are in seconds. `requests_per_second` applies to all tasks of a process. `bulk_processor_page`
    is a path on the instance. `login_remedy` names the fields to check if the login is refused. `warnings` are logged,
    and are not errors.
    """

    conn_id: str
    base_url: str
    credentials: Credentials = field(repr=False)
    verify: bool = True
    ca_file: str | None = None
    proxy: str | None = field(default=None, repr=False)
    connect_timeout: float = 10.0
    read_timeout: float = 60.0
    requests_per_second: float = REQUESTS_PER_SECOND
    bulk_processor_page: str = START_PAGE
    login_remedy: str = AuthenticationError.hint
    warnings: tuple[str, ...] = ()

    @property
    def host(self) -> str:
        """The host name, which names the instance in the archive."""
        return urlsplit(self.base_url).hostname or ""

    @property
    def instance(self) -> str:
        """The host name, with the port if it is not the default one. It names the instance in the ledger."""
        parts = urlsplit(self.base_url)
        return f"{parts.hostname}:{parts.port}" if parts.port else parts.hostname or ""

    @property
    def secrets(self) -> tuple[str, ...]:
        """The values that must never be shown: those of the credentials, and the proxy's password."""
        password = urlsplit(self.proxy).password if self.proxy else None
        return (*self.credentials.secrets, *({password, unquote(password)} if password else ()))


def read_connection(connection: ConnectionLike) -> InstanceSettings:
    """Check a connection. Raises ConfigurationError, which names the field and the remedy, never a secret."""
    _require_type(connection)
    fields = Fields(connection.conn_id, connection.extra_dejson)
    settings = InstanceSettings(
        conn_id=connection.conn_id,
        base_url=_base_url(connection, fields),
        credentials=read_credentials(connection, fields),
        verify=fields.flag("verify", True),
        ca_file=_ca_file(fields),
        proxy=_proxy(fields),
        connect_timeout=fields.seconds("connect_timeout", 10.0),
        read_timeout=fields.seconds("read_timeout", 60.0),
        requests_per_second=fields.rate("requests_per_second", REQUESTS_PER_SECOND),
        bulk_processor_page=_bulk_processor_page(fields),
        login_remedy=login_remedy(connection, fields),
    )
    return replace(settings, warnings=tuple(_warnings(settings, fields)))


def _require_type(connection: ConnectionLike) -> None:
    """Refuse a connection of another type. Nothing of it is sent or shown, because users who may start a run may not
    see it."""
    if connection.conn_type != CONNECTION_TYPE:
        raise ConfigurationError(
            f"connection_id: {connection.conn_id!r} is not an AEM Guides connection. Give a connection of type "
            f"{CONNECTION_TYPE}, see Admin > Connections."
        )


def _base_url(connection: ConnectionLike, fields: Fields) -> str:
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
        raise fields.wrong(
            "host", f"{_shown(url)!r} is not a URL. Give a URL such as https://author.example.com:port."
        ) from None
    if parts.scheme not in STANDARD_PORTS:
        raise fields.wrong(named, f"{parts.scheme!r} is not a possible scheme. Use https (or http).")
    if "@" in parts.netloc:
        raise fields.wrong(
            "host", "It has a user or password in it. Remove them, and use the fields login and password."
        )
    if not is_host(parts.hostname) or port == 0:
        raise fields.wrong(
            "host",
            f"{url!r} has no valid host name. Give the base URL, such as https://author.example.com.",
        )
    if parts.path.strip("/") or parts.query or parts.fragment:
        raise fields.wrong("host", f"Remove what follows the host name ({_following(parts)}).")
    name = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    port = _port(connection, fields, port)
    return f"{parts.scheme}://{name}" + (f":{port}" if port and port != STANDARD_PORTS[parts.scheme] else "")


def _following(parts: SplitResult) -> str:
    """The rest of the URL after the host name, without values that may be secret."""
    query = "?" + re.sub("=[^&]*", "=…", parts.query) if parts.query else ""
    return parts.path + query + ("#…" if parts.fragment else "")


def _port(connection: ConnectionLike, fields: Fields, in_url: int | None) -> int | None:
    port = connection.port
    if port is None:
        return in_url
    if not 0 < port < 65536:
        raise fields.wrong("port", f"{port!r} is not a port. Give a number from 1 to 65535, or leave it empty.")
    if in_url is not None and in_url != port:
        raise fields.wrong("port", f"It is {port}, and the base URL says {in_url}. Leave it empty.")
    return port


def _usual_scheme(host: str) -> str:
    """https, except on this machine, because the local SDK has no certificate."""
    try:
        name = host if host in LOCAL_HOSTS else urlsplit(f"//{host}").hostname
    except ValueError:  # reported where the URL is read
        return "https"
    return "http" if name in LOCAL_HOSTS else "https"


def _shown(url: str) -> str:
    """A URL without parts that may be a password."""
    return url.rpartition("@")[2]


def _ca_file(fields: Fields) -> str | None:
    file = fields.text("ca_file")
    if file is None:
        return None
    if not os.access(file, os.R_OK):
        raise fields.wrong("ca_file", f"{file!r} cannot be read. Give the path of a PEM file on every worker.")
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cafile=file)
    except (ssl.SSLError, OSError):
        raise fields.wrong("ca_file", f"{file!r} has no certificate in it. Give a PEM file.") from None
    return file


def _proxy(fields: Fields) -> str | None:
    proxy = fields.text("proxy")
    if proxy is not None:
        fields.url("proxy", proxy, "http://proxy.example.com:3128")
    return proxy


def _bulk_processor_page(fields: Fields) -> str:
    page = fields.text("bulk_processor_page") or START_PAGE
    if not page.startswith("/") or page.startswith("//") or any(letter.isspace() for letter in page):
        raise fields.wrong("bulk_processor_page", "Give a path on the instance. It begins with a slash.")
    return page


def _warnings(settings: InstanceSettings, fields: Fields) -> list[str]:
    def warning(name: str, text: str) -> str:
        return f"Connection {settings.conn_id}, field {name}: {text}"

    found = []
    if _is_bare(settings.base_url):
        found.append(warning("host", "With http, credentials travel unencrypted. Use https."))
    if _is_bare(fields.text("ims_url") or ""):
        found.append(warning("ims_url", "With http, credentials travel unencrypted. Use https."))
    login = settings.credentials
    if isinstance(login, BasicCredentials) and login.password != login.password.strip():
        found.append(
            warning("password", "It begins or ends with white space, which is sent too. Remove it if it is a mistake.")
        )
    if not settings.verify:
        found.append(
            warning("verify", "TLS certificates are not checked. To trust a private authority, set ca_file instead.")
        )
    if isinstance(fields.values.get("service_credentials"), str | dict):
        found.append(
            warning("service_credentials", "Airflow shows a field of this name. Move its value to service_token.")
        )
    found += [
        warning(name, "No such field exists, so the value is not used.")
        for name in fields.values
        if name not in EXTRA_FIELDS
    ]
    return found


def _is_bare(url: str) -> bool:
    parts = urlsplit(url)
    return parts.scheme == "http" and parts.hostname not in LOCAL_HOSTS


def require_instance(leads_to: str, led_to: str | None) -> None:
    """Raise ConfigurationError if the connection leads to another instance than when work on the path began."""
    if led_to is not None and leads_to != led_to:
        raise ConfigurationError(
            f"connection_id: the connection led to {led_to} when this path was begun, but leads to {leads_to} now. "
            "Nothing was sent there. Change the connection back and clear this task, or start a new run."
        )
