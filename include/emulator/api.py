"""The bulk processing API of the instance."""

from __future__ import annotations

import json
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from emulator import query_builder
from emulator.checks import BadInputError, read_object
from emulator.describe import describe
from emulator.engine import Engine, Refusal
from emulator.faults import LOGIN, LOGIN_PAGE, Faults, Handler
from emulator.log_routes import LOG_FILE_ROUTE, LogRoutes
from emulator.login import Gate
from emulator.queries import in_blocks, text
from emulator.requests import StartRequest
from emulator.sling import Sling
from emulator.transport import ResetResponse

_BASE = "/bin/guides/v1"
_PROCESS = f"{_BASE}/assets/process"
UNSERVED = "unserved"
_WITHOUT_LOGIN = ("token_oauth", "token_jwt")


@dataclass(frozen=True)
class Question:
    """A request for the states of assets, and when it was made, by the clock's elapsed time."""

    asked: float
    paths: list[str]
    excluded: list[str]


@dataclass
class Api:
    """The endpoints. The store records every request, without header values and bodies."""

    engine: Engine
    gate: Gate
    faults: Faults
    questions: dict[str, Question] = field(default_factory=dict)
    sling: Sling = field(default_factory=Sling)

    def routes(self) -> list[Route]:
        logs = LogRoutes(self.engine, self.faults)
        table: list[tuple[str, str, str, Handler]] = [
            ("POST", _PROCESS, "start", self.start),
            ("GET", f"{_PROCESS}/status", "status", self.status),
            ("GET", f"{_PROCESS}/logs", "logs", logs.page),
            ("GET", f"{_PROCESS}/logs/download", "download", logs.download),
            ("GET", LOG_FILE_ROUTE, "log_file", logs.file),
            ("POST", f"{_PROCESS}/cancel", "cancel", self.cancel),
            ("POST", f"{_PROCESS}/resume", "resume", self.resume),
            ("GET", f"{_PROCESS}/history", "history", self.history),
            ("POST", f"{_BASE}/assets/status", "asset_status_start", self.start_asset_status),
            ("GET", f"{_BASE}/assets/status", "asset_status", self.asset_status),
            ("GET", f"{_BASE}/system/status", "system_status", self.system_status),
            ("GET", query_builder.ROUTE, "query_builder", self.query_builder),
            ("GET", "/libs/granite/csrf/token.json", "csrf", self.csrf),
            ("POST", "/ims/token/v3", "token_oauth", self.gate.oauth),
            ("POST", "/ims/exchange/jwt", "token_jwt", self.gate.exchange),
        ]
        guarded = [
            Route(path, self._guarded(endpoint, handler), methods=[method]) for method, path, endpoint, handler in table
        ]
        return [*guarded, Route(LOGIN, _login_page)]

    def rest(self) -> Route:
        """All other paths."""
        return Route("/{path:path}", self._guarded(UNSERVED, self.unserved), methods=["GET", "POST"])

    def _guarded(self, endpoint: str, handler: Handler) -> Handler:
        """An endpoint behind faults and login. Every request is recorded."""

        async def behind_login(request: Request) -> Response:
            if endpoint not in _WITHOUT_LOGIN and (refusal := self.gate.refusal(request)) is not None:
                return refusal
            try:
                return await handler(request)
            except Refusal as refusal:
                return JSONResponse({"message": refusal.message}, status_code=refusal.status)
            except BadInputError as error:
                return JSONResponse({"message": f"Invalid input: {error}"}, status_code=400)

        async def serve(request: Request) -> Response:
            try:
                await request.body()
            except ClientDisconnect:
                return ResetResponse()
            facts = {
                "method": request.method,
                "query": dict(request.query_params),
                "user": self.gate.user(request),
                "agent": request.headers.get("user-agent"),
                "headers": sorted(request.headers.keys()),
                "at": self.engine.clock.now(),
            }
            noted = self.engine.store.note_request(endpoint, facts)
            response = await self.faults.serve(endpoint, request, behind_login)
            if not isinstance(response, ResetResponse):
                self.engine.store.note_answer(noted, response.status_code)
            return response

        return serve

    async def start(self, request: Request) -> Response:
        wanted = StartRequest.from_json(read_object(await request.body()))
        job = self.engine.start(wanted, self.gate.user(request) or "")
        if self.faults.striking("start", ("missing_id",)):
            return JSONResponse({"message": "accepted"})
        return JSONResponse({"processingId": job.processing_id})

    async def status(self, request: Request) -> Response:
        job = self.engine.job(text(request, "processingId"))
        if self.faults.striking("status", ("lose_job",)):
            raise Refusal(400, f"No job found for processingId {job.processing_id}")
        unknown = self.faults.striking("status", ("unknown_state",))
        return JSONResponse(describe(self.engine, job, unknown.word if unknown else None))

    async def history(self, _request: Request) -> Response:
        jobs = self.engine.window()
        if (lag := self.faults.striking("history", ("history_lag",))) is not None:
            jobs = [job for job in jobs if self.engine.now() - job.started > lag.seconds * 1000]
        if jobs and self.faults.striking("history", ("lose_job",)):
            newest = max(jobs, key=lambda job: job.seq)
            jobs = [job for job in jobs if job is not newest]
        unknown = self.faults.striking("history", ("unknown_state",))
        entries: list[object] = [describe(self.engine, job, unknown.word if unknown else None) for job in jobs]
        if self.faults.striking("history", ("history_bad_entry",)):
            entries.insert(len(entries) // 2, {"path": "/content/dam/broken", "startedAt": "yesterday"})
        return JSONResponse({"executionHistory": entries})

    async def cancel(self, request: Request) -> Response:
        self.engine.cancel(await _body_id(request))
        return JSONResponse({"message": "cancelling"})

    async def resume(self, request: Request) -> Response:
        job = self.engine.resume(await _body_id(request))
        return JSONResponse({"processingId": job.processing_id})

    async def start_asset_status(self, request: Request) -> Response:
        if not self.engine.settings.asset_status:
            return await self.unserved(request)
        body = read_object(await request.body())
        paths, excluded = _paths(body, "paths"), _paths({"excludedPaths": [], **body}, "excludedPaths")
        job_id = str(uuid.uuid4())
        self.questions[job_id] = Question(self.engine.clock.elapsed(), paths, excluded)
        return JSONResponse({"jobId": job_id, "status": "WAITING"})

    async def asset_status(self, request: Request) -> Response:
        if not self.engine.settings.asset_status:
            return await self.unserved(request)
        job_id = text(request, "jobId")
        question = self.questions.get(job_id)
        if question is None:
            raise Refusal(400, f"No job found for jobId {job_id}")
        if self.engine.clock.elapsed() - question.asked < self.engine.settings.asset_status_seconds:
            return JSONResponse({"jobId": job_id, "status": "WAITING"})
        if self.engine.fails_over_commas(question.paths, question.excluded):
            return JSONResponse({"jobId": job_id, "status": "FAILED", "assets": None})
        return StreamingResponse(in_blocks(self._asset_states(job_id, question)), media_type="application/json")

    async def system_status(self, _request: Request) -> Response:
        settings = self.engine.settings
        if not settings.system_status:
            raise Refusal(404, "Not found")
        facts: dict[str, object] = {"isDatabase": settings.is_database}
        if settings.is_database:
            facts["databaseConnectionCheck"] = settings.database_check
        return JSONResponse(facts)

    async def query_builder(self, request: Request) -> Response:
        if not self.engine.settings.query_builder:
            return await self.unserved(request)
        return query_builder.answer(request, self.engine.repository)

    async def csrf(self, _request: Request) -> Response:
        return self.gate.csrf()

    async def unserved(self, request: Request) -> Response:
        """Sling's answer where there is no endpoint."""
        return self.sling.answer(request, self.engine.settings.sling_post)

    async def _asset_states(self, job_id: str, question: Question) -> AsyncIterator[str]:
        yield f'{{"jobId": {json.dumps(job_id)}, "status": "SUCCESS", "assets": ['
        separator = ""
        async for state in self.engine.asset_states(question.paths, question.excluded):
            yield separator + json.dumps(state)
            separator = ", "
        yield "]}"


async def _login_page(_request: Request) -> Response:
    return HTMLResponse(LOGIN_PAGE)


async def _body_id(request: Request) -> str:
    processing_id = read_object(await request.body()).get("processingId")
    if not isinstance(processing_id, str) or not processing_id:
        raise BadInputError("processingId", processing_id, "It is required.")
    return processing_id


def _paths(body: dict[str, object], name: str) -> list[str]:
    paths = body.get(name)
    if not isinstance(paths, list) or not all(isinstance(path, str) for path in paths):
        raise BadInputError(name, paths, "Give a list of strings.")
    return paths
