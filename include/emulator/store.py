"""Everything that outlives a restart, in one SQLite file: jobs, logs, assets, requests, tokens, settings."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

_SCHEMA = """
PRAGMA journal_mode = WAL;
PRAGMA synchronous = OFF;
CREATE TABLE IF NOT EXISTS job (seq INTEGER PRIMARY KEY, processing_id TEXT UNIQUE NOT NULL, doc TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS work (job INTEGER PRIMARY KEY, doc TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS line (job INTEGER NOT NULL, number INTEGER NOT NULL, text TEXT NOT NULL,
    PRIMARY KEY (job, number)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS asset (path TEXT PRIMARY KEY, uuid TEXT, title TEXT, type TEXT, state TEXT, reason TEXT,
    times_processed INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS request (number INTEGER PRIMARY KEY, endpoint TEXT NOT NULL, doc TEXT NOT NULL,
    status INTEGER);
CREATE INDEX IF NOT EXISTS request_endpoint ON request (endpoint, number);
CREATE TABLE IF NOT EXISTS token (digest TEXT PRIMARY KEY, user TEXT NOT NULL, ends REAL NOT NULL);
CREATE TABLE IF NOT EXISTS kept (kind TEXT NOT NULL, name TEXT NOT NULL, doc TEXT NOT NULL,
    PRIMARY KEY (kind, name)) WITHOUT ROWID;
"""
_TABLES = ("job", "work", "line", "asset", "request", "token", "kept")
_BLOCK = 1000
FILE_NAME = "emulator.sqlite"


@dataclass
class JobRecord:
    """One job. Times are epoch milliseconds of the instance. `position` counts the assets processed so far,
    `checkpoint` those that a resumed job skips."""

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
    checkpoint: int = 0
    checkpoint_failed: int = 0
    resumable: bool = False
    failed_once: bool = False
    cancelling: bool = False
    resumes: int = 0
    lines: int = 0
    comments: str = ""
    lost: bool = False
    rate: float = 0.0
    late_until: int = 0

    @property
    def active(self) -> bool:
        return self.state in ("WAITING", "RUNNING") and not self.lost

    def back_to_checkpoint(self) -> None:
        self.position, self.failed_assets = self.checkpoint, self.checkpoint_failed


@dataclass(frozen=True)
class Processed:
    """The result of processing one asset."""

    path: str
    uuid: str
    title: str
    type: str
    state: str
    reason: str


class Store:
    """The SQLite file. Only the emulator's event loop writes to it."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self._db = sqlite3.connect(folder / FILE_NAME, isolation_level=None)
        self._db.executescript(_SCHEMA)
        self.jobs = {job.processing_id: job for job in self._load()}
        self.active = {job.processing_id: job for job in self.jobs.values() if job.active}

    def close(self) -> None:
        self._db.close()

    def clear(self) -> None:
        """Forget everything."""
        self._db.execute("BEGIN")
        for table in _TABLES:
            self._db.execute(f"DELETE FROM {table}")  # noqa: S608  # names of this module
        self._db.execute("COMMIT")
        self.jobs.clear()
        self.active.clear()

    def add(self, job: JobRecord) -> None:
        self.jobs[job.processing_id] = job
        self.save(job)

    def next_seq(self) -> int:
        return len(self.jobs) + 1

    def save(self, job: JobRecord, lines: Iterable[str] = (), processed: Iterable[Processed] = ()) -> None:
        """Write a job, its new lines and its assets in one transaction, so that a crash leaves all of it or nothing."""
        fresh = list(lines)
        self._db.execute("BEGIN")
        self._db.executemany(
            "INSERT INTO line VALUES (?, ?, ?)", [(job.seq, job.lines + i, text) for i, text in enumerate(fresh)]
        )
        job.lines += len(fresh)
        self._db.executemany(
            "INSERT INTO asset VALUES (?, ?, ?, ?, ?, ?, 1) ON CONFLICT (path) DO UPDATE SET title = excluded.title,"
            " type = excluded.type, state = excluded.state, reason = excluded.reason,"
            " times_processed = times_processed + 1",
            [(a.path, a.uuid, a.title, a.type, a.state, a.reason) for a in processed],
        )
        self._db.execute(
            "INSERT INTO job VALUES (?, ?, ?) ON CONFLICT (seq) DO UPDATE SET doc = excluded.doc",
            (job.seq, job.processing_id, json.dumps(vars(job))),
        )
        self._db.execute("COMMIT")
        if job.active:
            self.active[job.processing_id] = job
        else:
            self.active.pop(job.processing_id, None)

    def set_work(self, job: JobRecord, work: str) -> None:
        self._db.execute("INSERT OR REPLACE INTO work VALUES (?, ?)", (job.seq, work))

    def work(self, job: JobRecord) -> str | None:
        """The working set of a job that has been counted."""
        row = self._db.execute("SELECT doc FROM work WHERE job = ?", (job.seq,)).fetchone()
        return None if row is None else str(row[0])

    def lines(self, job: JobRecord, offset: int, limit: int) -> list[str]:
        return _lines(self._db, job.seq, offset, limit)

    def all_lines(self, job: JobRecord) -> Iterator[str]:
        for offset in range(0, job.lines, _BLOCK):
            yield from self.lines(job, offset, _BLOCK)

    def assets(self, path: str) -> Iterator[dict[str, object]]:
        """The assets at and below a path that were ever processed, by path."""
        after = ""
        while True:
            cursor = self._db.execute(
                "SELECT * FROM asset WHERE (path = ? OR (path >= ? AND path < ?)) AND path > ? ORDER BY path LIMIT ?",
                (path, path + "/", path + "0", after, _BLOCK),
            )
            names = [column[0] for column in cursor.description]
            rows = cursor.fetchall()
            for row in rows:
                yield dict(zip(names, row, strict=True))
            if len(rows) < _BLOCK:
                return
            after = rows[-1][0]

    def asset(self, path: str) -> tuple[str, str, str] | None:
        """State, id and reason of one asset, or None if it was never processed."""
        row = self._db.execute("SELECT state, uuid, reason FROM asset WHERE path = ?", (path,)).fetchone()
        return None if row is None else (str(row[0]), str(row[1]), str(row[2]))

    def note_request(self, endpoint: str, facts: Mapping[str, object]) -> int:
        """Record a request and return its number."""
        cursor = self._db.execute(
            "INSERT INTO request (endpoint, doc) VALUES (?, ?)", (endpoint, json.dumps(dict(facts)))
        )
        return int(cursor.lastrowid or 0)

    def note_answer(self, number: int, status: int) -> None:
        self._db.execute("UPDATE request SET status = ? WHERE number = ?", (status, number))

    def requests(self, endpoint: str | None, after: int) -> list[dict[str, object]]:
        """The recorded requests, in order. `status` is None for a request without an answer yet."""
        query = "SELECT number, endpoint, doc, status FROM request WHERE number > ?"
        query, values = (query, (after,)) if endpoint is None else (query + " AND endpoint = ?", (after, endpoint))
        rows = self._db.execute(query + " ORDER BY number", values)
        return [
            {"number": number, "endpoint": name, **json.loads(doc), "status": status}
            for number, name, doc, status in rows
        ]

    def keep_token(self, token: str, user: str, ends: float) -> None:
        self._db.execute("INSERT OR REPLACE INTO token VALUES (?, ?, ?)", (_digest(token), user, ends))

    def token(self, token: str) -> tuple[str, float] | None:
        """The user of an access token and its end, in seconds since the epoch."""
        row = self._db.execute("SELECT user, ends FROM token WHERE digest = ?", (_digest(token),)).fetchone()
        return None if row is None else (str(row[0]), float(row[1]))

    def drop_tokens(self) -> None:
        self._db.execute("DELETE FROM token")

    def keep(self, kind: str, entries: Mapping[str, object]) -> None:
        """Store named values of a kind, as JSON."""
        rows = [(kind, name, json.dumps(value)) for name, value in entries.items()]
        self._db.executemany("INSERT OR REPLACE INTO kept VALUES (?, ?, ?)", rows)

    def kept(self, kind: str) -> dict[str, object]:
        rows = self._db.execute("SELECT name, doc FROM kept WHERE kind = ?", (kind,))
        return {str(name): json.loads(doc) for name, doc in rows}

    def _load(self) -> Iterator[JobRecord]:
        for (doc,) in self._db.execute("SELECT doc FROM job ORDER BY seq").fetchall():
            yield JobRecord(**json.loads(doc))


def read_lines(folder: Path, seq: int, count: int) -> Iterator[str]:
    """Read the first lines of a job's log, over a separate connection, for a thread other than the store's."""
    db = sqlite3.connect(f"file:{folder / FILE_NAME}?mode=ro", uri=True)
    try:
        for offset in range(0, count, _BLOCK):
            yield from _lines(db, seq, offset, min(_BLOCK, count - offset))
    finally:
        db.close()


def _lines(db: sqlite3.Connection, seq: int, offset: int, limit: int) -> list[str]:
    rows = db.execute(
        "SELECT text FROM line WHERE job = ? AND number >= ? AND number < ? ORDER BY number",
        (seq, offset, offset + limit),
    )
    return [text for (text,) in rows]


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode(errors="replace")).hexdigest()
