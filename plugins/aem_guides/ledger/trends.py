"""Trends of the last weeks: sums over the ledger by day, by folder, and by kind of finding."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import ColumnElement, Connection, Float, String, func, literal_column, select

from aem_guides.ledger.lookup import BEGAN, Lookup
from aem_guides.ledger.tables import findings, jobs

MOST_FOLDERS = 20
_DAY = {
    "postgresql": "to_char((coalesce(started_at, first_seen_at) AT TIME ZONE 'UTC')"
    " - interval '{offset} minutes', 'YYYY-MM-DD')",
    "sqlite": "date(coalesce(started_at, first_seen_at), '{shift} minutes')",
}
_ENDED = "started_at IS NOT NULL AND completed_at IS NOT NULL AND completed_at > started_at"
_SECONDS = {
    "postgresql": f"CASE WHEN {_ENDED} THEN EXTRACT(EPOCH FROM completed_at - started_at) END",
    "sqlite": f"CASE WHEN {_ENDED} THEN (julianday(completed_at) - julianday(started_at)) * 86400 END",
}


@dataclass(frozen=True)
class Span:
    """The time span in which jobs began, in epoch milliseconds.

    `offset` is how far the time zone is behind UTC, in minutes. It determines when days begin.
    """

    since: int
    until: int
    instance: str | None = None
    offset: int = 0


@dataclass(frozen=True)
class DayState:
    """The jobs of one day in one state. `seconds` is the total duration of the ended ones."""

    day: str
    state: str
    jobs: int
    assets: int
    seconds: float


@dataclass(frozen=True)
class Folder:
    """The ended jobs of one path: their average and longest duration, in seconds."""

    path: str
    jobs: int
    assets: int
    average_seconds: float
    longest_seconds: float

    @property
    def assets_an_hour(self) -> float:
        """Assets per hour while its jobs ran."""
        seconds = self.average_seconds * self.jobs
        return self.assets * 3600 / seconds if seconds else 0.0


@dataclass(frozen=True)
class Trends:
    """All trends. Findings are counted by kind, by the time when they were opened."""

    days: tuple[DayState, ...]
    folders: tuple[Folder, ...]
    findings: tuple[tuple[str, int], ...]


def trends(ledger: Lookup, span: Span) -> Trends:
    """The trends of a span."""
    with ledger.reading() as connection:
        return Trends(_days(connection, span), _folders(connection, span), _findings(connection, span))


def _seconds(connection: Connection) -> ColumnElement[float]:
    return literal_column(_SECONDS[connection.dialect.name], Float)


def _here(span: Span) -> list[ColumnElement[bool]]:
    here: list[ColumnElement[bool]] = [span.since <= BEGAN, span.until > BEGAN]
    return [*here, jobs.c.instance == span.instance] if span.instance else here


def _days(connection: Connection, span: Span) -> tuple[DayState, ...]:
    words = _DAY[connection.dialect.name].format(offset=int(span.offset), shift=-int(span.offset))
    day = literal_column(words, String).label("day")
    seconds = func.sum(_seconds(connection))
    query = select(day, jobs.c.state, func.count(), func.sum(jobs.c.triggered_count), seconds).where(*_here(span))
    rows = connection.execute(query.group_by(day, jobs.c.state).order_by(day, jobs.c.state))
    return tuple(DayState(row[0], row[1], row[2], int(row[3] or 0), float(row[4] or 0)) for row in rows)


def _folders(connection: Connection, span: Span) -> tuple[Folder, ...]:
    seconds = _seconds(connection)
    assets = func.sum(jobs.c.triggered_count)
    query = select(jobs.c.path, func.count(), assets, func.avg(seconds), func.max(seconds)).where(
        *_here(span), jobs.c.path.is_not(None), seconds.is_not(None)
    )
    rows = connection.execute(query.group_by(jobs.c.path).order_by(func.sum(seconds).desc()).limit(MOST_FOLDERS))
    return tuple(Folder(row[0], row[1], int(row[2] or 0), float(row[3] or 0), float(row[4] or 0)) for row in rows)


def _findings(connection: Connection, span: Span) -> tuple[tuple[str, int], ...]:
    here: list[ColumnElement[bool]] = [findings.c.opened_at >= span.since, findings.c.opened_at < span.until]
    if span.instance:
        here.append(findings.c.instance == span.instance)
    many = func.count()
    query = select(findings.c.kind, many).where(*here).group_by(findings.c.kind).order_by(many.desc(), findings.c.kind)
    return tuple((row[0], row[1]) for row in connection.execute(query))
