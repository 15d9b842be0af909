"""Pages from templates: how times, counts and states are shown."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from urllib.parse import quote, urlencode

from fastapi import Request, Response
from fastapi.responses import HTMLResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from aem_guides import __version__
from aem_guides.ledger.findings import FindingKind
from aem_guides.ledger.queries import BEGUN, DONE, FAILED, WANTED
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


def breakable(path: str) -> Markup:
    """A path that may go on in the next line behind each slash."""
    return Markup("/<wbr>").join(path.split("/"))


def amount(count: int | None) -> str:
    return "–" if count is None else f"{count:,}"


def lasted(job: LedgerJob) -> str:
    """How long a job took."""
    if job.started_at is None or job.completed_at is None or job.completed_at < job.started_at:
        return "–"
    return in_words((job.completed_at - job.started_at) / 1000)


def starter(job: LedgerJob) -> str:
    return job.run.dag_id if job.run else job.created_by or "unknown"


def address(where: str, /, **query: object) -> str:
    """A relative address within the console; what is None or empty is left out."""
    told = {name: value for name, value in query.items() if value not in (None, "")}
    return f"{where}?{urlencode(told, errors='surrogatepass')}" if told else where


def run_address(dag_id: str, run_id: str) -> Markup:
    """Where Airflow shows a run, as the attributes of a link that leaves the frame of the console."""
    where = f"../dags/{quote(dag_id, safe='')}/runs/{quote(run_id, safe='')}"
    return Markup('href="{0}" target="_top" data-outside').format(where)


REMEDY_STATES = {
    None: "nobody has asked for it; the option reconcile_remedies does not list it",
    WANTED: "will be done",
    BEGUN: "under way",
    DONE: "done",
    FAILED: "has failed",
}
"""The states of a remedy in words."""

_ADVICE: dict[str, str] = {
    FindingKind.NEW_EXTERNAL: "Nothing has to be done.",
    FindingKind.STATE_CHANGED: "Nothing has to be done.",
    FindingKind.MISSED_COMPLETION: "Nothing has to be done: the ledger has its end.",
    FindingKind.DISAGREEMENT: "Look at the job and at its run. The remedy adopt takes the instance's word.",
    FindingKind.LOST: "See whether the instance was restored or cleaned up. Process the path again if it is needed.",
    FindingKind.STALLED: "Look at the instance's load and at the job's log. Cancel it, then resume or process again.",
    FindingKind.FAILED_RESUMABLE: "Read its log, mend the cause, then resume it from its page.",
    FindingKind.LOG_NOT_ARCHIVED: "Archive it from its page, as long as the instance has the log.",
    FindingKind.LOG_GROWN: "Archive it again from its page. No line of the earlier archive is lost.",
    FindingKind.ARCHIVE_MISSING: "Archive it anew from its page, or restore the storage.",
    FindingKind.WINDOW_GAP: "Jobs may have passed unseen: reconcile more often (reconcile_schedule).",
    FindingKind.DUPLICATE: "Find out what started both: people, another tool, a second Airflow.",
    FindingKind.UNKNOWN_STATE: "Look at the job on the instance. A new version of this package may know the word.",
    FindingKind.UNREADABLE_ENTRY: "The rest of the history is used. Look at the entry on the instance.",
    FindingKind.NOTE_SET_ASIDE: "Read the file that it names, then remove it.",
}


def advice(kind: str) -> str:
    """What a person can do about a finding."""
    return _ADVICE.get(kind, "")


POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "form-action 'self'; frame-ancestors 'self'; base-uri 'none'"
)
"""What a page may load: from here, and nothing else."""
POLICY_OF_CHARTS = POLICY.replace("style-src 'self'", "style-src 'self' 'unsafe-inline'")
"""The library of the charts puts styles into the page, and no scripts."""

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
    breakable=breakable,
    lasted=lasted,
    starter=starter,
    address=address,
    run_address=run_address,
    advice=advice,
    remedy_states=REMEDY_STATES,
    in_words=in_words,
    states=STATES,
    version=__version__,
    plotly_version=metadata.version("plotly"),
)


_OF_JOBS = frozenset({"job", "log", "assets", "act", "done"})
"""Pages that one comes to from the list of jobs."""


def page(request: Request, template: str, status: int = 200, **values: object) -> Response:
    """A page of this template."""
    return rendered(request, template, values, status)


def rendered(request: Request, template: str, values: Mapping[str, object], status: int = 200) -> Response:
    """The same with values that have names already."""
    tab = request.url.path.rstrip("/").rpartition("/")[2]
    told = {"tab": tab, "section": "jobs" if tab in _OF_JOBS else tab, **values}
    return HTMLResponse(_ENVIRONMENT.get_template(template).render(told), status)


def problem_page(request: Request, status: int, problem: Problem) -> Response:
    """A page that says what is wrong."""
    return page(request, "problem.html", status, problem=problem)
