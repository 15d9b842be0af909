"""Faults: what goes wrong, at which endpoint and how often."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from functools import partial

from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from emulator.checks import BadInputError, check_choice, check_kind, check_least, check_names
from emulator.clock import Clock
from emulator.endless import ENDLESS_FAULTS, endless
from emulator.odd_answers import ODD_FAULTS, check_odd, made_odd
from emulator.odd_archives import ODD_ZIP, check_odd_zip
from emulator.transport import ResetResponse, SlowResponse, TornResponse, clean_up, until_client_leaves, whole_body

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
ANSWER_FAULTS = (
    "reset_before",
    "reset_after",
    "reset_body",
    "slow_body",
    "delay",
    "timeout_after",
    "status",
    "echo",
    "redirect_login",
    "login_page",
    "html",
    "empty_body",
    "truncated_json",
    "wrong_shape",
    *ODD_FAULTS,
    *ENDLESS_FAULTS,
)
LOG_FAULTS = ("shrink", "repeat_page", "ignore_limit", "more_forever", "huge_line", "invalid_utf8")
ZIP_MODES = {
    "wrong_crc": "zip_crc",
    "truncated": "zip_truncated",
    "torn": "zip_torn",
    "empty": "zip_empty",
    "html": "zip_html",
    "traversal": "zip_traversal",
    "zero_byte_entry": "zip_zero_entry",
    "bomb": "zip_bomb",
    "odd": ODD_ZIP,
}
ZIP_FAULTS = tuple(ZIP_MODES.values())
_CONTENT_FAULTS = {
    "unknown_state": ("status", "history"),
    "lose_job": ("status", "history"),
    "missing_id": ("start",),
    "history_lag": ("history",),
    "history_bad_entry": ("history",),
}
_PLACES: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(ANSWER_FAULTS, ENDPOINTS),
    **dict.fromkeys(LOG_FAULTS, ("logs",)),
    **dict.fromkeys(ZIP_FAULTS, ("download",)),
    **_CONTENT_FAULTS,
}
KINDS = tuple(_PLACES)
LOGIN = "/libs/granite/core/content/login.html"
LOGIN_PAGE = "<!DOCTYPE html><html><head><title>AEM Sign In</title></head><body><form>User name</form></body></html>"
_HTML = "<html><body>Hello</body></html>"

Handler = Callable[[Request], Awaitable[Response]]


@dataclass
class Fault:
    """One fault. `count` is how often it still strikes (None: forever), `after` how many calls it lets pass first.

    `every` is 2 if it strikes every second call, as if a second pod answered that one.

    `acted`: whether, for `status` and `echo`, the request is carried out before the answer. `status`, `body` and
    `headers` are that answer; `echo` replaces its body by the request itself. `seconds` belongs to `delay`, `slow_body`
    and `history_lag`, `word` to `unknown_state` and `charset`, `body` also to `odd_fields`, `odd_lines` and `zip_odd`.
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
    every: int = 1
    struck: int = 0
    passed: int = 0

    @classmethod
    def from_json(cls, data: Mapping[str, object]) -> Fault:
        """Read a fault. `bad_zip` with a `mode` and `has_more_forever` are accepted, too. Raises BadInputError."""
        given = dict(data)
        if given.get("kind") == "bad_zip":
            mode = given.pop("mode", None)
            check_choice("mode", mode, ZIP_MODES)
            given["kind"] = ZIP_MODES[str(mode)]
        if given.get("kind") == "has_more_forever":
            given["kind"] = "more_forever"
        sample = cls("*", "delay")
        check_names(
            list(given), {entry.name for entry in dataclasses.fields(cls)} - {"struck", "passed"}, "field of a fault"
        )
        check_choice("kind", given.get("kind"), KINDS)
        check_choice("endpoint", given.get("endpoint"), (*_PLACES[str(given["kind"])], "*"))
        for name, value in given.items():
            if name == "count" and value is None:
                continue
            check_kind(name, value, getattr(sample, name))
            if isinstance(value, (int, float)):
                check_least(name, value, 1 if name in ("count", "every") else 200 if name == "status" else 0)
        fault = cls(**given)  # type: ignore[arg-type]  # names and kinds are checked above
        if fault.status > 599:
            raise BadInputError("status", fault.status, "Give a status between 200 and 599.")
        check_odd(fault.kind, fault.body, fault.word)
        check_odd_zip(fault.kind, fault.body)
        if not all(isinstance(value, str) and value.isascii() for value in (*fault.headers, *fault.headers.values())):
            raise BadInputError("headers", fault.headers, "Give names and values as ASCII strings.")
        return fault

    def strikes(self, endpoint: str) -> bool:
        """Whether the fault strikes this call, which is counted."""
        if self.endpoint not in (endpoint, "*") or self.count == 0:
            return False
        if self.after > 0:
            self.after -= 1
            return False
        self.passed = (self.passed + 1) % self.every
        if self.passed:
            return False
        if self.count is not None:
            self.count -= 1
        self.struck += 1
        return True

    def shown(self) -> dict[str, object]:
        return dataclasses.asdict(self) | {"remaining": self.count}


