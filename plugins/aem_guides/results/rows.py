"""The report of a run: a row a path, a table for people, and whether the run was a success."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import cast

from aem_guides.protocol.errors import AemGuidesError, Retry
from aem_guides.protocol.models import JsonObject, JsonValue
from aem_guides.protocol.states import WELL_ENDED_STATES, JobState

NOT_STARTED = "NOT_STARTED"
ERRORS_UNCOUNTED = (
    "the job ended with errors, and how many assets failed is not known (fail_on_asset_failures is set, and "
    "verify_assets is off)"
)
NOTHING_PLANNED = "nothing was processed: the requests could not be planned"


class RunFailedError(AemGuidesError):
    """Not every path of a run came to a good end."""

    retry = Retry.POINTLESS


@dataclass(frozen=True)
class PathResults:
    """What the tasks of one path left behind, None where a task did not get so far.

    `in_doubt`: a start may have been sent, of which no more is known.
    """

    request: Mapping[str, JsonValue]
    started: Mapping[str, JsonValue] | None = None
    in_doubt: bool = False
    outcome: Mapping[str, JsonValue] | None = None
    cancel: str | None = None
    logs: Mapping[str, JsonValue] | None = None
    archive: Mapping[str, JsonValue] | None = None
    verification: Mapping[str, JsonValue] | None = None


@dataclass(frozen=True)
class Row:
    """The report of one path. Times are ISO 8601 in UTC; what is not known is None."""

    path: str
    processing_id: str | None
    state: str
    total_files: int | None
    triggered_count: int | None
    failed_assets: int | None
    started_at: str | None
    completed_at: str | None
    resumes: int
    log_lines: int | None
    archive_uri: str | None
    sha256: str | None
    has_log: bool = True
    """False where there was none to be archived; not part of the report."""

    def to_json(self) -> JsonObject:
        return cast("JsonObject", {name: value for name, value in asdict(self).items() if name != "has_log"})


def build_row(results: PathResults) -> Row:
    """Put one path's results together. What no task said is not assumed to be well."""
    started, outcome = results.started or {}, results.outcome or {}
    logs, archive, verification = results.logs or {}, results.archive or {}, results.verification or {}
    return Row(
        path=str(results.request.get("path")),
        processing_id=_text(outcome.get("processing_id")) or _text(started.get("processing_id")),
        state=_state(results),
        total_files=_count(outcome.get("total_files")),
        triggered_count=_count(outcome.get("triggered_count")),
        failed_assets=_count(verification.get("failed")),
        started_at=_text(outcome.get("started_at")),
        completed_at=_text(outcome.get("completed_at")),
        resumes=_count(outcome.get("resumes")) or 0,
        log_lines=_count(logs.get("lines")),
        archive_uri=_text(archive.get("uri")),
        sha256=_text(archive.get("sha256")),
        has_log=results.archive is None or archive.get("uri") is not None,
    )


def problems(rows: Sequence[Row], *, archive_logs: bool) -> list[str]:
    """What keeps the run from being a success, a sentence each."""
    found = [] if rows else [NOTHING_PLANNED]
    for row in rows:
        if row.state not in WELL_ENDED_STATES:
            found.append(f"{row.path}: {row.state}" + (f" (job {row.processing_id})" if row.processing_id else ""))
            continue
        if row.log_lines is None:
            found.append(f"{row.path}: its log was not pulled")
        if archive_logs and row.archive_uri is None and row.has_log:
            found.append(f"{row.path}: its log was not archived")
    return found


def unverified(rows: Sequence[Row], results: Sequence[PathResults]) -> list[str]:
    """What keeps a run whose assets were to be verified from being a success, a sentence each."""
    found = []
    for row, result in zip(rows, results, strict=True):
        if row.state not in WELL_ENDED_STATES:
            continue
        if result.verification is None:
            found.append(f"{row.path}: its assets were not verified")
        elif result.verification.get("too_many"):
            failed = _count(result.verification.get("failed_at_least")) or row.failed_assets or 0
            found.append(f"{row.path}: {failed:,} of its assets failed (fail_on_asset_failures)")
        elif result.verification.get("undecided"):
            found.append(f"{row.path}: whether too many of its assets failed cannot be told (fail_on_asset_failures)")
    return found


def problems_of(
    row: Row, result: PathResults, *, archive_logs: bool, verify_assets: bool, limited: bool = False
) -> list[str]:
    """What of one path keeps the run from being a success, a sentence each; `limited`: failed assets have a limit."""
    found = problems([row], archive_logs=archive_logs)
    if verify_assets:
        return found + unverified([row], [result])
    if limited and row.state == JobState.WITH_ERRORS:
        found.append(f"{row.path}: {ERRORS_UNCOUNTED}")
    return found


_COLUMNS = (
    ("path", "path"),
    ("state", "state"),
    ("assets", "triggered_count"),
    ("of", "total_files"),
    ("failed", "failed_assets"),
    ("resumes", "resumes"),
    ("log lines", "log_lines"),
    ("started", "started_at"),
    ("completed", "completed_at"),
    ("job", "processing_id"),
)


def render_table(rows: Sequence[Row]) -> str:
    """The rows as a table of text."""
    cells = [[title for title, _ in _COLUMNS]]
    cells += [[_shown(getattr(row, name)) for _, name in _COLUMNS] for row in rows]
    widths = [max(len(line[column]) for line in cells) for column in range(len(_COLUMNS))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in cells]
    lines.insert(1, "  ".join("-" * width for width in widths))
    return "\n".join(lines)


def _state(results: PathResults) -> str:
    if results.outcome is not None:
        return _text(results.outcome.get("state")) or str(JobState.UNKNOWN)
    if results.cancel == "cancelled":
        return str(JobState.CANCELLED)
    return str(JobState.UNKNOWN) if results.started is not None or results.in_doubt else NOT_STARTED


def _shown(value: object) -> str:
    if value is None:
        return "-"
    return f"{value:,}" if isinstance(value, int) else str(value)


def _text(value: JsonValue) -> str | None:
    return value if isinstance(value, str) and value else None


def _count(value: JsonValue) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None
