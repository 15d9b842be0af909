"""How long the server takes for each page of the console, at 1,000 and at 1,000,000 jobs, on both databases.

Run it with `make bench`. It fails where a first page takes longer than 300 ms.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import URL, text

from aem_guides.ledger import database
from aem_guides.ledger.clock import now_ms
from aem_guides.ledger.database import open_engine
from aem_guides.ledger.store import Ledger
from tests.support.console import console
from tests.support.ledgers import fresh_database, postgresql
from tests.support.worlds import INSTANCE, MINUTE, apply, job, snapshot

SMALL, LARGE = 1_000, 1_000_000
PART = 50_000
ROUNDS = 7
MOST_MS = 300.0
DAYS = 730
"""The jobs lie in the two years that the ledger keeps by default."""
PAGES = {
    "now": "",
    "jobs": "jobs",
    "jobs, the largest": "jobs?order=largest",
    "jobs, failed": "jobs?state=FAILED",
    "jobs, lost (none)": "jobs?state=LOST",
    "jobs, a common path": "jobs?path=/content/dam",
    "jobs, a rare path": "jobs?path=/content/dam/f77/",
    "jobs, an id": "jobs?name=old-77",
    "trends, 14 days": "trends",
    "findings": "findings",
    "a job": f"job?instance={INSTANCE}&name=old-77",
    "a job, what happened": f"events?instance={INSTANCE}&name=old-77",
}
_NUMBERS = {
    "postgresql": "SELECT generate_series(:first, :last) AS n",
    "sqlite": "WITH RECURSIVE numbers(n) AS (SELECT :first UNION ALL SELECT n + 1 FROM numbers WHERE n < :last) "
    "SELECT n FROM numbers",
}
_AT = {
    "postgresql": "now() - ((n + {more}) % :minutes) * interval '1 minute'",
    "sqlite": "strftime('%Y-%m-%d %H:%M:%f', 'now', '-' || ((n + {more}) % :minutes) || ' minutes') || '000'",
}
_FILL = """
INSERT INTO aem_guides_job (instance, processing_id, state, active, path, fingerprint, created_by, map_index,
    status_word, total_files, triggered_count, started_at, completed_at, resumable, resumes, first_seen_at,
    last_seen_at, progress_at, wants_archive, archive_uri, sha256, archive_checked_at, kept, announced)
SELECT '{instance}', 'old-' || n, CASE WHEN n % 50 = 0 THEN 'FAILED' ELSE 'SUCCESS' END, {no},
    '/content/dam/f' || (n % 1000) || '/en', 'f' || n, 'author', -1, 'SUCCESS', n % 5000, n % 5000, {began}, {ended},
    {no}, 0, {began}, {ended}, {ended}, {yes}, 'file:///nowhere/logs.zip', 'ab', {ended}, {no}, {yes}
FROM ({numbers}) AS counted
"""


def _query(kind: str) -> str:
    yes, no = ("TRUE", "FALSE") if kind == "postgresql" else ("1", "0")
    # 7,919 is prime to the minutes: jobs that follow each other are strewn over the time.
    began, ended = (_AT[kind].format(more=f"CAST(n AS BIGINT) * 7918 + {more}") for more in (10, 0))
    return _FILL.format(instance=INSTANCE, yes=yes, no=no, began=began, ended=ended, numbers=_NUMBERS[kind])


def fill(address: URL, count: int) -> None:
    """Put so many jobs of two years into a ledger, and one that runs."""
    with Ledger(open_engine(address)) as ledger:
        # In parts: a statement has two minutes.
        for first in range(1, count + 1, PART):
            with ledger.begin("filling") as connection:
                kind = connection.dialect.name
                numbers = {"first": first, "last": min(count, first + PART - 1), "minutes": DAYS * 24 * 60}
                connection.execute(text(_query(kind)), numbers)
        apply(ledger, snapshot(job("runs", "RUNNING", start=now_ms() - MINUTE), at=now_ms()))
        if kind == "postgresql":
            with ledger.begin("analysing") as connection:
                connection.execute(text("ANALYZE"))


@contextmanager
def addresses() -> Iterator[dict[str, dict[int, URL]]]:
    """A small and a large database of each kind."""
    with tempfile.TemporaryDirectory() as folder, postgresql() as server:
        files = {count: URL.create("sqlite", database=str(Path(folder) / f"{count}.db")) for count in (SMALL, LARGE)}
        yield {"SQLite": files, "PostgreSQL": {count: fresh_database(server) for count in (SMALL, LARGE)}}


def measure(address: URL) -> dict[str, float]:
    """Milliseconds of the server for each page: the middle of some rounds."""
    with (
        tempfile.TemporaryDirectory() as folder,
        pytest.MonkeyPatch.context() as patched,
        console(Path(folder), patched) as (host, _),
    ):
        patched.setattr(database, "ledger_url", lambda: address)
        client = host.client()
        took: dict[str, list[float]] = {name: [] for name in PAGES}
        for number in range(ROUNDS + 1):
            for name, page in PAGES.items():
                began = time.perf_counter()
                answer = client.get(page)
                if number:
                    took[name].append((time.perf_counter() - began) * 1000)
                if answer.status_code != 200:
                    took[name].append(float("inf"))
        return {name: statistics.median(found) for name, found in took.items()}


def main() -> int:
    """Measure, print, judge."""
    failed = False
    with addresses() as kinds:
        for kind, places in kinds.items():
            for count, address in places.items():
                fill(address, count)
            small, large = (measure(address) for address in places.values())
            for name in PAGES:
                slow = max(small[name], large[name]) > MOST_MS
                failed |= slow
                print(f"{kind}, {name}: {small[name]:.0f} ms at {SMALL:,} jobs, {large[name]:.0f} ms at {LARGE:,}")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
