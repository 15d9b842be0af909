"""Read the fields of an Airflow connection. Errors name the field."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol, TypeGuard
from urllib.parse import SplitResult, urlsplit

from aem_guides.protocol.errors import ConfigurationError

STANDARD_PORTS = {"http": 80, "https": 443}


class ConnectionLike(Protocol):
    """The part of an Airflow connection that is read."""

    conn_id: str
    conn_type: str | None
    host: str | None
    schema: str | None
    port: int | None
    login: str | None
    password: str | None

    @property
    def extra_dejson(self) -> dict[str, object]: ...


class Fields:
    """The fields of one connection. Errors name the field."""

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
            raise self.wrong(name, "It must be a string.")
        return value.strip()

    def secret(self, name: str, given: str | None, *, missing: str) -> str:
        """A secret, from the extra field of this name or from `given`. It contains no white space."""
        value = self.text(name) or (given or "").strip()
        if not value:
            raise self.wrong(name, missing)
        if any(letter.isspace() for letter in value):
            raise self.wrong(name, "It has white space or line breaks in it. Paste it as one line.")
        return value

    def seconds(self, name: str, default: float) -> float:
        return self._number(name, default, 3600.0, "a time in seconds")

    def rate(self, name: str, default: float) -> float:
        return self._number(name, default, 1000.0, "a number of requests a second")

    def _number(self, name: str, default: float, most: float, meant: str) -> float:
        value = self.values.get(name)
        if value is None or value == "":
            return default
        try:
            number = float(str(value))
        except ValueError:
            number = 0.0
        if not 0 < number <= most:
            raise self.wrong(name, f"{value!r} is not {meant}. Give a number above 0, and at most {most:.0f}.")
        return number

    def flag(self, name: str, default: bool) -> bool:
        value = self.values.get(name)
        if value is None or value == "":
            return default
        known = {"true": True, "false": False, "1": True, "0": False, "yes": True, "no": False}
        if str(value).lower() not in known:
            raise self.wrong(name, f"{value!r} is neither true nor false. Give one of them.")
        return known[str(value).lower()]

    def url(self, name: str, url: str, example: str) -> SplitResult:
        """A URL with http or https and a host, without white space. Errors do not show it, because it may contain a
        password."""
        if not is_url(url):
            raise self.wrong(name, f"It is not a URL with a scheme and a host. Give a URL such as {example}.")
        return urlsplit(url)


def is_url(url: str) -> bool:
    """Whether it is a URL with http or https and a host, without white space."""
    try:
        parts = urlsplit(url)
        known = parts.scheme in STANDARD_PORTS and is_host(parts.hostname) and parts.port != 0
    except ValueError:
        return False
    return known and not any(letter.isspace() for letter in url)


def is_host(name: str | None) -> TypeGuard[str]:
    """Whether it can be the name or address of a host: each part has 1 to 63 letters."""
    try:
        return name is not None and bool(name.encode("idna")) and "\\" not in name
    except UnicodeError:
        return False
