"""The queries of people to the ledger: which jobs there are, and everything about one job.

A page takes the same time with a thousand jobs and with a million: it is read along an index from the end of the last
page, or sorted in memory if a search finds few jobs.
"""

from __future__ import annotations

import contextlib
import enum
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, cast

from sqlalchemy import ColumnElement, Connection, Engine, and_, func, literal, literal_column, or_, select, text, tuple_

from aem_guides.ledger.database import OpenLedger, ledger_errors, open_reader
from aem_guides.ledger.findings import Severity
from aem_guides.ledger.queries import ledger_job
from aem_guides.ledger.records import LedgerJob, RunKey
from aem_guides.ledger.tables import LEFT_TO_DO, findings, instances, jobs, state_changes

PAGE = 50
FEW = 3_000
"""Up to this many matches are sorted in memory."""
HEAD = 200
"""Characters of a path that its index contains."""
BEGAN = func.coalesce(jobs.c.started_at, jobs.c.first_seen_at)
"""The start of a job as the instance shows it, or else when it was first seen."""
_LAST_LETTER = "\U0010ffff"
_KEYS = (jobs.c.instance, jobs.c.processing_id)


class Order(enum.StrEnum):
    """How jobs are sorted. Sorting by end or by size leaves out jobs without one."""

    NEWEST = "newest"
    OLDEST = "oldest"
    ENDED = "ended"
    LARGEST = "largest"


class Starter(enum.StrEnum):
    """What started a job."""

    AIRFLOW = "airflow"
    OTHERS = "others"


@dataclass(frozen=True)
class Search:
    """Search conditions. `path` and `name` are beginnings of paths and ids.

    Times are epoch milliseconds. `until` is excluded.
    """

    instance: str | None = None
    path: str | None = None
    state: str | None = None
    active: bool = False
    starter: Starter | None = None
    since: int | None = None
    until: int | None = None
    name: str | None = None
    run: RunKey | None = None
    map_index: int | None = None
    order: Order = Order.NEWEST


class Mark(NamedTuple):
    """A place in a sorted list: after this job, or before it when paging backwards."""

    value: int
    instance: str
    name: str
    back: bool = False


@dataclass(frozen=True)
class Listed:
    """A job and its instance."""

    instance: str
    job: LedgerJob


@dataclass(frozen=True)
class Page:
    """A page of jobs in their order, and the marks of the pages around it."""

    jobs: tuple[Listed, ...]
    earlier: Mark | None = None
    further: Mark | None = None


@dataclass(frozen=True)
class Change:
    """A change of state, and its source: `instance`, `run` or `resume`."""

    seen_at: int
    before: str | None
    after: str
    seen_by: str


@dataclass(frozen=True)
class ToldFinding:
    """A finding in the form for display."""

    id: int
    instance: str
    kind: str
    severity: Severity
    processing_id: str | None
    text: str
    opened_at: int
    closed_at: int | None
    remedy: str | None
    remedy_state: str | None
    remedy_at: int | None
    remedy_by: str | None
    remedy_note: str | None


@dataclass(frozen=True)
class Known:
    """An instance in the ledger, with the time of its last reconciliation (epoch milliseconds)."""

    name: str
    connection_id: str | None
    taken_at: int | None


class GoesOn(NamedTuple):
    """The id under which a job goes on after a resume, and since when it is known (epoch milliseconds)."""

    name: str
    at: int


@dataclass(frozen=True)
class Story:
    """Everything that the ledger has about one job."""

    listed: Listed
    connection_id: str | None
    changes: tuple[Change, ...]
    findings: tuple[ToldFinding, ...]
    goes_on: GoesOn | None = None


