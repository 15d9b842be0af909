"""Trends of the last weeks: sums over the ledger by day, by folder, and by kind of finding."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import ColumnElement, Connection, Float, String, cast, func, literal_column, null, select, union_all

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
        days, folders = _sums(connection, span)
        return Trends(days, folders, _findings(connection, span))


def _here(span: Span) -> list[ColumnElement[bool]]:
    here: list[ColumnElement[bool]] = [span.since <= BEGAN, span.until > BEGAN]
    return [*here, jobs.c.instance == span.instance] if span.instance else here


def _sums(connection: Connection, span: Span) -> tuple[tuple[DayState, ...], tuple[Folder, ...]]:
    """By day and by folder, in one question: to read the jobs is most of the work, and is done once."""
    words = _DAY[connection.dialect.name].format(offset=int(span.offset), shift=-int(span.offset))
    chosen = (
        select(
            literal_column(words, String).label("day"),
            jobs.c.state,
            jobs.c.path,
            jobs.c.triggered_count.label("assets"),
            literal_column(_SECONDS[connection.dialect.name], Float).label("seconds"),
        )
        .where(*_here(span))
        .cte("chosen")
    )
    total = func.sum(chosen.c.seconds).label("total")
    sums = (func.count().label("jobs"), func.sum(chosen.c.assets).label("assets"), total)
    longest = func.max(chosen.c.seconds).label("longest")
    no_text = cast(null(), String)
    by_day = select(chosen.c.day, chosen.c.state, no_text.label("path"), *sums, longest).group_by(
        chosen.c.day, chosen.c.state
    )
    by_folder = (
        select(no_text.label("day"), no_text.label("state"), chosen.c.path, *sums, longest)
        .where(chosen.c.path.is_not(None), chosen.c.seconds.is_not(None))
        .group_by(chosen.c.path)
        .order_by(total.desc())
        .limit(MOST_FOLDERS)
        .subquery()
    )
    rows = connection.execute(union_all(by_day, select(by_folder))).all()
    days = [
        DayState(row.day, row.state, row.jobs, int(row.assets or 0), float(row.total or 0)) for row in rows if row.day
    ]
    folders = [
        Folder(row.path, row.jobs, int(row.assets or 0), float(row.total or 0) / row.jobs, float(row.longest or 0))
        for row in rows
        if not row.day
    ]
    return (
        tuple(sorted(days, key=lambda day: (day.day, day.state))),
        tuple(sorted(folders, key=lambda folder: folder.average_seconds * folder.jobs, reverse=True)),
    )


def _findings(connection: Connection, span: Span) -> tuple[tuple[str, int], ...]:
    here: list[ColumnElement[bool]] = [findings.c.opened_at >= span.since, findings.c.opened_at < span.until]
    if span.instance:
        here.append(findings.c.instance == span.instance)
    many = func.count()
    query = select(findings.c.kind, many).where(*here).group_by(findings.c.kind).order_by(many.desc(), findings.c.kind)
    return tuple((row[0], row[1]) for row in connection.execute(query))
