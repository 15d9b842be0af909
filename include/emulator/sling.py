"""What Sling answers for paths that nothing serves: no page where they are asked for, and a node where they are posted.

Source: Apache Sling's default POST servlet, which takes any POST for "make a node here".
"""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

_PAGE = "<html><head><title>{title}</title></head><body><h1>{title}</h1><p>{path}</p></body></html>"
STATUSES = {"created": 201, "forbidden": 403, "error": 500}


class Sling:
    """Answers by `settings.sling_post`: `created` makes a node, as for somebody with an administrator's rights."""

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
