"""The settings of a stack: its secrets, its port, and the environment of its Airflow."""

from __future__ import annotations

import json
import os
import secrets
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from cryptography.fernet import Fernet

from local.problems import StackError
from local.processes import free_port, is_free

ROOT = Path(__file__).resolve().parents[2]
USERNAME = "admin"
EMULATOR_USER = "admin"
DEFAULT_API_PORT = 8080
INSTANCE_CONNECTION = "AIRFLOW_CONN_AEM_GUIDES_DEFAULT"
LEDGER_CONNECTION = "AIRFLOW_CONN_AEM_GUIDES_LEDGER"
ARCHIVE_URI = "AIRFLOW__AEM_GUIDES__ARCHIVE_URI"
API_PORT = "AIRFLOW__API__PORT"
_LOOPBACK = "127.0.0.1,localhost,::1"


@dataclass(frozen=True)
class Secrets:
    """Passwords and keys of one stack. They are created once and kept, because data in Airflow's database is encrypted
    with them."""

    password: str
    database_password: str
    emulator_password: str
    jwt_secret: str
    fernet_key: str


def kept_secrets(folder: Path) -> Secrets:
    """The secrets in the folder, created at the first call. Raises StackError if they cannot be read."""
    file = folder / "secrets.json"
    if not file.exists():
        made = Secrets(
            password=secrets.token_urlsafe(12),
            database_password=secrets.token_urlsafe(24),
            emulator_password=secrets.token_urlsafe(12),
            jwt_secret=secrets.token_urlsafe(64),
            fernet_key=Fernet.generate_key().decode(),
        )
        write_private(file, json.dumps(vars(made)))
        return made
    try:
        return Secrets(**json.loads(file.read_text()))
    except (ValueError, TypeError) as error:
        raise StackError(f"{file} is damaged. `make clean` starts anew, without what {folder} holds.") from error


def write_private(file: Path, text: str) -> None:
    """Write a file that only its owner can read. It appears completely or not at all."""
    beside = file.with_name(f"{file.name}.new")
    beside.unlink(missing_ok=True)
    handle = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "w") as target:
        target.write(text)
    beside.replace(file)


def choose_api_port(given: Mapping[str, str], report: Callable[[str], None]) -> int:
    """The port of Airflow's API: the requested one, else the usual one, else any free one.

    Raises StackError if the requested port is invalid or taken.
    """
    wanted = given.get(API_PORT)
    if wanted:
        if not (wanted.isascii() and wanted.isdigit() and 0 < int(wanted) < 65536):
            raise StackError(f"{API_PORT}: {wanted!r} is not a port. Give a number from 1 to 65535.")
        if not is_free(int(wanted)):
            raise StackError(f"{API_PORT}: port {wanted} is taken. Choose another, or end what holds it.")
        return int(wanted)
    if is_free(DEFAULT_API_PORT):
        return DEFAULT_API_PORT
    port = free_port()
    report(f"Port {DEFAULT_API_PORT} is taken, so Airflow listens on port {port}. Set {API_PORT} to choose another.")
    return port


def kept_port(file: Path) -> int:
    """The port that an earlier stack wrote into the file, if it is free; else 0, for any port.

    The emulator keeps its port, because links of earlier runs lead to it, and the ledger knows it as one instance.
    """
    written = file.read_text().strip() if file.exists() else ""
    port = int(written) if written.isascii() and written.isdigit() else 0
    return port if 0 < port < 65536 and is_free(port) else 0


def emulator_connection(url: str, password: str) -> str:
    """The Airflow connection to the emulator, as JSON."""
    return json.dumps({"conn_type": "aem_guides", "host": url, "login": EMULATOR_USER, "password": password})


def airflow_environment(
    given: Mapping[str, str],
    folder: Path,
    *,
    dags_folder: Path,
    port: int,
    kept: Secrets,
    airflow_database: str,
    ledger_database: str,
) -> dict[str, str]:
    """The environment of every Airflow process, on top of the given one.

    Settings that a user may choose (the instance, the ledger, the archive) are kept. All others are ours.
    """
    home = folder / "airflow"
    address = f"http://127.0.0.1:{port}"
    chosen = {
        ARCHIVE_URI: f"file://{folder / 'archive'}",
        LEDGER_CONNECTION: ledger_database,
    }
    return {
        **given,
        **{name: given.get(name) or default for name, default in chosen.items()},
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__DAGS_FOLDER": str(dags_folder),
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(ROOT / "plugins"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
        "AIRFLOW__CORE__PARALLELISM": "8",
        "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
        "AIRFLOW__CORE__FERNET_KEY": kept.fernet_key,
        "AIRFLOW__CORE__TEST_CONNECTION": "Enabled",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": f"{USERNAME}:admin",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(home / "passwords.json"),
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{address}/execution/",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": airflow_database,
        "AIRFLOW__DATABASE__LOAD_DEFAULT_CONNECTIONS": "False",
        "AIRFLOW__API__HOST": "127.0.0.1",
        API_PORT: str(port),
        "AIRFLOW__API__BASE_URL": address,
        "AIRFLOW__API_AUTH__JWT_SECRET": kept.jwt_secret,
        "AIRFLOW__LOGGING__WORKER_LOG_SERVER_PORT": str(free_port()),
        "AIRFLOW__LOGGING__TRIGGER_LOG_SERVER_PORT": str(free_port()),
        "AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL": "5",
        "AIRFLOW__SCHEDULER__ENABLE_HEALTH_CHECK": "False",
        "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{given.get('PATH', os.defpath)}",
        **_without_proxy(given),
    }


def _without_proxy(given: Mapping[str, str]) -> dict[str, str]:
    """Exempt this machine from proxies: tasks reach the API server, and hooks the emulator, directly."""
    kept = given.get("no_proxy") or given.get("NO_PROXY") or ""
    exempt = f"{kept},{_LOOPBACK}" if kept else _LOOPBACK
    return {"no_proxy": exempt, "NO_PROXY": exempt}
