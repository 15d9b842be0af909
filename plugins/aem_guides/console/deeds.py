"""What can be done with a job, and as which run of ours. Pure."""

from __future__ import annotations

import enum
from dataclasses import dataclass

from aem_guides.console.access import CONTROL, PROCESS, Visitor
from aem_guides.ledger.lookup import Story
from aem_guides.protocol.models import JsonObject, ProcessingRequest
from aem_guides.protocol.wording import iso_time


class Deed(enum.StrEnum):
    """What a person can have done with a job."""

    CANCEL = "cancel"
    RESUME = "resume"
    ARCHIVE = "archive"
    AGAIN = "again"


@dataclass(frozen=True)
class Words:
    """How a deed is called, and what a person is asked before it is done."""

    title: str
    question: str
    button: str
    is_grave: bool = False


WORDS = {
    Deed.CANCEL: Words(
        "Cancel",
        "The instance stops processing. What is processed already stays processed. A run that waits for this job may "
        "resume it: cancel such a run in Airflow instead.",
        "Cancel this job",
        is_grave=True,
    ),
    Deed.RESUME: Words(
        "Resume",
        "The instance goes on from the job's checkpoint. No run waits for it: the reconciliation sees its end.",
        "Resume this job",
    ),
    Deed.ARCHIVE: Words("Archive the log", "The log ZIP is fetched, checked and stored.", "Archive its log"),
    Deed.AGAIN: Words(
        "Process again",
        "A new run processes the same path with the same exclusions and filters, from the beginning.",
        "Process it again",
    ),
}


def possible(visitor: Visitor, story: Story) -> tuple[Deed, ...]:
    """What this visitor can have done with the job as the ledger has it."""
    job = story.listed.job
    if story.connection_id is None:
        return ()
    found = []
    if visitor.may_control:
        if job.active:
            found.append(Deed.CANCEL)
        elif job.resumable:
            found.append(Deed.RESUME)
        if not job.active and not job.archive_uri:
            found.append(Deed.ARCHIVE)
    if visitor.may_process and not job.active and _request(story) is not None:
        found.append(Deed.AGAIN)
    return tuple(found)


def run_of(deed: Deed, story: Story) -> tuple[str, JsonObject]:
    """The DAG that does it, and its parameters. For a deed that is possible."""
    connection_id = story.connection_id or ""
    if deed is not Deed.AGAIN:
        name = story.listed.job.processing_id
        return CONTROL, {"processing_id": name, "action": str(deed), "connection_id": connection_id}
    request = _request(story)
    if request is None:
        raise ValueError(f"{story.listed.job.processing_id}: what it was asked to do is not known")
    return PROCESS, {
        "paths": [request.path],
        "excluded_paths": list(request.excluded_paths),
        "file_types": list(request.file_types),
        "created_after": iso_time(request.created_after),
        "created_before": iso_time(request.created_before),
        "processing_type": request.processing_type,
        "connection_id": connection_id,
    }


def _request(story: Story) -> ProcessingRequest | None:
    """What the job was asked to do; None where that is not known for certain: a filter is never left out."""
    try:
        return ProcessingRequest.from_json(story.listed.job.request or {})
    except ValueError:
        return None
