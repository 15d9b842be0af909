"""Open the ledger: the database behind connection `aem_guides_ledger`, at the schema of this version.

Without that connection it is a SQLite file below AIRFLOW_HOME, which suits one machine only.

::

    LedgerError
    ├── LedgerUnavailableError   cannot be reached, is locked, is full
    │   └── LedgerSlowError      a question takes longer than a reader waits
    ├── LedgerRefusedError       does not take a value, and never will
    └── LedgerVersionError       was made by a newer version of this package
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from types import TracebackType
from typing import Self

from airflow.sdk import BaseHook
from airflow.sdk.definitions.connection import Connection as AirflowConnection
from airflow.sdk.exceptions import AirflowNotFoundException
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import (
    URL,
    Column,
    Connection,
    Engine,
    MetaData,
    String,
    Table,
    create_engine,
    event,
    inspect,
    select,
    text,
)
from sqlalchemy.exc import DataError, DBAPIError, SQLAlchemyError, StatementError
from sqlalchemy.pool import NullPool

from aem_guides.hooks.bodies import surroundings
from aem_guides.ledger.tables import VERSION_TABLE
from aem_guides.protocol.errors import AemGuidesError, ConfigurationError, Retry
from aem_guides.protocol.json import clean_text

LEDGER_CONNECTION = "aem_guides_ledger"
_MIGRATIONS = Path(__file__).parent / "migrations"
_CONNECT_SECONDS = 5
LOCK_SECONDS = 15
_MIGRATION_LOCK = 4_870_211_093
_GAVE_UP = ("interrupted", "statement timeout")
_STEPS_BETWEEN_LOOKS = 100_000
_DRIVERS = {"postgres": "postgresql+psycopg2", "postgresql": "postgresql+psycopg2", "sqlite": "sqlite"}


class LedgerError(AemGuidesError):
    """Base of the errors of the ledger."""


class LedgerUnavailableError(LedgerError):
    """The ledger cannot be reached, is locked, or is full.

    `for_all`: the same without what the database says, which may name its host and user; None where it does not.
    """

    for_all: str | None = None


class LedgerSlowError(LedgerUnavailableError):
    """A query of the ledger takes longer than its reader waits."""


class LedgerRefusedError(LedgerError):
    """The ledger refuses a value. A later attempt fails too."""

    retry = Retry.POINTLESS


class LedgerVersionError(LedgerError):
    """The ledger's schema is of a newer version of this package."""

    retry = Retry.POINTLESS


def ledger_url() -> URL:
    """The address of the ledger. Raises ConfigurationError for a connection that is not a database."""
    try:
        connection = BaseHook.get_connection(LEDGER_CONNECTION)
    except AirflowNotFoundException:
        home = Path(os.path.expandvars(os.environ.get("AIRFLOW_HOME") or "~/airflow")).expanduser()
        return URL.create("sqlite", database=str(home / "aem_guides" / "ledger.db"))
    return _url_of(connection)


def _url_of(connection: AirflowConnection) -> URL:
    kind = (connection.conn_type or "").replace("_", "+")
    driver = _DRIVERS.get(kind, kind)
    if driver.partition("+")[0] not in ("postgresql", "sqlite"):
        raise ConfigurationError(
            f"Connection {LEDGER_CONNECTION}: type {connection.conn_type!r} is not a database that the ledger can use. "
            "Give a PostgreSQL or SQLite connection."
        )
    if driver.startswith("sqlite"):
        path = f"{connection.host or ''}/{connection.schema or ''}".rstrip("/")
        return URL.create(driver, database=path or None)
    return URL.create(
        driver,
        username=connection.login,
        password=connection.password,
        host=connection.host or None,
        port=connection.port,
        database=connection.schema,
        query={name: str(value) for name, value in connection.extra_dejson.items()},
    )


_REMEDY = "Check that its database is running, not locked, and has free space."


@contextlib.contextmanager
def ledger_errors(what: str) -> Iterator[None]:
    """Turn the errors of the database into errors that say what to do. They never show its password."""
    try:
        yield
    except AemGuidesError:
        raise
    except SQLAlchemyError as error:
        cause = getattr(error, "orig", None)
        if any(word in str(cause) for word in _GAVE_UP):
            raise LedgerSlowError(f"{what}: the ledger takes longer than is waited for.") from None
        said = " ".join(str(cause or type(error).__name__).split())[:300]
        if isinstance(error, DataError) or (isinstance(error, StatementError) and not isinstance(error, DBAPIError)):
            raise LedgerRefusedError(f"{what}: the ledger refused it: {said}.") from None
        whose = f"{what}: the ledger (connection {LEDGER_CONNECTION}) cannot be used"
        unavailable = LedgerUnavailableError(f"{whose}: {said}. {_REMEDY}")
        if not isinstance(cause, sqlite3.Error):
            unavailable.for_all = f"{whose}. {_REMEDY}"
        raise unavailable from None
    except (ValueError, TypeError, OverflowError) as error:
        raise LedgerRefusedError(f"{what}: the ledger refused it: {clean_text(str(error), 300)}.") from None


