"""Our login at the instance: basic and bearer credentials, and tokens that are fetched and renewed.

Credentials never show their secrets: the `repr` hides them, and `secrets` lists them for masking.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from aem_guides.protocol.conversation import Conversation
    from aem_guides.protocol.steps import Steps

RENEW_AHEAD_SECONDS = 300.0
RENEW_AHEAD_SHARE = 0.1


@dataclass(frozen=True)
class AccessToken:
    """An access token, with the times of its fetch and its end in seconds since the epoch."""

    value: str = field(repr=False)
    bought_at: float
    expires_at: float

    def is_fresh(self, now: float) -> bool:
        """Whether the token lasts long enough to be used.

        A token is renewed five minutes before its end, or after nine tenths of its life if that is later. So no request
        meets its end, and a short-lived token can be used, too.
        """
        ahead = min(RENEW_AHEAD_SECONDS, RENEW_AHEAD_SHARE * (self.expires_at - self.bought_at))
        return self.expires_at - now > ahead


class StaticCredentials(Protocol):
    """Credentials that are the same for every request."""

    @property
    def secrets(self) -> tuple[str, ...]: ...

    def headers(self) -> Mapping[str, str]: ...


class RenewableCredentials(Protocol):
    """Credentials that fetch an access token. Credentials with the same `identity` share their tokens."""

    @property
    def secrets(self) -> tuple[str, ...]: ...

    @property
    def identity(self) -> str: ...

    def obtain(self, talk: Conversation) -> Steps[AccessToken]: ...


Credentials = StaticCredentials | RenewableCredentials


_SENT_AS = "iso-8859-1"


@dataclass(frozen=True)
class BasicCredentials:
    """User and password: on-premise, Managed Services, the local SDK.

    They are sent as ISO-8859-1, because Sling decodes them so (source: Apache Sling's auth.core). Raises ValueError if
    they contain a letter outside ISO-8859-1.
    """

    user: str
    password: str = field(repr=False)

    def __post_init__(self) -> None:
        if not (is_latin(self.user) and is_latin(self.password)):
            raise ValueError("user or password have letters that ISO-8859-1 does not have")

    @property
    def secrets(self) -> tuple[str, ...]:
        """The password, also in the form in which gateways forward it (UTF-8)."""
        return (self.password, self._encoded(_SENT_AS), self._encoded("utf-8"))

    def headers(self) -> Mapping[str, str]:
        return {"Authorization": f"Basic {self._encoded(_SENT_AS)}"}

    def _encoded(self, charset: str) -> str:
        return base64.b64encode(f"{self.user}:{self.password}".encode(charset)).decode("ascii")


def is_latin(text: str) -> bool:
    """Whether ISO-8859-1 has all letters of a text."""
    return all(ord(letter) < 256 for letter in text)


@dataclass(frozen=True)
class BearerCredentials:
    """A pasted token, such as a local development access token of the Cloud Service (valid for 24 hours)."""

    token: str = field(repr=False)

    @property
    def secrets(self) -> tuple[str, ...]:
        return (self.token,)

    def headers(self) -> Mapping[str, str]:
        return {"Authorization": f"Bearer {self.token}"}


def bearer(token: AccessToken) -> Mapping[str, str]:
    """The header fields that carry an access token."""
    return {"Authorization": f"Bearer {token.value}"}
