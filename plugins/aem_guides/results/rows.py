"""The results of a run: a row for each path, a table for people, and whether the run succeeded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import cast

from tabulate import tabulate

from aem_guides.protocol.errors import AemGuidesError, Retry
from aem_guides.protocol.models import JsonObject, JsonValue, ProcessingRequest, number, text
from aem_guides.protocol.procedures.path_state import PathState
from aem_guides.protocol.states import WELL_ENDED_STATES, JobState
from aem_guides.protocol.wording import counted
from aem_guides.results.outcome import WaitOutcome

NOT_STARTED = "NOT_STARTED"
ERRORS_UNCOUNTED = (
    "the job ended with errors, and how many assets failed is not known (fail_on_asset_failures is set, and "
    "verify_assets is off)"
)
NOTHING_PLANNED = "no path was processed, because the requests could not be planned"


_LISTED_PROBLEMS = 10
_WHERE = "The logs of the failed tasks have the reasons."


class RunFailedError(AemGuidesError):
    """Not every path of a run succeeded."""

    retry = Retry.POINTLESS

    @classmethod
    def of(cls, found: Sequence[str]) -> RunFailedError:
        """The error for these problems. It lists the first ten."""
        more = len(found) - _LISTED_PROBLEMS
        listed = [*found[:_LISTED_PROBLEMS], *([f"and {more:,} more, which the task report shows"] if more > 0 else [])]
        return cls(f"Not every path succeeded ({counted(len(found), 'problem')}): {'; '.join(listed)}. {_WHERE}")


@dataclass(frozen=True)
class PathResults:
    """The results that the tasks of one path left. None if a task did not get that far.

    `in_doubt`: a start may have been sent, and its result is unknown.
    """

    request: Mapping[str, JsonValue]
    started: Mapping[str, JsonValue] | None = None
    in_doubt: bool = False
    outcome: Mapping[str, JsonValue] | None = None
    cancel: str | None = None
    logs: Mapping[str, JsonValue] | None = None
    archive: Mapping[str, JsonValue] | None = None
    verification: Mapping[str, JsonValue] | None = None

    @property
    def verified(self) -> Mapping[str, JsonValue] | None:
        """The verification, unless it is one from before a Clear: of another job, or of an earlier end of the job."""
        found, outcome = self.verification or {}, self.outcome or {}
        verified, ended = text(found.get("processing_id")), text(found.get("completed_at"))
        job, end = text(outcome.get("processing_id")), text(outcome.get("completed_at"))
        return None if (verified and job and verified != job) or (ended and end and ended < end) else self.verification


@dataclass(frozen=True)
class Row:
    """The result of one path, in a run or a batch.

    `state` is a `JobState`, "LOST" or "NOT_STARTED". `fingerprint` is that of the request. `origin` says how the run
    got the job (`start.Origin`). Times are ISO 8601 in UTC. `error` says why the path did not succeed. `has_log` is
    False if the job has no log to archive. Unknown values are None.
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
    log_lines: int | None = None
    archive_uri: str | None = None
    sha256: str | None = None
    error: str | None = None
    has_log: bool = True

    def to_json(self) -> JsonObject:
        return cast("JsonObject", asdict(self))

    def reported(self) -> JsonObject:
        """The row as the report of a run returns it."""
        return {name: cast("JsonValue", getattr(self, name)) for name in REPORTED}

    @classmethod
    def from_json(cls, data: Mapping[str, JsonValue]) -> Row:
        """Read the output of `to_json` or a row of a batch's CSV."""
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
            log_lines=number(data.get("log_lines")),
            archive_uri=text(data.get("archive_uri")),
            sha256=text(data.get("sha256")),
            error=text(data.get("error")),
            has_log=data.get("has_log") is not False,
        )


REPORTED = (
    "path",
    "processing_id",
    "state",
    "total_files",
    "triggered_count",
    "failed_assets",
    "started_at",
    "completed_at",
    "resumes",
    "log_lines",
    "archive_uri",
    "sha256",
)


