"""The values that the layers exchange: requests, jobs, log pages. They are frozen, and parsed once, at the boundary.

Times are integers: milliseconds since the Unix epoch, UTC, as the instance gives them. None means "not yet".
"""

from __future__ import annotations

import dataclasses
import enum
import hashlib
import json
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TypeAlias, cast

from aem_guides.protocol.states import VERDICT_OF_STATE, JobState, Verdict

JsonValue: TypeAlias = "bool | int | float | str | list[JsonValue] | dict[str, JsonValue] | None"
JsonObject: TypeAlias = "dict[str, JsonValue]"

ASSET_PROCESSING = "ASSET_PROCESSING"
_LATEST_TIME = 253_402_300_799_999
LARGEST_NUMBER = 2**63 - 1
"""The largest BIGINT. No real count is larger."""
FILE_TYPES = ("DITATOPIC", "DITAMAP", "MARKDOWN", "HTML/CSS", "DITAVAL", "OTHERS")


class Match(enum.Enum):
    """Whether a job on the instance has a certain request."""

    SAME = "same"
    OTHER = "other"
    UNCERTAIN = "uncertain"


@dataclass(frozen=True)
class ProcessingRequest:
    """The request of a job. Build it from outside values with `requests.parse_requests`.

    `path` is absolute and without a trailing slash. `excluded_paths` are absolute and sorted. `created_after` and
    `created_before` limit the assets' creation time, in epoch milliseconds.
    """

    path: str
    excluded_paths: tuple[str, ...] = ()
    file_types: tuple[str, ...] = ()
    created_after: int | None = None
    created_before: int | None = None
    processing_type: str = ASSET_PROCESSING

    def has_filter(self) -> bool:
        return bool(self.file_types) or self.created_after is not None or self.created_before is not None

    def to_json(self) -> JsonObject:
        """The request as plain JSON, for XCom and state stores. `from_json` reads it back."""
        return {
            "path": self.path,
            "excluded_paths": list(self.excluded_paths),
            "file_types": list(self.file_types),
            "created_after": self.created_after,
            "created_before": self.created_before,
            "processing_type": self.processing_type,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, JsonValue]) -> ProcessingRequest:
        """Read what `to_json` wrote. Raises ValueError for anything else, so that a filter is never dropped."""
        path = data.get("path")
        if not isinstance(path, str):
            raise ValueError(f"a stored request has no path: {sorted(data)}")
        return cls(
            path=path,
            excluded_paths=_stored_strings(data, "excluded_paths"),
            file_types=_stored_strings(data, "file_types"),
            created_after=_stored_time(data, "created_after"),
            created_before=_stored_time(data, "created_before"),
            processing_type=text(data.get("processing_type")) or ASSET_PROCESSING,
        )

    def fingerprint(self) -> str:
        """64 hexadecimal digits. Two requests have the same digits if and only if they ask for the same.

        Order and leading slashes of exclusions, order of file types and the Unicode form of names do not matter.
        """
        canonical = [
            same_path(self.path),
            sorted({same_path(path) for path in self.excluded_paths}),
            sorted(set(self.file_types)),
            self.created_after,
            self.created_before,
            self.processing_type.upper(),
        ]
        return hashlib.sha256(json.dumps(canonical, ensure_ascii=True).encode()).hexdigest()


@dataclass(frozen=True)
class JobFilter:
    """The filter of a job as the instance shows it; times in epoch milliseconds."""

    file_types: tuple[str, ...] = ()
    created_after: int | None = None
    created_before: int | None = None


