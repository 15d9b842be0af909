"""Pages from templates: how times, counts and states are shown."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlencode

from fastapi import Request, Response
from fastapi.responses import HTMLResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from aem_guides import __version__
from aem_guides.ledger.records import LOST, LedgerJob
from aem_guides.protocol.states import JobState
from aem_guides.protocol.wording import in_words, iso_time

FOLDER = Path(__file__).parent
STATES: dict[str, tuple[str, str]] = {
    JobState.WAITING: ("Waiting", "queued"),
    JobState.RUNNING: ("Running", "running"),
    JobState.SUCCESS: ("Succeeded", "success"),
    JobState.WITH_ERRORS: ("With errors", "warning"),
    JobState.FAILED: ("Failed", "failed"),
    JobState.CANCELLED: ("Cancelled", "skipped"),
    JobState.UNKNOWN: ("Unknown", "unknown"),
    LOST: ("Lost", "failed"),
}
"""The words for the states of the ledger, each with what it looks like."""


@dataclass(frozen=True)
class Problem:
    """What is wrong, why, and what to do; an address where that is done."""

    title: str
    text: str
    link: str = ""
    href: str = ""


def moment(at: int | None) -> Markup:
    """Epoch milliseconds as an element that the page shows in the viewer's zone; without JavaScript it is UTC."""
    told = iso_time(at)
    if told is None:
        return Markup('<span class="none">–</span>')
    return Markup('<time datetime="{0}">{1} UTC</time>').format(told, told[:16].replace("T", " "))


def badge(state: str) -> Markup:
    """A state in words, with its colour beside them."""
    word, look = STATES.get(state, (state, "unknown"))
    return Markup('<span class="state {0}">{1}</span>').format(look, word)


def amount(count: int | None) -> str:
    return "–" if count is None else f"{count:,}"


def lasted(job: LedgerJob) -> str:
    """How long a job took."""
    if job.started_at is None or job.completed_at is None or job.completed_at < job.started_at:
        return "–"
    return in_words((job.completed_at - job.started_at) / 1000)


def starter(job: LedgerJob) -> str:
    return job.run.dag_id if job.run else job.created_by or "unknown"


def address(page: str, **query: object) -> str:
    """A relative address within the console; what is None or empty is left out."""
    told = {name: value for name, value in query.items() if value not in (None, "")}
    return f"{page}?{urlencode(told, errors='surrogatepass')}" if told else page


def run_address(dag_id: str, run_id: str) -> Markup:
    """Where Airflow shows a run, as the attributes of a link that leaves the frame of the console."""
    from urllib.parse import quote

    where = f"../dags/{quote(dag_id, safe='')}/runs/{quote(run_id, safe='')}"
    return Markup('href="{0}" target="_top" data-outside').format(where)


_ENVIRONMENT = Environment(
    loader=FileSystemLoader(FOLDER / "templates"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_ENVIRONMENT.globals.update(
    moment=moment,
    badge=badge,
    amount=amount,
    lasted=lasted,
    starter=starter,
    address=address,
    run_address=run_address,
    in_words=in_words,
    states=STATES,
    version=__version__,
)


def page(request: Request, template: str, status: int = 200, **values: object) -> Response:
    """A page of this template."""
    tab = request.url.path.rstrip("/").rpartition("/")[2]
    return HTMLResponse(_ENVIRONMENT.get_template(template).render(tab=tab, **values), status)


def problem_page(request: Request, status: int, problem: Problem) -> Response:
    """A page that says what is wrong."""
    return page(request, "problem.html", status, problem=problem)


def text_of(value: object) -> str:
    """A value as text that is safe in a page."""
    return str(escape(str(value)))
