"""The remote API: one function per endpoint. Each returns the request to send and how to read its answer.

Source: the product's "Bulk asset processing" API, version 1. Readers accept missing optional fields and ignore unknown
ones. An answer that breaks the promise of the API raises `ShapeError`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from email.utils import parsedate_to_datetime
from typing import Generic, TypeVar
from urllib.parse import quote, urlencode

from aem_guides.protocol.asset_tally import read_asset
from aem_guides.protocol.errors import AnswerError
from aem_guides.protocol.json import LONGEST_LINE, LONGEST_TEXT, JsonError, read_json
from aem_guides.protocol.limits import LARGEST_ASSET_STATUS, MOST_VALUES, MOST_VALUES_OF_ASSETS
from aem_guides.protocol.manners import Haste
from aem_guides.protocol.models import (
    AssetPage,
    AssetStatusReport,
    History,
    Job,
    JobFilter,
    JsonObject,
    JsonValue,
    LogPage,
    ProcessingRequest,
    SystemStatus,
    flag,
    identifier,
    milliseconds,
    number,
    strings,
    text,
)
from aem_guides.protocol.states import state_of_word
from aem_guides.protocol.steps import HttpRequest, Reply
from aem_guides.protocol.wording import iso_time

T = TypeVar("T")

_BASE = "/bin/guides/v1"
_PROCESS = f"{_BASE}/assets/process"
_AS_IT_IS = {"Accept-Encoding": "identity"}
"""A compressed body that is cut off would be unpacked as far as it goes, and its length would not show the cut."""

_SECONDS_OF_UNIT = {"MILLISECONDS": 0.001, "SECONDS": 1.0, "MINUTES": 60.0, "HOURS": 3600.0, "DAYS": 86400.0}

LONGEST_ID = 500
"""In characters. A longer text is not an id, and does not fit into a database index."""
_MOST_UNREADABLE = 20
"""The most unreadable history entries that are reported one by one."""
_LONGEST_ETA_SECONDS = 365 * 86400.0
"""One year. No job lasts longer, and the end time can still be computed."""


class ShapeError(ValueError):
    """An answer does not have the shape that the API promises. The text says what is missing."""


@dataclass(frozen=True)
class Call(Generic[T]):
    """One call: the request, and how its successful answer is read.

    `endpoint` names the call for people. `repeatable`: sending it twice has the same effect as sending it once.
    `explain` may turn a refusal into a better error. `haste`: whether it may be delayed to limit the number of
    requests.
    """

    endpoint: str
    request: HttpRequest
    read: Callable[[Reply], T] = field(repr=False)
    repeatable: bool = True
    explain: Callable[[AnswerError, Reply], AnswerError] | None = field(default=None, repr=False)
    haste: Haste = Haste.LOOK


def start(request: ProcessingRequest) -> Call[str]:
    """Start a job. Reads its `processingId`."""
    body: JsonObject = {"path": request.path, "type": request.processing_type}
    if request.excluded_paths:
        body["excludedPaths"] = list(request.excluded_paths)
    if request.has_filter():
        chosen: JsonObject = {}
        if request.file_types:
            chosen["fileTypes"] = list(request.file_types)
        if request.created_after is not None:
            chosen["startTime"] = request.created_after
        if request.created_before is not None:
            chosen["endTime"] = request.created_before
        body["filter"] = chosen
    return Call("start processing", _post(_PROCESS, body), _read_processing_id, repeatable=False, haste=Haste.WORK)


def status(processing_id: str) -> Call[Job]:
    """The state of one job."""
    return Call("processing status", _get(f"{_PROCESS}/status", {"processingId": processing_id}), _read_job_reply)


def logs(
    processing_id: str, *, offset: int | None = None, limit: int | None = None, tail: int | None = None
) -> Call[LogPage]:
    """A page of a job's log: from line `offset` on, or the last `tail` lines. Raises ValueError for both at once."""
    if offset is not None and tail is not None:
        raise ValueError("Give offset or tail, not both: the API does not define what both together return")
    query: dict[str, str] = {"processingId": processing_id}
    for name, value in (("offset", offset), ("limit", limit), ("tail", tail)):
        if value is not None:
            query[name] = str(value)
    return Call("processing logs", _get(f"{_PROCESS}/logs", query), _read_log_page, haste=Haste.WORK)


