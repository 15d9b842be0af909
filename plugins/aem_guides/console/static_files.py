"""The style and the scripts of the pages."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from fastapi import APIRouter, HTTPException, Response
from fastapi.responses import FileResponse

from aem_guides.console.rendering import FOLDER

router = APIRouter()


def _plotly() -> Path:
    """The folder of the package, which need not be imported."""
    found = find_spec("plotly")
    return Path(found.origin).parent if found and found.origin else FOLDER


FILES = {
    "console.css": (FOLDER / "static" / "console.css", "text/css"),
    "console.js": (FOLDER / "static" / "console.js", "text/javascript"),
    "charts.js": (FOLDER / "static" / "charts.js", "text/javascript"),
    "plotly.min.js": (_plotly() / "package_data" / "plotly.min.js", "text/javascript"),
}
"""The library of the charts comes from its own package: nothing is copied, and no other host is asked."""
KEPT = {"cache-control": "private, max-age=31536000, immutable"}
"""Their addresses have the version in them."""


@router.get("/static/{name}")
def static_file(name: str) -> Response:
    """One of them."""
    if name not in FILES:
        raise HTTPException(404)
    file, kind = FILES[name]
    return FileResponse(file, media_type=kind, headers=KEPT)
