"""Compare an instance with the ledger. The result: findings, and the new entries of the ledger. Pure.

The window is read as a set: its order has no meaning. Times of the instance are compared only with times of the
instance, and ours with ours, so a difference between the two clocks does not matter. A second comparison with the same
snapshot finds nothing.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from aem_guides.ledger.findings import Finding, FindingKey, FindingKind
from aem_guides.ledger.names import storable_name
from aem_guides.ledger.records import LOST, LedgerJob, RunKey, Snapshot, observed
from aem_guides.protocol.models import Job
from aem_guides.protocol.states import ENDED_STATES, JobState, state_of_word
from aem_guides.protocol.wording import in_words, iso_time
from aem_guides.storage import ArchiveCondition

GRACE_MS = 120_000
"""A start, an end or a first check must be so long ago before a difference counts."""

OVER_RUN_STATES = frozenset({"success", "failed", None})
"""The states of a run that has ended. None: Airflow no longer knows the run."""


@dataclass(frozen=True)
class ReconcilePolicy:
    """The options of the comparison. `archive_foreign`: the logs of other users' jobs are archived too."""

    stall_minutes: float = 60
    archive_foreign: bool = False


@dataclass(frozen=True)
class LedgerView:
    """The part of the ledger that a snapshot concerns.

    `jobs`: those in the window, those that count as active, and those with something left to do. `open_findings`:
    findings from before that are still open. `reported`: findings that were reported before. `last_window` maps the
    jobs of the last window to their starts (empty: no window was seen yet), read at `last_taken_at`.
    """

    jobs: Mapping[str, LedgerJob] = field(default_factory=dict)
    open_findings: frozenset[FindingKey] = frozenset()
    reported: frozenset[FindingKey] = frozenset()
    last_window: Mapping[str, int | None] = field(default_factory=dict)
    last_taken_at: int | None = None


@dataclass(frozen=True)
class StateChange:
    """A job has another state than before. `before` is None for a new job."""

    processing_id: str
    before: str | None
    after: str


@dataclass(frozen=True)
class Reconciliation:
    """The result. `jobs` has the complete new entries of the jobs that changed."""

    jobs: tuple[LedgerJob, ...]
    changes: tuple[StateChange, ...]
    opened: tuple[Finding, ...]
    closed: tuple[FindingKey, ...]
    window: Mapping[str, int | None]


def reconcile(snapshot: Snapshot, ledger: LedgerView, policy: ReconcilePolicy) -> Reconciliation:
    """Compare the snapshot with the ledger."""
    return _Comparison(snapshot, ledger, policy).result()


