"""Credentials that fetch access tokens from Adobe's identity service (IMS): OAuth server-to-server, and service
credentials with a signed JWT.

Sources: the OAuth endpoint gives `expires_in` in seconds, the JWT exchange in milliseconds. Neither gives a refresh
token. Too many requests are throttled, so a token is kept and shared until shortly before its end.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from typing import TYPE_CHECKING, cast
from urllib.parse import urlencode

import jwt
from jwt.algorithms import RSAAlgorithm

from aem_guides.protocol.contract import Call, ShapeError, is_token
from aem_guides.protocol.credentials import AccessToken
from aem_guides.protocol.errors import (
    AnswerError,
    AuthenticationError,
    ConfigurationError,
    MalformedAnswerError,
    NotFoundError,
    RejectedError,
    ScopeError,
)
from aem_guides.protocol.json import JsonError, read_json
from aem_guides.protocol.steps import HttpRequest, Reply

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

    from aem_guides.protocol.conversation import Conversation
    from aem_guides.protocol.steps import Steps

OAUTH_IMS_URL = "https://ims-na1.adobelogin.com"
LONGEST_LIFE_SECONDS = 7 * 86_400.0
_JWT_LIFE_SECONDS = 3600
_LONGEST_TOKEN = 100_000
"""In characters. A token is a JWT, which grows with its permissions."""
_UNREADABLE = "The answer of the identity service has no access token with a lifetime."


@dataclass(frozen=True)
class OAuthCredentials:
    """OAuth server-to-server. `scopes` are sent separated by commas; `ims_url` is the identity service."""

    client_id: str
    client_secret: str = field(repr=False)
    scopes: tuple[str, ...]
    ims_url: str = OAUTH_IMS_URL

    @property
    def secrets(self) -> tuple[str, ...]:
        return (self.client_secret,)

    @property
    def identity(self) -> str:
        return f"oauth {self.ims_url} {self.client_id} {','.join(self.scopes)} {self.client_secret}"

    def obtain(self, talk: Conversation) -> Steps[AccessToken]:
        """Fetch a token. Raises AuthenticationError, ScopeError, and what a call raises."""
        form = {
            "grant_type": "client_credentials",
            "client_id": self.client_id,
            "client_secret": self.client_secret,
            "scope": ",".join(self.scopes),
        }
        return (yield from _buy(talk, "OAuth token", f"{self.ims_url}/ims/token/v3", form, _OAUTH_REMEDIES))


@dataclass(frozen=True)
class ServiceCredentials:
    """Service credentials: a JWT signed with the private key of a technical account. The certificate is valid for a
    year."""

    client_id: str
    client_secret: str = field(repr=False)
    organisation: str
    technical_account_id: str
    private_key: str = field(repr=False)
    metascopes: tuple[str, ...]
    ims_url: str
    certificate_ends: datetime | None = None

    @property
    def secrets(self) -> tuple[str, ...]:
        return (self.client_secret, self.private_key, json.dumps(self.private_key)[1:-1])

    @property
    def identity(self) -> str:
        login = f"jwt {self.ims_url} {self.client_id} {self.organisation} {self.technical_account_id}"
        return f"{login} {','.join(self.metascopes)} {self.client_secret} {self.private_key}"

    def obtain(self, talk: Conversation) -> Steps[AccessToken]:
        """Sign a JWT and fetch a token. Raises AuthenticationError, ScopeError, and what a call raises.

        Raises ConfigurationError, and sends nothing, if the certificate has expired.
        """
        if self.certificate_ends is not None and self.certificate_ends.timestamp() <= talk.now():
            raise ConfigurationError(
                f"Field service_token: integration.certificateExpirationDate: The certificate ended at "
                f"{self.certificate_ends.isoformat()}. {_RENEW}"
            )
        claims: dict[str, object] = {
            "iss": self.organisation,
            "sub": self.technical_account_id,
            "exp": int(talk.now()) + _JWT_LIFE_SECONDS,
            "aud": f"{self.ims_url}/c/{self.client_id}",
        }
        claims |= {f"{self.ims_url}/s/{scope}": True for scope in self.metascopes}
        signed = _signed(claims, self.private_key)
        yield from talk.keep_secret(signed)
        form = {"client_id": self.client_id, "client_secret": self.client_secret, "jwt_token": signed}
        url = f"{self.ims_url}/ims/exchange/jwt"
        return (yield from _buy(talk, "JWT exchange", url, form, _JWT_REMEDIES, unit_seconds=0.001))


def parse_service_credentials(text: str) -> ServiceCredentials:
    """Read the pasted JSON document of the Developer Console. Raises ConfigurationError, which names a missing
    field."""
    try:
        document = json.loads(text, strict=False)
    except ValueError:
        raise ConfigurationError("It is not JSON. Paste the whole document of the Developer Console.") from None
    found = {name: _entry(document, name) for name in _PLACES}
    metascopes = tuple(scope.strip() for scope in found["metascopes"].split(",") if scope.strip())
    for name in ("imsEndpoint", "org", "id", "clientId", "clientSecret"):
        _check_one_line(name, found[name])
    for scope in metascopes:
        _check_one_line("metascopes", scope)
    private_key = _with_line_breaks(found["privateKey"])
    _check_key(private_key)
    host = found["imsEndpoint"].rstrip("/")
    return ServiceCredentials(
        client_id=found["clientId"],
        client_secret=found["clientSecret"],
        organisation=found["org"],
        technical_account_id=found["id"],
        private_key=private_key,
        metascopes=metascopes,
        ims_url=host if "://" in host else f"https://{host}",
        certificate_ends=_certificate_ends(document["integration"]),
    )


_PLACES = {
    "imsEndpoint": ("integration",),
    "metascopes": ("integration",),
    "org": ("integration",),
    "id": ("integration",),
    "privateKey": ("integration",),
    "clientId": ("integration", "technicalAccount"),
    "clientSecret": ("integration", "technicalAccount"),
}


def _entry(document: object, name: str) -> str:
    place = document
    for step in (*_PLACES[name], name):
        place = place.get(step) if isinstance(place, Mapping) else None
    if not isinstance(place, str) or not place.strip():
        raise ConfigurationError(f"{_where(name)} is missing. Paste the whole document of the Developer Console.")
    return place.strip()


def _where(name: str) -> str:
    return ".".join((*_PLACES[name], name))


def _check_one_line(name: str, value: str) -> None:
    if " " in value or not value.isprintable():
        raise ConfigurationError(f"{_where(name)} has white space or line breaks in it. Paste it as one line.")


def _with_line_breaks(private_key: str) -> str:
    """The key with real line breaks, if they were escaped once too often. PEM itself has no backslash."""
    return private_key.replace("\\r", "").replace("\\n", "\n")


def _certificate_ends(integration: Mapping[str, object]) -> datetime | None:
    """When the certificate expires, if the document shows it. If the date is unreadable, the identity service
    decides."""
    written = integration.get("certificateExpirationDate")
    try:
        ends = datetime.fromisoformat(str(written))
    except ValueError:
        return None
    return ends if ends.tzinfo else ends.replace(tzinfo=UTC)


@lru_cache(maxsize=8)
def _read_key(private_key: str) -> RSAPrivateKey:
    """The key behind its PEM text. Its check takes 50 ms of the processor, and each hook reads its connection anew."""
    return cast("RSAPrivateKey", RSAAlgorithm(RSAAlgorithm.SHA256).prepare_key(private_key))


def _signed(claims: dict[str, object], private_key: str) -> str:
    return jwt.encode(claims, _read_key(private_key), algorithm="RS256")


def _check_key(private_key: str) -> None:
    try:
        _signed({}, private_key)
    except Exception:  # noqa: BLE001  # the JWT library and its backend raise many kinds for one fact
        raise ConfigurationError(
            "integration.privateKey is no RSA private key. Paste it whole, from -----BEGIN to the last dash of its END."
        ) from None


def _buy(
    talk: Conversation,
    endpoint: str,
    url: str,
    form: Mapping[str, str],
    remedies: Mapping[str, str],
    *,
    unit_seconds: float = 1.0,
) -> Steps[AccessToken]:
    headers = {"Accept": "application/json", "Content-Type": "application/x-www-form-urlencoded"}
    request = HttpRequest("POST", url, headers, urlencode(form).encode())
    bought_at = talk.now()

    def read(reply: Reply) -> AccessToken:
        return _read_token(reply, bought_at, unit_seconds)

    def explain(refusal: AnswerError, reply: Reply) -> AnswerError:
        return _explained(refusal, reply, remedies)

    try:
        token = yield from talk.call(Call(endpoint, request, read, explain=explain), authorized=False)
    except MalformedAnswerError as error:
        # The excerpt may contain a token that could not be read, and so is not masked.
        raise MalformedAnswerError(error.request, error.status, "", attempts=error.attempts, hint=_UNREADABLE) from None
    yield from talk.keep_secret(token.value)
    return token


def _read_token(reply: Reply, bought_at: float, unit_seconds: float) -> AccessToken:
    """Read the token and its lifetime. A lifetime that would exceed a week in its documented unit is in
    milliseconds."""
    try:
        data = read_json(reply.body, reply.headers, longest=_LONGEST_TOKEN)
    except JsonError as error:
        raise ShapeError(str(error)) from None
    found = data if isinstance(data, dict) else {}
    token, expires_in = found.get("access_token"), found.get("expires_in")
    if not isinstance(token, str) or not token:
        raise ShapeError("access_token is missing")
    if not is_token(token):
        raise ShapeError("access_token has characters that no HTTP header may have")
    if isinstance(expires_in, str) and expires_in.isascii() and expires_in.isdigit() and len(expires_in) < 20:
        expires_in = int(expires_in)
    if (
        isinstance(expires_in, bool)
        or not isinstance(expires_in, int | float)
        or not math.isfinite(expires_in)
        or expires_in <= 0
    ):
        raise ShapeError("expires_in is missing")
    life = expires_in * unit_seconds
    if life > LONGEST_LIFE_SECONDS:
        life = expires_in * 0.001
    elif unit_seconds < 1 and expires_in <= 2 * 86_400:
        life = float(expires_in)
    return AccessToken(token, bought_at, bought_at + life)


_WRONG_KIND = "The client may not log in this way: check its kind in the Developer Console."
_OAUTH_REMEDIES = {
    "invalid_scope": "A scope is missing or not granted: check scopes against the Developer Console.",
    "invalid_client": "The client is not known or its secret is wrong: check client_id and client_secret.",
    "unauthorized_client": _WRONG_KIND,
}
_JWT_REMEDIES = {
    "invalid_scope": (
        "A metascope is missing or not granted: check integration.metascopes in service_token against the Developer "
        "Console."
    ),
    "invalid_client": (
        "The client is not known or its secret is wrong: check integration.technicalAccount.clientId and clientSecret "
        "in service_token."
    ),
    "unauthorized_client": _WRONG_KIND,
}
_RENEW = "Renew it in the Developer Console, and paste the new document."
_EXPIRED = "The certificate or the JWT has expired: renew the certificate in the Developer Console (it lasts a year)."
_FOREIGN_KEY = "The private key does not belong to the certificate: paste the current service credentials."
_BY_DESCRIPTION = {
    "expired": _EXPIRED,
    "issuer": "The organisation is not the technical account's: check integration.org in service_token.",
    "subject": "The technical account is not known: check integration.id in service_token.",
    "audience": (
        "The JWT is for another identity service or client: check integration.imsEndpoint and "
        "technicalAccount.clientId in service_token."
    ),
    "signature": _FOREIGN_KEY,
    "binding": _FOREIGN_KEY,
}
"""Parts of `error_description`, the most certain first: the text also mentions signature and bindings if something else
in the JWT is wrong."""
_NO_SERVICE = (
    "The answer does not come from the identity service: check the field ims_url, or imsEndpoint in service_token."
)
_REFUSED = "The identity service refuses the credentials."


def _explained(refusal: AnswerError, reply: Reply, remedies: Mapping[str, str]) -> AnswerError:
    """Find the cause of a refusal by the identity service: scope, client or certificate.

    The cause is in `error` (RFC 6749, 5.2). The JWT exchange answers `invalid_token` for every JWT that it refuses.
    There, only `error_description` shows the cause.
    """
    if not isinstance(refusal, AuthenticationError | RejectedError) or reply.status == 407:
        return refusal
    if reply.status < 400:
        return AuthenticationError(refusal.request, refusal.status, "", attempts=refusal.attempts, hint=_NO_SERVICE)
    error, description = _complaint(reply)
    if isinstance(refusal, NotFoundError) and not error:
        # Not as NotFoundError: the caller would conclude that the instance lacks the endpoint.
        unavailable = AuthenticationError(
            refusal.request, refusal.status, refusal.excerpt, attempts=refusal.attempts, hint=_NO_SERVICE
        )
        unavailable.retry = refusal.retry
        return unavailable
    if isinstance(refusal, ScopeError) and not error:
        error = "invalid_scope"
    kind = ScopeError if error == "invalid_scope" else AuthenticationError
    hints = (remedy for sign, remedy in _BY_DESCRIPTION.items() if sign in description)
    hint = remedies.get(error) or next(hints, _REFUSED)
    return kind(refusal.request, refusal.status, refusal.excerpt, attempts=refusal.attempts, hint=hint)


def _complaint(reply: Reply) -> tuple[str, str]:
    """`error` and `error_description` of an answer, in lower case. Empty if it has none."""
    try:
        data = read_json(reply.body, reply.headers)
    except JsonError:
        return "", ""
    found = data if isinstance(data, dict) else {}
    return str(found.get("error") or "").lower(), str(found.get("error_description") or "").lower()