class Lookup(OpenLedger):
    """The ledger, for reading. Use it as a context manager. Raises what `open_reader` and the ledger raise."""

    def __init__(self, engine: Engine | None = None) -> None:
        super().__init__(engine or open_reader())

    @contextlib.contextmanager
    def reading(self) -> Iterator[Connection]:
        """A transaction for queries."""
        with ledger_errors("Reading"), self._engine.begin() as connection:
            yield connection

    def instances(self) -> tuple[Known, ...]:
        """All instances, by name."""
        columns = (instances.c.name, instances.c.connection_id, instances.c.taken_at)
        with self.reading() as connection:
            rows = connection.execute(select(*columns).order_by(instances.c.name)).all()
            return tuple(
                Known(row.name, row.connection_id or _connection_of(connection, row.name), row.taken_at) for row in rows
            )

    def page(self, search: Search, mark: Mark | None = None, size: int = PAGE) -> Page:
        """One page of the jobs that match the search."""
        with self.reading() as connection:
            value, down = _order(search.order)
            some = [value.is_not(None)] if search.order in _SOME_HAVE else []
            few = None
            if search.active or search.name or search.run or search.path:
                few = _few(connection, value, [*_conditions(connection, search, by_path=True), *some])
            if few is None:
                keys = _along(connection, value, [*_conditions(connection, search), *some], down, mark, size)
            else:
                keys = _pick(few, down, mark, size)
            return _page(_rows(connection, [key[1:] for key in keys[:size]]), keys, mark, size)

    def findings(
        self,
        *,
        instance: str | None = None,
        kind: str | None = None,
        is_open: bool = False,
        before: int | None = None,
        size: int = PAGE,
    ) -> list[ToldFinding]:
        """Findings, the newest first, at most so many, older than the one with this id."""
        where: list[ColumnElement[bool]] = []
        if instance:
            where.append(findings.c.instance == instance)
        if kind:
            where.append(findings.c.kind == kind)
        if is_open:
            where.append(findings.c.closed_at.is_(None))
        if before is not None:
            where.append(findings.c.id < before)
        query = select(findings).where(*where).order_by(findings.c.id.desc()).limit(size)
        with self.reading() as connection:
            return [told_finding(row._mapping) for row in connection.execute(query)]

    def story(self, instance: str, name: str, most: int = 500) -> Story | None:
        """One job with its changes and findings, at most so many of each. None if the ledger does not have it."""
        with self.reading() as connection:
            this = (jobs.c.instance == instance, jobs.c.processing_id == name)
            row = connection.execute(select(jobs).where(*this)).one_or_none()
            if row is None:
                return None
            listed = Listed(row.instance, ledger_job(row))
            here = (state_changes.c.instance == instance, state_changes.c.processing_id == name)
            changes = connection.execute(select(state_changes).where(*here).order_by(state_changes.c.id).limit(most))
            about = (findings.c.instance == instance, findings.c.processing_id == name)
            told = connection.execute(select(findings).where(*about).order_by(findings.c.id.desc()).limit(most))
            known = select(instances.c.connection_id).where(instances.c.name == instance)
            return Story(
                listed,
                listed.job.connection_id or connection.execute(known).scalar_one_or_none(),
                tuple(Change(change.seen_at, change.before, change.after, change.seen_by) for change in changes),
                tuple(told_finding(finding._mapping) for finding in told),
                _goes_on(connection, listed),
            )


def _goes_on(connection: Connection, listed: Listed) -> GoesOn | None:
    """A resume keeps the request, by which there is an index."""
    if not listed.job.fingerprint:
        return None
    here = (jobs.c.instance == listed.instance, jobs.c.fingerprint == listed.job.fingerprint)
    query = select(jobs.c.processing_id, jobs.c.first_seen_at).where(*here)
    row = connection.execute(query.where(jobs.c.continues == listed.job.processing_id).limit(1)).one_or_none()
    return GoesOn(row[0], row[1]) if row else None


def _connection_of(connection: Connection, instance: str) -> str | None:
    """The connection of the last job on an instance that was never reconciled."""
    query = select(jobs.c.connection_id).where(jobs.c.instance == instance, jobs.c.connection_id.is_not(None))
    return connection.execute(query.order_by(BEGAN.desc()).limit(1)).scalar_one_or_none()


_SOME_HAVE = frozenset({Order.ENDED, Order.LARGEST})


def told_finding(row: object) -> ToldFinding:
    """The finding in a row with all columns of the table."""
    values = cast("dict[str, object]", row)
    return ToldFinding(**{name: values[name] for name in ToldFinding.__dataclass_fields__})  # type: ignore[arg-type]  # as the table has them


def _order(order: Order) -> tuple[ColumnElement[int], bool]:
    """The column to sort by, and whether the largest value comes first."""
    values: dict[Order, ColumnElement[int]] = {Order.ENDED: jobs.c.completed_at, Order.LARGEST: jobs.c.total_files}
    return values.get(order, BEGAN), order is not Order.OLDEST


