"""Find logs that have grown since they were archived: assets of an ended job may still be processed, and logged."""

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
"""For this long after its end, a job's log is checked."""
LOGS_AT_ONCE = 10
"""Each costs a request and the read of a manifest."""

log = logging.getLogger(__name__)


def look_for_late_lines(hook: AemGuidesHook, window: Sequence[Job], known: LedgerView) -> dict[str, bool]:
    """Whether the logs of the jobs that ended last, and of those found grown, have grown since they were archived.

    At most ten per call. A log that cannot be read now is left out. A log that is gone with its job has not grown.
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
