"""What runs now, how far it is, who waits and why, and what failed lately."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta

from fastapi import APIRouter, HTTPException, Request, Response
from starlette.concurrency import run_in_threadpool

from aem_guides.console.access import VisitorDep
from aem_guides.console.airflow_store import StoreHiddenError, first_entries
from aem_guides.console.doubt_page import open_doubts
from aem_guides.console.instance_health import Health, watch_of
from aem_guides.console.lines import Line, lines_of
from aem_guides.console.rendering import page, rendered
from aem_guides.ledger.clock import now_ms
from aem_guides.ledger.lookup import Known, Listed, Lookup, Search
from aem_guides.ledger.records import LOST
from aem_guides.protocol.states import JobState
from aem_guides.runtime.doubts import PREFIX as DOUBTS
from aem_guides.runtime.doubts import Doubt
from aem_guides.runtime.notes import AWAITS

router = APIRouter()
LATELY = timedelta(days=1)
FAILED = (JobState.FAILED, LOST, JobState.WITH_ERRORS)
MOST = 10
MOST_RUNNING = 200
"""So many active jobs of an instance are shown; the others are counted."""


@dataclass(frozen=True)
class Running:
    """A job that runs: as the ledger has it, None where it does not know it yet; what the instance says of it."""

    name: str
    path: str | None
    state: str
    done: int | None
    total: int | None
    progress: str
    listed: Listed | None
    last_line: str = ""


@router.get("/")
@router.get("/now")
async def now(request: Request, visitor: VisitorDep) -> Response:
    """The page. Each instance is a part of its own, which the browser asks for: one that is down holds up no other."""
    waiting = await _waiting(request)
    read = await run_in_threadpool(_as_last_read, waiting)
    return rendered(request, "now.html", {"visitor": visitor, "health": None, "tab": "now", "waiting": waiting, **read})


@router.get("/doubts")
async def doubts(request: Request, visitor: VisitorDep) -> Response:
    """What waits for a person, as it is now."""
    return page(request, "doubts.html", visitor=visitor, waiting=await _waiting(request))


@router.get("/instance")
async def instance(request: Request, visitor: VisitorDep, name: str) -> Response:
    """The part of one instance, as it is now."""
    waiting = await _waiting(request)
    line = waiting.lines.get(name)
    known = await run_in_threadpool(_known, name) or (Known(name, None, None) if line is not None else None)
    if known is None:
        raise HTTPException(404)
    health = await watch_of(request).look(known.connection_id) if known.connection_id else NO_CONNECTION
    running = await run_in_threadpool(_look, known, health)
    values = {"known": known, "running": running, "health": health, "line": line or Line()}
    values["more"] = max(0, len(health.active) - len(running))
    return rendered(request, "instance.html", {"visitor": visitor, **values})


@dataclass(frozen=True)
class WaitingNow:
    """What waits for a person, and the line of each instance.

    `hidden`: why that is not shown, in a sentence. `is_cut`: there are more than were read; lines may be missing.
    """

    doubts: tuple[Doubt, ...] = ()
    lines: Mapping[str, Line] = field(default_factory=dict)
    hidden: str | None = None
    is_cut: bool = False


async def _waiting(request: Request) -> WaitingNow:
    try:
        entries, is_cut = await first_entries(request, DOUBTS, AWAITS)
    except StoreHiddenError as error:
        return WaitingNow(hidden=str(error))
    return WaitingNow(tuple(open_doubts(entries)), lines_of(entries, now_ms() / 1000), is_cut=is_cut)


def _as_last_read(waiting: WaitingNow) -> dict[str, object]:
    """What the ledger has; and instances of which it has no job yet, where somebody waits."""
    since = now_ms() - int(LATELY.total_seconds() * 1000)
    with Lookup() as ledger:
        instances = ledger.instances()
        names = {known.name for known in instances}
        more = [Known(name, None, None) for name in sorted(waiting.lines) if name not in names]
        parts = [(known, _running(known, ledger, None), waiting.lines.get(known.name, Line())) for known in instances]
        parts += [(known, [], waiting.lines[known.name]) for known in more[:MOST]]
        failed = [
            listed for state in FAILED for listed in ledger.page(Search(state=state, since=since), size=MOST).jobs
        ]
    failed.sort(key=lambda listed: listed.job.completed_at or listed.job.last_seen_at, reverse=True)
    return {"parts": parts, "failed": failed[:MOST]}


NO_CONNECTION = Health(False, "The ledger knows no connection of it")


def _known(name: str) -> Known | None:
    with Lookup() as ledger:
        return next((known for known in ledger.instances() if known.name == name), None)


def _look(known: Known, health: Health) -> list[Running]:
    with Lookup() as ledger:
        return _running(known, ledger, health)


def _running(known: Known, ledger: Lookup, health: Health | None) -> list[Running]:
    """The active jobs: those that the instance shows; of one that does not answer, those of the ledger."""
    kept = {
        listed.job.processing_id: listed
        for listed in ledger.page(Search(active=True, instance=known.name), size=MOST_RUNNING).jobs
    }
    if health is None or not health.answers:
        return [_as_last_seen(listed) for listed in kept.values()]
    return [
        Running(
            job.processing_id,
            job.path,
            str(job.state),
            job.triggered_count,
            job.total_files,
            health.progress(job),
            kept.get(job.processing_id),
            health.last_lines.get(job.processing_id, ""),
        )
        for job in health.active[:MOST_RUNNING]
    ]


def _as_last_seen(listed: Listed) -> Running:
    job = listed.job
    return Running(
        job.processing_id, job.path, job.state, job.triggered_count, job.total_files, "as it was last seen", listed
    )
