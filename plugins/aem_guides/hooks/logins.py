"""How a connection logs in: the four kinds of credentials, and their fields."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace

from aem_guides.hooks.connection_fields import ConnectionLike, Fields
from aem_guides.protocol.credentials import BasicCredentials, BearerCredentials, Credentials, is_latin
from aem_guides.protocol.errors import AuthenticationError, ConfigurationError
from aem_guides.protocol.tokens import (
    OAUTH_IMS_URL,
    OAuthCredentials,
    parse_service_credentials,
)


def read_credentials(connection: ConnectionLike, fields: Fields) -> Credentials:
    """The credentials. Raises ConfigurationError that names the field."""
    return CREDENTIAL_KINDS[_kind(connection, fields)](connection, fields)


def login_remedy(connection: ConnectionLike, fields: Fields) -> str:
    """Which fields to check if the instance refuses the login."""
    if _is_password_taken_for_token(connection, fields):
        return f"{_CHECK}: {_NO_USER}"
    remedy = _REMEDIES[_kind(connection, fields)].format(token="token" if fields.text("token") else "password")
    return f"{_CHECK}: {remedy}"


_CHECK = AuthenticationError.hint.removesuffix(".")
_FOREIGN = "The identity service accepts them, but this instance does not: they may be for another instance."
_REMEDIES = {
    "basic": "the fields login and password.",
    "bearer": "the field {token}. An access token expires; a local development token after 24 hours.",
    "oauth": f"the fields client_id, client_secret and scopes. {_FOREIGN}",
    "service_credentials": f"the field service_token. {_FOREIGN}",
}
_NO_USER = (
    "the field login is empty, so the password was used as an access token. Fill in the user, or choose the kind in "
    "the field auth. An access token may have expired."
)


def _kind(connection: ConnectionLike, fields: Fields) -> str:
    kind = fields.text("auth") or ("basic" if connection.login else "bearer")
    if kind not in CREDENTIAL_KINDS:
        raise fields.wrong("auth", f"{kind!r} is not known. Use one of {', '.join(CREDENTIAL_KINDS)}.")
    return kind


def _is_password_taken_for_token(connection: ConnectionLike, fields: Fields) -> bool:
    return bool(connection.password) and not (connection.login or fields.text("auth") or fields.text("token"))


def _basic(connection: ConnectionLike, fields: Fields) -> Credentials:
    if not connection.login:
        raise fields.wrong("login", "It is empty. Give the AEM user, or choose another kind in the field auth.")
    if ":" in connection.login:
        raise fields.wrong("login", "It has a colon, which basic authentication cannot send. Give only the user.")
    if connection.login != connection.login.strip():
        raise fields.wrong("login", "It has white space at its ends. Remove it.")
    if not connection.password:
        raise fields.wrong("password", "It is empty. Give the password of the AEM user.")
    for name, value in (("login", connection.login), ("password", connection.password)):
        if set("\r\n") & set(value):
            raise fields.wrong(name, "It has line breaks in it. Paste it as one line.")
        if not is_latin(value):
            raise fields.wrong(
                name,
                "It has a letter that AEM cannot read: AEM reads user and password as ISO-8859-1 (Western European), "
                "which has é and ü, but not €, ł or ж. Use a technical user whose name and password have no such "
                "letter.",
            )
    return BasicCredentials(connection.login, connection.password)


def _bearer(connection: ConnectionLike, fields: Fields) -> Credentials:
    named = "token" if fields.text("token") else "password"
    pasted = fields.text("token") or connection.password or ""
    if _WITH_SCHEME.match(pasted):
        raise fields.wrong(named, "It begins with the word Bearer. Paste only the token.")
    if _is_password_taken_for_token(connection, fields) and not _could_be_token(pasted):
        raise fields.wrong(named, f"It has characters that no token has, and {_NO_USER}")
    missing = "It is empty. Give a login and a password, or an access token as token or password."
    token = fields.secret(named, connection.password, missing=missing)
    if not _could_be_token(token):
        raise fields.wrong(named, "The access token has characters that no token has. Paste it again.")
    return BearerCredentials(token)


_WITH_SCHEME = re.compile(r"\s*(authorization\s*:\s*)?bearer\s", re.IGNORECASE)


def _could_be_token(pasted: str) -> bool:
    return pasted.isascii() and not any(letter.isspace() for letter in pasted.strip())


def _oauth(connection: ConnectionLike, fields: Fields) -> Credentials:
    missing = "It is empty. Give the {} of the OAuth server-to-server credential."
    client_id = fields.secret("client_id", connection.login, missing=missing.format("client id"))
    client_secret = fields.secret("client_secret", connection.password, missing=missing.format("client secret"))
    scopes = tuple(scope.strip() for scope in (fields.text("scopes") or "").split(",") if scope.strip())
    if any(letter.isspace() for scope in scopes for letter in scope):
        raise fields.wrong("scopes", "Separate the scopes with commas, without line breaks.")
    if not scopes:
        raise fields.wrong("scopes", "It is empty. Give the scopes of the credential, separated by commas.")
    return OAuthCredentials(client_id, client_secret, scopes, _ims_url(fields) or OAUTH_IMS_URL)


def _service_credentials(connection: ConnectionLike, fields: Fields) -> Credentials:
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


def _ims_url(fields: Fields) -> str | None:
    url = fields.text("ims_url")
    if url is None:
        return None
    parts = fields.url("ims_url", url, OAUTH_IMS_URL)
    if "@" in parts.netloc or parts.path.strip("/") or parts.query or parts.fragment:
        raise fields.wrong("ims_url", f"Give only scheme and host, such as {OAUTH_IMS_URL}.")
    return url.rstrip("/")


CREDENTIAL_KINDS: dict[str, Callable[[ConnectionLike, Fields], Credentials]] = {
    "basic": _basic,
    "bearer": _bearer,
    "oauth": _oauth,
    "service_credentials": _service_credentials,
}
