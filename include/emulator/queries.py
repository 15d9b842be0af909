"""Read and check the values of a query, and send long answers in blocks."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterable

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from emulator.checks import BadInputError

_MOST_DIGITS = 15
_BLOCK = 500


def text(request: Request, name: str) -> str:
    """A text. Raises BadInputError if it is missing or empty."""
    value = request.query_params.get(name)
    if not value:
        raise BadInputError(name, value, "It is required.")
    return value


def number(request: Request, name: str, default: int, *, least: int) -> int:
    """A number. Raises BadInputError if it is not a whole number, or is too small."""
    value = request.query_params.get(name)
    if value is None:
        return default
    if not value.isascii() or not value.isdigit() or len(value) > _MOST_DIGITS or int(value) < least:
        raise BadInputError(name, value, f"Give a whole number from {least} on.")
    return int(value)


async def in_blocks(parts: AsyncIterator[str]) -> AsyncIterator[str]:
    """The same text in fewer and larger parts."""
    block: list[str] = []
    async for part in parts:
        block.append(part)
        if len(block) >= _BLOCK:
            yield "".join(block)
            block.clear()
    yield "".join(block)


def array(entries: Iterable[dict[str, object]]) -> Response:
    """A JSON array of any length."""

    async def parts() -> AsyncIterator[str]:
        separator = "["
        for entry in entries:
            yield separator + json.dumps(entry)
            separator = ","
        yield "]" if separator == "," else "[]"

    return StreamingResponse(in_blocks(parts()), media_type="application/json")
