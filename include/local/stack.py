"""The whole stack: its parts, the place of its state, its start and its end."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import httpx

from local.database import Database, start_database
from local.problems import StackError
from local.processes import FolderLock, Programs
from local.rest import AirflowRest
from local.settings import (
    ARCHIVE_URI,
    INSTANCE_CONNECTION,
    ROOT,
    USERNAME,
    airflow_environment,
    choose_api_port,
    emulator_connection,
    kept_port,
    kept_secrets,
    write_private,
)

MAIN_DAG = "aem_guides_process_assets"
CONTENT_MOUNT = "/content/dam/aurora"
_LEAST_FREE_BYTES = 500 * 1024 * 1024
_COMPONENTS = {
    "api-server": ("api-server", "--workers", "1"),
    "scheduler": ("scheduler",),
    "dag-processor": ("dag-processor",),
    "triggerer": ("triggerer",),
}


@dataclass
class StackOptions:
    """How to start a stack. `environment` is added to that of every program. `contents` are mounted in the emulator.

    With `emulator`, Airflow uses an emulator of this stack, whatever connection the environment has. `uninterrupted`
    surrounds each step that starts something which must be ended later.
    """

    folder: Path = ROOT / ".local"
    emulator: bool = True
    emulator_rate: float = 2.2
    emulator_settings: dict[str, object] = field(default_factory=dict)
    contents: dict[str, Path] = field(default_factory=lambda: {CONTENT_MOUNT: ROOT / "include" / "content"})
    environment: dict[str, str] = field(default_factory=dict)
    dags_folder: Path = ROOT / "dags"
    report: Callable[[str], None] = print
    grace_seconds: float = 10.0
    uninterrupted: Callable[[], AbstractContextManager[None]] = contextlib.nullcontext


class Stack:
    """PostgreSQL, emulator and Airflow. Use it as a context manager, which ends what it started."""

    def __init__(self, options: StackOptions | None = None) -> None:
        self.options = options or StackOptions()
        self.folder = self.options.folder.absolute()
        self.programs = Programs(self.folder, self.options.uninterrupted)
        self.emulator_url: str | None = None
        self.environment: dict[str, str] = {}
        self.rest: AirflowRest
        self.url = ""
        self.password = ""
        self._database: Database | None = None
        self._lock = FolderLock(self.folder / "stack.lock")

    def __enter__(self) -> Stack:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_exception: object) -> None:
        self.stop()

    def start(self) -> None:
        """Start everything, side by side where that is possible. Raises StackError."""
        try:
            self._claim_folder()
            self._start_all()
        except OSError as error:
            raise StackError(f"The stack cannot start in {self.folder}: {error}.") from error

    def stop(self) -> bool:
        """End everything that was started, the database last. Does nothing if the folder belongs to another stack.

        Returns whether anything was started.
        """
        if not self._lock.held:
            return False
        started = bool(self.programs.running) or self._database is not None
        with contextlib.suppress(AttributeError):
            self.rest.close()
        self.programs.stop(self.options.grace_seconds)
        if self._database is not None:
            self._database.stop()
            self._database = None
        (self.folder / "up.json").unlink(missing_ok=True)
        self._lock.release()
        return started

    def check(self) -> None:
        """Raise StackError if something that was started has ended."""
        self.programs.check()
        if self._database is not None:
            self._database.check()

    def mend(self) -> None:
        """Restart what has ended, and report it. Raises StackError for programs that keep ending, and for the
        database."""
        if self._database is not None:
            self._database.check()
        self.programs.restart_ended(self.options.report)

    def write_up_file(self) -> Path:
        """Write the address and login of the stack for other programs. Only the owner can read the file."""
        file = self.folder / "up.json"
        facts = {"url": self.url, "username": USERNAME, "password": self.password, "pid": os.getpid()}
        if self.emulator_url:
            facts["emulator"] = self.emulator_url
        write_private(file, json.dumps(facts))
        return file

    def archive_path(self) -> str:
        return self.environment[ARCHIVE_URI]

    def _claim_folder(self) -> None:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            free = shutil.disk_usage(self.folder).free
            claimed = self._lock.acquire()
        except OSError as error:
            raise StackError(f"{self.folder} cannot be written: {error}. Give it to your user.") from error
        if not claimed:
            raise StackError(f"Another stack runs in {self.folder}: end it first (its `make up` or `make demo`).")
        (self.folder / "up.json").unlink(missing_ok=True)
        if free < _LEAST_FREE_BYTES:
            raise StackError(
                f"There are {free // 1024**2} MiB left on the disk of {self.folder}, and the stack needs "
                f"{_LEAST_FREE_BYTES // 1024**2}. Make room, then try again."
            )
        if ended := self.programs.end_leftovers():
            self.options.report(f"Ended processes that an earlier stack left running: {', '.join(ended)}")

    def _start_all(self) -> None:
        given = {**os.environ, **self.options.environment}
        kept = kept_secrets(self.folder)
        self.password = kept.password
        port = choose_api_port(given, self.options.report)
        self.url = f"http://127.0.0.1:{port}"
        with self.options.uninterrupted():
            self._database = start_database(self.folder / "postgres", kept.database_password)
        if self.options.emulator:
            self.emulator_url = self._start_emulator(kept.emulator_password)
            given[INSTANCE_CONNECTION] = emulator_connection(self.emulator_url, kept.emulator_password)
        (self.folder / "airflow").mkdir(exist_ok=True)
        write_private(self.folder / "airflow" / "passwords.json", json.dumps({USERNAME: self.password}))
        self.environment = airflow_environment(
            given,
            self.folder,
            dags_folder=self.options.dags_folder,
            port=port,
            kept=kept,
            airflow_database=self._database.uri("airflow"),
            ledger_database=self._database.uri("ledger"),
        )
        self._migrate(self._database)
        self._start_airflow()

    def _start_airflow(self) -> None:
        began = datetime.now(UTC)
        for name, arguments in _COMPONENTS.items():
            self.programs.start(name, [*self._airflow(), *arguments], self.environment)
        self.rest = AirflowRest(self.url, USERNAME, self.password)
        self._wait(self.rest.healthy, 180, "Airflow is not healthy")
        self._wait(lambda: self._is_parsed(began), 120, f"DAG {MAIN_DAG} is not there")

    def _start_emulator(self, password: str) -> str:
        port_file = self.folder / "emulator.port"
        port = kept_port(port_file)
        port_file.unlink(missing_ok=True)
        command = [sys.executable, "-m", "emulator", "--port", str(port), "--port-file", str(port_file)]
        command += ["--data", str(self.folder / "emulator"), "--rate", str(self.options.emulator_rate)]
        command += ["--settings", json.dumps(self.options.emulator_settings)]
        for where, content in self.options.contents.items():
            command += ["--content", f"{content}:{where}"]
        environment = {**os.environ, "PYTHONPATH": str(ROOT / "include"), "EMULATOR_PASSWORD": password}
        self.programs.start("emulator", command, environment)
        self._wait(port_file.exists, 30, "The emulator does not answer", every=0.05)
        return f"http://127.0.0.1:{port_file.read_text()}"

    def _airflow(self) -> list[str]:
        return [sys.executable, "-m", "airflow"]

    def _migrate(self, database: Database) -> None:
        """Bring the schema up to date, unless this version of Airflow already did."""
        marker = self.folder / "airflow" / "migrated"
        release = version("apache-airflow-core")
        if marker.exists() and marker.read_text() == f"{release} {database.schema_revision()}":
            return
        self.options.report("Preparing Airflow's database ...")
        done = subprocess.run(
            [*self._airflow(), "db", "migrate"], env=self.environment, capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise StackError(f"Airflow's database could not be prepared:\n{(done.stdout + done.stderr)[-3000:]}")
        marker.write_text(f"{release} {database.schema_revision()}")

    def _is_parsed(self, began: datetime) -> bool:
        try:
            for file, trace in self.rest.import_errors_since(began).items():
                if Path(file).stem == MAIN_DAG:
                    raise StackError(f"{file} cannot be read:\n{trace}")
            return self.rest.parsed_since(MAIN_DAG, began)
        except httpx.TransportError:
            return False

    def _wait(self, ready: Callable[[], bool], seconds: float, what: str, every: float = 0.25) -> None:
        deadline = time.monotonic() + seconds
        while not ready():
            self.check()
            if time.monotonic() > deadline:
                raise StackError(f"{what} after {seconds:.0f} s. Look into {self.programs.logs}.")
            time.sleep(every)