def make_engine(url: URL, lock_seconds: int = LOCK_SECONDS, read_seconds: int | None = None) -> Engine:
    """An engine without kept connections, because tasks are short and run in many processes.

    With `read_seconds` it only reads, limits each query to that time, and takes no write lock of SQLite.
    """
    if url.get_backend_name() == "sqlite":
        if url.database:
            Path(url.database).parent.mkdir(parents=True, exist_ok=True)
        engine = create_engine(url, poolclass=NullPool, connect_args={"timeout": lock_seconds})
        _begin_sqlite_transactions(engine, read_seconds)
        return engine
    options = f"-c lock_timeout={lock_seconds}s -c statement_timeout={read_seconds or 120}s"
    if read_seconds is not None:
        options += " -c default_transaction_read_only=on"
    return create_engine(
        url,
        poolclass=NullPool,
        connect_args={"connect_timeout": _CONNECT_SECONDS, "options": options},
        **({"executemany_mode": "values_plus_batch"} if url.get_driver_name() == "psycopg2" else {}),
    )


def _begin_sqlite_transactions(engine: Engine, read_seconds: int | None) -> None:
    """Take SQLite's write lock when a transaction begins, so that no other writer comes between reading and writing.

    A reader takes no lock, and is interrupted when its time is over.
    """

    @event.listens_for(engine, "connect")
    def _leave_beginning_to_us(connection: object, _record: object) -> None:
        connection.isolation_level = None  # type: ignore[attr-defined]  # sqlite3's own attribute
        if read_seconds is not None:
            until = surroundings().elapsed() + read_seconds
            connection.set_progress_handler(  # type: ignore[attr-defined]  # sqlite3's own method
                lambda: surroundings().elapsed() > until, _STEPS_BETWEEN_LOOKS
            )

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE" if read_seconds is None else "BEGIN")


def open_engine(url: URL | None = None, *, lock_seconds: int = LOCK_SECONDS) -> Engine:
    """The ledger's engine, with an up-to-date schema. Several processes may do this at once.

    `lock_seconds` is how long a statement waits for another writer. Raises LedgerUnavailableError, LedgerVersionError,
    ConfigurationError.
    """
    with ledger_errors("Opening"):
        engine = make_engine(url or ledger_url(), lock_seconds)
        try:
            _migrate(engine)
        except BaseException:
            engine.dispose()
            raise
    return engine


def open_reader(url: URL | None = None, *, lock_seconds: int = 3, read_seconds: int = 5) -> Engine:
    """An engine that reads the ledger. It writes only to bring an older schema up to date.

    Raises what `open_engine` raises, and LedgerSlowError if a query takes longer than `read_seconds`.
    """
    url = url or ledger_url()
    with ledger_errors("Opening"):
        engine = make_engine(url, lock_seconds, read_seconds)
        with engine.begin() as connection:
            current = _is_current(connection)
    if not current:
        open_engine(url, lock_seconds=lock_seconds).dispose()
    return engine


class OpenLedger:
    """An open ledger. Use it as a context manager, which closes it at the end."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self._engine.dispose()


def _migrate(engine: Engine) -> None:
    with engine.begin() as connection:
        if _is_current(connection):
            return
        if engine.dialect.name == "postgresql":
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _MIGRATION_LOCK})
        config = Config()
        config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
        config.attributes["connection"] = connection
        try:
            command.upgrade(config, "head")
        except CommandError as error:
            raise LedgerVersionError(
                f"The ledger (connection {LEDGER_CONNECTION}) has a schema that this version does not know ({error}). "
                "Install the version of airflow-provider-aem-guides that wrote it, or a newer one, on every machine."
            ) from None


def _is_current(connection: Connection) -> bool:
    if not inspect(connection).has_table(VERSION_TABLE):
        return False
    version = Table(VERSION_TABLE, MetaData(), Column("version_num", String))
    return connection.execute(select(version)).scalar() == _head(_MIGRATIONS)


@lru_cache(maxsize=1)
def _head(migrations: Path) -> str | None:
    """The newest version that this code knows. To find it, all migrations are loaded."""
    return ScriptDirectory(str(migrations)).get_current_head()
