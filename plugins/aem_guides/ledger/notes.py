"""The notes that a run writes to the ledger about its jobs, and how they are merged with the existing entries. Pure.

A note may come late, twice, or after a later one, because notes wait in the archive while the ledger is down.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

from aem_guides.ledger.records import LedgerJob, RunKey
from aem_guides.protocol.models import JsonObject, JsonValue, ProcessingRequest
from aem_guides.protocol.states import ACTIVE_STATES, JobState


@dataclass(frozen=True)
class Outcome:
    """The end of a job as its run saw it. Times in epoch milliseconds; unknown values are None."""

    state: str
    total_files: int | None = None
    triggered_count: int | None = None
    started_at: int | None = None
    completed_at: int | None = None
    resumes: int = 0
    archive_uri: str | None = None
    sha256: str | None = None


@dataclass(frozen=True)
class Note:
    """A run's note about its job: of its start if `outcome` is None, else of its end.

    `at` is the time of the note by our clock, in epoch milliseconds. `adopted`: the job was started by another user.
    `continues`: the id before a resume.
    """

    instance: str
    connection_id: str
    processing_id: str
    request: JsonObject
    run: RunKey
    task_id: str
    map_index: int
    at: int
    adopted: bool = False
    wants_archive: bool = True
    continues: str | None = None
    outcome: Outcome | None = None

    def to_json(self) -> JsonObject:
        """The note as plain JSON. `from_json` reads it back."""
        return cast("JsonObject", dataclasses.asdict(self))

    @classmethod
    def from_json(cls, data: Mapping[str, JsonValue]) -> Note:
        """Read what `to_json` wrote. Raises ValueError for anything else."""
        end = data.get("outcome")
        try:
            _check(data, _TEXTS, _NUMBERS)
            kept: dict[str, object] = dict(data)
            kept["run"] = RunKey(**data["run"])  # type: ignore[arg-type]  # what to_json wrote, else TypeError
            if isinstance(end, dict):
                _check(end, ("state", "archive_uri", "sha256"), _OUTCOME_NUMBERS)
                kept["outcome"] = Outcome(**end)  # type: ignore[arg-type]  # likewise
            ProcessingRequest.from_json(cast("JsonObject", data["request"]))
            return cls(**kept)  # type: ignore[arg-type]  # likewise
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"not a stored note: {error}") from None


_TEXTS = ("instance", "connection_id", "processing_id", "task_id", "continues")
_NUMBERS = ("map_index", "at")
_OUTCOME_NUMBERS = ("total_files", "triggered_count", "started_at", "completed_at", "resumes")


def _check(data: Mapping[str, JsonValue], texts: tuple[str, ...], numbers: tuple[str, ...]) -> None:
    for names, kind in ((texts, str), (numbers, int)):
        for name in names:
            if not isinstance(data.get(name), kind | None):
                raise TypeError(f"{name} is {data[name]!r}")


def noted(note: Note, known: LedgerJob | None, now: int) -> LedgerJob:
    """The ledger's entry, merged with the note. Values that were seen later than the note are kept.

    A time in the future comes from a clock that was ahead, and does not count as later.
    """
    entry = known or _fresh(note)
    if not note.adopted:
        entry = dataclasses.replace(entry, run=note.run, task_id=note.task_id, map_index=note.map_index)
    request = ProcessingRequest.from_json(note.request)
    entry = dataclasses.replace(
        entry,
        connection_id=note.connection_id,
        path=entry.path or request.path,
        request=note.request,
        fingerprint=request.fingerprint(),
        wants_archive=note.wants_archive or (note.adopted and entry.wants_archive),
        continues=note.continues or entry.continues,
        first_seen_at=min(entry.first_seen_at, note.at),
    )
    return entry if note.outcome is None else _with_outcome(entry, note, note.outcome, now)


def _fresh(note: Note) -> LedgerJob:
    return LedgerJob(
        processing_id=note.processing_id,
        state=JobState.WAITING,
        active=True,
        first_seen_at=note.at,
        last_seen_at=note.at,
        progress_at=note.at,
    )


def _with_outcome(entry: LedgerJob, note: Note, outcome: Outcome, now: int) -> LedgerJob:
    active = outcome.state in ACTIVE_STATES or (outcome.state == JobState.UNKNOWN and entry.active)
    # The log of a resumed job has grown since, so its earlier archive does not count.
    archived = outcome.archive_uri is not None and not active
    entry = dataclasses.replace(
        entry,
        reported_state=outcome.state if not note.adopted else entry.reported_state,
        resumes=max(entry.resumes, outcome.resumes),
        archive_uri=outcome.archive_uri if archived else entry.archive_uri,
        sha256=outcome.sha256 if archived else entry.sha256,
        archive_checked_at=note.at if archived else entry.archive_checked_at,
    )
    if note.at < entry.last_seen_at <= now:
        return entry
    return dataclasses.replace(
        entry,
        state=outcome.state,
        active=active,
        last_seen_at=note.at,
        progress_at=note.at if outcome.state != entry.state else entry.progress_at,
        total_files=outcome.total_files if outcome.total_files is not None else entry.total_files,
        triggered_count=outcome.triggered_count if outcome.triggered_count is not None else entry.triggered_count,
        started_at=outcome.started_at or entry.started_at,
        completed_at=None if active else outcome.completed_at or entry.completed_at,
    )
