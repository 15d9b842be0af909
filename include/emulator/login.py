"""Logins: basic and bearer, CSRF tokens, and the two token endpoints of the identity service."""

from __future__ import annotations

import base64
import secrets
from collections.abc import Callable, Mapping

import jwt
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, RedirectResponse, Response

from emulator.checks import BadInputError
from emulator.clock import Clock
from emulator.faults import LOGIN, LOGIN_PAGE
from emulator.settings import Settings
from emulator.store import Store

_BROWSERS = ("Mozilla", "Opera")
_TECHNICAL_USER = "technical-account"
_CSRF_TEXT = "CSRF token is missing or invalid"


class Gate:
    """Users and tokens. Times of tokens are in seconds since the epoch, independent of the instance's own clock."""

    def __init__(
        self,
        current: Callable[[], Settings],
        users: Mapping[str, str],
        static_tokens: set[str],
        store: Store,
        clock: Clock,
    ) -> None:
        self._current = current
        self._clock = clock
        self._users = dict(users)
        self._static_tokens = static_tokens
        self._store = store
        self._csrf_tokens: dict[str, float] = {}

    def user(self, request: Request) -> str | None:
        """The user of a request, or None without a valid login."""
        kind, _, value = request.headers.get("authorization", "").partition(" ")
        if kind.lower() == "basic":
            return self._basic_user(value)
        if kind.lower() == "bearer":
            if value in self._static_tokens:
                return _TECHNICAL_USER
            name, ends = self._store.token(value) or ("", 0.0)
            return name if ends > self._clock.now() else None
        return None

    def refusal(self, request: Request) -> Response | None:
        """The answer to a request without a valid login, or None."""
        agent = request.headers.get("user-agent", "")
        settings = self._current()
        if any(name in agent for name in _BROWSERS):
            return RedirectResponse(LOGIN, status_code=302)
        if self.user(request) is None:
            match settings.refusal_style:
                case "403":
                    return PlainTextResponse("Forbidden", status_code=403)
                case "redirect":
                    return RedirectResponse(LOGIN, status_code=302)
                case "login_page":
                    return HTMLResponse(LOGIN_PAGE)
            headers = {"WWW-Authenticate": 'Basic realm="AEM"'}
            return PlainTextResponse("Unauthorized", status_code=401, headers=headers)
        if request.method == "POST" and settings.csrf and not self._csrf_ok(request):
            if settings.csrf_refusal == "html":
                return HTMLResponse(f"<html><body><h1>{_CSRF_TEXT}</h1></body></html>", status_code=403)
            return PlainTextResponse(_CSRF_TEXT, status_code=403)
        return None

    def csrf(self) -> Response:
        """A CSRF token, or an empty object if none is needed."""
        settings = self._current()
        if not settings.csrf:
            return JSONResponse({})
        now = self._clock.now()
        self._csrf_tokens = {token: ends for token, ends in self._csrf_tokens.items() if ends > now}
        token = settings.token_prefix + secrets.token_urlsafe(24)
        self._csrf_tokens[token] = now + settings.csrf_life_seconds
        return JSONResponse({"token": token})

    def forget(self) -> None:
        """Withdraw all issued tokens."""
        self._csrf_tokens.clear()
        self._store.drop_tokens()

    async def oauth(self, request: Request) -> Response:
        """OAuth server-to-server: `expires_in` is in seconds."""
        form = await request.form()
        settings = self._current()
        client = settings.oauth_clients.get(str(form.get("client_id")))
        if form.get("grant_type") != "client_credentials":
            return _oauth_error("unsupported_grant_type", "grant_type must be client_credentials")
        if client is None or client.get("secret") != form.get("client_secret"):
            return _oauth_error("invalid_client", "invalid client_id or client_secret", 401)
        wanted = {part.strip() for part in str(form.get("scope") or "").split(",") if part.strip()}
        allowed = client.get("scopes")
        if not wanted or (isinstance(allowed, list) and not wanted <= set(allowed)):
            return _oauth_error("invalid_scope", f"invalid_scope: {', '.join(sorted(wanted)) or 'none'}")
        return self._issue(client, int(settings.token_life_seconds))

    async def exchange(self, request: Request) -> Response:
        """Service credentials: a signed JWT for an access token; `expires_in` is in milliseconds."""
        form = await request.form()
        settings = self._current()
        client = settings.jwt_clients.get(str(form.get("client_id")))
        if client is None or client.get("secret") != form.get("client_secret"):
            return _oauth_error("invalid_client", "Invalid client id or secret", 401)
        if client.get("certificate_expired"):
            return _oauth_error("invalid_token", "The certificate bound to the integration has expired")
        try:
            claims = jwt.decode(
                str(form.get("jwt_token")),
                str(client["public_key"]),
                algorithms=["RS256"],
                audience=str(client["audience"]),
                issuer=str(client["org"]),
                options={"require": ["exp", "iss", "sub", "aud"], "verify_exp": False},
            )
        except jwt.PyJWTError as error:
            return _oauth_error("invalid_token", f"Could not match JWT signature to any of the bindings: {error}")
        if not isinstance(claims["exp"], int) or claims["exp"] <= self._clock.now():
            return _oauth_error("invalid_token", "JWT has expired")
        if claims["sub"] != client.get("id"):
            return _oauth_error("invalid_token", "Invalid subject")
        scopes = client.get("metascopes")
        if isinstance(scopes, list) and not all(claims.get(_scope_claim(client, str(s))) is True for s in scopes):
            return _oauth_error("invalid_scope", "Missing metascope claim")
        return self._issue(client, int(settings.token_life_seconds * 1000))

    def _basic_user(self, value: str) -> str | None:
        try:
            decoded = base64.b64decode(value, validate=True)
        except ValueError:
            return None
        name, _, password = decoded.decode("iso-8859-1").partition(":")  # as Sling does
        known = self._users.get(name)
        if known is None or not secrets.compare_digest(known.encode(), password.encode()):
            return None
        return name

    def _csrf_ok(self, request: Request) -> bool:
        return self._csrf_tokens.get(request.headers.get("csrf-token", ""), 0.0) > self._clock.now()

    def _issue(self, client: Mapping[str, object], expires_in: int) -> Response:
        settings = self._current()
        token = f"{settings.token_prefix}eyJ{secrets.token_urlsafe(40)}"
        ends = self._clock.now() + settings.token_life_seconds
        self._store.keep_token(token, str(client.get("user", _TECHNICAL_USER)), ends)
        return JSONResponse({"access_token": token, "token_type": "bearer", "expires_in": expires_in})


def check_client(kind: str, facts: Mapping[str, object]) -> None:
    """Raises BadInputError if a client to be registered lacks something, or its key is invalid."""
    needed = ("secret",) if kind == "oauth" else ("secret", "public_key", "org", "id", "audience")
    for name in needed:
        if not isinstance(facts.get(name), str) or not facts[name]:
            raise BadInputError(name, None, "Give a string.")
    if kind == "jwt":
        try:
            jwt.algorithms.RSAAlgorithm(jwt.algorithms.RSAAlgorithm.SHA256).prepare_key(str(facts["public_key"]))
        except (jwt.InvalidKeyError, ValueError):
            raise BadInputError("public_key", "(a key)", "Give an RSA public key as PEM.") from None


def _scope_claim(client: Mapping[str, object], scope: str) -> str:
    """The claim that stands for a metascope: `https://{imsEndpoint}/s/{scope}`, as in the audience."""
    return scope if "://" in scope else f"{str(client['audience']).partition('/c/')[0]}/s/{scope}"


def _oauth_error(error: str, description: str, status: int = 400) -> Response:
    return JSONResponse({"error": error, "error_description": description}, status_code=status)
