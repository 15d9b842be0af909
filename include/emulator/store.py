"""Everything that outlives a restart: jobs, their logs, ids and counters of assets, in one SQLite file."""

from __future__ import annotations

import dataclasses
import json
import sqlite3
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

_SCHEMA = """
PRAGMA journal_mode = WAL;
PRAGMA synchronous = OFF;
CREATE TABLE IF NOT EXISTS job (seq INTEGER PRIMARY KEY, processing_id TEXT UNIQUE NOT NULL, doc TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS line (job INTEGER NOT NULL, number INTEGER NOT NULL, text TEXT NOT NULL,
    PRIMARY KEY (job, number)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS asset (path TEXT PRIMARY KEY, uuid TEXT, title TEXT, type TEXT, state TEXT, reason TEXT,
    times_processed INTEGER NOT NULL) WITHOUT ROWID;
"""


@dataclass
class JobRecord:
    """One job. Times are epoch milliseconds of the instance; `position` counts the assets processed so far."""

    seq: int
    processing_id: str
    path: str
    created_by: str
    excluded: list[str] = field(default_factory=list)
    processing_type: str = "ASSET_PROCESSING"
    filter: dict[str, object] | None = None
    state: str = "WAITING"
    started: int = 0
    completed: int = 0
    counted: bool = False
    total: int = 0
    position: int = 0
    failed_assets: int = 0
    resumable: bool = False
    failed_once: bool = False
    cancelling: bool = False
    resumes: int = 0
    lines: int = 0
    comments: str = ""
    lost: bool = False
    rate: float = 0.0

    @property
    def active(self) -> bool:
        return self.state in ("WAITING", "RUNNING") and not self.lost


@dataclass(frozen=True)
class Processed:
    """What became of one asset."""

    path: str
    uuid: str
    title: str
    type: str
    state: str
    reason: str


class Store:
    """The SQLite file. One writer: the emulator's event loop."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._db = sqlite3.connect(folder / "emulator.sqlite", isolation_level=None)
        self._db.executescript(_SCHEMA)
        self.jobs = {job.processing_id: job for job in self._load()}

    def add(self, job: JobRecord) -> None:
        self.jobs[job.processing_id] = job
        self.save(job)

    def next_seq(self) -> int:
        return len(self.jobs) + 1

    def save(
        self, job: JobRecord, lines: Iterable[str] = (), processed: Iterable[Processed] = (), *, count: bool = True
    ) -> None:
        """Write a job, its new lines and its assets in one transaction: a crash leaves all of it or nothing."""
        self._db.execute("BEGIN")
        fresh = list(lines)
        self._db.executemany(
            "INSERT INTO line VALUES (?, ?, ?)", [(job.seq, job.lines + i, text) for i, text in enumerate(fresh)]
        )
        job.lines += len(fresh)
        self._db.executemany(
            "INSERT INTO asset VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (path) DO UPDATE SET title = excluded.title,"
            " type = excluded.type, state = excluded.state, reason = excluded.reason,"
            " times_processed = times_processed + excluded.times_processed",
            [(a.path, a.uuid, a.title, a.type, a.state, a.reason, int(count)) for a in processed],
        )
        self._db.execute(
            "INSERT INTO job VALUES (?, ?, ?) ON CONFLICT (seq) DO UPDATE SET doc = excluded.doc",
            (job.seq, job.processing_id, json.dumps(dataclasses.asdict(job))),
        )
        self._db.execute("COMMIT")

    def lines(self, job: JobRecord, offset: int, limit: int) -> list[str]:
        rows = self._db.execute(
            "SELECT text FROM line WHERE job = ? AND number >= ? ORDER BY number LIMIT ?", (job.seq, offset, limit)
        )
        return [text for (text,) in rows]

    def all_lines(self, job: JobRecord) -> Iterator[str]:
        for offset in range(0, job.lines, 5000):
            yield from self.lines(job, offset, 5000)

    def assets(self, path: str) -> list[dict[str, object]]:
        """The assets at and below a path that were ever processed."""
        cursor = self._db.execute(
            "SELECT * FROM asset WHERE path = ? OR (path >= ? AND path < ?) ORDER BY path",
            (path, path + "/", path + "0"),
        )
        names = [column[0] for column in cursor.description]
        return [dict(zip(names, row, strict=True)) for row in cursor]

    def set_asset_state(self, paths: Iterable[str], state: str) -> None:
        self._db.executemany("UPDATE asset SET state = ? WHERE path = ?", [(state, path) for path in paths])

    def _load(self) -> Iterator[JobRecord]:
        for (doc,) in self._db.execute("SELECT doc FROM job ORDER BY seq").fetchall():
            yield JobRecord(**json.loads(doc))
