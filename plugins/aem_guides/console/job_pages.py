"""The list of jobs, the page of one job, and the tab on runs."""

from __future__ import annotations

from fastapi import APIRouter, HTTPException, Request, Response

from aem_guides.console import asked
from aem_guides.console.access import VisitorDep
from aem_guides.console.deeds import WORDS, possible
from aem_guides.console.rendering import Problem, address, page
from aem_guides.console.timeline import timeline
from aem_guides.ledger.lookup import Lookup, Mark, Search, Story
from aem_guides.ledger.records import RunKey
from aem_guides.protocol.models import JsonObject

router = APIRouter()
FIELDS = ("instance", "path", "state", "starter", "since", "until", "name", "order", "offset")


@router.get("/jobs")
def jobs(request: Request, visitor: VisitorDep) -> Response:
    """All jobs, or those that are searched for."""
    complaints: list[str] = []
    query = request.query_params
    search, mark = asked.search(query, complaints), asked.mark(query, complaints)
    with Lookup() as ledger:
        instances = ledger.instances()
        shown = ledger.page(search, mark)
    chosen = {name: asked.words(query, name) for name in FIELDS}

    def place(at: Mark | None) -> str | None:
        return address("jobs", **chosen, **{"from": asked.written(at)}) if at else None

    narrowed = any(value for name, value in chosen.items() if name not in ("order", "offset"))
    return page(
        request,
        "jobs.html",
        visitor=visitor,
        jobs=shown.jobs,
        instances=instances,
        chosen=chosen,
        narrowed=narrowed,
        behind_the_end=mark is not None and not shown.jobs,
        earlier=place(shown.earlier),
        further=place(shown.further),
        complaints=complaints,
    )


@router.get("/run")
def run(request: Request, visitor: VisitorDep, dag_id: str, run_id: str, map_index: str = "") -> Response:
    """The jobs of a run, or of a mapped task of it: a tab of Airflow's pages."""
    index = int(map_index) if map_index.isdecimal() and len(map_index) < 10 else None
    search = Search(run=RunKey(dag_id, run_id), map_index=index)
    with Lookup() as ledger:
        shown = ledger.page(search, size=200)
    return page(request, "run.html", visitor=visitor, jobs=shown.jobs, more=shown.further is not None)


@router.get("/job")
def job(request: Request, visitor: VisitorDep, instance: str, name: str) -> Response:
    """One job."""
    story = story_of(instance, name)
    return page(
        request,
        "job.html",
        visitor=visitor,
        story=story,
        listed=story.listed,
        job=story.listed.job,
        is_over=not story.listed.job.active,
        deeds=[(deed, WORDS[deed]) for deed in possible(visitor, story)],
        timeline=timeline(story),
        request_told=_told(story.listed.job.request),
    )


def story_of(instance: str, name: str) -> Story:
    """All of one job. Raises HTTPException."""
    with Lookup() as ledger:
        story = ledger.story(instance, name)
    if story is None:
        raise HTTPException(404, UNKNOWN)
    return story


UNKNOWN = Problem(
    "The ledger does not know this job",
    "Check its id. A job that ended long ago may have been forgotten, as ledger_retention_days says.",
    link="All jobs",
    href="jobs",
)


def _told(request: JsonObject | None) -> list[tuple[str, str]]:
    """What a job was asked to do, but for its path."""
    told = [(name.replace("_", " "), value) for name, value in (request or {}).items() if name != "path" and value]
    return [(name, ", ".join(map(str, value)) if isinstance(value, list) else str(value)) for name, value in told]
