"""Start the emulator: `python -m emulator --help`."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from types import FrameType

import uvicorn
from starlette.applications import Starlette
from starlette.types import ASGIApp

from emulator.admin import CREATED, SETTINGS, VIRTUAL, Admin
from emulator.api import Api
from emulator.archives import clear_temporary
from emulator.checks import BadInputError, check_least
from emulator.clock import Clock
from emulator.content import Repository
from emulator.engine import Engine
from emulator.faults import Faults
from emulator.login import Gate
from emulator.settings import Settings
from emulator.store import Store
from emulator.transport import Dated, OpenProtocol
from emulator.virtual import VirtualFolder

_GRACE_SECONDS = 1


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
    parser.add_argument("--password", help="better given as EMULATOR_PASSWORD, which no list of processes shows")
    parser.add_argument("--window", type=int, default=5, help="jobs that the history shows")
    parser.add_argument("--rate", type=float, default=200.0, help="assets a second")
    parser.add_argument("--speed", type=float, default=1.0, help="how many times as fast as ours its clock runs")
    parser.add_argument(
        "--clock-from", type=float, default=0.0, metavar="EPOCH", help="when both clocks showed the same (with --speed)"
    )
    parser.add_argument("--settings", default="{}", help="further settings as JSON")
    return parser.parse_args(arguments)


def read_settings(options: argparse.Namespace) -> Settings:
    """The settings of the command line. Raises BadInputError."""
    try:
        further = json.loads(options.settings)
    except ValueError:
        raise BadInputError("--settings", options.settings, "Give a JSON object.") from None
    if not isinstance(further, dict):
        raise BadInputError("--settings", options.settings, "Give a JSON object.")
    return Settings().patched({"window": options.window, "rate": options.rate, **further})


def read_mounts(options: argparse.Namespace) -> dict[str, Path]:
    """Repository paths and their folders. Raises BadInputError."""
    mounts = {}
    for mount in options.content:
        folder, _, where = mount.rpartition(":")
        if not where.startswith("/content/") or not Path(folder).is_dir():
            raise BadInputError("--content", mount, "Give an existing folder, a colon and a path below /content.")
        mounts[where.rstrip("/")] = Path(folder).resolve()
    return mounts


def build_api(options: argparse.Namespace, settings: Settings) -> Api:
    """Build the instance, with the data of an earlier run. Raises BadInputError."""
    mounts = read_mounts(options)
    store = Store(options.data)
    clear_temporary(options.data)
    repository = Repository(mounts)
    for path, doc in store.kept(VIRTUAL).items():
        repository.virtual[path] = VirtualFolder(**doc)  # type: ignore[arg-type]  # checked when it was kept
    repository.set_created({path: int(str(created)) for path, created in store.kept(CREATED).items()})
    check_least("--speed", options.speed, 1)
    clock = Clock(options.speed, options.clock_from or time.time())
    engine = Engine(store, repository, settings.patched(store.kept(SETTINGS)), clock)
    users = {options.user: options.password or os.environ.get("EMULATOR_PASSWORD") or "admin"}
    tokens = {token for token in os.environ.get("EMULATOR_TOKENS", "").split(",") if token}
    return Api(engine, Gate(lambda: engine.settings, users, tokens, store, clock), Faults(clock))


def build_app(api: Api, initial: Settings) -> ASGIApp:
    """The web application. The engine starts and stops with it."""
    engine = api.engine

    @contextlib.asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        running = asyncio.create_task(engine.run())
        yield
        running.cancel()
        await engine.stop()
        engine.store.close()

    routes = [*api.routes(), *Admin(api, initial).routes(), api.rest()]
    return Dated(
        Starlette(routes=routes, lifespan=lifespan), lambda: engine.now() / 1000 + engine.settings.date_skew_seconds
    )


async def serve(options: argparse.Namespace) -> None:
    """Serve until a signal ends it. Raises BadInputError and OSError."""
    settings = read_settings(options)
    api = build_api(options, settings)
    listener = socket.create_server((options.host, options.port))
    config = uvicorn.Config(
        build_app(api, settings),
        http=OpenProtocol,
        log_level="warning",
        date_header=False,
        server_header=False,
        lifespan="on",
        timeout_graceful_shutdown=_GRACE_SECONDS,
    )
    server = uvicorn.Server(config)
    serving = asyncio.create_task(_serve(server, listener))
    while not server.started and not serving.done():  # noqa: ASYNC110  # uvicorn has no event for it
        await asyncio.sleep(0.01)
    if options.port_file is not None and server.started:
        beside = options.port_file.with_suffix(".new")
        beside.write_text(str(listener.getsockname()[1]))
        beside.replace(options.port_file)
    await serving


async def _serve(server: uvicorn.Server, listener: socket.socket) -> None:
    """When everything has stopped, Uvicorn raises the signal that ended it once more."""
    with contextlib.suppress(SystemExit):
        await server.serve(sockets=[listener])


def _leave(_number: int, _frame: FrameType | None) -> None:
    raise SystemExit(0)


def main() -> int:
    """Run the emulator. The exit status is 0 after SIGTERM or SIGINT, and 2 for invalid input."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _leave)
    options = parse_arguments()
    try:
        asyncio.run(serve(options))
    except (BadInputError, OSError) as error:
        sys.stderr.write(f"emulator: {error}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
