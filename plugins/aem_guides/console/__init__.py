"""The console: the pages of the ledger in Airflow, for people who run AEM Guides. This is its face.

Airflow loads plugins in every process, and the API server alone shows pages: what they need is imported at the first
request.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

PREFIX = "/aem-guides"

# Without a leading slash, so that they hold below a proxy's sub-path too.
VIEWS: list[dict[str, str | bool]] = [
    {
        "name": "AEM Guides",
        "href": "aem-guides/",
        "destination": "nav",
        "url_route": "aem-guides",
        "category": "browse",
    },
    {
        "name": "AEM Guides jobs",
        "href": "aem-guides/run?dag_id={DAG_ID}&run_id={RUN_ID}",
        "destination": "dag_run",
        "url_route": "aem-guides-run",
    },
    {
        "name": "AEM Guides job",
        "href": "aem-guides/run?dag_id={DAG_ID}&run_id={RUN_ID}&map_index={MAP_INDEX}",
        "destination": "task_instance",
        "url_route": "aem-guides-task",
    },
]
"""Where Airflow's UI shows the console."""


class LateApp:
    """An ASGI application that is made when it is first asked."""

    def __init__(self) -> None:
        self._app: ASGIApp | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if self._app is None:
            self._app = await asyncio.to_thread(_make)
        await self._app(scope, receive, send)


def _make() -> ASGIApp:
    from aem_guides.console.app import make_app

    return make_app()
