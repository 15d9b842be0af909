"""Ledgers on both databases."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import URL

from aem_guides.hooks import bodies
from aem_guides.ledger.database import open_engine
from aem_guides.ledger.store import Ledger
from tests.support.ledgers import fresh_database, postgresql
from tests.support.worlds import NOW


@pytest.fixture(autouse=True)
def _after_all_that_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Our clock is a day after the time of the tests' snapshots."""
    later = replace(bodies.REAL_SURROUNDINGS, now=lambda: NOW / 1000 + 86_400)
    monkeypatch.setattr(bodies, "REAL_SURROUNDINGS", later)


@pytest.fixture(scope="session")
def server() -> Iterator[URL]:
    """One PostgreSQL server for all tests of the ledger."""
    with postgresql() as url:
        yield url


@pytest.fixture(params=["sqlite", "postgresql"])
def address(request: pytest.FixtureRequest, tmp_path: Path) -> URL:
    """An empty database of either kind."""
    if request.param == "sqlite":
        return URL.create("sqlite", database=str(tmp_path / "ledger.db"))
    return fresh_database(request.getfixturevalue("server"))


@pytest.fixture
def ledger(address: URL) -> Iterator[Ledger]:
    """An empty ledger on either kind of database."""
    with Ledger(open_engine(address)) as opened:
        yield opened
