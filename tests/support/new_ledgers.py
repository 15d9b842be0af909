"""Empty ledgers in SQLite files, at the schema of this version. The migrations run once a process."""

from __future__ import annotations

import tempfile
from functools import cache
from pathlib import Path

from sqlalchemy import URL

from aem_guides.ledger.database import open_engine


@cache
def _empty_ledger() -> bytes:
    with tempfile.TemporaryDirectory(prefix="aem-guides-ledger-") as folder:
        file = Path(folder) / "ledger.db"
        open_engine(URL.create("sqlite", database=str(file))).dispose()
        return file.read_bytes()


def new_ledger(file: Path) -> URL:
    """A new file with an empty ledger."""
    file.write_bytes(_empty_ledger())
    return URL.create("sqlite", database=str(file))