class Faults:
    """All current faults."""

    def __init__(self, clock: Clock) -> None:
        self.all: list[Fault] = []
        self._clock = clock

    def striking(self, endpoint: str, kinds: tuple[str, ...]) -> Fault | None:
        """The first fault of these kinds that strikes this call."""
        return next((fault for fault in self.all if fault.kind in kinds and fault.strikes(endpoint)), None)

    async def serve(self, endpoint: str, request: Request, handler: Handler) -> Response:
        """Answer a request, with the fault that strikes it."""
        fault = self.striking(endpoint, ANSWER_FAULTS)
        if fault is None:
            return await handler(request)
        if fault.kind == "echo":
            fault = dataclasses.replace(fault, kind="status", body=await _echo(request))
        match fault.kind:
            case "reset_before":
                return ResetResponse()
            case "delay":
                await self._clock.sleep(fault.seconds)
                return await handler(request)
            case "redirect_login":
                return RedirectResponse(LOGIN, status_code=302)
            case "login_page":
                return HTMLResponse(LOGIN_PAGE)
            case "html":
                return HTMLResponse(_HTML)
            case "status" if not fault.acted:
                return _specified(fault)
            case "slow_body":
                return SlowResponse(await handler(request), partial(self._clock.sleep, fault.seconds))
        if fault.kind in ENDLESS_FAULTS:
            return endless(fault.kind, partial(self._clock.sleep, fault.seconds))
        return await _spoil(fault, await handler(request), request)


async def _spoil(fault: Fault, real: Response, request: Request) -> Response:
    """The request was acted on, and its answer is spoiled."""
    if fault.kind == "reset_body":
        return TornResponse(real)
    if fault.kind == "truncated_json":
        body = await whole_body(real, request)
        return Response(body[: max(1, len(body) // 2)], media_type=real.headers.get("content-type"))
    if fault.kind in ODD_FAULTS:
        return await made_odd(fault.kind, fault.body, fault.word, real, request)
    await clean_up(real)
    match fault.kind:
        case "timeout_after":
            await until_client_leaves(request)
        case "status":
            return _specified(fault)
        case "empty_body":
            return Response(b"", media_type=real.headers.get("content-type"))
        case "wrong_shape":
            return Response(json.dumps([{"unexpected": True}]), media_type="application/json")
    return ResetResponse()


async def _echo(request: Request) -> str:
    """The answer of a gateway in debugging mode: the request as it came, with its credentials."""
    lines = [f"{name}: {value}" for name, value in request.headers.items()]
    body = (await request.body()).decode(errors="replace")
    return "<html><pre>" + "\n".join([f"{request.method} {request.url.path}", *lines, "", body]) + "</pre></html>"


def _specified(fault: Fault) -> Response:
    """The answer that the fault specifies."""
    named = any(name.lower() == "content-type" for name in fault.headers)
    kind = "text/html" if fault.body.lstrip().startswith("<") else "text/plain"
    return Response(fault.body, fault.status, fault.headers, media_type=None if named else kind)
