"""Logs that have grown since they were archived: what a job hands over may go on after its end, and log so."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from aem_guides.archive.place import has_grown, log_end_of
from aem_guides.hooks.hook import AemGuidesHook
from aem_guides.ledger.findings import FindingKind
from aem_guides.ledger.reconcile import LedgerView
from aem_guides.protocol.errors import AemGuidesError
from aem_guides.protocol.models import Job, newest_first
from aem_guides.protocol.procedures.late_lines import log_end

LATE_LINES_MS = 6 * 3600 * 1000
"""How long after its end a job's log is looked at."""
LOGS_AT_ONCE = 10
"""A request and a manifest each."""

log = logging.getLogger(__name__)


def look_for_late_lines(hook: AemGuidesHook, window: Sequence[Job], known: LedgerView) -> dict[str, bool]:
    """Whether the logs of the jobs that ended last have grown since they were archived, and of those found grown.

    At most ten at once. What cannot be had this time is left out; a log that is gone with its job has not grown.
    """
    instance_now = hook.talk.instance_now()
    found = [key.subject for key in known.open_findings if key.kind is FindingKind.LOG_GROWN]
    lately = [
        job.processing_id
        for job in newest_first(window)
        if not job.is_active and instance_now - (job.completed_at or 0) <= LATE_LINES_MS
    ]
    looked: dict[str, bool] = {}
    for name in list(dict.fromkeys([*sorted(found), *lately])):
        entry = known.jobs.get(name)
        if entry is None or entry.archive_uri is None or entry.active:
            continue
        try:
            before = log_end_of(entry.archive_uri)
        except AemGuidesError as error:
            log.warning("The manifest of archive %s cannot be read this time: %s", entry.archive_uri, error)
            continue
        now = hook.drive(log_end(hook.talk, name)) if before is not None else None
        if now is not None or not any(job.processing_id == name for job in window):
            looked[name] = has_grown(before, now)
        if len(looked) >= LOGS_AT_ONCE:
            break
    return looked