def _conditions(connection: Connection, search: Search, *, by_path: bool = False) -> list[ColumnElement[bool]]:
    """The conditions for a job. With `by_path` the index of the paths may be used."""
    found: list[ColumnElement[bool]] = []
    if search.instance:
        found.append(jobs.c.instance == search.instance)
    if search.state:
        found.append(jobs.c.state == search.state)
    if search.active:
        # A partial index has these same words.
        found.append(cast("ColumnElement[bool]", text(LEFT_TO_DO[connection.dialect.name]["active"]).self_group()))
    if search.starter:
        found.append(jobs.c.dag_id.is_not(None) if search.starter is Starter.AIRFLOW else jobs.c.dag_id.is_(None))
    if search.since is not None:
        found.append(search.since <= BEGAN)
    if search.until is not None:
        found.append(search.until > BEGAN)
    if search.run:
        found += [jobs.c.dag_id == search.run.dag_id, jobs.c.run_id == search.run.run_id]
    if search.map_index is not None:
        found.append(jobs.c.map_index == search.map_index)
    if search.path:
        found += _begins_with(connection, search.path, by_path)
    if search.name:
        # The primary key begins with the instance.
        names = [row.name for row in connection.execute(select(instances.c.name))]
        here = [search.instance] if search.instance else names
        found += [jobs.c.instance.in_(here), jobs.c.processing_id >= search.name]
        found.append(jobs.c.processing_id < search.name + _LAST_LETTER)
    return found


def _begins_with(connection: Connection, path: str, by_index: bool) -> list[ColumnElement[bool]]:
    """The path begins with this text. Its head has an index, and the rest is compared without one."""
    # SQLite uses the index only if there is no parameter. Otherwise it would sort all matches.
    one: ColumnElement[int] = literal_column("1") if by_index else literal(1)
    last: ColumnElement[int] = literal_column(str(HEAD)) if by_index else literal(HEAD)
    whole: ColumnElement[str] = func.substr(jobs.c.path, one, last, type_=jobs.c.path.type)
    by_bytes = whole.collate("C") if connection.dialect.name == "postgresql" else whole
    head = path[:HEAD]
    found: list[ColumnElement[bool]] = [by_bytes >= head]
    if len(path) <= HEAD:
        found.append(by_bytes < head + _LAST_LETTER)
    else:
        found += [by_bytes == head, func.substr(jobs.c.path, 1, len(path)) == path]
    return found


Key = tuple[int, str, str]
"""The sort value, instance, id."""


def _few(connection: Connection, value: ColumnElement[int], where: Sequence[ColumnElement[bool]]) -> list[Key] | None:
    """All matches, or None if there are many."""
    found = connection.execute(select(value, *_KEYS).where(*where).limit(FEW + 1)).all()
    return None if len(found) > FEW else [(row[0], row[1], row[2]) for row in found]


def _pick(few: list[Key], down: bool, mark: Mark | None, size: int) -> list[Key]:
    """The next matches, and one more."""
    place = (mark.value, mark.instance, mark.name) if mark else None
    falling = down != bool(mark and mark.back)
    ordered = sorted(few, reverse=falling)
    return [key for key in ordered if place is None or (key < place if falling else key > place)][: size + 1]


def _along(
    connection: Connection,
    value: ColumnElement[int],
    where: Sequence[ColumnElement[bool]],
    down: bool,
    mark: Mark | None,
    size: int,
) -> list[Key]:
    """The next matches along the index, and one more."""
    falling = down != bool(mark and mark.back)
    columns: list[ColumnElement[object]] = [cast("ColumnElement[object]", column) for column in (value, *_KEYS)]
    query = select(value, *_KEYS).where(*where)
    if mark:
        place = tuple_(
            *(literal(part, column.type) for part, column in zip(mark[:3], columns, strict=True)),
        )
        here = tuple_(*columns)
        query = query.where(here < place if falling else here > place)
    ordered = query.order_by(*(column.desc() if falling else column.asc() for column in columns))
    return [(row[0], row[1], row[2]) for row in connection.execute(ordered.limit(size + 1))]


def _rows(connection: Connection, keys: Sequence[tuple[str, str]]) -> list[Listed]:
    """The rows of these jobs, in this order."""
    if not keys:
        return []
    matches: ColumnElement[bool] = or_(
        *(and_(jobs.c.instance == instance, jobs.c.processing_id == name) for instance, name in keys)
    )
    found = {
        (row.instance, row.processing_id): Listed(row.instance, ledger_job(row))
        for row in connection.execute(select(jobs).where(matches))
    }
    return [found[key] for key in keys if key in found]


def _page(rows: Sequence[Listed], keys: Sequence[Key], mark: Mark | None, size: int) -> Page:
    """The page for these keys. There is one key more than the page size if there is a further page."""
    shown, more = list(keys[:size]), len(keys) > size
    listed = list(rows)
    if mark and mark.back:
        shown.reverse()
        listed.reverse()
    if not shown:
        return Page(())
    first, last = Mark(*shown[0], back=True), Mark(*shown[-1])
    if mark and mark.back:
        return Page(tuple(listed), first if more else None, last)
    return Page(tuple(listed), first if mark else None, last if more else None)
