"""The admin routes: they read and change everything. They need no login, so they answer on loopback only."""

from __future__ import annotations

import dataclasses
import ipaddress
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from emulator.api import Api
from emulator.checks import BadInputError, check_choice, check_kind, check_names, read_object
from emulator.engine import Refusal
from emulator.faults import Fault, Handler
from emulator.log_routes import log_as_text
from emulator.login import check_client
from emulator.queries import array, number, text
from emulator.settings import Settings
from emulator.store import JobRecord
from emulator.virtual import VirtualFolder

SETTINGS, VIRTUAL, CREATED = "settings", "virtual", "created"
_JOB_QUERIES = {"path": "path", "processingId": "processing_id"}
"""By which values jobs can be asked for: the name in the query, and the attribute."""


@dataclass
class Admin:
    """The routes below /emulator. A reset restores the `initial` settings."""

    api: Api
    initial: Settings

    def routes(self) -> list[Route]:
        table: list[tuple[str, Handler, list[str]]] = [
            ("/emulator/health", self.health, ["GET"]),
            ("/emulator/jobs", self.jobs, ["GET"]),
            ("/emulator/jobs/fail", self.fail, ["POST"]),
            ("/emulator/jobs/lose", self.lose, ["POST"]),
            ("/emulator/jobs/{seq:int}/log", self.log, ["GET"]),
            ("/emulator/log", self.log, ["GET"]),
            ("/emulator/assets", self.assets, ["GET"]),
            ("/emulator/creation-times", self.creation_times, ["POST"]),
            ("/emulator/requests", self.requests, ["GET"]),
            ("/emulator/settings", self.settings, ["GET", "PATCH"]),
            ("/emulator/clock", self.clock, ["POST"]),
            ("/emulator/clients", self.clients, ["POST"]),
            ("/emulator/tokens", self.tokens, ["DELETE"]),
            ("/emulator/faults", self.faults, ["GET", "POST", "DELETE"]),
            ("/emulator/virtual-folders", self.virtual_folders, ["GET", "POST"]),
            ("/emulator/reset", self.reset, ["POST"]),
            ("/emulator/nodes", self.nodes, ["GET"]),
        ]
        return [Route(path, _local(handler), methods=methods) for path, handler, methods in table]

    async def health(self, _request: Request) -> Response:
        engine = self.api.engine
        store = engine.store
        return JSONResponse({"status": "up", "now": engine.now(), "active": len(store.active), "jobs": len(store.jobs)})

    async def nodes(self, _request: Request) -> Response:
        return JSONResponse(self.api.sling.nodes)

    async def jobs(self, request: Request) -> Response:
        """All jobs, or those with the values of the query."""
        engine = self.api.engine
        wanted = {name: request.query_params.get(query) for query, name in _JOB_QUERIES.items()}
        asked = {name: value for name, value in wanted.items() if value is not None}
        window = {job.processing_id for job in engine.window()}
        jobs = list(engine.store.jobs.values())  # more may begin while these are sent
        return array(
            vars(job) | {"in_window": job.processing_id in window}
            for job in jobs
            if all(getattr(job, name) == value for name, value in asked.items())
        )

    async def fail(self, request: Request) -> Response:
        body = read_object(await request.body())
        check_names(list(body), ("processingId", "resumable"), "field here")
        resumable = body.get("resumable", True)
        check_kind("resumable", resumable, sample=True)
        self.api.engine.fail(str(body.get("processingId")), resumable=resumable)
        return JSONResponse({})

    async def lose(self, request: Request) -> Response:
        self.api.engine.lose(str(read_object(await request.body()).get("processingId")))
        return JSONResponse({})

    async def log(self, request: Request) -> Response:
        return log_as_text(self.api.engine.store, self._job(request))

    async def assets(self, request: Request) -> Response:
        return array(self.api.engine.store.assets(text(request, "path")))

    async def creation_times(self, request: Request) -> Response:
        times = read_object(await request.body())
        for path, created in times.items():
            check_kind(path, created, 0)
        self.api.engine.repository.set_created(times)
        self.api.engine.store.keep(CREATED, times)
        return JSONResponse({})

    async def requests(self, request: Request) -> Response:
        endpoint = request.query_params.get("endpoint")
        return JSONResponse(self.api.engine.store.requests(endpoint, number(request, "after", 0, least=0)))

    async def settings(self, request: Request) -> Response:
        if request.method == "PATCH":
            self._set(read_object(await request.body()))
        return JSONResponse(self.api.engine.settings.shown())

    async def clock(self, request: Request) -> Response:
        seconds = read_object(await request.body()).get("advance_seconds")
        check_kind("advance_seconds", seconds, 0.0)
        self._set({"clock_offset_seconds": self.api.engine.settings.clock_offset_seconds + float(seconds or 0)})
        return JSONResponse({"now": self.api.engine.now()})

    async def clients(self, request: Request) -> Response:
        """Register a client of a token endpoint: `kind` (oauth, jwt), `client_id`, and its facts."""
        facts = read_object(await request.body())
        kind, client = facts.pop("kind", None), facts.pop("client_id", None)
        check_choice("kind", kind, ("oauth", "jwt"))
        check_kind("client_id", client, "")
        check_client(kind, facts)
        known = getattr(self.api.engine.settings, f"{kind}_clients")
        self._set({f"{kind}_clients": {**known, client: facts}})
        return JSONResponse({})

    async def tokens(self, _request: Request) -> Response:
        """Withdraw all issued tokens."""
        self.api.gate.forget()
        return JSONResponse({})

    async def faults(self, request: Request) -> Response:
        known = self.api.faults.all
        if request.method == "DELETE":
            known.clear()
        if request.method == "POST":
            known.append(Fault.from_json(read_object(await request.body())))
        return JSONResponse([fault.shown() for fault in known])

    async def virtual_folders(self, request: Request) -> Response:
        """Create one folder, or several as `{"folders": [...]}`."""
        virtual = self.api.engine.repository.virtual
        if request.method == "GET":
            return array(dataclasses.asdict(folder) for folder in virtual.values())
        body = read_object(await request.body())
        many = body.get("folders")
        made = [VirtualFolder.from_json(entry) for entry in (many if isinstance(many, list) else [body])]
        virtual.update((folder.path, folder) for folder in made)
        self.api.engine.store.keep(VIRTUAL, {folder.path: dataclasses.asdict(folder) for folder in made})
        return JSONResponse([dataclasses.asdict(f) for f in made] if many else dataclasses.asdict(made[0]))

    async def reset(self, _request: Request) -> Response:
        """Back to the beginning: no jobs, no faults, no virtual folders, the settings of the start."""
        engine = self.api.engine
        await engine.stop()
        self.api.gate.forget()
        engine.store.clear()
        engine.repository.virtual.clear()
        engine.repository.created.clear()
        engine.settings = self.initial
        self.api.faults.all.clear()
        self.api.questions.clear()
        self.api.sling.nodes.clear()
        return JSONResponse({})

    def _set(self, changes: dict[str, object]) -> None:
        engine = self.api.engine
        engine.settings = engine.settings.patched(changes)
        engine.store.keep(SETTINGS, changes)

    def _job(self, request: Request) -> JobRecord:
        jobs = self.api.engine.store.jobs
        if "seq" in request.path_params:
            job = next((job for job in jobs.values() if job.seq == request.path_params["seq"]), None)
        else:
            job = jobs.get(text(request, "processingId"))
        if job is None:
            raise Refusal(404, "No such job. GET /emulator/jobs lists them all.")
        return job


def _local(handler: Handler) -> Handler:
    """A handler for callers on this machine only. Its errors become answers."""

    async def serve(request: Request) -> Response:
        if request.client is None or not ipaddress.ip_address(request.client.host).is_loopback:
            return JSONResponse({"message": "The admin routes answer on loopback only."}, status_code=403)
        try:
            return await handler(request)
        except BadInputError as error:
            return JSONResponse({"message": str(error)}, status_code=400)
        except Refusal as refusal:
            return JSONResponse({"message": refusal.message}, status_code=refusal.status)

    return serve