@dataclass(frozen=True)
class Job:
    """One job as the instance shows it. A field that it does not show is None.

    `status_word` is the state in the instance's spelling. `total_files` is the number of assets, None until they are
    counted. `eta_seconds` is the instance's own estimate of the remaining time.
    """

    processing_id: str
    state: JobState
    status_word: str
    path: str | None = None
    excluded_paths: tuple[str, ...] | None = None
    triggered_count: int | None = None
    started_at: int | None = None
    completed_at: int | None = None
    has_logs: bool | None = None
    created_by: str | None = None
    processing_type: str | None = None
    total_files: int | None = None
    calculation_word: str | None = None
    eta_seconds: float | None = None
    comments: str | None = None
    job_filter: JobFilter | None = None
    restartable: bool | None = None
    resumable: bool | None = None
    cancellable: bool | None = None

    @property
    def verdict(self) -> Verdict:
        """The judgement of the job from all its fields.

        A known word decides, with two exceptions. A success word other than the documented one is not believed if a
        flag shows that the job runs or did not finish. A job that ended with errors may be resumable. For an unknown
        word, the other fields decide: `cancellable` means that it runs; `resumable` is documented for cancelled and
        failed jobs, `restartable` for successful ones. Success is never assumed: the instance must show it.
        """
        if self.state is JobState.SUCCESS and self.status_word.strip().upper() != JobState.SUCCESS:
            return Verdict.ENDED_UNCLEAR if self.cancellable or self.resumable else Verdict.SUCCEEDED
        if self.state is JobState.WITH_ERRORS and self.cancellable:
            return Verdict.ENDED_UNCLEAR
        if self.state is not JobState.UNKNOWN:
            return VERDICT_OF_STATE[self.state]
        if self.cancellable:
            return Verdict.ACTIVE
        if self.resumable:
            return Verdict.FAILED
        if self.completed_at is None:
            return Verdict.ACTIVE
        return Verdict.SUCCEEDED if self.restartable else Verdict.ENDED_UNCLEAR

    @property
    def is_active(self) -> bool:
        return self.verdict is Verdict.ACTIVE

    @property
    def had_no_assets(self) -> bool:
        """Whether the instance shows that there was nothing to process."""
        return self.total_files == 0 and not self.triggered_count

    @property
    def has_filter(self) -> bool:
        """Whether the instance shows that only some assets below the path were requested."""
        return self.job_filter is not None and any(dataclasses.astuple(self.job_filter))

    def to_json(self) -> JsonObject:
        """The job as plain JSON, for events and XCom. `from_json` reads it back."""
        return cast("JsonObject", json.loads(json.dumps(dataclasses.asdict(self))))

    @classmethod
    def from_json(cls, data: Mapping[str, JsonValue]) -> Job:
        """Read what `to_json` wrote. Raises ValueError for anything else."""
        names = {entry.name for entry in dataclasses.fields(cls)}
        if not names >= set(data) >= {"processing_id", "state", "status_word"}:
            raise ValueError(f"not a stored job: it has {sorted(data)}")
        kept: dict[str, object] = dict(data)
        kept["state"] = JobState(str(data["state"]))
        if isinstance(data.get("excluded_paths"), list):
            kept["excluded_paths"] = strings(data["excluded_paths"])
        stored = data.get("job_filter")
        if isinstance(stored, dict):
            kept["job_filter"] = JobFilter(
                strings(stored.get("file_types")),
                milliseconds(stored.get("created_after")),
                milliseconds(stored.get("created_before")),
            )
        return cls(**kept)  # type: ignore[arg-type]  # names are checked above, values are what to_json wrote

    def on_path(self, path: str) -> bool:
        """Whether the job works on exactly this path."""
        return self.path is not None and same_path(self.path) == same_path(path)

    def match(self, request: ProcessingRequest) -> Match:
        """Compare with a request.

        `UNCERTAIN`: all shown fields agree, but a field in which the two could differ is not shown. An empty field
        counts as not shown if the request has a value for it: how instances echo a request is not documented.
        """
        if not self.on_path(request.path):
            return Match.OTHER
        if self.processing_type and _letters(self.processing_type) != _letters(request.processing_type):
            return Match.OTHER
        wanted = {same_path(path) for path in request.excluded_paths}
        shown = {same_path(path) for path in self.excluded_paths or ()}
        shown_filter = self.job_filter or JobFilter()
        return _compare(
            (shown, wanted),
            (_all_letters(shown_filter.file_types), _all_letters(request.file_types)),
            (shown_filter.created_after, request.created_after),
            (shown_filter.created_before, request.created_before),
        )


@dataclass(frozen=True)
class LogPage:
    """A page of a job's log. `offset`, `limit` and `has_more` come from the instance, or are None."""

    lines: tuple[str, ...]
    offset: int | None = None
    limit: int | None = None
    has_more: bool | None = None


@dataclass(frozen=True)
class History:
    """The window: the last jobs of the instance, also those of other users, in the order of the instance.

    `unreadable` describes each entry that could not be read. `read_at` is the instance's own time in epoch milliseconds
    (its `Date` header), or None without the header.
    """

    jobs: tuple[Job, ...]
    unreadable: tuple[str, ...] = ()
    read_at: int | None = None


@dataclass(frozen=True)
class SystemStatus:
    """`is_database`: processing is database-based (True) or JCR-based (False). `database_check` is "passed" or an
    error."""

    is_database: bool | None
    database_check: str | None

    @property
    def is_fit(self) -> bool:
        """Whether processing may start. If the database check did not pass, Adobe advises to stop using the system at
        once."""
        return not self.is_database or self.database_check is None or self.database_check.lower() == "passed"


