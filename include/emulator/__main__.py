"""Start the emulator: `python -m emulator --help`."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import socket
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import uvicorn
from starlette.applications import Starlette

from emulator.admin import Admin
from emulator.api import Api
from emulator.content import Repository, VirtualFolder
from emulator.engine import Engine
from emulator.faults import Faults
from emulator.login import Gate
from emulator.settings import Settings
from emulator.store import Store
from emulator.transport import OpenProtocol

_VIRTUAL = "virtual.json"


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="emulator", description="A stand-in AEM Guides author.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=4502, help="0 takes any free port")
    parser.add_argument("--port-file", type=Path, help="where to write the port once the emulator answers")
    parser.add_argument("--data", type=Path, required=True, help="folder for jobs, logs and ids; outlives a restart")
    parser.add_argument(
        "--content", action="append", default=[], metavar="FOLDER:/content/dam/NAME", help="mount a folder"
    )
    parser.add_argument("--user", default="admin")
    parser.add_argument("--window", type=int, default=5, help="jobs that the history shows")
    parser.add_argument("--rate", type=float, default=200.0, help="assets a second")
    parser.add_argument("--settings", type=json.loads, default={}, help="further settings as JSON")
    return parser.parse_args(arguments)


def build_api(options: argparse.Namespace) -> Api:
    """Put the instance together."""
    base = Settings(window=options.window, rate=options.rate)
    settings = base.patched(options.settings)
    repository = Repository()
    for mount in options.content:
        folder, _, where = mount.rpartition(":")
        repository.mounts[where.rstrip("/")] = Path(folder)
    virtual = options.data / _VIRTUAL
    engine = Engine(Store(options.data), repository, settings)
    _restore_virtual(repository, virtual)
    gate = Gate(settings, {options.user: os.environ.get("EMULATOR_PASSWORD", "admin")})
    for token in os.environ.get("EMULATOR_TOKENS", "").split(","):
        if token:
            gate.tokens[token] = ("technical-account", time.time() + 86_400)
    return Api(engine, gate, Faults())


def _restore_virtual(repository: Repository, file: Path) -> None:
    if file.exists():
        for entry in json.loads(file.read_text()):
            repository.virtual[entry["path"]] = VirtualFolder(**entry)


def build_app(api: Api, data: Path) -> Starlette:
    """The web application; its life is the engine's."""

    @contextlib.asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        running = asyncio.create_task(api.engine.run())
        yield
        running.cancel()
        await api.engine.stop()

    return Starlette(routes=[*api.routes(), *Admin(api, data / _VIRTUAL).routes()], lifespan=lifespan)


async def serve(options: argparse.Namespace) -> None:
    """Serve until a signal ends it."""
    listener = socket.create_server((options.host, options.port), reuse_port=False)
    config = uvicorn.Config(
        build_app(build_api(options), options.data),
        http=OpenProtocol,
        log_level="warning",
        date_header=False,
        lifespan="on",
    )
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    while not server.started and not serving.done():  # noqa: ASYNC110  # uvicorn has no event for it
        await asyncio.sleep(0.01)
    if options.port_file is not None:
        beside = options.port_file.with_suffix(".new")
        beside.write_text(str(listener.getsockname()[1]))
        beside.replace(options.port_file)
    await serving


if __name__ == "__main__":
    asyncio.run(serve(parse_arguments()))
