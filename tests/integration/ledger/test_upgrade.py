"""Upgrade the ledger: from nothing, from this version, from an earlier one, and with code that is older than the
ledger."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import URL, inspect, text

from aem_guides.ledger import database
from aem_guides.ledger.database import LedgerUnavailableError, LedgerVersionError, make_engine, open_engine
from aem_guides.ledger.recorder import record
from aem_guides.ledger.store import Ledger
from tests.support.children import run_forked, run_module
from tests.support.ledgers import fresh_database
from tests.support.worlds import INSTANCE, MINUTE, NOW, apply, job, note, snapshot

MIGRATIONS = Path(database.__file__).with_name("migrations")
NEXT = '''
"""What a later version may bring."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade():
    op.add_column("aem_guides_job", sa.Column("later", sa.String(20)))
    op.execute("UPDATE aem_guides_job SET later = state")
    {more}
'''
VIEWS = ("jobs_a_day", "folder_throughput", "failures", "starters", "open_findings")
Later = Callable[[str], None]


@pytest.fixture
def later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Later:
    """Turns the code into that of a later version, whose migration does one more step."""

    def install(more: str) -> None:
        migrations = tmp_path / "later"
        shutil.copytree(MIGRATIONS, migrations, dirs_exist_ok=True)
        (migrations / "versions" / "0006_later.py").write_text(NEXT.format(more=more))
        monkeypatch.setattr(database, "_MIGRATIONS", migrations)

    return install


def python(home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run Python with a separate Airflow home."""
    environment = os.environ | {"AIRFLOW_HOME": str(home)}
    return subprocess.run([sys.executable, *arguments], env=environment, capture_output=True, text=True, timeout=300)


def upgrade(address: URL, folder: Path) -> subprocess.CompletedProcess[str]:
    """Upgrade as `docs/operate.md` describes."""
    connection = address.render_as_string(hide_password=False)
    return run_forked(folder, run_module, "aem_guides.ledger", {"AIRFLOW_CONN_AEM_GUIDES_LEDGER": connection})


def test_the_command_makes_the_ledger_and_leaves_one_of_this_version_as_it_is(address: URL, tmp_path: Path) -> None:
    made = upgrade(address, tmp_path)
    assert (made.returncode, "The ledger is ready: " in made.stdout) == (0, True), made.stderr
    with Ledger(open_engine(address)) as ledger:
        apply(ledger, snapshot(job("a")))
    again = upgrade(address, tmp_path)
    assert (again.returncode, "Running upgrade" in again.stderr + again.stdout) == (0, False), again.stderr
    with Ledger(open_engine(address)) as ledger:
        assert ledger.find(INSTANCE, "a") is not None
        assert apply(ledger, snapshot(job("a"))) == set()


def test_the_command_takes_the_connection_that_is_kept_in_the_database_of_airflow(tmp_path: Path) -> None:
    kept = tmp_path / "elsewhere" / "ledger.db"
    python(tmp_path, "-m", "airflow", "db", "migrate").check_returncode()
    added = ("connections", "add", "aem_guides_ledger", "--conn-uri", f"sqlite:///{kept}")
    python(tmp_path, "-m", "airflow", *added).check_returncode()
    made = python(tmp_path, "-m", "aem_guides.ledger")
    assert (made.returncode, "The ledger is ready: " in made.stdout) == (0, True), made.stderr
    assert kept.is_file()


def test_a_ledger_of_an_earlier_version_is_upgraded_with_all_that_it_holds(address: URL, later: Later) -> None:
    with Ledger(open_engine(address)) as ledger:
        apply(ledger, snapshot(job("a"), job("b", "FAILED")))
    later("pass")
    with Ledger(open_engine(address)) as ledger:
        with ledger.begin("test") as connection:
            rows = connection.execute(text("SELECT processing_id, later FROM aem_guides_job ORDER BY 1")).all()
        assert [tuple(row) for row in rows] == [("a", "SUCCESS"), ("b", "FAILED")]
        assert apply(ledger, snapshot(job("a"), job("b", "FAILED"))) == set()


def test_the_counts_of_an_earlier_ledger_grow_and_views_and_their_readers_stay(
    server: URL, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = fresh_database(server)
    first = tmp_path / "first"
    shutil.copytree(MIGRATIONS, first, ignore=shutil.ignore_patterns("0002_*", "0003_*", "0004_*", "0005_*"))
    with monkeypatch.context() as earlier:
        earlier.setattr(database, "_MIGRATIONS", first)
        with Ledger(open_engine(address)) as ledger:
            apply(ledger, snapshot(job("a")))
            with ledger.begin("test") as connection:
                connection.execute(text('CREATE ROLE "a reader"'))
                connection.execute(text('GRANT SELECT ON aem_guides_jobs_a_day TO "a reader"'))
                connection.execute(text("GRANT SELECT ON aem_guides_failures TO PUBLIC"))
    try:
        with Ledger(open_engine(address)) as ledger:
            grown = job("b", total_files=3_000_000_000)
            assert apply(ledger, snapshot(job("a"), grown, at=NOW + MINUTE)) == {"new_external"}
            kept = ledger.find(INSTANCE, "b")
            assert kept is not None
            assert kept.total_files == 3_000_000_000
            with ledger.begin("test") as connection:
                shown = connection.execute(text("SELECT sum(jobs), sum(assets) FROM aem_guides_jobs_a_day")).one()
                may = "SELECT has_table_privilege('a reader', 'aem_guides_{}', 'SELECT')"
                named = {name: connection.execute(text(may.format(name))).scalar() for name in VIEWS}
            assert tuple(shown) == (2, 20)
            assert named == dict.fromkeys(VIEWS, False) | {"jobs_a_day": True, "failures": True}
    finally:
        with make_engine(address).begin() as connection:
            connection.execute(text('DROP OWNED BY "a reader"'))
            connection.execute(text('DROP ROLE "a reader"'))


def test_an_upgrade_that_fails_leaves_the_ledger_as_it_was(address: URL, later: Later) -> None:
    with Ledger(open_engine(address)) as ledger:
        apply(ledger, snapshot(job("a")))
        later('op.execute("SELECT no_such_thing FROM aem_guides_job")')
        with pytest.raises(LedgerUnavailableError, match="no_such_thing"):
            open_engine(address)
        engine = make_engine(address)
        assert "later" not in {column["name"] for column in inspect(engine).get_columns("aem_guides_job")}
        engine.dispose()
        assert ledger.find(INSTANCE, "a") is not None
    later("pass")
    open_engine(address).dispose()


def test_older_code_says_so_leaves_a_newer_ledger_alone_and_its_notes_wait(
    address: URL, later: Later, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = tmp_path / "archive"
    monkeypatch.setenv("AIRFLOW__AEM_GUIDES__ARCHIVE_URI", f"file://{archive}")
    monkeypatch.setenv("AIRFLOW_CONN_AEM_GUIDES_LEDGER", address.render_as_string(hide_password=False))
    later("pass")
    open_engine(address).dispose()
    monkeypatch.setattr(database, "_MIGRATIONS", MIGRATIONS)
    with pytest.raises(LedgerVersionError, match="has a schema that this version does not know"):
        open_engine(address)
    reported = upgrade(address, tmp_path)
    assert reported.returncode == 1
    assert "Install the version of airflow-provider-aem-guides that wrote it, or a newer one" in reported.stderr
    assert "Traceback" not in reported.stderr
    record([note("a")])
    assert len(list((archive / "ledger-notes").glob("*.json"))) == 1
