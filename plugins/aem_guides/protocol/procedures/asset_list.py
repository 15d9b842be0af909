"""Which assets a job with a filter had: those that were created in the time that its filter names.

The asset status knows no filter, but it can be asked for assets one by one. Which those are, the query builder of the
instance lists. It is believed where it lists as many as the job had; else it is not known which they were.
"""

from __future__ import annotations

from aem_guides.protocol import contract
from aem_guides.protocol.asset_verdict import AssetQuestion
from aem_guides.protocol.conversation import Conversation
from aem_guides.protocol.errors import AemGuidesError
from aem_guides.protocol.models import is_below, same_path
from aem_guides.protocol.procedures.events import Level, Notice
from aem_guides.protocol.steps import Emit, Steps

MOST_ASSETS = 5_000
"""A job with more is not asked for asset by asset: the question would have a body of megabytes."""
PAGE = 1_000
_BEYOND = 2
"""So many times the assets of the job are read, for the sake of those that are excluded."""


def assets_of_job(talk: Conversation, question: AssetQuestion) -> Steps[tuple[str, ...]]:
    """The paths of the assets that the job had; none where that is not known, or where it had all below its path.

    Raises nothing: an instance that does not list them leaves the question open.
    """
    request, files = question.request, question.job_files
    timed = request.created_after is not None or request.created_before is not None
    if not timed or request.file_types or files is None or not 0 < files <= MOST_ASSETS:
        return ()
    found, read, more = list[str](), 0, True
    while more and read <= _BEYOND * MOST_ASSETS and len(found) <= files:
        try:
            page = yield from talk.without_retries().call(contract.created_assets(request, offset=read, limit=PAGE))
        except AemGuidesError as error:
            yield Emit(Notice(Level.INFO, f"The instance does not list the assets that the job had. {error}"))
            return ()
        found.extend(path for path in page.paths if not _is_excluded(path, request.excluded_paths))
        read, more = read + len(page.paths), page.more and bool(page.paths)
    if more or len(set(found)) != files:
        return ()
    return tuple(found)


def _is_excluded(path: str, excluded: tuple[str, ...]) -> bool:
    return any(same_path(path) == same_path(folder) or is_below(path, folder) for folder in excluded)
