"""Databases for tests of the ledger: SQLite files, and a real PostgreSQL."""

from __future__ import annotations

import contextlib
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

import psycopg2
from sqlalchemy import URL, make_url

from local.database import start_database


@contextlib.contextmanager
def postgresql() -> Iterator[URL]:
    """A separate PostgreSQL server. Yields the URL of its database for the ledger."""
    # The server runs as another user, who must be able to reach the folder.
    with tempfile.TemporaryDirectory(prefix="aem-guides-ledger-") as folder:
        Path(folder).chmod(0o755)
        database = start_database(Path(folder) / "postgres", "only-for-tests")
        try:
            yield make_url(database.uri("ledger"))
        finally:
            database.stop()


def fresh_database(server: URL) -> URL:
    """A new, empty database on the server."""
    name = f"ledger_{uuid.uuid4().hex[:12]}"
    connection = psycopg2.connect(
        host=server.query["host"], user=server.username, password=server.password, dbname="ledger"
    )
    connection.autocommit = True
    with connection.cursor() as cursor:
        cursor.execute(f'CREATE DATABASE "{name}"')
    connection.close()
    return server.set(database=name)