class _Comparison:
    """One snapshot against one view of the ledger."""

    def __init__(self, snapshot: Snapshot, ledger: LedgerView, policy: ReconcilePolicy) -> None:
        self.snapshot = snapshot
        self.ledger = ledger
        self.policy = policy
        self.seen: dict[str, Job] = {job.processing_id: job for job in snapshot.window}
        self.seen.update((name, job) for name, job in snapshot.statuses.items() if job is not None)
        self.jobs: dict[str, LedgerJob] = dict(ledger.jobs)
        self.changes: list[StateChange] = []
        self.found: list[Finding] = []
        self.latest: dict[str, int] = {}
        self.continued: set[str | None] = set()

    def result(self) -> Reconciliation:
        self._take_in_what_is_seen()
        self._take_in_what_is_missing()
        for job in self.jobs.values():
            self.latest[job.fingerprint or ""] = max(self.latest.get(job.fingerprint or "", 0), job.started_at or 0)
        self.continued = {job.continues for job in self.jobs.values()}
        for name in sorted(self.jobs):
            self._examine(name)
        self._find_gap()
        self._find_duplicates()
        self._find_unreadable()
        self._find_set_aside()
        return Reconciliation(
            jobs=tuple(job for name, job in sorted(self.jobs.items()) if job != self.ledger.jobs.get(name)),
            changes=tuple(self.changes),
            opened=tuple(self._opened()),
            closed=tuple(sorted(self.ledger.open_findings - {finding.key for finding in self.found})),
            window={job.processing_id: job.started_at for job in self.snapshot.window},
        )

    def _opened(self) -> Iterator[Finding]:
        """The new findings, each once: two entries may have the same flaw, and a job may be listed twice."""
        once: dict[FindingKey, Finding] = {}
        for finding in self.found:
            once.setdefault(finding.key, finding)
        for key, finding in once.items():
            if key not in self.ledger.open_findings and key not in self.ledger.reported:
                yield finding

    def _take_in_what_is_seen(self) -> None:
        for name, job in self.seen.items():
            known = self.jobs.get(name)
            entry = observed(job, known, self.snapshot.taken_at)
            if known is None:
                entry = dataclasses.replace(
                    entry, connection_id=self.snapshot.connection_id, wants_archive=self.policy.archive_foreign
                )
            self.jobs[name] = entry
            if known is None or known.state != entry.state:
                self.changes.append(StateChange(name, known.state if known else None, entry.state))
            if known is not None and known.state != entry.state:
                self._add(
                    FindingKind.STATE_CHANGED,
                    f"{name}: {known.state} -> {entry.state} @{entry.completed_at or entry.started_at or 0}",
                    f"Job {name} on {entry.path} went from {known.state} to {entry.state}.",
                    name,
                )

    def _take_in_what_is_missing(self) -> None:
        for name, job in self.snapshot.statuses.items():
            known = self.jobs.get(name)
            if job is not None or known is None or name in self.seen or known.state == LOST or not known.active:
                continue
            since = known.missing_since or self.snapshot.taken_at
            entry = dataclasses.replace(known, missing_since=since)
            if self.snapshot.taken_at - known.first_seen_at >= GRACE_MS:
                entry = dataclasses.replace(entry, state=LOST, active=False)
                self.changes.append(StateChange(name, known.state, LOST))
            self.jobs[name] = entry

    def _examine(self, name: str) -> None:
        job, before = self.jobs[name], self.ledger.jobs.get(name)
        self._find_external(job)
        self._find_missed(job, before)
        self._find_disagreement(job)
        self._find_lost(job)
        self._find_stalled(job)
        self._find_failed_resumable(job)
        self._find_log_not_archived(job)
        self._find_log_grown(job)
        self._find_archive_missing(job)
        self._find_unknown_state(job)

    def _find_external(self, job: LedgerJob) -> None:
        if job.ours or job.announced or self._age(job) < GRACE_MS:
            return
        self.jobs[job.processing_id] = dataclasses.replace(job, announced=True)
        self._add(
            FindingKind.NEW_EXTERNAL,
            job.processing_id,
            f"{job.created_by or 'An unknown user'} started job {job.processing_id} on {job.path} at "
            f"{iso_time(job.started_at) or 'an unknown time'}; its state is {job.state}.",
        )

    def _find_missed(self, job: LedgerJob, before: LedgerJob | None) -> None:
        if before is None or not before.active or job.active or job.state == LOST or not self._run_is_over(job):
            return
        if before.reported_state in (None, JobState.RUNNING, JobState.WAITING, JobState.UNKNOWN):
            self._add(
                FindingKind.MISSED_COMPLETION,
                f"{job.processing_id} @{job.completed_at or 0}",
                f"Job {job.processing_id} on {job.path} ended as {job.state} at "
                f"{iso_time(job.completed_at) or 'an unknown time'}, after its run {_run_name(job.run)} had ended.",
                job.processing_id,
            )

    def _find_disagreement(self, job: LedgerJob) -> None:
        if job.kept or not self._run_is_over(job) or job.state in (LOST, JobState.UNKNOWN):
            return
        run = f"Run {_run_name(job.run)} ({self._run_state(job) or 'gone'})"
        said = job.reported_state
        if job.active:
            text = f"{run} is over, but its job {job.processing_id} on {job.path} is still {job.state}."
        elif said in ENDED_STATES | {LOST} and said != job.state:
            text = (
                f"{run} reported job {job.processing_id} on {job.path} as {said}, but the instance shows {job.state}."
            )
        else:
            return
        self._add(FindingKind.DISAGREEMENT, job.processing_id, text)

    def _find_lost(self, job: LedgerJob) -> None:
        if job.ours and job.state == LOST:
            self._add(
                FindingKind.LOST,
                job.processing_id,
                f"Job {job.processing_id} on {job.path} has been in neither history nor status since "
                f"{iso_time(job.missing_since)}. Check in the Bulk Processor whether it ran.",
            )

    def _find_stalled(self, job: LedgerJob) -> None:
        quiet = self.snapshot.taken_at - job.progress_at
        if job.active and quiet >= self.policy.stall_minutes * 60_000:
            self._add(
                FindingKind.STALLED,
                job.processing_id,
                f"Job {job.processing_id} on {job.path} made no progress for {in_words(quiet / 1000)}; it is at "
                f"{job.triggered_count if job.triggered_count is not None else 'an unknown number'} of "
                f"{job.total_files if job.total_files is not None else 'unknown'} assets.",
            )

    def _find_failed_resumable(self, job: LedgerJob) -> None:
        if job.state != JobState.FAILED or not job.resumable or not self._run_is_over(job):
            return
        if self._is_superseded(job):
            return
        self._add(
            FindingKind.FAILED_RESUMABLE,
            job.processing_id,
            f"Job {job.processing_id} on {job.path} failed at {job.triggered_count} of {job.total_files} assets and "
            f"can be resumed, but its run {_run_name(job.run)} does not resume it.",
        )

    def _find_log_not_archived(self, job: LedgerJob) -> None:
        if not job.wants_archive or job.active or job.archive_uri or job.state == LOST:
            return
        since_end = self.snapshot.instance_now - (job.completed_at or job.started_at or 0)
        if not self._run_is_over(job) if job.ours else since_end < GRACE_MS:
            return
        seen = self.seen.get(job.processing_id)
        if seen is not None and seen.has_logs is False:
            return
        self._add(
            FindingKind.LOG_NOT_ARCHIVED,
            job.processing_id,
            f"The log of job {job.processing_id} on {job.path} ({job.state}) is not archived.",
        )

    def _find_log_grown(self, job: LedgerJob) -> None:
        key = FindingKey(FindingKind.LOG_GROWN, job.processing_id)
        grown = self.snapshot.log_grown.get(job.processing_id, key in self.ledger.open_findings)
        if grown and job.archive_uri is not None:
            text = f"The log of job {job.processing_id} on {job.path} has more lines than when it was archived."
            self._add(key.kind, key.subject, text)

    def _find_archive_missing(self, job: LedgerJob) -> None:
        key = FindingKey(FindingKind.ARCHIVE_MISSING, job.processing_id)
        condition = self.snapshot.archives.get(job.processing_id)
        if job.archive_uri is None:
            return
        if condition is not None:
            current = self.jobs[job.processing_id]
            self.jobs[job.processing_id] = dataclasses.replace(current, archive_checked_at=self.snapshot.taken_at)
        if condition is ArchiveCondition.OK or (condition is None and key not in self.ledger.open_findings):
            return
        what = "is not the one that was stored" if condition is ArchiveCondition.DIFFERENT else "is gone"
        self._add(key.kind, key.subject, f"The archive {job.archive_uri} of job {job.processing_id} {what}.")

    def _find_unknown_state(self, job: LedgerJob) -> None:
        """An unknown word is a finding as long as the job is visible. The other fields decide the state of the job."""
        shown = job.active or job.processing_id in self.seen
        if shown and job.status_word and state_of_word(job.status_word) is JobState.UNKNOWN:
            self._add(
                FindingKind.UNKNOWN_STATE,
                job.processing_id,
                f"Job {job.processing_id} on {job.path} is in the unknown state {job.status_word!r}; its other "
                f"fields say {'active' if job.active else job.state}.",
            )

    def _find_gap(self) -> None:
        before = self.ledger.last_window
        if not before or any(before.get(job.processing_id, -1) == job.started_at for job in self.snapshot.window):
            return
        if any(before.get(job.processing_id, -1) is None for job in self.snapshot.window):
            return
        since = iso_time(self.ledger.last_taken_at)
        self._add(
            FindingKind.WINDOW_GAP,
            f"{since} to {iso_time(self.snapshot.taken_at)}",
            f"The window has changed completely since {since}: none of its {len(before)} jobs is still shown, "
            f"{len(self.snapshot.window)} others are. Jobs in between may have been missed. Reconcile more often "
            "(reconcile_schedule).",
        )

    def _find_duplicates(self) -> None:
        alike: dict[str, list[LedgerJob]] = {}
        for job in self.jobs.values():
            if job.fingerprint and job.started_at and job.state != LOST and not job.resumes:
                alike.setdefault(job.fingerprint, []).append(job)
        for group in alike.values():
            running: list[LedgerJob] = []
            for job in sorted(group, key=lambda job: (job.started_at or 0, job.processing_id)):
                running = [other for other in running if _runs_beyond(other, job.started_at or 0)]
                for other in running:
                    self._add_duplicate(other, job)
                running.append(job)

    def _add_duplicate(self, one: LedgerJob, other: LedgerJob) -> None:
        names = (one.processing_id, other.processing_id)
        if one.continues in names or other.continues in names or not self.seen.keys() & set(names):
            return
        self._add(
            FindingKind.DUPLICATE,
            " + ".join(names),
            f"Jobs {names[0]} (by {one.created_by}) and {names[1]} (by {other.created_by}) had the same request on "
            f"{one.path} at the same time.",
            names[0],
        )

    def _find_unreadable(self) -> None:
        for entry in self.snapshot.unreadable:
            said = entry.partition(": ")[2] or entry
            self._add(FindingKind.UNREADABLE_ENTRY, said, f"The history has an entry that cannot be read: {said}.")

    def _find_set_aside(self) -> None:
        for place in self.snapshot.set_aside:
            said = f"The ledger cannot read a run's note of its job. The note is in {place}. Read it, then remove it."
            self._add(FindingKind.NOTE_SET_ASIDE, place, said)

    def _is_superseded(self, job: LedgerJob) -> bool:
        """Whether a later job had the same request, or continues this one."""
        return job.processing_id in self.continued or self.latest.get(job.fingerprint or "", 0) > (job.started_at or 0)

    def _run_is_over(self, job: LedgerJob) -> bool:
        """Whether our run that started the job has ended. False for a job of another user."""
        return job.run is not None and job.run in self.snapshot.runs and self._run_state(job) in OVER_RUN_STATES

    def _run_state(self, job: LedgerJob) -> str | None:
        return self.snapshot.runs.get(job.run) if job.run else None

    def _age(self, job: LedgerJob) -> int:
        seen_for = self.snapshot.taken_at - job.first_seen_at
        return max(seen_for, self.snapshot.instance_now - job.started_at) if job.started_at else seen_for

    def _add(self, kind: FindingKind, subject: str, text: str, processing_id: str | None = None) -> None:
        name = processing_id or (subject if subject in self.jobs else None)
        # In the form in which the ledger returns it, so that it is recognised.
        self.found.append(Finding(FindingKey(kind, storable_name(subject)), text, name))


def _runs_beyond(job: LedgerJob, at: int) -> bool:
    """Whether the job still ran after that time. A job that ended exactly then did not."""
    return job.active or (job.completed_at is not None and job.completed_at > at)


def _run_name(run: RunKey | None) -> str:
    return f"{run.dag_id} / {run.run_id}" if run else "(none)"
