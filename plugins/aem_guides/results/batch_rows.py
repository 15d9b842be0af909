"""The outcome of a batch: its CSV in the archive, its table, and which paths a later batch can leave out."""

from __future__ import annotations

import csv
import logging
from collections.abc import Collection, Iterable, Sequence
from dataclasses import fields
from typing import cast

from airflow.sdk import ObjectStoragePath

from aem_guides.protocol.states import JobState
from aem_guides.protocol.wording import counted
from aem_guides.results.rows import Row, as_table, problems
from aem_guides.runtime.sheets import as_csv, read_csv
from aem_guides.storage import ABSENT, default_archive_uri, safe_name, storage_errors, write

LISTED_ROWS = 100
ROW_KEY = "row"
"""The XCom with the row of a path, also if its task failed."""

_FOLDER = "batches"

log = logging.getLogger(__name__)

COLUMNS = tuple(field.name for field in fields(Row) if field.name not in ("log_lines", "has_log"))
"""The fields of a row in the CSV. A batch pulls no log lines."""


def is_well(row: Row, *, archived: bool) -> bool:
    """Whether a path succeeded. `archived`: its log must be stored, too."""
    return not problems(row, archive_logs=archived, pull_logs=False)


def outcome_folder(batch_name: str) -> ObjectStoragePath:
    """Where the outcomes of a batch are stored: `<archive_uri>/batches/<batch name>`."""
    return ObjectStoragePath(default_archive_uri()).joinpath(_FOLDER, safe_name(batch_name))


def store_outcome(batch_name: str, run_id: str, instance: str, rows: Iterable[Row]) -> str:
    """Store the outcome of a run as `<run>.csv` and return its URI. Raises ArchiveError."""
    cells = ((instance, *(getattr(row, name) for name in COLUMNS)) for row in rows)
    data = as_csv((("instance", *COLUMNS), *cells)).encode(errors="replace")
    return write(outcome_folder(batch_name) / f"{safe_name(run_id)}.csv", data, "Storing the outcome of the batch")


def done_before(batch_name: str, instance: str, fingerprints: Collection[str]) -> set[str]:
    """Which requests earlier runs with this batch name processed successfully on this instance (host and port).

    Raises ArchiveError.
    """
    folder = outcome_folder(batch_name)
    wanted, done = set(fingerprints), set[str]()
    with storage_errors("Reading the outcomes of earlier runs of the batch", folder):
        for place in _sheets(folder):
            done |= _done_in(place, instance)
    return done & wanted


def _done_in(place: ObjectStoragePath, instance: str) -> set[str]:
    """The fingerprints of the successful paths in a sheet. Paths in an unreadable part of it are processed again."""
    done: set[str] = set()
    with place.fs.open(place.path, "r", encoding="utf-8", errors="replace", newline="") as sheet:
        try:
            for entry in read_csv(cast("Iterable[str]", sheet)):
                if entry.get("instance") == instance and _is_done(Row.from_json(entry)):
                    done.add(str(entry.get("fingerprint")))
        except csv.Error as error:
            log.warning(
                "%s cannot be read to its end (%s). The successful paths in the unread part are processed again.",
                place,
                error,
            )
    return done


def _is_done(row: Row) -> bool:
    """Whether a path need not be processed again. A path whose job ended with errors is processed again."""
    return row.state == JobState.SUCCESS and is_well(row, archived=False)


def _sheets(folder: ObjectStoragePath) -> list[ObjectStoragePath]:
    folder.fs.invalidate_cache()
    try:
        names = [str(path).rpartition("/")[2] for path in folder.fs.ls(folder.path, detail=False)]
    except ABSENT:
        return []
    return [folder / name for name in sorted(names) if name.endswith(".csv") and not name.startswith(".")]


def summary(rows: Sequence[Row], *, archived: bool) -> str:
    """The outcome for the log: the number of paths in each state, then the rows, failures first, 100 at most."""
    states: dict[str, int] = {}
    for row in rows:
        states[row.state] = states.get(row.state, 0) + 1
    by_state = ", ".join(f"{count:,} {state}" for state, count in sorted(states.items())) or "nothing was processed"
    wrong_first = sorted(rows, key=lambda row: is_well(row, archived=archived))
    shown = wrong_first[:LISTED_ROWS]
    lines = [f"{counted(len(rows), 'path')}: {by_state}", as_table(shown, _SHOWN)]
    if len(rows) > len(shown):
        lines.append(f"... and {len(rows) - len(shown):,} more; the CSV has them all.")
    return "\n".join(lines)


_SHOWN = tuple(
    (name, name)
    for name in (
        "path",
        "state",
        "triggered_count",
        "total_files",
        "failed_assets",
        "resumes",
        "processing_id",
        "error",
    )
)
