"""The log of a job in its page, and the archive to download."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from urllib.parse import quote

from fastapi import APIRouter, HTTPException, Request, Response
from fastapi.responses import StreamingResponse
from starlette.concurrency import run_in_threadpool

from aem_guides.console import asked
from aem_guides.console.access import VisitorDep
from aem_guides.console.instance_log import logs_of
from aem_guides.console.job_pages import story_of
from aem_guides.console.log_text import LINES, LogPage
from aem_guides.console.rendering import Problem, address, page
from aem_guides.console.stored_log import open_archive, read_log
from aem_guides.ledger.lookup import Story
from aem_guides.protocol.errors import ArchiveError
from aem_guides.storage import BLOCK_BYTES, safe_name

router = APIRouter()
_MOST_DIGITS = 6
INSTANCE = "instance"


@router.get("/log")
async def log(request: Request, visitor: VisitorDep, instance: str, name: str) -> Response:
    """A page of the log: of the archive, or as the instance shows it where there is none or that is asked for."""
    story = await run_in_threadpool(story_of, instance, name)
    query = request.query_params
    search = asked.words(query, "search", 200)
    number, entry = whole(query.get("page", ""), 1), whole(query.get("entry", ""), 0)
    uri = story.listed.job.archive_uri
    from_instance = not uri or query.get("from") == INSTANCE
    if from_instance or not uri:
        shown = await from_the_instance(request, story, number, search)
    else:
        try:
            shown = await run_in_threadpool(read_log, uri, entry, number, search)
        except ArchiveError as error:
            raise HTTPException(404, _gone(story, error)) from None
    values: dict[str, object] = {
        "job": story.listed.job,
        "instance": instance,
        "shown": shown,
        "search": search,
        "source": INSTANCE if from_instance else "",
        "size": LINES,
    }
    return page(request, "log.html", visitor=visitor, values=values)


async def from_the_instance(request: Request, story: Story, number: int = 1, search: str | None = None) -> LogPage:
    """A page of what the instance shows. Raises HTTPException where nobody knows how to ask it."""
    if story.connection_id is None:
        raise HTTPException(404, NOT_ARCHIVED)
    kept = await logs_of(request).look(story.connection_id, story.listed.job.processing_id)
    shown = await run_in_threadpool(kept.page, number, search)
    if not shown.said:
        return shown
    return replace(shown, said=f"{story.listed.instance}: {shown.said[:1].lower()}{shown.said[1:]}.")


def _gone(story: Story, error: ArchiveError) -> Problem:
    if story.connection_id is None:
        return Problem("The archive cannot be read", str(error))
    job = story.listed.job
    there = address("log", instance=story.listed.instance, name=job.processing_id, **{"from": INSTANCE})
    return Problem("The archive cannot be read", str(error), link="Ask the instance for the log", href=there)


@router.get("/archive")
def archive(visitor: VisitorDep, instance: str, name: str) -> Response:
    """The archive as it lies there."""
    del visitor  # has been let in
    job = story_of(instance, name).listed.job
    if not job.archive_uri:
        raise HTTPException(404, NOT_ARCHIVED)
    try:
        return stored_file(job.archive_uri, f"{safe_name(job.processing_id)}.zip", "application/zip")
    except ArchiveError as error:
        raise HTTPException(404, Problem("The archive cannot be read", str(error))) from None


def stored_file(uri: str, name: str, media_type: str) -> Response:
    """A file of the archive, to keep under this name. Raises ArchiveError."""
    opened = open_archive(uri)
    file = opened.__enter__()

    def blocks() -> Iterator[bytes]:
        try:
            while block := file.read(BLOCK_BYTES):
                yield block
        finally:
            opened.__exit__(None, None, None)

    headers = {"content-disposition": f'attachment; filename="{quote(name)}"'}
    return StreamingResponse(blocks(), media_type=media_type, headers=headers)


NOT_ARCHIVED = Problem("Its log is not archived", "The page of the job offers to archive it once the job has ended.")


def whole(told: str, other: int) -> int:
    """The number in an address, else another."""
    return int(told) if told.isascii() and told.isdecimal() and len(told) <= _MOST_DIGITS else other
