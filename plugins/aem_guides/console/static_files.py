"""The style and the script of the pages."""

from __future__ import annotations

from fastapi import APIRouter, HTTPException, Response
from fastapi.responses import FileResponse

from aem_guides.console.rendering import FOLDER

router = APIRouter()
KINDS = {"console.css": "text/css", "console.js": "text/javascript"}
KEPT = {"cache-control": "private, max-age=31536000, immutable"}
"""Their addresses have the version in them."""


@router.get("/static/{name}")
def static_file(name: str) -> Response:
    """One of them."""
    if name not in KINDS:
        raise HTTPException(404)
    return FileResponse(FOLDER / "static" / name, media_type=KINDS[name], headers=KEPT)
