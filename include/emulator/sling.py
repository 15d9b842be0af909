"""Sling's answers for paths that nothing serves: 404 for a GET, and a new node for a POST.

Source: Apache Sling's default POST servlet, which takes any POST as "make a node here".
"""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

_PAGE = "<html><head><title>{title}</title></head><body><h1>{title}</h1><p>{path}</p></body></html>"
STATUSES = {"created": 201, "forbidden": 403, "error": 500}


class Sling:
    """Answers as `settings.sling_post` says. `created` makes a node, as for a user with an administrator's rights."""

    def __init__(self) -> None:
        self.nodes: list[str] = []

    def answer(self, request: Request, post: str) -> Response:
        """The answer to a request for a path that nothing serves."""
        path = request.url.path
        if request.method != "POST":
            return HTMLResponse(_PAGE.format(title="No resource found", path=path), 404)
        if post == "created":
            self.nodes.append(path)
        return HTMLResponse(_PAGE.format(title=f"Content {post}", path=path), STATUSES[post])