def download(processing_id: str) -> Call[Reply]:
    """The whole log: a ZIP, or JSON with `logFilePaths`. Only the content shows which, so the reply itself is
    returned."""
    request = _get(
        f"{_PROCESS}/logs/download", {"processingId": processing_id}, accept="application/zip, application/json"
    )
    return Call("log download", replace(request, headers={**request.headers, **_AS_IT_IS}), _whole, haste=Haste.WORK)


def log_file(path: str) -> Call[Reply]:
    """One file that the JSON answer of `download` names. `path` has its query and is on the instance's own origin."""
    request = HttpRequest("GET", quote(path, safe="/?&=%+~@:!$'()*,;-._"), {"Accept": "*/*", **_AS_IT_IS})
    return Call("log file", request, _whole, haste=Haste.WORK)


def cancel(processing_id: str) -> Call[None]:
    """Request the cancellation of a job."""
    request = _post(f"{_PROCESS}/cancel", {"processingId": processing_id})
    return Call("cancel processing", request, _nothing, haste=Haste.URGENT)


def resume(processing_id: str) -> Call[str]:
    """Resume a job from its checkpoint. Reads the job's id after the resume. It changes if the answer has another
    id."""

    def read(reply: Reply) -> str:
        try:
            return _read_processing_id(reply)
        except ShapeError:
            return processing_id

    return Call(
        "resume processing",
        _post(f"{_PROCESS}/resume", {"processingId": processing_id}),
        read,
        repeatable=False,
        haste=Haste.WORK,
    )


def history() -> Call[History]:
    """The window: the last jobs, also those of other users."""
    return Call("processing history", _get(f"{_PROCESS}/history"), _read_history)


def system_status() -> Call[SystemStatus]:
    """Whether the instance is ready to process."""
    return Call("system status", _get(f"{_BASE}/system/status"), _read_system_status)


def start_asset_status(paths: tuple[str, ...], excluded_paths: tuple[str, ...] = ()) -> Call[str]:
    """Request the state of every asset below the paths. Reads the id of the question."""
    body: JsonObject = {"paths": list(paths)}
    if excluded_paths:
        body["excludedPaths"] = list(excluded_paths)

    def read(reply: Reply) -> str:
        job_id = identifier(_json_object(reply).get("jobId"))
        if job_id is None:
            raise ShapeError("jobId is missing")
        return job_id

    return Call("start asset status", _post(f"{_BASE}/assets/status", body), read, haste=Haste.WORK)


def asset_status_is_there() -> Call[None]:
    """Check the asset status endpoint without a question: the answer is a refusal if the endpoint exists, and 404 if
    not."""
    return Call("asset status", _get(f"{_BASE}/assets/status"), _nothing)


def asset_status(job_id: str) -> Call[AssetStatusReport]:
    """The answer to `start_asset_status`, once the instance has it."""
    request = replace(_get(f"{_BASE}/assets/status", {"jobId": job_id}), largest_answer=LARGEST_ASSET_STATUS)
    return Call("asset status", request, _read_asset_status)


def asset_status_as_it_comes(job_id: str) -> Call[Reply]:
    """The same answer, read block by block, because it may have a million assets."""
    return Call("asset status", _get(f"{_BASE}/assets/status", {"jobId": job_id}), _whole)


