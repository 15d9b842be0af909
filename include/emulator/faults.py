"""Faults: what is to go wrong, at which endpoint and how often."""

from __future__ import annotations

import asyncio
import dataclasses
import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response

from emulator.transport import ResetResponse, TornResponse, until_client_leaves

ENDPOINTS = (
    "start",
    "status",
    "logs",
    "download",
    "log_file",
    "cancel",
    "resume",
    "history",
    "asset_status_start",
    "asset_status",
    "system_status",
    "csrf",
    "token_oauth",
    "token_jwt",
)
LOG_FAULTS = ("shrink", "repeat_page", "ignore_limit", "more_forever", "huge_line", "invalid_utf8")
ZIP_FAULTS = ("zip_crc", "zip_truncated", "zip_empty", "zip_traversal", "zip_zero_entry", "zip_bomb")
CONTENT_FAULTS = ("unknown_state", "lose_job", "missing_id", "history_lag", "history_bad_entry")
KINDS = (
    "reset_before",
    "reset_after",
    "reset_body",
    "delay",
    "timeout_after",
    "status",
    "redirect_login",
    "login_page",
    "html",
    "empty_body",
    "truncated_json",
    "wrong_shape",
    *LOG_FAULTS,
    *ZIP_FAULTS,
    *CONTENT_FAULTS,
)
LOGIN_PAGE = "<!DOCTYPE html><html><head><title>AEM Sign In</title></head><body><form>User name</form></body></html>"

Handler = Callable[[Request], Awaitable[Response]]


class FaultError(ValueError):
    """A fault that cannot be set; the text names field, value and remedy."""


@dataclass
class Fault:
    """One fault. `count` is how often it strikes (None: for ever), `after` how many calls it lets pass first.

    `acted` tells for `status` whether the request is carried out before the answer; `status`, `body` and `headers`
    are that answer; `seconds` belongs to `delay` and `history_lag`, `word` to `unknown_state`.
    """

    endpoint: str
    kind: str
    count: int | None = 1
    after: int = 0
    status: int = 503
    body: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    acted: bool = False
    seconds: float = 0.0
    word: str = "REINDEXING"
    struck: int = 0

    @classmethod
    def from_json(cls, data: Mapping[str, object]) -> Fault:
        """Read a fault. Raises FaultError."""
        names = {entry.name for entry in dataclasses.fields(cls)} - {"struck"}
        for name in data:
            if name not in names:
                raise FaultError(f"{name}: {data[name]!r} is not known. Use {', '.join(sorted(names))}.")
        for name, allowed in (("endpoint", (*ENDPOINTS, "*")), ("kind", KINDS)):
            if data.get(name) not in allowed:
                raise FaultError(f"{name}: {data.get(name)!r} is not known. Use one of {', '.join(allowed)}.")
        return cls(**data)  # type: ignore[arg-type]  # the names are checked, and a test sets the values

    def strikes(self, endpoint: str) -> bool:
        """Whether it strikes this call; counts it."""
        if self.endpoint not in (endpoint, "*") or self.count == 0:
            return False
        if self.after > 0:
            self.after -= 1
            return False
        if self.count is not None:
            self.count -= 1
        self.struck += 1
        return True


class Faults:
    """All faults that are set."""

    def __init__(self) -> None:
        self.all: list[Fault] = []

    def striking(self, endpoint: str, kinds: tuple[str, ...]) -> Fault | None:
        """The first fault of one of the kinds that strikes this call."""
        return next((fault for fault in self.all if fault.kind in kinds and fault.strikes(endpoint)), None)

    async def serve(self, endpoint: str, request: Request, handler: Handler) -> Response:
        """Answer a request, with whatever fault strikes it."""
        kinds = tuple(kind for kind in KINDS if kind not in (*LOG_FAULTS, *ZIP_FAULTS, *CONTENT_FAULTS))
        fault = self.striking(endpoint, kinds)
        if fault is None:
            return await handler(request)
        match fault.kind:
            case "reset_before":
                return ResetResponse()
            case "delay":
                await asyncio.sleep(fault.seconds)
                return await handler(request)
            case "redirect_login":
                return RedirectResponse("/libs/granite/core/content/login.html?resource=secret", status_code=302)
            case "login_page" | "html":
                return HTMLResponse(LOGIN_PAGE if fault.kind == "login_page" else "<html><body>Hello</body></html>")
            case "status" if not fault.acted:
                return Response(fault.body, fault.status, fault.headers, media_type=_media_type(fault))
        real = await handler(request)
        return await _spoil(fault, real, request)


async def _spoil(fault: Fault, real: Response, request: Request) -> Response:
    """The request was acted on; what comes back is spoilt."""
    body = await _whole_body(real)
    match fault.kind:
        case "reset_after":
            return ResetResponse()
        case "timeout_after":
            await until_client_leaves(request)
            return ResetResponse()
        case "status":
            return Response(fault.body, fault.status, fault.headers, media_type=_media_type(fault))
        case "reset_body":
            return TornResponse(body + b" " * 64, real.media_type)
        case "empty_body":
            return Response(b"", media_type=real.media_type)
        case "truncated_json":
            return Response(body[: max(1, len(body) // 2)], media_type=real.media_type)
        case "wrong_shape":
            return Response(json.dumps([{"unexpected": True}]), media_type="application/json")
    return PlainTextResponse("unreachable", status_code=500)


async def _whole_body(response: Response) -> bytes:
    if hasattr(response, "path"):
        return await asyncio.to_thread(Path(response.path).read_bytes)
    return bytes(response.body)


def _media_type(fault: Fault) -> str | None:
    named = any(name.lower() == "content-type" for name in fault.headers)
    return None if named else ("text/html" if fault.body.lstrip().startswith("<") else "text/plain")
