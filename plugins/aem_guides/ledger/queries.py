"""The statements behind the ledger's methods, each within a transaction that its caller has begun."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

from sqlalchemy import Connection, Row, Table, insert, select, text, update
from sqlalchemy.dialects import postgresql, sqlite

from aem_guides.ledger.findings import REMEDY, Finding, FindingKey, FindingKind, Remedy, Severity
from aem_guides.ledger.notes import Note
from aem_guides.ledger.reconcile import LedgerView, Reconciliation, StateChange
from aem_guides.ledger.records import LedgerJob, RunKey, Snapshot
from aem_guides.ledger.tables import LEFT_TO_DO, findings, instances, jobs, path_states, reconciliations, state_changes
from aem_guides.protocol.models import JsonObject, ProcessingRequest, number
from aem_guides.runtime.notes import path_key

_CHUNK = 500
ASK_FOR_LOST_MS = 24 * 3600 * 1000
"""How long the status of a lost job is still read."""

WANTED, BEGUN, DONE, FAILED = "wanted", "begun", "done", "failed"
"""The states of a remedy and of an alert."""


@dataclass(frozen=True)
class OpenFinding:
    """A finding as it is stored, with the state of its remedy and alert. `intent` is that of a resume under way."""

    id: int
    instance: str
    finding: Finding
    opened_at: int
    remedy: str | None
    remedy_state: str | None
    remedy_note: str | None
    remedy_at: int | None
    remedy_attempts: int
    intent: JsonObject | None


def lock(connection: Connection, instance: str) -> int | None:
    """Lock this instance for other writers until the end of the transaction.

    Returns when its last snapshot was taken. In SQLite the transaction itself is the lock.
    """
    _upsert(connection, instances, [{"name": instance, "shown_jobs": {}}], ("name",), replace=False)
    row = connection.execute(select(instances.c.taken_at).where(instances.c.name == instance).with_for_update()).one()
    return cast("int | None", row.taken_at)


def view(connection: Connection, instance: str, window: Sequence[str], now: int) -> LedgerView:
    last = connection.execute(select(instances).where(instances.c.name == instance)).one_or_none()
    opened = connection.execute(
        select(findings.c.kind, findings.c.subject, findings.c.processing_id).where(
            findings.c.instance == instance, findings.c.closed_at.is_(None)
        )
    ).all()
    found: dict[str, LedgerJob] = {}
    conditions = {**LEFT_TO_DO[connection.dialect.name], "lost": "state = 'LOST'"}
    for name, condition in conditions.items():
        query = select(jobs).where(jobs.c.instance == instance, text(condition))
        if name == "lost":
            query = query.where(jobs.c.missing_since > now - ASK_FOR_LOST_MS)
        found.update((row.processing_id, ledger_job(row)) for row in connection.execute(query))
    named = {*window, *(row.processing_id for row in opened if row.processing_id)} - found.keys()
    found.update(jobs_by_id(connection, instance, sorted(named)))
    shown = {str(name): number(start) for name, start in (last.shown_jobs if last else {}).items()}
    return LedgerView(
        jobs=found,
        open_findings=frozenset(FindingKey(FindingKind(row.kind), row.subject) for row in opened),
        reported=_reported_duplicates(connection, instance, sorted(found)),
        last_window=shown,
        last_taken_at=last.taken_at if last else None,
    )


def _reported_duplicates(connection: Connection, instance: str, names: Sequence[str]) -> frozenset[FindingKey]:
    reported: set[FindingKey] = set()
    for part in chunks(names):
        query = select(findings.c.subject).where(
            findings.c.instance == instance,
            findings.c.processing_id.in_(part),
            findings.c.kind == FindingKind.DUPLICATE,
        )
        reported.update(FindingKey(FindingKind.DUPLICATE, row.subject) for row in connection.execute(query))
    return frozenset(reported)


def write(
    connection: Connection,
    snapshot: Snapshot,
    view: LedgerView,
    result: Reconciliation,
    remedies: frozenset[Remedy],
    run_id: str,
) -> None:
    instance, now = snapshot.instance, snapshot.taken_at
    write_jobs(connection, instance, result.jobs)
    write_changes(connection, instance, result.changes, now, "instance")
    _close(connection, instance, result.closed, now)
    if result.opened:
        connection.execute(insert(findings), [_finding_row(instance, f, now, remedies) for f in result.opened])
    connection.execute(
        update(instances)
        .where(instances.c.name == instance)
        .values(taken_at=now, connection_id=snapshot.connection_id, shown_jobs=dict(result.window))
    )
    connection.execute(
        insert(reconciliations).values(
            instance=instance,
            taken_at=now,
            run_id=run_id,
            window_size=len(snapshot.window),
            new_jobs=sum(job.processing_id not in view.jobs for job in result.jobs),
            opened=len(result.opened),
            closed=len(result.closed),
        )
    )


def _finding_row(instance: str, finding: Finding, now: int, remedies: frozenset[Remedy]) -> dict[str, object]:
    remedy = REMEDY.get(finding.key.kind)
    wanted = remedy is not None and remedy in remedies
    alert = Remedy.ALERT in remedies and finding.severity is not Severity.INFO
    return {
        "instance": instance,
        "kind": str(finding.key.kind),
        "subject": finding.key.subject,
        "processing_id": finding.processing_id,
        "severity": str(finding.severity),
        "text": finding.text,
        "opened_at": now,
        "closed_at": now if finding.is_event else None,
        "remedy": str(remedy) if remedy else None,
        "remedy_state": WANTED if wanted else None,
        "remedy_attempts": 0,
        "alert_state": WANTED if alert else None,
    }


def _close(connection: Connection, instance: str, keys: Iterable[FindingKey], now: int) -> None:
    for key in keys:
        connection.execute(
            update(findings)
            .where(
                findings.c.instance == instance,
                findings.c.kind == str(key.kind),
                findings.c.subject == key.subject,
                findings.c.closed_at.is_(None),
            )
            .values(closed_at=now)
        )


def write_changes(connection: Connection, instance: str, changes: Iterable[StateChange], at: int, seen_by: str) -> None:
    rows = [{"instance": instance, "seen_at": at, "seen_by": seen_by, **dataclasses.asdict(c)} for c in changes]
    if rows:
        connection.execute(insert(state_changes), rows)


def write_jobs(connection: Connection, instance: str, entries: Iterable[LedgerJob]) -> None:
    rows = [_job_row(instance, entry) for entry in entries]
    _upsert(connection, jobs, rows, ("instance", "processing_id"), replace=True)


def note_state(connection: Connection, note: Note) -> None:
    """Store where the state of the path is, for the run that wrote the note."""
    fingerprint = ProcessingRequest.from_json(note.request).fingerprint()
    row = {
        "key": path_key(note.run.dag_id, note.run.run_id, note.task_id, fingerprint),
        "dag_id": note.run.dag_id,
        "run_id": note.run.run_id,
        "noted_at": note.at,
    }
    _upsert(connection, path_states, [row], ("key",), replace=True)


def _upsert(
    connection: Connection, table: Table, rows: Sequence[Mapping[str, object]], key: tuple[str, ...], *, replace: bool
) -> None:
    if not rows:
        return
    dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
    statement = dialect.insert(table)
    values = {name: statement.excluded[name] for name in rows[0] if name not in key}
    if replace:
        statement = statement.on_conflict_do_update(index_elements=key, set_=values)
    else:
        statement = statement.on_conflict_do_nothing(index_elements=key)
    connection.execute(statement, [dict(row) for row in rows])


def jobs_by_id(connection: Connection, instance: str, names: Sequence[str]) -> dict[str, LedgerJob]:
    found: dict[str, LedgerJob] = {}
    for part in chunks(names):
        query = select(jobs).where(jobs.c.instance == instance, jobs.c.processing_id.in_(part))
        found.update((row.processing_id, ledger_job(row)) for row in connection.execute(query))
    return found


def chunks(names: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(names), _CHUNK):
        yield names[start : start + _CHUNK]


def _job_row(instance: str, entry: LedgerJob) -> dict[str, object]:
    values = {field.name: getattr(entry, field.name) for field in dataclasses.fields(entry)}
    run: RunKey | None = values.pop("run")
    return {
        "instance": instance,
        "dag_id": run.dag_id if run else None,
        "run_id": run.run_id if run else None,
        **values,
    }


def ledger_job(row: Row[tuple[object, ...]]) -> LedgerJob:
    """The job in a row with all columns of the table."""
    values = dict(row._mapping)
    dag_id, run_id = values.pop("dag_id"), values.pop("run_id")
    values.pop("instance")
    return LedgerJob(run=RunKey(dag_id, run_id) if dag_id and run_id else None, **values)


def open_finding(row: Row[tuple[object, ...]]) -> OpenFinding:
    values = row._mapping
    key = FindingKey(FindingKind(values["kind"]), values["subject"])
    return OpenFinding(
        id=values["id"],
        instance=values["instance"],
        finding=Finding(key, values["text"], values["processing_id"]),
        opened_at=values["opened_at"],
        remedy=values["remedy"],
        remedy_state=values["remedy_state"],
        remedy_note=values["remedy_note"],
        remedy_at=values["remedy_at"],
        remedy_attempts=values["remedy_attempts"],
        intent=values["intent"],
    )
