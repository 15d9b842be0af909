"""The outcome of a batch: a row a path, its CSV beside the archive, and what of it a later batch need not do again."""

from __future__ import annotations

import csv
import logging
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import cast

from airflow.sdk import ObjectStoragePath

from aem_guides.protocol.models import JsonObject, JsonValue, number, text
from aem_guides.protocol.procedures.path_state import PathState
from aem_guides.protocol.states import WELL_ENDED_STATES, JobState
from aem_guides.protocol.wording import counted
from aem_guides.results.outcome import WaitOutcome
from aem_guides.results.rows import NOT_STARTED
from aem_guides.runtime.sheets import as_csv, read_csv
from aem_guides.storage import ABSENT, default_archive_uri, safe_name, storage_errors, write

LISTED_ROWS = 100
ROW_KEY = "row"
"""The XCom that has the row of a path, also where its task failed."""

_FOLDER = "batches"

log = logging.getLogger(__name__)

DoneBefore = Callable[[str, Collection[str]], set[str]]
"""`done_before(instance, fingerprints)`: which requests were processed well on this instance (host and port) before."""


@dataclass(frozen=True)
class BatchRow:
    """What came of one path.

    `fingerprint` is the request's; `origin` tells how the job became ours (`start.Origin`). `state` is a `JobState`,
    "LOST" or "NOT_STARTED"; times are ISO 8601 in UTC; `error` says why the path did not come to a good end. What is
    not known is None.
    """

    path: str
    state: str
    fingerprint: str
    processing_id: str | None = None
    origin: str | None = None
    total_files: int | None = None
    triggered_count: int | None = None
    failed_assets: int | None = None
    started_at: str | None = None
    completed_at: str | None = None
    resumes: int = 0
    archive_uri: str | None = None
    sha256: str | None = None
    error: str | None = None

    def is_success(self, *, archived: bool) -> bool:
        """Whether its job went through all assets, no more of them failed than may and, where that was asked for, its
        log is safe."""
        return self.state in WELL_ENDED_STATES and self.error is None and (not archived or bool(self.archive_uri))

    def to_json(self) -> JsonObject:
        return cast("JsonObject", asdict(self))

    @classmethod
    def from_json(cls, data: Mapping[str, JsonValue]) -> BatchRow:
        """Read what `to_json` or the CSV has."""
        return cls(
            path=str(data.get("path")),
            state=str(data.get("state")),
            fingerprint=str(data.get("fingerprint")),
            processing_id=text(data.get("processing_id")),
            origin=text(data.get("origin")),
            total_files=number(data.get("total_files")),
            triggered_count=number(data.get("triggered_count")),
            failed_assets=number(data.get("failed_assets")),
            started_at=text(data.get("started_at")),
            completed_at=text(data.get("completed_at")),
            resumes=number(data.get("resumes")) or 0,
            archive_uri=text(data.get("archive_uri")),
            sha256=text(data.get("sha256")),
            error=text(data.get("error")),
        )


COLUMNS = tuple(field.name for field in fields(BatchRow))


def row_of(state: PathState, outcome: WaitOutcome | None = None, *, error: str | None = None) -> BatchRow:
    """The row of a path, as far as it came."""
    request, origin = state.request, str(state.origin) if state.origin else None
    if outcome is None:
        known = str(JobState.UNKNOWN) if state.processing_id or state.in_doubt else NOT_STARTED
        return BatchRow(request.path, known, request.fingerprint(), state.processing_id, origin, error=error)
    return BatchRow(
        path=request.path,
        state=outcome.state,
        fingerprint=request.fingerprint(),
        processing_id=outcome.processing_id or None,
        origin=origin,
        total_files=outcome.total_files,
        triggered_count=outcome.triggered_count,
        started_at=outcome.started_at,
        completed_at=outcome.completed_at,
        resumes=outcome.resumes,
        error=error,
    )


