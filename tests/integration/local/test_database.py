"""The database of a stack: its start, its logins, its end."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psycopg2
import pytest

from local import __main__ as launcher
from local.database import Database, remove_leftovers, start_database
from local.problems import StackError
from local.processes import has_ended

PASSWORD = "database-password"
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path(launcher.__file__).parents[1])}


@pytest.fixture(scope="module")
def database_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("database") / "postgres"
    start_database(folder, PASSWORD).stop()
    return folder


@pytest.fixture
def database(database_folder: Path) -> Iterator[Database]:
    started = start_database(database_folder, PASSWORD)
    yield started
    started.stop()


def query(database: Database, password: str, name: str, text: str) -> object:
    connection = psycopg2.connect(host=database.socket_folder, user="postgres", password=password, dbname=name)
    try:
        with connection.cursor() as cursor:
            cursor.execute(text)
            return cursor.fetchone()
    finally:
        connection.close()


def test_the_database_accepts_only_its_password(database: Database) -> None:
    assert query(database, PASSWORD, "ledger", "SELECT 1") == (1,)
    with pytest.raises(psycopg2.OperationalError, match="password authentication failed"):
        query(database, "wrong", "ledger", "SELECT 1")


def test_the_database_listens_on_no_network_address(database: Database) -> None:
    assert query(database, PASSWORD, "airflow", "SHOW listen_addresses") == ("",)


def test_a_database_without_airflows_tables_has_no_revision_and_one_with_them_has_theirs(database: Database) -> None:
    assert database.schema_revision() is None
    connection = psycopg2.connect(host=database.socket_folder, user="postgres", password=PASSWORD, dbname="airflow")
    with connection.cursor() as cursor:
        cursor.execute("CREATE TABLE alembic_version (version_num text)")
        cursor.execute("INSERT INTO alembic_version VALUES ('abc123')")
    connection.commit()
    assert database.schema_revision() == "abc123"
    with connection.cursor() as cursor:
        cursor.execute("DROP TABLE alembic_version")
    connection.commit()
    connection.close()


def test_a_stopped_database_has_no_process_left(database_folder: Path) -> None:
    database = start_database(database_folder, PASSWORD)
    pid = database.pid
    database.check()
    database.stop()
    assert has_ended(pid)
    with pytest.raises(StackError, match="PostgreSQL has ended"):
        database.check()


def test_a_database_that_a_killed_launcher_left_running_is_taken_over_and_stopped(database_folder: Path) -> None:
    code = (
        "import os, sys; from pathlib import Path; from local.database import start_database;"
        "print(start_database(Path(sys.argv[1]), sys.argv[2]).pid, flush=True); os._exit(9)"
    )
    killed = subprocess.run(
        [sys.executable, "-c", code, str(database_folder), PASSWORD],
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert killed.returncode == 9, killed.stderr
    left = int(killed.stdout)
    database = start_database(database_folder, PASSWORD)
    assert database.pid == left
    database.stop()
    assert has_ended(left)


@pytest.mark.parametrize("name", ["a b é 'c'", "long" * 30])
def test_the_database_runs_in_a_folder_of_any_name_and_length(tmp_path: Path, name: str) -> None:
    started = start_database(tmp_path / name / "postgres", PASSWORD)
    try:
        assert query(started, PASSWORD, "ledger", "SELECT 1") == (1,)
    finally:
        started.stop()


def test_a_database_that_does_not_start_is_reported_with_the_end_of_its_log(tmp_path: Path) -> None:
    folder = tmp_path / "postgres"
    start_database(folder, PASSWORD).stop()
    with (folder / "postgresql.conf").open("a") as settings:
        settings.write("max_connections = none\n")
    with pytest.raises(StackError, match=r"PostgreSQL does not start: (.|\n)*invalid value for parameter"):
        start_database(folder, PASSWORD)


@pytest.mark.parametrize("pid", [os.getpid(), 2**22 - 1], ids=["of another program", "of nobody"])
def test_a_pid_file_of_a_server_that_is_gone_does_not_mislead(database_folder: Path, pid: int) -> None:
    file = database_folder / "postmaster.pid"
    file.write_text(f"{pid}\n{database_folder}\n1700000000\n5432\n{database_folder}\n\n  1  2\nready   \n")
    remove_leftovers(database_folder)
    assert not file.exists()
    start_database(database_folder, PASSWORD).stop()


def test_a_password_that_the_database_does_not_know_is_reported_with_the_remedy(database_folder: Path) -> None:
    with pytest.raises(StackError, match=r"refuses the password that is stored beside it(.|\n)*make clean"):
        start_database(database_folder, "another")
    assert not (database_folder / "postmaster.pid").exists()
