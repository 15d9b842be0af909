"""Who may come in: basic and bearer, CSRF tokens, and the two token endpoints of the identity service."""

from __future__ import annotations

import base64
import secrets
import time
from dataclasses import dataclass, field

import jwt
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, RedirectResponse, Response

from emulator.faults import LOGIN_PAGE
from emulator.settings import Settings


@dataclass
class Gate:
    """Users and tokens. `tokens` maps a token to its user and its end in seconds since the epoch."""

    settings: Settings
    users: dict[str, str]
    tokens: dict[str, tuple[str, float]] = field(default_factory=dict)
    csrf_tokens: dict[str, float] = field(default_factory=dict)

    def user(self, request: Request) -> str | None:
        """The user of a request, None for one who is not logged in."""
        kind, _, value = request.headers.get("authorization", "").partition(" ")
        if kind.lower() == "basic":
            try:
                name, _, password = base64.b64decode(value).decode().partition(":")
            except (ValueError, UnicodeDecodeError):
                return None
            known = self.users.get(name)
            return name if known is not None and secrets.compare_digest(known, password) else None
        if kind.lower() == "bearer":
            name, ends = self.tokens.get(value, ("", 0.0))
            return name if ends > time.time() else None
        return None

    def refusal(self, request: Request) -> Response | None:
        """The answer to one who may not come in; None for who may."""
        agent = request.headers.get("user-agent", "")
        login = "/libs/granite/core/content/login.html"
        if "Mozilla" in agent or "Opera" in agent:
            return RedirectResponse(login, status_code=302)
        if self.user(request) is None:
            match self.settings.refusal_style:
                case "403":
                    return PlainTextResponse("Forbidden", status_code=403)
                case "redirect":
                    return RedirectResponse(login, status_code=302)
                case "login_page":
                    return HTMLResponse(LOGIN_PAGE)
            return PlainTextResponse("Unauthorized", status_code=401)
        if request.method == "POST" and self.settings.csrf and not self._csrf_ok(request):
            return PlainTextResponse("CSRF token is missing or invalid", status_code=403)
        return None

    def csrf(self) -> Response:
        if not self.settings.csrf:
            return JSONResponse({})
        token = secrets.token_urlsafe(24)
        self.csrf_tokens[token] = time.time() + self.settings.csrf_life_seconds
        return JSONResponse({"token": token})

    def _csrf_ok(self, request: Request) -> bool:
        return self.csrf_tokens.get(request.headers.get("csrf-token", ""), 0.0) > time.time()

    async def oauth(self, request: Request) -> Response:
        """OAuth server-to-server: `expires_in` is in seconds."""
        form = await request.form()
        client = self.settings.oauth_clients.get(str(form.get("client_id")))
        if form.get("grant_type") != "client_credentials":
            return _oauth_error("unsupported_grant_type", "grant_type must be client_credentials")
        if client is None or client.get("secret") != form.get("client_secret"):
            return _oauth_error("invalid_client", "invalid client_id or client_secret", 401)
        wanted = {part.strip() for part in str(form.get("scope") or "").split(",") if part.strip()}
        allowed = client.get("scopes")
        if not wanted or (isinstance(allowed, list) and not wanted <= set(allowed)):
            return _oauth_error("invalid_scope", f"invalid_scope: {', '.join(sorted(wanted)) or 'none'}")
        life = self.settings.token_life_seconds
        return JSONResponse({"access_token": self._issue(client), "token_type": "bearer", "expires_in": int(life)})

    async def exchange(self, request: Request) -> Response:
        """Service credentials: a signed JWT for an access token; `expires_in` is in milliseconds."""
        form = await request.form()
        client = self.settings.jwt_clients.get(str(form.get("client_id")))
        if client is None or client.get("secret") != form.get("client_secret"):
            return _oauth_error("invalid_client", "Invalid client id or secret", 401)
        try:
            claims = jwt.decode(
                str(form.get("jwt_token")),
                str(client["public_key"]),
                algorithms=["RS256"],
                audience=str(client["audience"]),
                issuer=str(client["org"]),
                options={"require": ["exp", "iss", "sub", "aud"]},
            )
        except jwt.ExpiredSignatureError:
            return _oauth_error("invalid_token", "JWT has expired")
        except jwt.PyJWTError as error:
            return _oauth_error("invalid_token", f"Could not match JWT signature to any of the bindings: {error}")
        if client.get("certificate_expired"):
            return _oauth_error("invalid_token", "The certificate bound to the integration has expired")
        if claims["sub"] != client.get("id"):
            return _oauth_error("invalid_token", "Invalid subject")
        scopes = client.get("metascopes")
        if isinstance(scopes, list) and not all(claims.get(str(scope)) is True for scope in scopes):
            return _oauth_error("invalid_scope", "Missing metascope claim")
        life = self.settings.token_life_seconds
        return JSONResponse(
            {"access_token": self._issue(client), "token_type": "bearer", "expires_in": int(life * 1000)}
        )

    def _issue(self, client: dict[str, object]) -> str:
        token = "eyJ" + secrets.token_urlsafe(40)
        self.tokens[token] = (
            str(client.get("user", "technical-account")),
            time.time() + self.settings.token_life_seconds,
        )
        return token


def _oauth_error(error: str, description: str, status: int = 400) -> Response:
    return JSONResponse({"error": error, "error_description": description}, status_code=status)