def outcome_folder(batch_name: str) -> ObjectStoragePath:
    """Where the outcomes of a batch lie: `<archive_uri>/batches/<batch name>`."""
    return ObjectStoragePath(default_archive_uri()).joinpath(_FOLDER, safe_name(batch_name))


def store_outcome(batch_name: str, run_id: str, instance: str, rows: Iterable[BatchRow]) -> str:
    """Store the outcome of a run as `<run>.csv` and return its URI. Raises ArchiveError."""
    cells = ((instance, *(getattr(row, name) for name in COLUMNS)) for row in rows)
    data = as_csv((("instance", *COLUMNS), *cells)).encode(errors="replace")
    return write(outcome_folder(batch_name) / f"{safe_name(run_id)}.csv", data, "Storing the outcome of the batch")


def done_in_outcomes(batch_name: str) -> DoneBefore:
    """A `done_before` that reads the outcomes of earlier runs of the batch of this name."""

    def done_before(instance: str, fingerprints: Collection[str]) -> set[str]:
        folder = outcome_folder(batch_name)
        wanted, done = set(fingerprints), set[str]()
        with storage_errors("Reading the outcomes of earlier runs of the batch", folder):
            for place in _sheets(folder):
                done |= _done_in(place, instance)
        return done & wanted

    return done_before


def _done_in(place: ObjectStoragePath, instance: str) -> set[str]:
    """The fingerprints of what went well, as far as a sheet can be read: what is not found is processed again."""
    done: set[str] = set()
    with place.fs.open(place.path, "r", encoding="utf-8", errors="replace", newline="") as sheet:
        try:
            for entry in read_csv(cast("Iterable[str]", sheet)):
                if entry.get("instance") == instance and _is_done(BatchRow.from_json(entry)):
                    done.add(str(entry.get("fingerprint")))
        except csv.Error as error:
            log.warning(
                "%s cannot be read to its end (%s): what it says beyond that was processed well is processed again.",
                place,
                error,
            )
    return done


def _is_done(row: BatchRow) -> bool:
    """Whether a path need not be processed again; one whose job ended with errors is."""
    return row.state == JobState.SUCCESS and row.is_success(archived=False)


def _sheets(folder: ObjectStoragePath) -> list[ObjectStoragePath]:
    folder.fs.invalidate_cache()
    try:
        names = [str(path).rpartition("/")[2] for path in folder.fs.ls(folder.path, detail=False)]
    except ABSENT:
        return []
    return [folder / name for name in sorted(names) if name.endswith(".csv") and not name.startswith(".")]


def summary(rows: Sequence[BatchRow], *, archived: bool) -> str:
    """The outcome for the log: the states counted, then the rows that went wrong before the others, 100 at the most."""
    states: dict[str, int] = {}
    for row in rows:
        states[row.state] = states.get(row.state, 0) + 1
    by_state = ", ".join(f"{count:,} {state}" for state, count in sorted(states.items())) or "nothing was processed"
    wrong_first = sorted(rows, key=lambda row: row.is_success(archived=archived))
    shown = wrong_first[:LISTED_ROWS]
    lines = [f"{counted(len(rows), 'path')}: {by_state}", *_table(shown)]
    if len(rows) > len(shown):
        lines.append(f"... and {len(rows) - len(shown):,} more; the CSV has them all.")
    return "\n".join(lines)


_SHOWN = ("path", "state", "triggered_count", "total_files", "failed_assets", "resumes", "processing_id", "error")
_LONGEST_CELL = 120


def _table(rows: Sequence[BatchRow]) -> list[str]:
    cells = [list(_SHOWN), *([_cell(getattr(row, name)) for name in _SHOWN] for row in rows)]
    widths = [max(len(line[column]) for line in cells) for column in range(len(_SHOWN))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in cells]
    return [lines[0], "  ".join("-" * width for width in widths), *lines[1:]]


def _cell(value: object) -> str:
    if value is None:
        return "-"
    shown = f"{value:,}" if isinstance(value, int) else " ".join(str(value).split())
    return shown if len(shown) <= _LONGEST_CELL else shown[: _LONGEST_CELL - 1] + "…"
