"""One stack a folder, its state told to others, its end complete; without starting Airflow."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
import sys
from collections import namedtuple
from collections.abc import Iterator
from pathlib import Path

import psycopg2
import pytest

from local import __main__ as launcher
from local.database import Database, remove_leftovers, start_database
from local.interruption import Interruption
from local.problems import StackError
from local.processes import FolderLock, has_ended
from local.settings import INSTANCE_CONNECTION
from local.stack import Stack, StackOptions

PASSWORD = "database-password"
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path(launcher.__file__).parents[1])}
Usage = namedtuple("Usage", "total used free")


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[Stack]:
    made = Stack(StackOptions(folder=tmp_path, tell=pytest.fail))
    yield made
    made.stop()


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


def test_a_second_stack_in_the_same_folder_is_refused_and_the_first_goes_on(stack: Stack, tmp_path: Path) -> None:
    stack._claim_folder()
    stack.write_up_file()
    second = Stack(StackOptions(folder=tmp_path))
    with pytest.raises(StackError, match=r"Another stack runs in .*: end it first"):
        second._claim_folder()
    assert not second.stop()
    assert (tmp_path / "up.json").exists()


def test_a_folder_is_free_again_once_its_stack_has_ended_even_without_a_word(tmp_path: Path) -> None:
    code = (
        "import os, sys; from pathlib import Path; from local.processes import FolderLock;"
        "taken = FolderLock(Path(sys.argv[1])).acquire(); os._exit(7 if taken else 1)"
    )
    file = tmp_path / "stack.lock"
    killed = subprocess.run([sys.executable, "-c", code, str(file)], env=ENVIRONMENT, check=False)
    assert killed.returncode == 7
    lock = FolderLock(file)
    assert lock.acquire()
    lock.release()
    assert not lock.held


def test_the_file_that_tells_where_the_stack_is_can_be_read_by_its_owner_only(stack: Stack) -> None:
    stack._claim_folder()
    stack.url, stack.password = "http://127.0.0.1:8123", "secret"
    file = stack.write_up_file()
    told = json.loads(file.read_text())
    assert told == {"url": stack.url, "username": "admin", "password": "secret", "pid": os.getpid()}
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_the_file_that_tells_where_the_stack_is_goes_with_it(stack: Stack) -> None:
    stack._claim_folder()
    file = stack.write_up_file()
    stack.stop()
    assert not file.exists()


def test_the_end_of_a_stack_tells_whether_anything_was_started(stack: Stack) -> None:
    stack._claim_folder()
    assert not stack.stop()
    stack._claim_folder()
    stack.programs.start("scheduler", [sys.executable, "-c", "import time; time.sleep(600)"], os.environ)
    assert stack.stop()


def test_the_file_that_a_killed_launcher_left_goes_at_the_next_start(stack: Stack, tmp_path: Path) -> None:
    (tmp_path / "up.json").write_text("{}")
    stack._claim_folder()
    assert not (tmp_path / "up.json").exists()


def test_a_full_disk_is_told_before_anything_is_started(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: Usage(10**9, 10**9, 5 * 1024**2))
    with pytest.raises(StackError, match=r"There are 5 MiB left on the disk of .* needs 500\. Make room"):
        stack.start()
    assert not stack.programs.running


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StackError, match=r"cannot be written: .*Not a directory"):
        Stack(StackOptions(folder=tmp_path / "file" / "state")).start()


def test_a_program_that_dies_while_it_is_awaited_is_told_at_once(stack: Stack) -> None:
    stack._claim_folder()
    stack.programs.start("scheduler", [sys.executable, "-c", "print('no table'); exit(1)"], os.environ)
    with pytest.raises(StackError, match=r"scheduler ended with status 1\.(.|\n)*no table"):
        stack._wait(lambda: False, 60, "never seen")


def test_what_does_not_come_in_time_is_told_with_the_place_of_the_logs(stack: Stack) -> None:
    with pytest.raises(StackError, match=r"Airflow is not healthy after 0 s\. Look into .*logs"):
        stack._wait(lambda: False, 0, "Airflow is not healthy")


def test_the_emulator_has_the_same_address_at_the_next_start(stack: Stack) -> None:
    first = stack._start_emulator(PASSWORD)
    stack.programs.stop(5.0)
    assert stack._start_emulator(PASSWORD) == first
    stack.programs.stop(5.0)


def test_up_works_with_the_instance_that_is_given_and_starts_no_emulator(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(INSTANCE_CONNECTION, "aem-guides://author")
    assert not launcher._options("up", Interruption()).emulator


@pytest.mark.parametrize("given", [None, ""])
def test_up_starts_the_emulator_where_no_instance_is_given(monkeypatch: pytest.MonkeyPatch, given: str | None) -> None:
    monkeypatch.delenv(INSTANCE_CONNECTION, raising=False)
    if given is not None:
        monkeypatch.setenv(INSTANCE_CONNECTION, given)
    assert launcher._options("up", Interruption()).emulator


def test_the_demo_runs_on_the_emulator_even_where_an_instance_is_given_and_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(INSTANCE_CONNECTION, "aem-guides://author")
    assert launcher._options("demo", Interruption()).emulator
    assert "The demo runs on the emulator." in capsys.readouterr().out


def test_a_command_that_is_none_is_told_with_the_ones_that_are(capsys: pytest.CaptureFixture[str]) -> None:
    assert launcher.main(["start"]) == 2
    assert capsys.readouterr().out == "Usage: python -m local demo|up\n"


def test_the_database_lets_in_who_has_its_password_and_nobody_else(database: Database) -> None:
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


def test_a_database_that_does_not_start_is_told_with_the_end_of_its_log(tmp_path: Path) -> None:
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


def test_a_password_that_the_database_does_not_know_is_told_with_the_remedy(database_folder: Path) -> None:
    with pytest.raises(StackError, match=r"lets nobody in with the password kept beside it(.|\n)*make clean"):
        start_database(database_folder, "another")
    assert not (database_folder / "postmaster.pid").exists()
