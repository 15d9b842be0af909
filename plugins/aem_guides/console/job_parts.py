"""What the page of a job shows from elsewhere than the ledger: each part by itself, so that none holds up another."""

from __future__ import annotations

import contextlib

from fastapi import APIRouter, HTTPException, Request, Response
from starlette.concurrency import run_in_threadpool

from aem_guides.archive.place import times_of
from aem_guides.console import asked
from aem_guides.console.access import VisitorDep
from aem_guides.console.failed_assets import ASSETS, AssetPage, read_failed, sheet_of, stored_at
from aem_guides.console.job_pages import story_of
from aem_guides.console.log_pages import INSTANCE, from_the_instance, stored_file, whole
from aem_guides.console.log_text import LogPage
from aem_guides.console.rendering import Problem, page
from aem_guides.console.stored_log import read_log
from aem_guides.console.timeline import Stored, timeline
from aem_guides.ledger.lookup import Story
from aem_guides.protocol.errors import ArchiveError
from aem_guides.results.verification import CSV_NAME

router = APIRouter()
FEW = 10


@router.get("/events")
def events(request: Request, visitor: VisitorDep, instance: str, name: str) -> Response:
    """What happened to a job, with what the archive says of it."""
    story = story_of(instance, name)
    stored = Stored()
    # What the storage does not say, the other parts of the page complain of.
    with contextlib.suppress(ArchiveError):
        uri = story.listed.job.archive_uri
        stored = Stored(times_of(uri) if uri else (), stored_at(story.listed))
    return page(
        request, "events.html", visitor=visitor, timeline=timeline(story, stored), is_over=not story.listed.job.active
    )


@router.get("/log-digest")
async def log_digest(request: Request, visitor: VisitorDep, instance: str, name: str) -> Response:
    """A job's log in short."""
    story = await run_in_threadpool(story_of, instance, name)
    job = story.listed.job
    source, complaint = ("" if job.archive_uri else INSTANCE), ""
    if job.archive_uri:
        shown, complaint = await run_in_threadpool(_archived, job.archive_uri)
    elif story.connection_id is not None:
        shown = await from_the_instance(request, story)
    else:
        shown = LogPage(said="Its log is not archived, and no connection to its instance is known.")
    return page(
        request,
        "log_digest.html",
        visitor=visitor,
        story=story,
        job=job,
        shown=shown,
        source=source,
        complaint=complaint,
    )


def _archived(uri: str) -> tuple[LogPage, str]:
    try:
        return read_log(uri), ""
    except ArchiveError as error:
        return LogPage(), str(error)


@router.get("/assets-digest")
def assets_digest(request: Request, visitor: VisitorDep, instance: str, name: str) -> Response:
    """The first of the assets that a job did not process."""
    story = story_of(instance, name)
    found, complaint = None, ""
    try:
        found = read_failed(story.listed, size=FEW)
    except ArchiveError as error:
        complaint = str(error)
    return page(
        request, "assets_digest.html", visitor=visitor, listed=story.listed, found=found, complaint=complaint, few=FEW
    )


@router.get("/assets")
def assets(request: Request, visitor: VisitorDep, instance: str, name: str) -> Response:
    """All of them, page by page."""
    story = story_of(instance, name)
    query = request.query_params
    search = asked.words(query, "search", 200)
    found = _failed(story, whole(query.get("page", ""), 1), search)
    return page(
        request, "assets.html", visitor=visitor, listed=story.listed, found=found, search=search or "", size=ASSETS
    )


def _failed(story: Story, number: int, search: str | None) -> AssetPage:
    try:
        found = read_failed(story.listed, number, search)
    except ArchiveError as error:
        raise HTTPException(404, Problem("The list of failed assets cannot be read", str(error))) from None
    if found is None:
        raise HTTPException(404, NO_LIST)
    return found


@router.get("/assets-file")
def assets_file(visitor: VisitorDep, instance: str, name: str) -> Response:
    """The list as it lies there."""
    del visitor  # has been let in
    place = sheet_of(story_of(instance, name).listed)
    if place is None:
        raise HTTPException(404, NO_LIST)
    try:
        return stored_file(str(place), CSV_NAME, "text/csv; charset=utf-8")
    except ArchiveError:
        raise HTTPException(404, NO_LIST) from None


NO_LIST = Problem(
    "No list of failed assets is stored",
    "A run stores one where it verifies assets (verify_assets) and some of them were not processed.",
)
