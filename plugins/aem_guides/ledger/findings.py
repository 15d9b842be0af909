"""The findings of a reconciliation, their severities and their remedies."""

from __future__ import annotations

import enum
from dataclasses import dataclass


class FindingKind(enum.StrEnum):
    """The kinds of findings.

    new_external: a job of another user. state_changed: a job has another state than when last seen. missed_completion:
    our job ended, but its run no longer exists to report it. disagreement: our run and the instance report different
    states. lost: neither history nor status knows our job. stalled: no progress for too long. failed_resumable: our job
    failed and can be resumed, but its run does not resume it. log_not_archived: the log of an ended job must be
    archived and is not. log_grown: a log has more lines than when it was archived. archive_missing: a recorded archive
    is missing or has changed. window_gap: this window shows no job of the last window. duplicate: two jobs with the
    same request ran at the same time. unknown_state: a state with an unknown word. unreadable_entry: an entry of the
    history cannot be read. note_set_aside: the ledger cannot store a run's note of its job.
    """

    NEW_EXTERNAL = "new_external"
    STATE_CHANGED = "state_changed"
    MISSED_COMPLETION = "missed_completion"
    DISAGREEMENT = "disagreement"
    LOST = "lost"
    STALLED = "stalled"
    FAILED_RESUMABLE = "failed_resumable"
    LOG_NOT_ARCHIVED = "log_not_archived"
    LOG_GROWN = "log_grown"
    ARCHIVE_MISSING = "archive_missing"
    WINDOW_GAP = "window_gap"
    DUPLICATE = "duplicate"
    UNKNOWN_STATE = "unknown_state"
    UNREADABLE_ENTRY = "unreadable_entry"
    NOTE_SET_ASIDE = "note_set_aside"


class Severity(enum.StrEnum):
    """The severity of a finding. `info` is not sent to the notifiers."""

    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class Remedy(enum.StrEnum):
    """The remedies.

    archive: fetch and store the log. resume: resume the job from its checkpoint. adopt: take the state that the
    instance shows, and follow the job from now on. alert: send it through Airflow's notifiers.
    """

    ARCHIVE = "archive"
    RESUME = "resume"
    ADOPT = "adopt"
    ALERT = "alert"


EVENTS = frozenset(
    {
        FindingKind.NEW_EXTERNAL,
        FindingKind.STATE_CHANGED,
        FindingKind.MISSED_COMPLETION,
        FindingKind.WINDOW_GAP,
        FindingKind.DUPLICATE,
    }
)
"""Findings that happen once and are closed when they are reported. All others stay open until their cause has gone."""

SEVERITY: dict[FindingKind, Severity] = {
    FindingKind.NEW_EXTERNAL: Severity.INFO,
    FindingKind.STATE_CHANGED: Severity.INFO,
    FindingKind.MISSED_COMPLETION: Severity.WARNING,
    FindingKind.DISAGREEMENT: Severity.ERROR,
    FindingKind.LOST: Severity.ERROR,
    FindingKind.STALLED: Severity.WARNING,
    FindingKind.FAILED_RESUMABLE: Severity.ERROR,
    FindingKind.LOG_NOT_ARCHIVED: Severity.WARNING,
    FindingKind.LOG_GROWN: Severity.INFO,
    FindingKind.ARCHIVE_MISSING: Severity.ERROR,
    FindingKind.WINDOW_GAP: Severity.WARNING,
    FindingKind.DUPLICATE: Severity.WARNING,
    FindingKind.UNKNOWN_STATE: Severity.WARNING,
    FindingKind.UNREADABLE_ENTRY: Severity.WARNING,
    FindingKind.NOTE_SET_ASIDE: Severity.WARNING,
}

REMEDY: dict[FindingKind, Remedy] = {
    FindingKind.LOG_NOT_ARCHIVED: Remedy.ARCHIVE,
    FindingKind.LOG_GROWN: Remedy.ARCHIVE,
    FindingKind.ARCHIVE_MISSING: Remedy.ARCHIVE,
    FindingKind.FAILED_RESUMABLE: Remedy.RESUME,
    FindingKind.DISAGREEMENT: Remedy.ADOPT,
}
"""The remedy for each kind of finding; the other kinds are only reported."""


@dataclass(frozen=True, order=True)
class FindingKey:
    """Two findings with the same key are the same finding: the kind, and the job, pair of jobs, or entry."""

    kind: FindingKind
    subject: str


@dataclass(frozen=True)
class Finding:
    """A finding. `text` is a sentence for people; `processing_id` is its job, if it has one."""

    key: FindingKey
    text: str
    processing_id: str | None = None

    @property
    def severity(self) -> Severity:
        return SEVERITY[self.key.kind]

    @property
    def is_event(self) -> bool:
        return self.key.kind in EVENTS
