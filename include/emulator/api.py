"""The bulk processing API of the instance."""

from __future__ import annotations

import json
import os
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from email.utils import formatdate

from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from emulator.archives import write_archive
from emulator.engine import Engine, Refusal
from emulator.faults import LOG_FAULTS, ZIP_FAULTS, Faults, Handler
from emulator.login import Gate
from emulator.store import JobRecord

_BASE = "/bin/guides/v1"
_PROCESS = f"{_BASE}/assets/process"
_WINDOW_WORDS = {
    "WAITING": "Waiting",
    "RUNNING": "In progress",
    "SUCCESS": "Completed",
    "FAILED": "Failed",
    "CANCELLED": "Cancelled",
}


@dataclass
class Api:
    """The endpoints. `requests` has an entry for each request that came: no header and no body of it."""

    engine: Engine
    gate: Gate
    faults: Faults
    requests: list[dict[str, object]] = field(default_factory=list)

    def routes(self) -> list[Route]:
        table: list[tuple[str, str, str, Handler]] = [
            ("POST", _PROCESS, "start", self.start),
            ("GET", f"{_PROCESS}/status", "status", self.status),
            ("GET", f"{_PROCESS}/logs", "logs", self.logs),
            ("GET", f"{_PROCESS}/logs/download", "download", self.download),
            ("GET", "/var/guides/logs/{name:path}", "log_file", self.log_file),
            ("POST", f"{_PROCESS}/cancel", "cancel", self.cancel),
            ("POST", f"{_PROCESS}/resume", "resume", self.resume),
            ("GET", f"{_PROCESS}/history", "history", self.history),
            ("POST", f"{_BASE}/assets/status", "asset_status_start", self.start_asset_status),
            ("GET", f"{_BASE}/assets/status", "asset_status", self.asset_status),
            ("GET", f"{_BASE}/system/status", "system_status", self.system_status),
            ("GET", "/libs/granite/csrf/token.json", "csrf", self.csrf),
            ("POST", "/ims/token/v3", "token_oauth", self.gate_oauth),
            ("POST", "/ims/exchange/jwt", "token_jwt", self.gate_exchange),
        ]
        return [
            Route(path, self._guarded(endpoint, handler), methods=[method]) for method, path, endpoint, handler in table
        ]

    def _guarded(self, endpoint: str, handler: Handler) -> Handler:
        """An endpoint behind faults and login, with every request noted."""
        open_to_all = endpoint in ("token_oauth", "token_jwt")

        async def behind_login(request: Request) -> Response:
            if not open_to_all and (refusal := self.gate.refusal(request)) is not None:
                return refusal
            try:
                return await handler(request)
            except Refusal as refusal:
                return JSONResponse({"message": refusal.message}, status_code=refusal.status)

        async def serve(request: Request) -> Response:
            await request.body()
            entry: dict[str, object] = {
                "number": len(self.requests),
                "endpoint": endpoint,
                "method": request.method,
                "query": dict(request.query_params),
                "user": self.gate.user(request),
                "agent": request.headers.get("user-agent"),
                "headers": sorted(request.headers.keys()),
                "at": time.time(),
                "status": None,
            }
            self.requests.append(entry)
            response = await self.faults.serve(endpoint, request, behind_login)
            entry["status"] = response.status_code
            skewed = self.engine.now() / 1000 + self.engine.settings.date_skew_seconds
            response.headers["Date"] = formatdate(skewed, usegmt=True)
            return response

        return serve

    async def start(self, request: Request) -> Response:
        job = self.engine.start(await _json_body(request), self.gate.user(request) or "")
        if self.faults.striking("start", ("missing_id",)):
            return JSONResponse({"message": "accepted"})
        return JSONResponse({"processingId": job.processing_id})

    async def status(self, request: Request) -> Response:
        return JSONResponse(self._describe(self.engine.job(_query(request, "processingId")), "status"))

    async def history(self, _request: Request) -> Response:
        jobs = self.engine.window()
        if (lag := self.faults.striking("history", ("history_lag",))) is not None:
            jobs = [job for job in jobs if self.engine.now() - job.started > lag.seconds * 1000]
        entries: list[object] = [self._describe(job, "history") for job in jobs]
        if self.faults.striking("history", ("history_bad_entry",)):
            entries.insert(len(entries) // 2, {"path": "/content/dam/broken", "startedAt": "yesterday"})
        return JSONResponse({"executionHistory": entries})

    async def logs(self, request: Request) -> Response:
        job = self.engine.job(_query(request, "processingId"))
        settings = self.engine.settings
        limit = min(_number(request, "limit", settings.default_log_limit, least=1), settings.max_log_limit)
        offset = _number(request, "offset", 0, least=0)
        if "tail" in request.query_params:
            limit = min(_number(request, "tail", 1, least=1), settings.max_log_limit)
            offset = max(0, job.lines - limit)
        return self._log_page(job, offset, limit)

    def _log_page(self, job: JobRecord, offset: int, limit: int) -> Response:
        fault = self.faults.striking("logs", LOG_FAULTS)
        kind = fault.kind if fault else None
        told = offset
        if kind == "repeat_page":
            told = offset = max(0, offset - limit)
        if kind == "ignore_limit":
            limit = max(limit, job.lines)
        lines = [] if kind == "shrink" else self.engine.store.lines(job, offset, limit)
        more = kind == "more_forever" or (kind != "shrink" and offset + len(lines) < job.lines)
        if kind == "huge_line":
            lines = [line + " " + "x" * 1_000_000 if number == 0 else line for number, line in enumerate(lines)]
        body = json.dumps(
            {"lines": lines, "limit": limit, "offset": told, "hasMore": more}, ensure_ascii=False
        ).encode()
        if kind == "invalid_utf8":
            body = body.replace(b"Processed", b"Proc\xff\xfeessed", 1)
        return Response(body, media_type="application/json")

    async def download(self, request: Request) -> Response:
        job = self.engine.job(_query(request, "processingId"))
        form = self.engine.settings.download_form
        if form != "zip":
            origin = "http://127.0.0.2:1" if form == "json_foreign" else ""
            return JSONResponse({"logFilePaths": [f"{origin}/var/guides/logs/{job.seq}/processing log.txt"]})
        damage = self.faults.striking("download", ZIP_FAULTS)
        file = write_archive(self.engine.store, self.engine.repository, job, damage.kind if damage else None)
        return FileResponse(file, media_type="application/zip", background=BackgroundTask(os.unlink, file))

    async def log_file(self, request: Request) -> Response:
        seq = request.path_params["name"].partition("/")[0]
        for job in self.engine.store.jobs.values():
            if str(job.seq) == seq:
                return PlainTextResponse("".join(line + "\n" for line in self.engine.store.all_lines(job)))
        raise Refusal(404, "no such file")

    async def cancel(self, request: Request) -> Response:
        self.engine.cancel(await _body_id(request))
        return JSONResponse({"message": "cancelling"})

    async def resume(self, request: Request) -> Response:
        job = self.engine.resume(await _body_id(request))
        return JSONResponse({"processingId": job.processing_id})

    async def start_asset_status(self, request: Request) -> Response:
        if not self.engine.settings.asset_status:
            raise Refusal(404, "not found")
        body = await _json_body(request)
        paths, excluded = body.get("paths"), body.get("excludedPaths", [])
        if (
            not isinstance(paths, list)
            or not isinstance(excluded, list)
            or not all(isinstance(p, str) for p in (*paths, *excluded))
        ):
            raise Refusal(400, "Invalid input: paths must be a list of strings")
        job_id = str(uuid.uuid4())
        self.engine.asset_questions[job_id] = (time.monotonic(), paths, excluded)
        return JSONResponse({"jobId": job_id, "status": "WAITING"})

    async def asset_status(self, request: Request) -> Response:
        if not self.engine.settings.asset_status:
            raise Refusal(404, "not found")
        job_id = _query(request, "jobId")
        if job_id not in self.engine.asset_questions:
            raise Refusal(400, f"No job found for jobId {job_id}")
        asked, paths, excluded = self.engine.asset_questions[job_id]
        if time.monotonic() - asked < self.engine.settings.asset_status_seconds:
            return JSONResponse({"jobId": job_id, "status": "WAITING"})
        assets = self.engine.asset_states(paths, excluded)
        return JSONResponse({"jobId": job_id, "status": "SUCCESS", "assets": assets})

    async def system_status(self, _request: Request) -> Response:
        settings = self.engine.settings
        if not settings.system_status:
            raise Refusal(404, "not found")
        return JSONResponse({"isDatabase": settings.is_database, "databaseConnectionCheck": settings.database_check})

    async def csrf(self, _request: Request) -> Response:
        return self.gate.csrf()

    async def gate_oauth(self, request: Request) -> Response:
        return await self.gate.oauth(request)

    async def gate_exchange(self, request: Request) -> Response:
        return await self.gate.exchange(request)

    def _describe(self, job: JobRecord, endpoint: str) -> dict[str, object]:
        if self.faults.striking(endpoint, ("lose_job",)):
            raise Refusal(400, "No job found")
        word = job.state if self.engine.settings.state_style == "documented" else _WINDOW_WORDS[job.state]
        if (fault := self.faults.striking(endpoint, ("unknown_state",))) is not None:
            word = fault.word
        described: dict[str, object] = {
            "processingId": job.processing_id,
            "path": job.path,
            "excludedPaths": [path.lstrip("/") if n % 2 else path for n, path in enumerate(job.excluded)],
            "status": word,
            "triggeredCount": job.position,
            "startedAt": job.started,
            "completedAt": job.completed,
            "hasLogs": job.lines > 0,
            "createdBy": job.created_by,
            "type": job.processing_type,
            "migrationSet": {"totalFiles": job.total, "calculationStatus": "SUCCESS" if job.counted else "WAITING"},
            "comments": job.comments,
            "restartable": job.state == "SUCCESS",
            "resumable": job.resumable,
            "cancellable": job.active,
        }
        if not job.counted:
            described["migrationSet"] = {"calculationStatus": "WAITING"}
        if job.active and job.counted:
            described["eta"] = {"value": self.engine.eta_seconds(job), "unit": "SECONDS"}
        if job.filter:
            described["filter"] = {"filterProcessedAssets": False, **job.filter}
        return described


async def _json_body(request: Request) -> Mapping[str, object]:
    try:
        body = json.loads(await request.body())
    except ValueError:
        raise Refusal(400, "Invalid input: the body is not JSON") from None
    if not isinstance(body, dict):
        raise Refusal(400, "Invalid input: the body is not an object")
    return body


async def _body_id(request: Request) -> str:
    processing_id = (await _json_body(request)).get("processingId")
    if not isinstance(processing_id, str) or not processing_id:
        raise Refusal(400, "Invalid input: processingId is required")
    return processing_id


def _query(request: Request, name: str) -> str:
    value = request.query_params.get(name)
    if not value:
        raise Refusal(400, f"Invalid input: {name} is required")
    return value


def _number(request: Request, name: str, default: int, *, least: int) -> int:
    value = request.query_params.get(name)
    if value is None:
        return default
    if not value.isascii() or not value.isdigit() or len(value) > 15 or int(value) < least:
        raise Refusal(400, f"Invalid input: {name} must be a whole number from {least} on")
    return int(value)