class AssetState(enum.StrEnum):
    """The state of one asset."""

    SUCCESS = "SUCCESS"
    FAILURE = "FAILURE"
    UNPROCESSED = "UNPROCESSED"
    PROCESSING = "PROCESSING"
    PENDING = "PENDING"
    UNKNOWN = "UNKNOWN"


@dataclass(frozen=True)
class AssetStatus:
    """One asset and its state. `reason` is the instance's text about a failure, or None."""

    path: str
    state: AssetState
    status_word: str
    uuid: str | None = None
    exists: bool | None = None
    reason: str | None = None


@dataclass(frozen=True)
class AssetStatusReport:
    """The answer to an asset status question. `assets` is None until the answer is ready."""

    job_id: str
    status_word: str
    assets: tuple[AssetStatus, ...] | None


@dataclass(frozen=True)
class AssetPage:
    """The paths of some assets, None for one that is not shown, and whether there are more. `total` may be a guess."""

    paths: tuple[str | None, ...]
    more: bool
    total: int = 0


def same_path(path: str) -> str:
    """The normal form of a repository path: NFC, one leading slash and no trailing slash. Equal paths have equal
    forms."""
    return "/" + unicodedata.normalize("NFC", path).strip("/")


def is_below(path: str, folder: str) -> bool:
    """Whether `path` lies below `folder` (and is not the folder itself)."""
    return same_path(path).startswith(same_path(folder).rstrip("/") + "/")


def strings(value: object) -> tuple[str, ...]:
    """The strings of a JSON list. Empty for anything else."""
    return tuple(item for item in value if isinstance(item, str)) if isinstance(value, list | tuple) else ()


def text(value: object) -> str | None:
    """A JSON string that is not empty, else None."""
    return value if isinstance(value, str) and value else None


def identifier(value: object) -> str | None:
    """An id as it came, from a non-empty JSON string or a whole number; else None."""
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return text(value)


def number(value: object) -> int | None:
    """A whole number, not negative, from a JSON number or a string of digits; else None.

    A number that is too large becomes the largest.
    """
    if isinstance(value, bool):
        return None
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 20:
        value = int(value)
    if isinstance(value, float) and value == value and abs(value) != float("inf"):
        value = int(value)
    return min(value, LARGEST_NUMBER) if isinstance(value, int) and value >= 0 else None


def milliseconds(value: object) -> int | None:
    """Epoch milliseconds. None for `0`, for what is not a number, and beyond the year 9999: these mean "not yet"."""
    at = number(value)
    return at if at is not None and 0 < at <= _LATEST_TIME else None


def ids_before(earlier: tuple[str, ...], current: str | None, goes_on_as: str) -> tuple[str, ...]:
    """The earlier ids of a resumed job, the oldest first."""
    ids = earlier if current is None or current in earlier else (*earlier, current)
    return tuple(name for name in ids if name != goes_on_as)


def flag(value: object) -> bool | None:
    """A JSON boolean, else None."""
    return value if isinstance(value, bool) else None


def newest_first(jobs: Iterable[Job]) -> list[Job]:
    """Jobs by start, the newest first. Jobs that have not started yet count as the newest."""
    return sorted(jobs, key=lambda job: job.started_at or float("inf"), reverse=True)


def _compare(*shown_and_wanted: tuple[object, object]) -> Match:
    """Compare the shown fields with the wanted ones. An empty field is not shown, or not wanted."""
    match = Match.SAME
    for shown, wanted in shown_and_wanted:
        if shown and shown != wanted:
            return Match.OTHER
        if wanted and not shown:
            match = Match.UNCERTAIN
    return match


def _stored_strings(data: Mapping[str, JsonValue], name: str) -> tuple[str, ...]:
    value = data.get(name)
    kept = strings(value)
    if value is not None and (not isinstance(value, list | tuple) or len(kept) != len(value)):
        raise ValueError(f"a stored request's {name} is no list of texts: {value!r}")
    return kept


def _stored_time(data: Mapping[str, JsonValue], name: str) -> int | None:
    value = data.get(name)
    kept = milliseconds(value)
    if value is not None and kept is None:
        raise ValueError(f"a stored request's {name} is no time: {value!r}")
    return kept


def _letters(word: str) -> str:
    """The normal form of a word of the product. Two spellings of one word have equal forms."""
    return "".join(letter for letter in word.upper() if letter.isalnum())


def _all_letters(words: Iterable[str]) -> set[str]:
    return {_letters(word) for word in words}
