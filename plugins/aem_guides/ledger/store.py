"""Read and write the ledger. Each method is one transaction, and each instance has one writer at a time."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, Engine, delete, select, update

from aem_guides.ledger.clock import now_ms
from aem_guides.ledger.database import OpenLedger, ledger_errors, open_engine
from aem_guides.ledger.findings import Finding, FindingKind, Remedy
from aem_guides.ledger.notes import Note, noted
from aem_guides.ledger.queries import (
    BEGUN,
    DONE,
    FAILED,
    WANTED,
    OpenFinding,
    chunks,
    jobs_by_id,
    lock,
    note_state,
    open_finding,
    view,
    write,
    write_changes,
    write_jobs,
)
from aem_guides.ledger.reconcile import LedgerView, ReconcilePolicy, Reconciliation, StateChange, reconcile
from aem_guides.ledger.records import LedgerJob, RunKey, Snapshot
from aem_guides.ledger.tables import findings, jobs, path_states, reconciliations, state_changes
from aem_guides.protocol.models import JsonObject
from aem_guides.protocol.states import JobState


@dataclass(frozen=True)
class ArchiveToCheck:
    """An archive in the ledger."""

    processing_id: str
    archive_uri: str
    sha256: str | None


@dataclass(frozen=True)
class PathStateKey:
    """Where the state of a path of a run is stored."""

    key: str
    run: RunKey


class SupersededError(Exception):
    """A later snapshot of the instance was written already."""


class Ledger(OpenLedger):
    """The ledger. Use it as a context manager; every method is one transaction.

    Every method raises LedgerUnavailableError; opening also LedgerVersionError and ConfigurationError.
    """

    def __init__(self, engine: Engine | None = None) -> None:
        super().__init__(engine or open_engine())

    @contextlib.contextmanager
    def begin(self, what: str) -> Iterator[Connection]:
        """A transaction, committed at the end."""
        with ledger_errors(what), self._engine.begin() as connection:
            yield connection

    def take_note(self, note: Note) -> LedgerJob:
        """Write the note of a run about its job."""
        with self.begin("Noting a job") as connection:
            lock(connection, note.instance)
            known = jobs_by_id(connection, note.instance, [note.processing_id]).get(note.processing_id)
            entry = noted(note, known, now_ms())
            write_jobs(connection, note.instance, [entry])
            if known is None or known.state != entry.state:
                change = StateChange(note.processing_id, known.state if known else None, entry.state)
                write_changes(connection, note.instance, [change], note.at, "run")
            note_state(connection, note)
            return entry

    def old_states(self, before: int, most: int = 500) -> list[PathStateKey]:
        """The states of paths without a note since then (epoch milliseconds), the oldest first."""
        columns = (path_states.c.key, path_states.c.dag_id, path_states.c.run_id)
        old = select(*columns).where(path_states.c.noted_at < before).order_by(path_states.c.noted_at).limit(most)
        with self.begin("Reading") as connection:
            return [PathStateKey(row.key, RunKey(row.dag_id, row.run_id)) for row in connection.execute(old)]

    def forget_states(self, keys: Sequence[str]) -> None:
        """Remove the keys of deleted states."""
        with self.begin("Forgetting states") as connection:
            for part in chunks(keys):
                connection.execute(delete(path_states).where(path_states.c.key.in_(part)))

    def find(self, instance: str, processing_id: str) -> LedgerJob | None:
        """One job, or None if the ledger does not have it."""
        with self.begin("Looking for a job") as connection:
            return jobs_by_id(connection, instance, [processing_id]).get(processing_id)

    def view(self, instance: str, window: Sequence[str], now: int) -> LedgerView:
        """The part of the ledger that a snapshot with this window concerns."""
        with self.begin("Reading") as connection:
            return view(connection, instance, window, now)

    def archives_to_check(self, instance: str, before: int, most: int) -> list[ArchiveToCheck]:
        """Archives not read again since `before` (epoch milliseconds), the oldest check first, and those that were
        missing."""
        columns = (jobs.c.processing_id, jobs.c.archive_uri, jobs.c.sha256)
        with self.begin("Reading") as connection:
            missing = select(findings.c.processing_id).where(
                findings.c.instance == instance,
                findings.c.kind == FindingKind.ARCHIVE_MISSING,
                findings.c.closed_at.is_(None),
            )
            known = [row.processing_id for row in connection.execute(missing)]
            here = (jobs.c.instance == instance, jobs.c.archive_uri.is_not(None))
            due = (
                select(*columns)
                .where(*here, jobs.c.archive_checked_at < before)
                .order_by(jobs.c.archive_checked_at)
                .limit(most)
            )
            rows = [*connection.execute(select(*columns).where(*here, jobs.c.processing_id.in_(known)))]
            rows += connection.execute(due)
            return list({row.processing_id: ArchiveToCheck(*row) for row in rows}.values())

    def reconcile(
        self,
        snapshot: Snapshot,
        policy: ReconcilePolicy,
        remedies: frozenset[Remedy],
        *,
        run_id: str,
        dry_run: bool,
    ) -> Reconciliation:
        """Reconcile a snapshot with the ledger and write the result. With `dry_run`, write nothing.

        Raises SupersededError if a later snapshot was already written.
        """
        with self.begin("Reconciling") as connection:
            taken_at = lock(connection, snapshot.instance)
            # A time in the future was noted by a clock that was ahead, so it does not prove a later snapshot.
            if taken_at is not None and snapshot.taken_at < taken_at <= now_ms():
                raise SupersededError(f"{snapshot.instance}: a later reconciliation was faster")
            window = [job.processing_id for job in snapshot.window]
            known = view(connection, snapshot.instance, window, snapshot.taken_at)
            result = reconcile(snapshot, known, policy)
            if not dry_run:
                write(connection, snapshot, known, result, remedies, run_id)
            else:
                connection.rollback()
            return result

    def open_findings(self, instance: str) -> list[OpenFinding]:
        """The open findings, the oldest first."""
        query = select(findings).where(findings.c.instance == instance, findings.c.closed_at.is_(None))
        with self.begin("Reading findings") as connection:
            return [open_finding(row) for row in connection.execute(query.order_by(findings.c.id))]

    def findings_of(self, instance: str, taken_at: int) -> tuple[list[Finding], list[Finding]]:
        """The findings that the reconciliation of this snapshot opened, and those that it closed. Every call gives the
        same."""
        here = findings.c.instance == instance
        opened = select(findings).where(here, findings.c.opened_at == taken_at)
        closed = select(findings).where(here, findings.c.opened_at < taken_at, findings.c.closed_at == taken_at)
        with self.begin("Reading findings") as connection:
            began, ended = (
                [open_finding(row).finding for row in connection.execute(query.order_by(findings.c.id))]
                for query in (opened, closed)
            )
        return began, ended

    def unalerted(self, instance: str) -> list[OpenFinding]:
        """Findings, open or closed, that were not sent to the notifiers yet."""
        query = select(findings).where(findings.c.instance == instance, findings.c.alert_state == WANTED)
        with self.begin("Reading findings") as connection:
            return [open_finding(row) for row in connection.execute(query.order_by(findings.c.id))]

    def finding(self, finding_id: int) -> OpenFinding | None:
        """One finding, or None if it is closed."""
        query = select(findings).where(findings.c.id == finding_id, findings.c.closed_at.is_(None))
        with self.begin("Reading a finding") as connection:
            row = connection.execute(query).one_or_none()
            return open_finding(row) if row else None

    def begin_remedy(self, finding_id: int, *, by: str, now: int) -> None:
        """Store that a remedy begins, before it is carried out."""
        self._set_remedy(finding_id, remedy_state=BEGUN, remedy_by=by, remedy_at=now)

    def keep_intent(self, finding_id: int, intent: JsonObject) -> None:
        """Store the intent of a resume, before it is sent."""
        self._set_remedy(finding_id, intent=intent)

    def end_remedy(self, finding_id: int, *, succeeded: bool, note: str, now: int, in_doubt: bool = False) -> None:
        """Store how a remedy ended. `in_doubt`: it may have been carried out nevertheless, so its intent is kept."""
        kept = {} if in_doubt else {"intent": None}
        with self.begin("Noting a remedy") as connection:
            connection.execute(
                update(findings)
                .where(findings.c.id == finding_id)
                .values(
                    remedy_state=DONE if succeeded else FAILED,
                    remedy_note=note[:2000],
                    remedy_at=now,
                    remedy_attempts=findings.c.remedy_attempts + 1,
                    **kept,
                )
            )

    def postpone_remedy(self, finding_id: int, *, note: str, now: int) -> None:
        """Store that a remedy could not be tried yet. The next reconciliation tries it; this does not count as a
        try."""
        self._set_remedy(finding_id, remedy_state=WANTED, remedy_note=note[:2000], remedy_at=now)

    def claim_alert(self, finding_ids: Sequence[int], now: int) -> list[int]:
        """Claim findings for the notifiers: those that no other process claimed before. A claim is not returned."""
        with self.begin("Claiming an alert") as connection:
            done = connection.execute(
                update(findings)
                .where(findings.c.id.in_(finding_ids), findings.c.alert_state == WANTED)
                .values(alert_state=BEGUN, alerted_at=now)
                .returning(findings.c.id)
            )
            return sorted(row.id for row in done)

    def end_alert(self, finding_ids: Sequence[int], *, succeeded: bool) -> None:
        """Store that the notifiers were called, or that they failed."""
        with self.begin("Noting an alert") as connection:
            connection.execute(
                update(findings).where(findings.c.id.in_(finding_ids)).values(alert_state=DONE if succeeded else WANTED)
            )

    def archived(self, instance: str, processing_id: str, uri: str, sha256: str, now: int) -> None:
        """Store where a job's log is archived."""
        self._set_job(instance, processing_id, archive_uri=uri, sha256=sha256, archive_checked_at=now)

    def keep(self, instance: str, processing_id: str) -> None:
        """Store that the reconciliation follows a job from now on."""
        self._set_job(instance, processing_id, kept=True)

    def resumed(self, finding_id: int, instance: str, entry: LedgerJob, goes_on_as: str, now: int) -> None:
        """Store that the reconciliation resumed a job and follows it from now on. Once for each finding.

        The finding is closed. If the job fails again before the next reconciliation, that is a finding of its own.
        """
        with self.begin("Noting a resume") as connection:
            lock(connection, instance)
            known = jobs_by_id(connection, instance, [goes_on_as]).get(goes_on_as)
            base = known or dataclasses.replace(entry, processing_id=goes_on_as, first_seen_at=now)
            same = goes_on_as == entry.processing_id
            fresh = dataclasses.replace(
                base,
                state=JobState.RUNNING,
                active=True,
                run=entry.run,
                request=entry.request,
                fingerprint=entry.fingerprint,
                continues=entry.continues if same else entry.processing_id,
                resumes=entry.resumes + 1,
                wants_archive=entry.wants_archive,
                kept=True,
                announced=True,
                archive_uri=None,
                sha256=None,
                completed_at=None,
                last_seen_at=now,
                progress_at=now,
            )
            write_jobs(connection, instance, [fresh])
            before = entry.state if same else None
            write_changes(connection, instance, [StateChange(goes_on_as, before, fresh.state)], now, "resume")
            done = update(findings).where(findings.c.id == finding_id)
            connection.execute(done.values(remedy_state=DONE, intent=None, closed_at=now))

    def prune(self, instance: str, before: int, most: int = 1000) -> int:
        """Delete jobs that ended and were last seen before then (epoch milliseconds), with all their rows.

        Archives are kept. At most `most` jobs are deleted at once. Returns their number.
        """
        with self.begin("Pruning") as connection:
            lock(connection, instance)
            old = (
                select(jobs.c.processing_id)
                .where(jobs.c.instance == instance, jobs.c.last_seen_at < before, jobs.c.active.is_(False))
                .order_by(jobs.c.last_seen_at)
                .limit(most)
            )
            names = [row.processing_id for row in connection.execute(old)]
            for part in chunks(names):
                for table in (findings, state_changes, jobs):
                    connection.execute(
                        delete(table).where(table.c.instance == instance, table.c.processing_id.in_(part))
                    )
            over = (findings.c.instance == instance, findings.c.opened_at < before, findings.c.closed_at.is_not(None))
            connection.execute(delete(findings).where(*over))
            connection.execute(
                delete(reconciliations).where(
                    reconciliations.c.instance == instance, reconciliations.c.taken_at < before
                )
            )
            return len(names)

    def _set_job(self, instance: str, processing_id: str, **values: object) -> None:
        with self.begin("Changing a job") as connection:
            lock(connection, instance)
            where = (jobs.c.instance == instance, jobs.c.processing_id == processing_id)
            connection.execute(update(jobs).where(*where).values(**values))

    def _set_remedy(self, finding_id: int, **values: object) -> None:
        with self.begin("Noting a remedy") as connection:
            connection.execute(update(findings).where(findings.c.id == finding_id).values(**values))
