"""Small worlds for the reconciliation: jobs, windows, ledgers."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from aem_guides.ledger.findings import FindingKey, FindingKind, Remedy
from aem_guides.ledger.notes import Note, Outcome
from aem_guides.ledger.reconcile import LedgerView, ReconcilePolicy, Reconciliation, reconcile
from aem_guides.ledger.records import LedgerJob, RunKey, Snapshot, request_of
from aem_guides.ledger.store import Ledger
from aem_guides.protocol.models import Job, ProcessingRequest
from aem_guides.protocol.states import state_of_word

INSTANCE = "author.example.com"
NOW = 1_800_000_000_000
MINUTE = 60_000
RUN = RunKey("aem_guides_process_assets", "manual__1")
POLICY = ReconcilePolicy()
ALL = frozenset(Remedy)


def job(name: str, word: str = "SUCCESS", *, start: int = NOW - 30 * MINUTE, **more: object) -> Job:
    """A job as the instance shows it. An ended one took ten minutes."""
    state = state_of_word(word)
    ended = {} if word in ("WAITING", "RUNNING", "Paused") else {"completed_at": start + 10 * MINUTE}
    values: dict[str, object] = {
        "path": f"/content/dam/{name}",
        "created_by": "author",
        "triggered_count": 10,
        "total_files": 20,
        "has_logs": True,
        "cancellable": word in ("WAITING", "RUNNING", "Paused"),
        **ended,
        **more,
    }
    return Job(processing_id=name, state=state, status_word=word, started_at=start, **values)  # type: ignore[arg-type]


def snapshot(*window: Job, at: int = NOW, skew: int = 0, **more: object) -> Snapshot:
    """A snapshot taken at our time `at`, on an instance whose clock is `skew` ahead."""
    return Snapshot(INSTANCE, "aem_guides_default", at, at + skew, window, **more)  # type: ignore[arg-type]


def entry(seen: Job, *, at: int = NOW - 5 * MINUTE, **more: object) -> LedgerJob:
    """The ledger's entry of a job as seen at `at`, already well known."""
    request = request_of(seen)
    known = LedgerJob(
        processing_id=seen.processing_id,
        state=str(seen.state),
        active=seen.is_active,
        path=seen.path,
        request=request.to_json() if request else None,
        fingerprint=request.fingerprint() if request else None,
        created_by=seen.created_by,
        connection_id="aem_guides_default",
        status_word=seen.status_word,
        total_files=seen.total_files,
        triggered_count=seen.triggered_count,
        started_at=seen.started_at,
        completed_at=seen.completed_at,
        resumable=bool(seen.resumable),
        first_seen_at=at,
        last_seen_at=at,
        progress_at=at,
        announced=True,
    )
    return dataclasses.replace(known, **more)  # type: ignore[arg-type]


def ours(seen: Job, *, at: int = NOW - 5 * MINUTE, **more: object) -> LedgerJob:
    """The same for a job that one of our runs started."""
    known = entry(seen, at=at, run=RUN, task_id="process_path.start_processing", wants_archive=True)
    return dataclasses.replace(known, **more)  # type: ignore[arg-type]


def view(*entries: LedgerJob, **more: object) -> LedgerView:
    """A ledger with these entries, all of which its last window showed."""
    window: Mapping[str, int | None] = {e.processing_id: e.started_at for e in entries}
    values: dict[str, object] = {"last_window": window, "last_taken_at": NOW - 5 * MINUTE, **more}
    return LedgerView(jobs={e.processing_id: e for e in entries}, **values)  # type: ignore[arg-type]


def found(result: Reconciliation) -> dict[str, str]:
    """The kinds of the opened findings, each with its text."""
    return {str(finding.key.kind): finding.text for finding in result.opened}


def kinds(shown: Snapshot, ledger: LedgerView, policy: ReconcilePolicy = POLICY) -> set[str]:
    return set(found(reconcile(shown, ledger, policy)))


def after(ledger: LedgerView, shown: Snapshot, result: Reconciliation) -> LedgerView:
    """The ledger after the result is written."""
    lasting = {finding.key for finding in result.opened if not finding.is_event}
    reported = {finding.key for finding in result.opened if finding.key.kind is FindingKind.DUPLICATE}
    return LedgerView(
        jobs={**ledger.jobs, **{changed.processing_id: changed for changed in result.jobs}},
        open_findings=(ledger.open_findings | lasting) - set(result.closed),
        reported=ledger.reported | reported,
        last_window=result.window,
        last_taken_at=shown.taken_at,
    )


def key(kind: FindingKind, subject: str) -> FindingKey:
    return FindingKey(kind, subject)


def apply(ledger: Ledger, shown: Snapshot, remedies: frozenset[Remedy] = ALL) -> set[str]:
    """Reconcile, and return the kinds of the opened findings."""
    result = ledger.reconcile(shown, POLICY, remedies, run_id="r", dry_run=False)
    return {str(finding.key.kind) for finding in result.opened}


def note(name: str, *, at: int = NOW - 10 * MINUTE, outcome: Outcome | None = None, **more: object) -> Note:
    request = ProcessingRequest(f"/content/dam/{name}").to_json()
    made = Note(INSTANCE, "aem_guides_default", name, request, RUN, "process_path.start_processing", 0, at)
    return dataclasses.replace(made, outcome=outcome, **more)  # type: ignore[arg-type]