def created_assets(request: ProcessingRequest, *, offset: int, limit: int) -> Call[AssetPage]:
    """The assets below the path of a request that were created in the time of its filter, by path.

    Source: the query builder of AEM, with its daterange predicate. Exclusions and file types are not part of it. It
    says that there are more only if it guesses the total.
    """
    query = {"path": request.path, "type": "dam:Asset", "daterange.property": "jcr:created", "orderby": "path"}
    query |= {"p.offset": str(offset), "p.limit": str(limit), "p.hits": "selective", "p.properties": "jcr:path"}
    query["p.guessTotal"] = "true"
    if (after := iso_time(request.created_after)) is not None:
        query |= {"daterange.lowerBound": after, "daterange.lowerOperation": ">="}
    if (before := iso_time(request.created_before)) is not None:
        query |= {"daterange.upperBound": before, "daterange.upperOperation": "<"}
    return Call("asset list", _get("/bin/querybuilder.json", query), _read_asset_page)


def csrf_token() -> Call[str]:
    """A CSRF token, or "" if the instance issues none (its CSRF filter is off)."""

    def read(reply: Reply) -> str:
        token = text(_json_object(reply).get("token")) or ""
        if not is_token(token):
            raise ShapeError("token has characters that no HTTP header may have")
        return token

    return Call("CSRF token", _get("/libs/granite/csrf/token.json"), read, haste=Haste.WORK)


def is_token(value: str) -> bool:
    """Whether a header field can carry the value: visible ASCII without white space."""
    return value.isascii() and value.isprintable() and " " not in value


def instance_time(reply: Reply) -> int | None:
    """The instance's clock from its `Date` header, in epoch milliseconds (whole seconds). None without the header."""
    try:
        return round(parsedate_to_datetime(reply.headers["date"]).timestamp() * 1000)
    except (KeyError, ValueError, TypeError, OverflowError):
        return None


def read_job(data: JsonValue) -> Job:
    """One job from its JSON. Raises ShapeError without `processingId` or `status`."""
    return _job(_object(data, "a job"))


def _job(entry: Mapping[str, JsonValue]) -> Job:
    processing_id = _processing_id(entry)
    word = text(entry.get("status"))
    if word is None:
        raise ShapeError(f"status of job {processing_id} is missing")
    migration_set = _mapping(entry.get("migrationSet"))
    counted = text(migration_set.get("calculationStatus"))
    excluded = entry.get("excludedPaths")
    return Job(
        processing_id=processing_id,
        state=state_of_word(word),
        status_word=word,
        path=text(entry.get("path")),
        excluded_paths=strings(excluded) if isinstance(excluded, list) else None,
        triggered_count=number(entry.get("triggeredCount")),
        started_at=milliseconds(entry.get("startedAt")),
        completed_at=milliseconds(entry.get("completedAt")),
        has_logs=flag(entry.get("hasLogs")),
        created_by=text(entry.get("createdBy")),
        processing_type=text(entry.get("type")),
        total_files=number(migration_set.get("totalFiles")),
        calculation_word=counted,
        eta_seconds=_eta(entry.get("eta")),
        comments=text(entry.get("comments")),
        job_filter=_filter(entry.get("filter")),
        restartable=flag(entry.get("restartable")),
        resumable=flag(entry.get("resumable")),
        cancellable=flag(entry.get("cancellable")),
    )


def _read_job_reply(reply: Reply) -> Job:
    return _job(_json_object(reply))


def _read_processing_id(reply: Reply) -> str:
    return _processing_id(_json_object(reply))


def _processing_id(entry: Mapping[str, JsonValue]) -> str:
    found = identifier(entry.get("processingId"))
    if found is None:
        raise ShapeError("processingId is missing")
    if len(found) > LONGEST_ID:
        raise ShapeError(f"processingId has {len(found)} characters, of {LONGEST_ID} at most")
    return found


def _read_log_page(reply: Reply) -> LogPage:
    data = _json_object(reply, longest=LONGEST_LINE)
    lines = _list(data, "lines")
    return LogPage(
        lines=tuple(line.rstrip("\r\n") if isinstance(line, str) else json.dumps(line) for line in lines),
        offset=number(data.get("offset")),
        limit=number(data.get("limit")),
        has_more=flag(data.get("hasMore")),
    )