def row_of(state: PathState, outcome: WaitOutcome | None = None, *, error: str | None = None) -> Row:
    """The row of a path from its stored state, as far as that goes."""
    request, origin = state.request, str(state.origin) if state.origin else None
    if outcome is None:
        known = str(JobState.UNKNOWN) if state.processing_id or state.in_doubt else NOT_STARTED
        return Row(request.path, known, request.fingerprint(), state.processing_id, origin, error=error)
    return Row(
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


def build_row(results: PathResults) -> Row:
    """The row of a path from the results of its tasks. A missing result never counts as a success."""
    started, outcome = results.started or {}, results.outcome or {}
    logs, archive, verification = results.logs or {}, results.archive or {}, results.verified or {}
    return Row(
        path=str(results.request.get("path")),
        state=_state(results),
        fingerprint=ProcessingRequest.from_json(results.request).fingerprint(),
        processing_id=text(outcome.get("processing_id")) or text(started.get("processing_id")),
        origin=text(started.get("origin")),
        total_files=number(outcome.get("total_files")),
        triggered_count=number(outcome.get("triggered_count")),
        failed_assets=number(verification.get("failed")),
        started_at=text(outcome.get("started_at")),
        completed_at=text(outcome.get("completed_at")),
        resumes=number(outcome.get("resumes")) or 0,
        log_lines=number(logs.get("lines")),
        archive_uri=text(archive.get("uri")),
        sha256=text(archive.get("sha256")),
        has_log=results.archive is None or archive.get("uri") is not None,
    )


def problems(row: Row, *, archive_logs: bool, pull_logs: bool = True) -> list[str]:
    """The problems of one path that fail its run, one sentence each."""
    if row.state not in WELL_ENDED_STATES:
        return [f"{row.path}: {row.state}" + (f" (job {row.processing_id})" if row.processing_id else "")]
    found = [] if row.error is None else [f"{row.path}: {row.error}"]
    if pull_logs and row.log_lines is None:
        found.append(f"{row.path}: its log was not pulled")
    if archive_logs and row.archive_uri is None and row.has_log:
        found.append(f"{row.path}: its log was not archived")
    return found


def unverified(row: Row, result: PathResults) -> list[str]:
    """The problems with the verification of one path that fail its run, one sentence each."""
    if row.state not in WELL_ENDED_STATES:
        return []
    if result.verified is None:
        return [f"{row.path}: its assets were not verified"]
    if result.verified.get("too_many"):
        failed = number(result.verified.get("failed_at_least")) or row.failed_assets or 0
        return [f"{row.path}: {failed:,} of its assets failed (fail_on_asset_failures)"]
    if result.verified.get("undecided"):
        return [f"{row.path}: it is not known whether too many of its assets failed (fail_on_asset_failures)"]
    return []


def problems_of(
    row: Row, result: PathResults, *, archive_logs: bool, verify_assets: bool, limited: bool = False
) -> list[str]:
    """The problems of one path that fail its run, one sentence each. `limited`: there is a limit for failed assets."""
    found = problems(row, archive_logs=archive_logs)
    if verify_assets:
        return found + unverified(row, result)
    if limited and row.state == JobState.WITH_ERRORS:
        found.append(f"{row.path}: {ERRORS_UNCOUNTED}")
    return found


_LONGEST_CELL = 240
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
    """The rows of a run as a table of text."""
    return as_table(rows, _COLUMNS)


def as_table(rows: Sequence[Row], columns: Sequence[tuple[str, str]]) -> str:
    """The rows as a text table. `columns` are pairs of a title and a field of `Row`."""
    cells = [[_cell(getattr(row, name)) for _, name in columns] for row in rows]
    table: str = tabulate(cells, [title for title, _ in columns], "simple", disable_numparse=True)
    return table


def _state(results: PathResults) -> str:
    if results.outcome is not None:
        return text(results.outcome.get("state")) or str(JobState.UNKNOWN)
    if results.cancel == "cancelled":
        return str(JobState.CANCELLED)
    return str(JobState.UNKNOWN) if results.started is not None or results.in_doubt else NOT_STARTED


def _cell(value: object) -> str:
    if value is None:
        return "-"
    shown = f"{value:,}" if isinstance(value, int) else " ".join(str(value).split())
    return shown if len(shown) <= _LONGEST_CELL else shown[: _LONGEST_CELL - 1] + "…"
