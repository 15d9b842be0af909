"""What reconciling a window of 100 costs against a small and a large ledger, side by side, on both databases.

Run it with `make bench`. It fails where the large ledger costs more than twice the small one.
"""

from __future__ import annotations

import itertools
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import URL, text

from aem_guides.ledger.database import open_engine
from aem_guides.ledger.findings import Remedy
from aem_guides.ledger.store import Ledger
from tests.benchmarks.figures import Figure, report
from tests.support.ledgers import fresh_database, postgresql
from tests.support.worlds import INSTANCE, MINUTE, NOW, POLICY, job, snapshot

SMALL, LARGE = 1_000, 1_000_000
WINDOW = 100
ROUNDS = 30
MOST_RATIO = 2.0

_NUMBERS = {
    "postgresql": "SELECT generate_series(1, :count) AS n",
    "sqlite": "WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < :count) "
    "SELECT n FROM numbers",
}
_FILL = """
INSERT INTO aem_guides_job (instance, processing_id, state, active, path, fingerprint, created_by, map_index,
    status_word, total_files, triggered_count, started_at, completed_at, resumable, resumes, first_seen_at,
    last_seen_at, progress_at, wants_archive, archive_uri, sha256, archive_checked_at, kept, announced)
SELECT '{instance}', 'old-' || n, 'SUCCESS', {no}, '/content/dam/f' || (n % 1000), 'f' || n, 'author', -1,
    'SUCCESS', 100, 100, '2026-01-01 00:00:00', '2026-01-01 00:10:00', {no}, 0, '2026-01-01 00:00:00',
    '2026-01-01 00:15:00', '2026-01-01 00:15:00', {yes}, 'file:///nowhere/logs.zip', 'ab', '2099-01-01 00:00:00', {no},
    {yes}
FROM ({numbers}) AS counted
"""


def fill(ledger: Ledger, count: int) -> None:
    """Put so many ended, archived jobs into the ledger."""
    with ledger.begin("filling") as connection:
        kind = connection.dialect.name
        yes, no = ("TRUE", "FALSE") if kind == "postgresql" else ("1", "0")
        if kind == "postgresql":
            casts = _FILL.replace("'2026-01-01 00:00:00'", "TIMESTAMPTZ '2026-01-01'")
            casts = casts.replace("'2026-01-01 00:10:00'", "TIMESTAMPTZ '2026-01-01 00:10:00'")
            casts = casts.replace("'2026-01-01 00:15:00'", "TIMESTAMPTZ '2026-01-01 00:15:00'")
            casts = casts.replace("'2099-01-01 00:00:00'", "TIMESTAMPTZ '2099-01-01'")
        else:
            casts = _FILL.replace(":00'", ":00.000000'")
        query = casts.format(instance=INSTANCE, yes=yes, no=no, numbers=_NUMBERS[kind])
        connection.execute(text(query), {"count": count})
    if kind == "postgresql":
        with ledger.begin("analysing") as connection:
            connection.execute(text("ANALYZE"))


def once(ledger: Ledger, at: int) -> float:
    """Seconds that one reconciliation takes, with pruning and the choice of archives to look at."""
    window = [job(f"job-{n}", start=NOW - n * MINUTE) for n in range(WINDOW)]
    began = time.perf_counter()
    ledger.reconcile(snapshot(*window, at=at), POLICY, frozenset(Remedy), run_id="bench", dry_run=False)
    ledger.archives_to_check(INSTANCE, NOW - 86_400_000, 5)
    ledger.prune(INSTANCE, 0)
    ledger.open_findings(INSTANCE)
    return time.perf_counter() - began


@contextmanager
def addresses() -> Iterator[dict[str, tuple[URL, URL]]]:
    """A small and a large database of each kind."""
    with tempfile.TemporaryDirectory() as folder, postgresql() as server:
        files = [URL.create("sqlite", database=str(Path(folder) / f"{name}.db")) for name in ("small", "large")]
        yield {"PostgreSQL": (fresh_database(server), fresh_database(server)), "SQLite": (files[0], files[1])}


def main() -> int:
    """Measure, print, judge."""
    figures = []
    with addresses() as pairs:
        for kind, pair in pairs.items():
            ledgers = [Ledger(open_engine(address)) for address in pair]
            for ledger, count in zip(ledgers, (SMALL, LARGE), strict=True):
                fill(ledger, count)
                once(ledger, NOW)
            took: list[list[float]] = [[], []]
            # Side by side, so that whatever else the machine does strikes both.
            for number, (which, ledger) in itertools.product(range(1, ROUNDS), enumerate(ledgers)):
                took[which].append(once(ledger, NOW + number))
            small, large = (statistics.median(seconds) for seconds in took)
            print(
                f"{kind}: a window of {WINDOW} against {LARGE:,} jobs costs {large / small:.2f} times what it costs "
                f"against {SMALL:,} ({large * 1000:.1f} ms against {small * 1000:.1f} ms)"
            )
            figures.append(
                Figure("g", f"reconciling, {LARGE:,} jobs beside {SMALL:,}, {kind}", large / small, "ratio", MOST_RATIO)
            )
    return report(*figures)


if __name__ == "__main__":
    sys.exit(main())
