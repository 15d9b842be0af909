"""The archive of one job, written in the same way by a task, a batch and the reconciliation."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import UTC, datetime

from airflow.sdk import ObjectStoragePath

from aem_guides.archive.place import Provenance, StoredArchive, archive_folder, date_of_job, store_archive
from aem_guides.hooks.bodies import surroundings
from aem_guides.hooks.hook import AemGuidesHook
from aem_guides.protocol.models import Job, JsonObject
from aem_guides.protocol.procedures.download import has_no_log
from aem_guides.protocol.procedures.late_lines import log_end, settle_log
from aem_guides.storage import default_archive_uri

log = logging.getLogger(__name__)

FirstSeen = Callable[[], float]
"""Returns when the caller first saw the job, in seconds since the epoch. The value is the same for every try."""


def archive_job(
    hook: AemGuidesHook,
    job: Job,
    *,
    run: str,
    request: JsonObject | None,
    first_seen: FirstSeen,
    base_uri: str = "",
    assets_done: bool = False,
) -> StoredArchive | None:
    """Store the log ZIP of a job once its log gets no more lines. None if the job has no log.

    `base_uri`: where archives are stored, default `[aem_guides] archive_uri`. `assets_done`: all assets of the job are
    known to be done. Raises ArchiveError, and what a call raises.
    """
    if hook.drive(has_no_log(hook.talk, job)):
        log.warning("The instance says that job %s has no log. Nothing is archived.", job.processing_id)
        return None
    hook.drive(settle_log(hook.talk, job, assets_done=assets_done))
    end = hook.drive(log_end(hook.talk, job.processing_id))  # before the download, to notice later lines
    provenance = Provenance(hook.settings.host, job, run, request, end)
    folder = folder_of(hook, job, first_seen, base_uri)
    archive = store_archive(hook, provenance, folder, wait=surroundings().sleep)
    log.info("Archived %s (%s bytes, SHA-256 %s)", archive.uri, f"{archive.size:,}", archive.sha256)
    return archive


def folder_of(hook: AemGuidesHook, job: Job, first_seen: FirstSeen, base_uri: str = "") -> ObjectStoragePath:
    """The folder of a job's archive. Its date is that of the job, or `first_seen` if the job has no time.

    So a try after midnight finds the archive of an earlier try.
    """
    when = date_of_job(job.started_at, job.completed_at) or datetime.fromtimestamp(first_seen(), tz=UTC)
    return archive_folder(base_uri or default_archive_uri(), hook.settings.host, when, job.processing_id)
