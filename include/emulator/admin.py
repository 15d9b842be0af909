"""The admin routes: look at everything, set everything. Without login, so they belong on loopback only."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path

from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from emulator.api import Api
from emulator.content import VirtualFolder
from emulator.faults import Fault, FaultError
from emulator.settings import SettingError


@dataclass
class Admin:
    """The routes below /emulator."""

    api: Api
    virtual_file: Path

    def routes(self) -> list[Route]:
        return [
            Route("/emulator/health", self.health),
            Route("/emulator/jobs", self.jobs),
            Route("/emulator/jobs/fail", self.fail, methods=["POST"]),
            Route("/emulator/log", self.log),
            Route("/emulator/assets", self.assets),
            Route("/emulator/creation-times", self.creation_times, methods=["POST"]),
            Route("/emulator/requests", self.requests),
            Route("/emulator/settings", self.settings, methods=["GET", "PATCH"]),
            Route("/emulator/faults", self.faults, methods=["GET", "POST", "DELETE"]),
            Route("/emulator/virtual-folders", self.virtual_folders, methods=["POST"]),
        ]

    async def health(self, _request: Request) -> Response:
        return JSONResponse({"status": "up"})

    async def jobs(self, _request: Request) -> Response:
        window = {job.processing_id for job in self.api.engine.window()}
        jobs = [
            dataclasses.asdict(job) | {"in_window": job.processing_id in window}
            for job in self.api.engine.store.jobs.values()
        ]
        return JSONResponse(jobs)

    async def fail(self, request: Request) -> Response:
        body = json.loads(await request.body())
        self.api.engine.fail(body["processingId"], resumable=body.get("resumable", True))
        return JSONResponse({})

    async def log(self, request: Request) -> Response:
        job = self.api.engine.store.jobs[request.query_params["processingId"]]
        return PlainTextResponse("".join(line + "\n" for line in self.api.engine.store.all_lines(job)))

    async def assets(self, request: Request) -> Response:
        return JSONResponse(self.api.engine.store.assets(request.query_params["path"]))

    async def creation_times(self, request: Request) -> Response:
        self.api.engine.repository.created.update(json.loads(await request.body()))
        return JSONResponse({})

    async def requests(self, _request: Request) -> Response:
        return JSONResponse(self.api.requests)

    async def settings(self, request: Request) -> Response:
        engine = self.api.engine
        if request.method == "PATCH":
            try:
                engine.settings = self.api.gate.settings = engine.settings.patched(json.loads(await request.body()))
            except SettingError as error:
                return JSONResponse({"message": str(error)}, status_code=400)
        return JSONResponse(dataclasses.asdict(engine.settings))

    async def faults(self, request: Request) -> Response:
        if request.method == "DELETE":
            self.api.faults.all.clear()
        if request.method == "POST":
            try:
                self.api.faults.all.append(Fault.from_json(json.loads(await request.body())))
            except FaultError as error:
                return JSONResponse({"message": str(error)}, status_code=400)
        return JSONResponse([dataclasses.asdict(fault) for fault in self.api.faults.all])

    async def virtual_folders(self, request: Request) -> Response:
        body = json.loads(await request.body())
        known = {entry.name for entry in dataclasses.fields(VirtualFolder)}
        if unknown := sorted(set(body) - known):
            message = f"{unknown[0]}: not a field of a virtual folder. Use {', '.join(sorted(known))}."
            return JSONResponse({"message": message}, status_code=400)
        folder = VirtualFolder(**body)
        virtual = self.api.engine.repository.virtual
        virtual[folder.path] = folder
        self.virtual_file.write_text(json.dumps([dataclasses.asdict(entry) for entry in virtual.values()]))
        return JSONResponse(dataclasses.asdict(folder))
