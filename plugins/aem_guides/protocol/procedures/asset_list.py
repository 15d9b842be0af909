"""Which assets a job with a filter had: those that were created in the time that its filter names.

The asset status knows no filter, but it can be asked for assets one by one. Which those are, the query builder of the
instance lists. It is believed where it lists as many as the job had; else it is not known which they were.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from aem_guides.protocol import contract
from aem_guides.protocol.asset_verdict import AssetQuestion
from aem_guides.protocol.conversation import Conversation
from aem_guides.protocol.errors import AemGuidesError, UnavailableError
from aem_guides.protocol.models import AssetPage, Job, ProcessingRequest, is_below, same_path
from aem_guides.protocol.procedures.events import Level, Notice
from aem_guides.protocol.steps import Emit, Steps, Wait

MOST_ASSETS = 5_000
"""A job with more is not asked for asset by asset: the question would have a body of megabytes."""
PAGE = 1_000
_MOST_PAGES = 2 * MOST_ASSETS // PAGE
"""Twice the assets of the job are read, for the sake of those that are excluded."""
_LOOK_AGAIN_AFTER = (1.0, 2.0, 4.0)
_BUSY = frozenset({429, 502, 503})


def assets_of_job(talk: Conversation, question: AssetQuestion) -> Steps[tuple[str, ...]]:
    """The paths of the assets that the job had; none where that is not known, or where it had all below its path.

    Raises nothing: an instance that does not list them leaves the question open.
    """
    request, files = question.request, question.job_files
    timed = request.created_after is not None or request.created_before is not None
    if not timed or request.file_types or files is None or not 0 < files <= MOST_ASSETS:
        return ()
    if question.job is not None and _had_another_filter(question.job, request):
        return ()
    request = _until_the_end(question.job, request)
    found, read = dict[str, None](), 0
    excluded = {same_path(path) for path in request.excluded_paths}
    for _ in range(_MOST_PAGES):
        try:
            page = yield from _page(talk, request, read)
        except AemGuidesError as error:
            yield Emit(Notice(Level.INFO, f"The instance does not list the assets that the job had. {error}"))
            return ()
        if not all(path and is_below(path, request.path) for path in page.paths):
            return ()
        found |= dict.fromkeys(path for path in page.paths if path and excluded.isdisjoint(_with_folders(path)))
        read += len(page.paths)
        if not page.more and len(page.paths) < PAGE:
            return tuple(found) if len(found) == files and page.total <= read else ()
        if not page.paths or len(found) > files:
            return ()
    return ()


def _page(talk: Conversation, request: ProcessingRequest, offset: int) -> Steps[AssetPage]:
    """One page. An instance that is busy is asked again a few times. Raises what a call raises."""
    call = contract.created_assets(request, offset=offset, limit=PAGE)
    for pause in _LOOK_AGAIN_AFTER:
        try:
            return (yield from talk.without_retries().call(call))
        except UnavailableError as error:
            if error.status not in _BUSY:
                raise
        yield Wait(pause, "asset list: trying again, since the instance is busy")
    return (yield from talk.without_retries().call(call))


def _until_the_end(job: Job | None, request: ProcessingRequest) -> ProcessingRequest:
    """The request, without assets that were created after the end of the job."""
    bounds = request.created_before, job.completed_at if job is not None else None
    return replace(request, created_before=min((bound for bound in bounds if bound is not None), default=None))


def _had_another_filter(job: Job, request: ProcessingRequest) -> bool:
    """Whether the instance shows that the job had another filter than the request."""
    shown = job.job_filter
    if shown is None:
        return False
    pairs = (shown.created_after, request.created_after), (shown.created_before, request.created_before)
    return bool(shown.file_types) or any(its is not None and its != asked for its, asked in pairs)


def _with_folders(path: str) -> Iterable[str]:
    """A path and the folders above it."""
    path = same_path(path)
    while path:
        yield path
        path = path.rpartition("/")[0]
