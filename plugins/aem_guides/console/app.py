"""The application behind the pages: its routes, the headers of its answers, and what it says if something is wrong."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from fastapi import Depends, FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException

from aem_guides.console import (
    action_pages,
    doubt_page,
    finding_page,
    job_pages,
    job_parts,
    log_pages,
    now_page,
    static_files,
    trend_page,
)
from aem_guides.console.access import visitor
from aem_guides.console.airflow_runs import HOST
from aem_guides.console.instance_health import Watch
from aem_guides.console.instance_log import InstanceLogs
from aem_guides.console.rendering import POLICY, Problem, problem_page
from aem_guides.ledger.database import LedgerSlowError, LedgerUnavailableError
from aem_guides.protocol.errors import AemGuidesError

if TYPE_CHECKING:
    from starlette.types import Message, Receive, Scope, Send

_PAGES = (
    now_page,
    job_pages,
    job_parts,
    trend_page,
    finding_page,
    doubt_page,
    action_pages,
    log_pages,
    static_files,
)
log = logging.getLogger(__name__)
HEADERS = {
    "content-security-policy": POLICY,
    "cache-control": "no-store",
    "referrer-policy": "same-origin",
    "x-content-type-options": "nosniff",
}
_SAID = {
    401: Problem(
        "Your session has ended", "Sign in to Airflow again, then load this page anew.", link="Sign in", href="../"
    ),
    403: Problem(
        "You may not see this",
        "These pages are for users who may read the DAGs of AEM Guides; actions are for those who may trigger them. "
        "Ask whoever runs this Airflow.",
    ),
    404: Problem("Nothing is here", "The address leads to no page of the console.", link="All jobs", href="jobs"),
    405: Problem("Nothing is here", "The address leads to no page of the console.", link="All jobs", href="jobs"),
}
_SLOW = Problem(
    "This search takes too long",
    "It was given up, so that the ledger stays free for others. Choose an instance, a state or a shorter time.",
)


class ConsoleApp(FastAPI):
    """Keeps in mind which application has mounted it: runs are started through that."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                found = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    found.setdefault(name, value)
            await send(message)

        if HOST not in scope:
            scope[HOST] = scope.get("app")
        await super().__call__(scope, receive, with_headers)


def make_app() -> FastAPI:
    """The console, to be mounted by Airflow. Every route asks first who it is."""
    app = ConsoleApp(docs_url=None, redoc_url=None, openapi_url=None, dependencies=[Depends(visitor)])
    app.state.watch, app.state.instance_logs = Watch(), InstanceLogs()
    for pages in _PAGES:
        app.include_router(pages.router)
    app.add_exception_handler(HTTPException, _refused)
    app.add_exception_handler(RequestValidationError, _not_understood)
    app.add_exception_handler(AemGuidesError, _ledger_failed)
    return app


def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101  # it is registered for these
    said = _SAID.get(error.status_code) or Problem("This cannot be done", str(error.detail))
    if isinstance(error.detail, Problem):
        said = error.detail
    return problem_page(request, error.status_code, said)


def _not_understood(request: Request, _error: Exception) -> Response:
    said = Problem("This address is not complete", "Something is missing in it.", link="All jobs", href="jobs")
    return problem_page(request, 400, said)


def _ledger_failed(request: Request, error: Exception) -> Response:
    if isinstance(error, LedgerSlowError):
        return problem_page(request, 503, _SLOW)
    text = str(error)
    if isinstance(error, LedgerUnavailableError) and error.for_all is not None:
        log.warning("%s", error)
        text = f"{error.for_all} The log of the API server says why."
    said = Problem("The ledger cannot be read", text, link="Try again", href="")
    return problem_page(request, 503, said)
