"""What a page of the console posts: read with bounds, and only from a page of the same session."""

from __future__ import annotations

import hmac
from urllib.parse import parse_qs

from fastapi import HTTPException, Request

from aem_guides.console.access import Visitor, came_from_here
from aem_guides.console.rendering import Problem

LARGEST_FORM = 64 * 1024
_FORM = "application/x-www-form-urlencoded"
ELSEWHERE = Problem(
    "This was not sent from a page of yours",
    "Nothing was done. Your session may have been renewed meanwhile: open the page again, and choose the action there.",
    link="All jobs",
    href="jobs",
)


async def posted(request: Request, visitor: Visitor) -> dict[str, str]:
    """The fields of a small form that a page of this session sent. Raises HTTPException."""
    form = await _form(request)
    if not came_from_here(request) or not hmac.compare_digest(form.get("token", "").encode(), visitor.token.encode()):
        raise HTTPException(403, ELSEWHERE)
    return form


async def _form(request: Request) -> dict[str, str]:
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != _FORM:
        raise HTTPException(415, ELSEWHERE)
    body = b""
    async for block in request.stream():
        body += block
        if len(body) > LARGEST_FORM:
            raise HTTPException(413, ELSEWHERE)
    try:
        fields = parse_qs(body.decode("ascii"), max_num_fields=20)
    except ValueError:
        raise HTTPException(400, ELSEWHERE) from None
    return {name: values[0] for name, values in fields.items()}
