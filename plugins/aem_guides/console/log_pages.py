"""The log of a job in its page, and the archive to download."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import quote

from fastapi import APIRouter, HTTPException, Request, Response
from fastapi.responses import StreamingResponse

from aem_guides.console import asked
from aem_guides.console.access import VisitorDep
from aem_guides.console.job_pages import UNKNOWN
from aem_guides.console.rendering import Problem, page
from aem_guides.console.stored_log import LINES, open_archive, read_log
from aem_guides.ledger.lookup import Lookup
from aem_guides.ledger.records import LedgerJob
from aem_guides.protocol.errors import ArchiveError
from aem_guides.storage import BLOCK_BYTES, safe_name

router = APIRouter()
_MOST_DIGITS = 6


@router.get("/log")
def log(request: Request, visitor: VisitorDep, instance: str, name: str) -> Response:
    """A page of the archived log."""
    job = _job(instance, name)
    query = request.query_params
    search = asked.words(query, "search", 200)
    number, entry = _whole(query.get("page", ""), 1), _whole(query.get("entry", ""), 0)
    try:
        shown = read_log(job.archive_uri or "", entry, number, search)
    except ArchiveError as error:
        raise HTTPException(404, Problem("The archive cannot be read", str(error))) from None
    values: dict[str, object] = {"job": job, "instance": instance, "shown": shown, "search": search, "size": LINES}
    return page(request, "log.html", visitor=visitor, values=values)


@router.get("/archive")
def archive(visitor: VisitorDep, instance: str, name: str) -> Response:
    """The archive as it lies there."""
    del visitor  # has been let in
    job = _job(instance, name)
    opened = open_archive(job.archive_uri or "")
    try:
        file = opened.__enter__()
    except ArchiveError as error:
        raise HTTPException(404, Problem("The archive cannot be read", str(error))) from None

    def blocks() -> Iterator[bytes]:
        try:
            while block := file.read(BLOCK_BYTES):
                yield block
        finally:
            opened.__exit__(None, None, None)

    shown = quote(f"{safe_name(job.processing_id)}.zip")
    headers = {"content-disposition": f'attachment; filename="{shown}"'}
    return StreamingResponse(blocks(), media_type="application/zip", headers=headers)


NOT_ARCHIVED = Problem("Its log is not archived", "The page of the job offers to archive it once the job has ended.")


def _job(instance: str, name: str) -> LedgerJob:
    with Lookup() as ledger:
        story = ledger.story(instance, name)
    if story is None:
        raise HTTPException(404, UNKNOWN)
    if not story.listed.job.archive_uri:
        raise HTTPException(404, NOT_ARCHIVED)
    return story.listed.job


def _whole(told: str, other: int) -> int:
    return int(told) if told.isascii() and told.isdecimal() and len(told) <= _MOST_DIGITS else other
