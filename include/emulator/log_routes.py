"""The endpoints for a job's log: pages, the archive, its files."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass

from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response, StreamingResponse

from emulator.archives import ArchiveOrder, write_archive
from emulator.engine import Engine, Refusal
from emulator.faults import LOG_FAULTS, ZIP_FAULTS, Faults
from emulator.odd_archives import ODD_ZIP, Oddities
from emulator.queries import in_blocks, number, text
from emulator.store import JobRecord, Store

_FILES = "/var/guides/logs"
_HUGE = 1_000_000
LOG_FILE_ROUTE = _FILES + "/{name:path}"


@dataclass
class LogRoutes:
    """The log of a job, in three forms."""

    engine: Engine
    faults: Faults

    async def page(self, request: Request) -> Response:
        job = self.engine.job(text(request, "processingId"))
        settings = self.engine.settings
        limit = min(number(request, "limit", settings.default_log_limit, least=1), settings.max_log_limit)
        offset = number(request, "offset", 0, least=0)
        if "tail" in request.query_params:
            limit = min(number(request, "tail", 1, least=1), settings.max_log_limit)
            offset = max(0, job.lines - limit)
        fault = self.faults.striking("logs", LOG_FAULTS)
        return self._page(job, offset, limit, fault.kind if fault else None)

    def _page(self, job: JobRecord, offset: int, limit: int, fault: str | None) -> Response:
        first = offset
        if fault == "repeat_page":
            first = offset = max(0, offset - limit)
        if fault == "ignore_limit":
            limit = max(limit, job.lines)
        lines = [] if fault == "shrink" else self.engine.store.lines(job, offset, limit)
        more = fault == "more_forever" or (fault != "shrink" and offset + len(lines) < job.lines)
        if fault == "huge_line" and lines:
            lines[0] += " " + "x" * _HUGE
        page = {"lines": lines, "limit": limit, "offset": first, "hasMore": more}
        body = json.dumps(page, ensure_ascii=False).encode()
        if fault == "invalid_utf8":
            body = body.replace(b'"lines": ["', b'"lines": ["\xff\xfe', 1)
        return Response(body, media_type="application/json")

    async def download(self, request: Request) -> Response:
        job = self.engine.job(text(request, "processingId"))
        settings = self.engine.settings
        if settings.download_form != "zip":
            origin = settings.foreign_origin if settings.download_form == "json_foreign" else ""
            return JSONResponse({"logFilePaths": [f"{origin}{_FILES}/{job.seq}/processing log.txt"]})
        folder = self.engine.repository.virtual.get(job.path)
        fault = self.faults.striking("download", ZIP_FAULTS)
        order = ArchiveOrder(
            data=self.engine.store.folder,
            seq=job.seq,
            processing_id=job.processing_id,
            lines=job.lines,
            padding=folder.zip_padding_bytes if folder else 0,
            stamp=job.completed or job.started,
            damage=fault.kind if fault else None,
            oddities=Oddities.from_json(fault.body) if fault and fault.kind == ODD_ZIP else Oddities(),
        )
        file = await asyncio.to_thread(write_archive, order)
        return FileResponse(file, media_type="application/zip", background=BackgroundTask(os.unlink, file))

    async def file(self, request: Request) -> Response:
        seq = request.path_params["name"].partition("/")[0]
        for job in self.engine.store.jobs.values():
            if str(job.seq) == seq:
                return log_as_text(self.engine.store, job)
        raise Refusal(404, "No such file")


def log_as_text(store: Store, job: JobRecord) -> Response:
    """The whole log, a block at a time."""

    async def lines() -> AsyncIterator[str]:
        for line in store.all_lines(job):
            yield line + "\n"

    return StreamingResponse(in_blocks(lines()), media_type="text/plain")
