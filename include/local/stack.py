"""The stack as a whole: what it is made of, where its state lies, how it starts and ends."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import fasteners
from cryptography.fernet import Fernet

from local.database import Database, start_database
from local.problems import StackError
from local.processes import Programs, free_port, is_free
from local.rest import AirflowRest

ROOT = Path(__file__).resolve().parents[2]
USERNAME = "admin"
DEFAULT_API_PORT = 8080
MAIN_DAG = "aem_guides_process_assets"
CONTENT_MOUNT = "/content/dam/aurora"
_INSTANCE = "AIRFLOW_CONN_AEM_GUIDES_DEFAULT"
_LEAST_FREE_BYTES = 500 * 1024 * 1024
_COMPONENTS = {
    "api-server": ("api-server", "--workers", "1"),
    "scheduler": ("scheduler",),
    "dag-processor": ("dag-processor",),
    "triggerer": ("triggerer",),
}


@dataclass
class StackOptions:
    """How to start a stack. `environment` is added to that of every program; `contents` are mounted in the emulator."""

    folder: Path = ROOT / ".local"
    emulator: bool = True
    emulator_rate: float = 5.0
    emulator_settings: dict[str, object] = field(default_factory=dict)
    contents: dict[str, Path] = field(default_factory=lambda: {CONTENT_MOUNT: ROOT / "include" / "content"})
    environment: dict[str, str] = field(default_factory=dict)
    dags_folder: Path = ROOT / "dags"
    tell: Callable[[str], None] = print
    grace_seconds: float = 10.0


class Stack:
    """PostgreSQL, emulator and Airflow. Use it as a context manager: what it started ends with it."""

    def __init__(self, options: StackOptions | None = None) -> None:
        self.options = options or StackOptions()
        self.folder = self.options.folder
        self.programs = Programs(self.folder)
        self.emulator_url: str | None = None
        self.environment: dict[str, str] = {}
        self.rest: AirflowRest
        self.url = ""
        self.password = ""
        self._database: Database | None = None
        self._lock = fasteners.InterProcessLock(self.folder / "stack.lock")

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
        self._claim_folder()
        kept = self._kept_secrets()
        self.password = kept["password"]
        self._database = start_database(self.folder / "postgres", kept["database_password"])
        port = self._api_port()
        self.url = f"http://127.0.0.1:{port}"
        if self._uses_emulator():
            self._start_emulator(kept["emulator_password"])
        self.environment = self._airflow_environment(port, kept)
        self._migrate()
        for name, arguments in _COMPONENTS.items():
            self.programs.start(name, [*self._airflow(), *arguments], self.environment)
        self.rest = AirflowRest(self.url, USERNAME, self.password)
        self._wait(self.rest.healthy, 180, "Airflow is not healthy")
        self._wait(lambda: self.rest.has_dag(MAIN_DAG), 120, f"DAG {MAIN_DAG} is not there")

    def stop(self) -> None:
        """End everything that was started, the database last; nothing where the folder is another stack's."""
        if not self._lock.acquired:
            return
        with contextlib.suppress(AttributeError):
            self.rest.close()
        self.programs.stop(self.options.grace_seconds)
        if self._database is not None:
            self._database.stop()
            self._database = None
        (self.folder / "up.json").unlink(missing_ok=True)
        self._lock.release()

    def write_up_file(self) -> Path:
        """Tell other programs where the stack is; readable by its owner only."""
        file = self.folder / "up.json"
        facts = {"url": self.url, "username": USERNAME, "password": self.password, "pid": os.getpid()}
        if self.emulator_url:
            facts["emulator"] = self.emulator_url
        handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(handle, "w") as target:
            json.dump(facts, target)
        return file

    def archive_path(self) -> str:
        return self.environment["AIRFLOW__AEM_GUIDES__ARCHIVE_URI"]

    def _claim_folder(self) -> None:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            free = shutil.disk_usage(self.folder).free
            if free < _LEAST_FREE_BYTES:
                raise StackError(
                    f"There are {free // 1024**2} MiB left on the disk of {self.folder}, and the stack needs "
                    f"{_LEAST_FREE_BYTES // 1024**2}. Make room, then try again."
                )
            claimed = self._lock.acquire(blocking=False)
        except OSError as error:
            raise StackError(f"{self.folder} cannot be written: {error}. Give it to your user.") from error
        if not claimed:
            raise StackError(f"Another stack runs in {self.folder}: end it first (its `make up` or `make demo`).")
        if ended := self.programs.end_leftovers():
            self.options.tell(f"Ended what an earlier stack left running: {', '.join(ended)}")
        (self.folder / "up.json").unlink(missing_ok=True)

    def _kept_secrets(self) -> dict[str, str]:
        """Passwords and keys of this stack, made once."""
        file = self.folder / "secrets.json"
        if file.exists():
            return dict(json.loads(file.read_text()))
        kept = {
            "password": secrets.token_urlsafe(12),
            "database_password": secrets.token_urlsafe(24),
            "emulator_password": secrets.token_urlsafe(12),
            "jwt_secret": secrets.token_urlsafe(64),
            "fernet_key": Fernet.generate_key().decode(),
        }
        handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "w") as target:
            json.dump(kept, target)
        return kept

    def _api_port(self) -> int:
        wanted = self.options.environment.get("AIRFLOW__API__PORT") or os.environ.get("AIRFLOW__API__PORT")
        if wanted:
            if not wanted.isdigit() or not 0 < int(wanted) < 65536:
                raise StackError(f"AIRFLOW__API__PORT: {wanted!r} is not a port. Give a number from 1 to 65535.")
            if not is_free(int(wanted)):
                raise StackError(f"AIRFLOW__API__PORT: port {wanted} is taken. Choose another, or end what holds it.")
            return int(wanted)
        if is_free(DEFAULT_API_PORT):
            return DEFAULT_API_PORT
        port = free_port()
        self.options.tell(f"Port {DEFAULT_API_PORT} is taken; Airflow listens on {port}.")
        return port

    def _uses_emulator(self) -> bool:
        return self.options.emulator and _INSTANCE not in {**os.environ, **self.options.environment}

    def _start_emulator(self, password: str) -> None:
        port_file = self.folder / "emulator.port"
        port_file.unlink(missing_ok=True)
        command = [sys.executable, "-m", "emulator", "--port", "0", "--port-file", str(port_file)]
        command += ["--data", str(self.folder / "emulator"), "--rate", str(self.options.emulator_rate)]
        command += ["--settings", json.dumps(self.options.emulator_settings)]
        for where, content in self.options.contents.items():
            command += ["--content", f"{content}:{where}"]
        environment = {**os.environ, "PYTHONPATH": str(ROOT / "include"), "EMULATOR_PASSWORD": password}
        program = self.programs.start("emulator", command, environment)
        deadline = time.monotonic() + 30
        while not port_file.exists():
            program.check()
            if time.monotonic() > deadline:
                raise StackError(f"The emulator does not answer. The end of its log:\n{program.last_lines()}")
            time.sleep(0.05)
        self.emulator_url = f"http://127.0.0.1:{port_file.read_text()}"

    def _airflow_environment(self, port: int, kept: Mapping[str, str]) -> dict[str, str]:
        assert self._database is not None  # noqa: S101  # start() has just made it
        home = self.folder / "airflow"
        home.mkdir(exist_ok=True)
        passwords = home / "passwords.json"
        passwords.write_text(json.dumps({USERNAME: kept["password"]}))
        passwords.chmod(0o600)
        environment = {
            **os.environ,
            "AIRFLOW_HOME": str(home),
            "AIRFLOW__CORE__DAGS_FOLDER": str(self.options.dags_folder),
            "AIRFLOW__CORE__PLUGINS_FOLDER": str(ROOT / "plugins"),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
            "AIRFLOW__CORE__PARALLELISM": "8",
            "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
            "AIRFLOW__CORE__FERNET_KEY": kept["fernet_key"],
            "AIRFLOW__CORE__TEST_CONNECTION": "Enabled",
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": f"{USERNAME}:admin",
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(passwords),
            "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"http://127.0.0.1:{port}/execution/",
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": self._database.uri("airflow"),
            "AIRFLOW__DATABASE__LOAD_DEFAULT_CONNECTIONS": "False",
            "AIRFLOW__API__HOST": "127.0.0.1",
            "AIRFLOW__API__PORT": str(port),
            "AIRFLOW__API__BASE_URL": f"http://127.0.0.1:{port}",
            "AIRFLOW__API_AUTH__JWT_SECRET": kept["jwt_secret"],
            "AIRFLOW__LOGGING__WORKER_LOG_SERVER_PORT": str(free_port()),
            "AIRFLOW__LOGGING__TRIGGER_LOG_SERVER_PORT": str(free_port()),
            "AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL": "5",
            "AIRFLOW__SCHEDULER__ENABLE_HEALTH_CHECK": "False",
            "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
            "AIRFLOW_CONN_AEM_GUIDES_LEDGER": self._database.uri("ledger"),
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}",
        }
        environment.setdefault("AIRFLOW__AEM_GUIDES__ARCHIVE_URI", f"file://{self.folder / 'archive'}")
        if self.emulator_url:
            environment[_INSTANCE] = json.dumps(
                {
                    "conn_type": "aem_guides",
                    "host": self.emulator_url,
                    "login": "admin",
                    "password": kept["emulator_password"],
                }
            )
        return {**environment, **self.options.environment}

    def _airflow(self) -> list[str]:
        return [sys.executable, "-m", "airflow"]

    def _migrate(self) -> None:
        """Bring the schema up to date; known to be so already after the first time with one version."""
        from importlib.metadata import version

        marker = self.folder / "airflow" / "migrated"
        wanted = version("apache-airflow-core")
        if marker.exists() and marker.read_text() == wanted:
            return
        done = subprocess.run(
            [*self._airflow(), "db", "migrate"], env=self.environment, capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise StackError(f"Airflow's database could not be prepared:\n{(done.stdout + done.stderr)[-3000:]}")
        marker.write_text(wanted)

    def _wait(self, ready: Callable[[], bool], seconds: float, what: str) -> None:
        deadline = time.monotonic() + seconds
        while not ready():
            self.programs.check()
            if time.monotonic() > deadline:
                raise StackError(f"{what} after {seconds:.0f} s. Look into {self.programs.logs}.")
            time.sleep(0.25)
