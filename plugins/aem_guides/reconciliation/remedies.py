"""Read one instance, reconcile it with the ledger, and carry out remedies. The tasks of the DAG call these
functions."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import cast

import msgspec

from aem_guides.archive.job import archive_job
from aem_guides.archive.place import verify_archive
from aem_guides.hooks.hook import AemGuidesHook
from aem_guides.ledger.clock import now_ms
from aem_guides.ledger.database import LedgerRefusedError
from aem_guides.ledger.findings import FindingKind, Remedy
from aem_guides.ledger.queries import BEGUN, DONE, FAILED, WANTED, OpenFinding
from aem_guides.ledger.records import LedgerJob, RunKey, Snapshot, request_of
from aem_guides.ledger.settings import ReconcileSettings
from aem_guides.ledger.store import Ledger
from aem_guides.ledger.waiting import forget, notes_set_aside, set_aside, waiting_notes
from aem_guides.protocol.errors import AemGuidesError, JobFailedError, JobLostError, RejectedError
from aem_guides.protocol.hours import parse_only_between
from aem_guides.protocol.models import Job, JsonObject, ProcessingRequest, newest_first
from aem_guides.protocol.procedures.cancel import CancelOutcome, CancelResult
from aem_guides.protocol.procedures.course import NoTurnError
from aem_guides.protocol.procedures.follow import find_job
from aem_guides.protocol.procedures.intent import Intent
from aem_guides.protocol.states import Verdict
from aem_guides.reconciliation.late_lines import look_for_late_lines
from aem_guides.runtime.path_store import PathStore
from aem_guides.runtime.task_states import TaskKey
from aem_guides.storage import ArchiveCondition
from aem_guides.triggers.kill import settle_left_behind
from aem_guides.triggers.turn import Resume, resume_job

WAIT_TASK = "wait_for_processing"
ARCHIVES_AT_ONCE = 5
ARCHIVE_CHECK_EVERY_MS = 24 * 3600 * 1000
LISTED_JOBS = 50
MOST_ATTEMPTS = 5
"""How often a failing remedy is tried, once per reconciliation."""

RunState = Callable[[RunKey], "str | None"]

log = logging.getLogger(__name__)


def take_in_waiting_notes(ledger: Ledger) -> int:
    """Write the notes that waited for the ledger, and return their number. A note that cannot be written does not delay
    others."""
    taken = 0
    with waiting_notes() as waiting:
        for note, place in waiting:
            try:
                if isinstance(note, str):
                    raise LedgerRefusedError(note)
                ledger.take_note(note)
            except LedgerRefusedError as error:
                set_aside(place, str(error))
                continue
            forget(place)
            taken += 1
    return taken


def take_snapshot(
    hook: AemGuidesHook,
    ledger: Ledger,
    connection_id: str,
    run_state: RunState,
    remedies: frozenset[Remedy] = frozenset(),
) -> Snapshot:
    """Read the window, the status of every job that counts as active, our runs' states, and some archives again.

    If logs are archived (`remedies`), the logs of some recently ended jobs are compared with their archives.

    Raises what a call raises, and the errors of the ledger.
    """
    instance = hook.settings.instance
    history = hook.get_history()
    taken_at = now_ms()
    shown = [job.processing_id for job in history.jobs]
    known = ledger.view(instance, shown, taken_at)
    asked = {f.subject for f in known.open_findings if f.kind is FindingKind.FAILED_RESUMABLE}
    asked |= {name for name, job in known.jobs.items() if job.active or job.missing_since is not None}
    statuses = dict(_statuses(hook, sorted(asked - set(shown))))
    runs = {job.run for job in known.jobs.values() if job.run is not None}
    return Snapshot(
        instance=instance,
        connection_id=connection_id,
        taken_at=taken_at,
        instance_now=hook.talk.instance_now(),
        window=history.jobs,
        unreadable=history.unreadable,
        statuses=statuses,
        runs={run: run_state(run) for run in sorted(runs)},
        archives=_check_archives(ledger, instance, taken_at),
        log_grown=look_for_late_lines(hook, history.jobs, known) if Remedy.ARCHIVE in remedies else {},
        set_aside=notes_set_aside(),
    )


def _statuses(hook: AemGuidesHook, names: Iterable[str]) -> Iterable[tuple[str, Job | None]]:
    for name in names:
        try:
            yield name, hook.get_status(name)
        except RejectedError:  # 400 and 404 alike, as in find_job
            yield name, None
        except AemGuidesError as error:
            log.warning("The status of job %s could not be read: %s", name, error)


def _check_archives(ledger: Ledger, instance: str, now: int) -> dict[str, ArchiveCondition]:
    found: dict[str, ArchiveCondition] = {}
    for archive in ledger.archives_to_check(instance, now - ARCHIVE_CHECK_EVERY_MS, ARCHIVES_AT_ONCE):
        try:
            found[archive.processing_id] = verify_archive(archive.archive_uri, sha256=archive.sha256)
        except AemGuidesError as error:
            log.warning("Archive %s could not be checked again: %s", archive.archive_uri, error)
    return found


@dataclass(frozen=True)
class Assignment:
    """A remedy for one finding, as a task of its own. One alert covers all findings of an instance."""

    instance: str
    connection_id: str
    remedy: Remedy
    finding_id: int = 0
    processing_id: str = ""

    @property
    def label(self) -> str:
        return f"{self.remedy} {self.processing_id or self.instance}"

    def to_json(self) -> JsonObject:
        """The same as plain JSON, for XCom. `from_json` reads it back."""
        return cast("JsonObject", msgspec.to_builtins(self))

    @classmethod
    def from_json(cls, data: Mapping[str, object]) -> Assignment:
        """Read what `to_json` wrote. Raises ValueError for anything else."""
        return msgspec.convert(data, cls)


def assignments(ledger: Ledger, instance: str, connection_id: str, settings: ReconcileSettings) -> list[Assignment]:
    """The remedies to carry out now, for open findings: those not done yet and not tried too often.

    A resume may wait a minute in a worker. So they come last, and only as many as jobs may be active: those that were
    not tried for the longest time.
    """
    found, resumes = list[Assignment](), list[tuple[int, Assignment]]()
    for item in ledger.open_findings(instance):
        remedy = Remedy(item.remedy) if item.remedy else None
        if remedy is None or remedy not in settings.remedies or item.finding.processing_id is None:
            continue
        if item.remedy_state not in (None, WANTED, BEGUN, FAILED) or item.remedy_attempts >= MOST_ATTEMPTS:
            continue
        assignment = Assignment(instance, connection_id, remedy, item.id, item.finding.processing_id)
        if remedy is Remedy.RESUME:
            resumes.append((item.remedy_at or 0, assignment))
        else:
            found.append(assignment)
    resumes.sort(key=lambda entry: entry[0])
    return [*found, *(assignment for _, assignment in resumes[: settings.max_active_jobs])]


@dataclass(frozen=True)
class RemedyResult:
    """The result of a remedy, in a sentence. `waits`: it was not tried, and the next reconciliation tries it."""

    assignment: Assignment
    succeeded: bool
    note: str
    waits: bool = False

    def to_json(self) -> JsonObject:
        """The same as plain JSON, for XCom."""
        return {**self.assignment.to_json(), "succeeded": self.succeeded, "note": self.note, "waits": self.waits}


def carry_out(assignment: Assignment, ledger: Ledger, settings: ReconcileSettings, *, by: str) -> RemedyResult:
    """Carry out one remedy, and store how it ended. After a crash in between, a second call repeats nothing."""
    item = ledger.finding(assignment.finding_id)
    if item is None:
        return _result(assignment, succeeded=True, note="The finding is gone.")
    if item.remedy_state == DONE:
        return _result(assignment, succeeded=True, note=item.remedy_note or "An earlier attempt did it already.")
    ledger.begin_remedy(item.id, by=by, now=now_ms())
    act = {Remedy.ARCHIVE: _archive, Remedy.RESUME: _resume, Remedy.ADOPT: _adopt}[assignment.remedy]
    in_doubt = False
    try:
        with AemGuidesHook(assignment.connection_id) as hook:
            result = act(assignment, item, hook, ledger, settings, by)
    except NoTurnError as error:
        note = f"{error} The next reconciliation tries again ([aem_guides] reconcile_max_active_jobs)."
        result = _wait(assignment, note)
    except AemGuidesError as error:
        result = _result(assignment, succeeded=False, note=str(error))
        in_doubt = not isinstance(error, JobFailedError)  # JobFailedError means that the instance has refused
    if result.waits:
        ledger.postpone_remedy(item.id, note=result.note, now=now_ms())
    else:
        ledger.end_remedy(item.id, succeeded=result.succeeded, note=result.note, now=now_ms(), in_doubt=in_doubt)
    return result


def request_to_resume(job: Job, entry: LedgerJob | None) -> ProcessingRequest:
    """The request of a job, from the ledger if it has it, else as far as the instance shows it."""
    if entry is not None and entry.request is not None:
        return ProcessingRequest.from_json(entry.request)
    return request_of(job) or ProcessingRequest(path="/")


def _find(hook: AemGuidesHook, processing_id: str) -> Job:
    job = hook.drive(find_job(hook.talk, processing_id))
    if job is None:
        raise JobLostError(f"Job {processing_id} is no longer in the status or the history.")
    return job


def _archive(
    assignment: Assignment, item: OpenFinding, hook: AemGuidesHook, ledger: Ledger, _: ReconcileSettings, by: str
) -> RemedyResult:
    job = _find(hook, assignment.processing_id)
    entry = ledger.find(item.instance, assignment.processing_id)
    request = entry.request if entry else None
    first_seen = entry.first_seen_at if entry else now_ms()
    archive = archive_job(hook, job, run=by, request=request, first_seen=lambda: first_seen / 1000)
    if archive is None:
        return _result(assignment, succeeded=True, note="The instance says that the job has no log.")
    ledger.archived(item.instance, job.processing_id, archive.uri, archive.sha256, now_ms())
    return _result(assignment, succeeded=True, note=f"Archived as {archive.uri} (SHA-256 {archive.sha256}).")


def _resume(
    assignment: Assignment,
    item: OpenFinding,
    hook: AemGuidesHook,
    ledger: Ledger,
    settings: ReconcileSettings,
    by: str,
) -> RemedyResult:
    job = _find(hook, assignment.processing_id)
    entry = ledger.find(item.instance, assignment.processing_id)
    if entry is not None and entry.resumes >= settings.max_resumes and item.intent is None:
        note = f"Not resumed: it was resumed {entry.resumes} times already (reconcile_max_resumes)."
        return _result(assignment, succeeded=False, note=note)
    if item.intent is None and (job.verdict is not Verdict.FAILED or not job.resumable):
        note = f"Not resumed: it is {job.status_word} by now, not a failed job that can be resumed."
        return _result(assignment, succeeded=True, note=note)
    if (held := _held_back(entry)) is not None:
        return _wait(assignment, held)

    def keep(intent: Intent) -> None:
        ledger.keep_intent(item.id, intent.to_json())

    intent = Intent.from_json(item.intent) if item.intent else None
    request = request_to_resume(job, entry)
    resume = Resume(job, request, settings.max_active_jobs, by, intent)
    goes_on_as = resume_job(hook, resume, keep, log)
    if goes_on_as is None:
        return _result(assignment, succeeded=True, note="Not resumed: somebody else has resumed it.")
    if entry is not None:
        ledger.resumed(item.id, item.instance, entry, goes_on_as, now_ms())
    return _result(assignment, succeeded=True, note=f"Resumed from its checkpoint. Its id is now {goes_on_as}.")


def _held_back(entry: LedgerJob | None) -> str | None:
    """Why the job may not run now: it is outside of the off-peak hours of the run that started it."""
    store = _store_of(entry)
    state, now = store.load() if store is not None else None, now_ms() / 1000
    hours = parse_only_between(state.only_between) if state is not None else None
    if hours is None or hours.is_open(now):
        return None
    opens = hours.describe(hours.opens_at(now))
    return f"Not resumed yet: its run has off-peak hours (only_between: {hours}). They begin again at {opens}."


def _adopt(
    assignment: Assignment, item: OpenFinding, hook: AemGuidesHook, ledger: Ledger, _: ReconcileSettings, __: str
) -> RemedyResult:
    entry = ledger.find(item.instance, assignment.processing_id)
    outcome = _settled(hook, entry) if entry is not None and entry.active and entry.reported_state is None else None
    if entry is not None and outcome is not None:
        said = (
            f"Its run was marked failed while no process could cancel the job. {outcome.in_words(entry.processing_id)}"
        )
        if outcome.result is CancelResult.UNKNOWN:
            return _result(assignment, succeeded=False, note=said)
        ledger.keep(item.instance, entry.processing_id)
        return _result(assignment, succeeded=True, note=said)
    ledger.keep(item.instance, assignment.processing_id)
    note = "The ledger took the state that the instance shows. From now on the reconciliation follows the job."
    return _result(assignment, succeeded=True, note=note)


def _settled(hook: AemGuidesHook, entry: LedgerJob) -> CancelOutcome | None:
    """The result of the cancel, if a task of the job's path was killed and its job was still to be cancelled; else
    None."""
    store = _store_of(entry)
    if store is None or entry.run is None or entry.task_id is None:
        return None
    run, group = entry.run, entry.task_id.rpartition(".")[0]
    wait = f"{group}.{WAIT_TASK}" if group else WAIT_TASK
    tasks = [TaskKey(run.dag_id, run.run_id, task_id, entry.map_index) for task_id in (entry.task_id, wait)]
    return settle_left_behind(hook, store, tasks)[1]


def _store_of(entry: LedgerJob | None) -> PathStore | None:
    """Where the run that started the job stored the state of its path. None if no run of ours did."""
    if entry is None or entry.run is None or entry.task_id is None or entry.fingerprint is None:
        return None
    return PathStore.of_path(entry.run.dag_id, entry.run.run_id, entry.task_id, entry.fingerprint)


def _result(assignment: Assignment, *, succeeded: bool, note: str) -> RemedyResult:
    return RemedyResult(assignment, succeeded, note)


def _wait(assignment: Assignment, note: str) -> RemedyResult:
    return RemedyResult(assignment, succeeded=False, note=note, waits=True)


def findings_of(ledger: Ledger, instance: str) -> list[JsonObject]:
    """The open findings, for the report."""
    return [
        cast(
            "JsonObject",
            {
                "kind": str(item.finding.key.kind),
                "severity": str(item.finding.severity),
                "processing_id": item.finding.processing_id,
                "text": item.finding.text,
                "opened_at": item.opened_at,
                "remedy": item.remedy,
                "remedy_state": item.remedy_state,
                "remedy_note": item.remedy_note,
            },
        )
        for item in ledger.open_findings(instance)
    ]


def jobs_of(ledger: Ledger, snapshot: Snapshot) -> list[JsonObject]:
    """The jobs in the window for the report, the newest first, as the ledger has them. At most 50."""
    newest = [job.processing_id for job in newest_first(snapshot.window)[:LISTED_JOBS]]
    known = ledger.view(snapshot.instance, newest, snapshot.taken_at).jobs
    return [_shown(known[name]) for name in newest if name in known]


def _shown(entry: LedgerJob) -> JsonObject:
    return {
        "processing_id": entry.processing_id,
        "path": entry.path,
        "state": entry.state,
        "assets": entry.triggered_count,
        "started_by": f"{entry.run.dag_id} / {entry.run.run_id}" if entry.run else entry.created_by,
        "archived": entry.archive_uri is not None,
    }