def _read_history(reply: Reply) -> History:
    data = _json_object(reply)
    entries = _list(data, "executionHistory")
    jobs: list[Job] = []
    # An empty list may mean that the job had no assets, but does not prove it.
    unreadable = ["executionHistory is null"] if data["executionHistory"] is None else []
    for index, entry in enumerate(entries):
        try:
            jobs.append(read_job(entry))
        except ShapeError as error:
            unreadable.append(f"entry {index}: {error}")
    if (more := len(unreadable) - _MOST_UNREADABLE) > 0:
        unreadable[_MOST_UNREADABLE:] = [f"and {more:,} more entries"]
    return History(tuple(jobs), tuple(unreadable), instance_time(reply))


def _read_system_status(reply: Reply) -> SystemStatus:
    data = _json_object(reply)
    return SystemStatus(flag(data.get("isDatabase")), text(data.get("databaseConnectionCheck")))


def _read_asset_status(reply: Reply) -> AssetStatusReport:
    data = _json_object(reply, most=MOST_VALUES_OF_ASSETS)
    word = text(data.get("status")) or ""
    entries = data.get("assets")
    assets = tuple(read_asset(entry) for entry in entries) if isinstance(entries, list) else None
    return AssetStatusReport(identifier(data.get("jobId")) or "", word, assets)


def _read_asset_page(reply: Reply) -> AssetPage:
    data = _json_object(reply)
    hits = [_mapping(hit) for hit in _list(data, "hits")]
    paths = tuple(text(hit.get("jcr:path")) for hit in hits)
    return AssetPage(paths, flag(data.get("more")) is True, number(data.get("total")) or 0)


def _eta(value: JsonValue) -> float | None:
    eta = _mapping(value)
    amount = number(eta.get("value"))
    factor = _SECONDS_OF_UNIT.get((text(eta.get("unit")) or "SECONDS").upper())
    return None if amount is None or factor is None else min(amount * factor, _LONGEST_ETA_SECONDS)


def _filter(value: JsonValue) -> JobFilter | None:
    if not isinstance(value, dict):
        return None
    return JobFilter(
        strings(value.get("fileTypes")), milliseconds(value.get("startTime")), milliseconds(value.get("endTime"))
    )


def _get(path: str, query: Mapping[str, str] | None = None, accept: str = "application/json") -> HttpRequest:
    target = f"{path}?{urlencode(query, quote_via=quote, safe='')}" if query else path
    return HttpRequest("GET", target, {"Accept": accept})


def _post(path: str, body: JsonObject) -> HttpRequest:
    headers = {"Accept": "application/json", "Content-Type": "application/json; charset=utf-8"}
    return HttpRequest("POST", path, headers, json.dumps(body, ensure_ascii=False).encode())


def _json_object(reply: Reply, *, longest: int = LONGEST_TEXT, most: int = MOST_VALUES) -> Mapping[str, JsonValue]:
    try:
        data = read_json(reply.body, reply.headers, longest=longest, most=most)
    except JsonError as error:
        raise ShapeError(str(error)) from None
    return _object(data, "the answer")


def _list(data: Mapping[str, JsonValue], name: str) -> list[JsonValue]:
    """A required list. null stands for an empty list. Raises ShapeError for anything else."""
    found = data.get(name)
    if found is None and name in data:
        return []
    if not isinstance(found, list):
        raise ShapeError(f"{name} is missing")
    return found


def _object(data: JsonValue, what: str) -> Mapping[str, JsonValue]:
    if not isinstance(data, dict):
        raise ShapeError(f"{what} is not a JSON object")
    return data


def _mapping(value: JsonValue) -> Mapping[str, JsonValue]:
    return value if isinstance(value, dict) else {}


def _whole(reply: Reply) -> Reply:
    return reply


def _nothing(_reply: Reply) -> None:
    return None
