"""The ledger's values of a job, and those of a reconciliation. Plain values without I/O.

Times are whole milliseconds since the Unix epoch, UTC. Times that end in `_seen_at`, `progress_at`, `missing_since` and
`taken_at` are by our clock; `started_at`, `completed_at` and `instance_now` are by the instance's.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import cast

import msgspec

from aem_guides.protocol.models import Job, JsonObject, JsonValue, ProcessingRequest
from aem_guides.protocol.states import JobState, Verdict
from aem_guides.storage import ArchiveCondition

LOST = "LOST"
"""The state of a job that is no longer in the history or the status. All other states are those of `JobState`."""


@dataclass(frozen=True, order=True)
class RunKey:
    """A DAG run of this Airflow."""

    dag_id: str
    run_id: str


@dataclass(frozen=True)
class LedgerJob:
    """A job in the ledger.

    `run` is our run that started it; None for another user's job. `reported_state`: the last state in the report of
    that run. `wants_archive`: its log must be archived. `kept`: its run has ended, and the reconciliation follows it.
    `announced`: another user's job was reported as a finding. `continues`: its id before a resume.
    """

    processing_id: str
    state: str
    active: bool
    path: str | None = None
    request: JsonObject | None = None
    fingerprint: str | None = None
    created_by: str | None = None
    connection_id: str | None = None
    run: RunKey | None = None
    task_id: str | None = None
    map_index: int = -1
    status_word: str = ""
    total_files: int | None = None
    triggered_count: int | None = None
    started_at: int | None = None
    completed_at: int | None = None
    resumable: bool = False
    resumes: int = 0
    continues: str | None = None
    reported_state: str | None = None
    first_seen_at: int = 0
    last_seen_at: int = 0
    progress_at: int = 0
    missing_since: int | None = None
    wants_archive: bool = False
    archive_uri: str | None = None
    sha256: str | None = None
    archive_checked_at: int | None = None
    kept: bool = False
    announced: bool = False

    @property
    def ours(self) -> bool:
        return self.run is not None

    def to_json(self) -> JsonObject:
        """The job as plain JSON, for XCom and for notes that wait."""
        return cast("JsonObject", dataclasses.asdict(self))


def request_of(job: Job) -> ProcessingRequest | None:
    """The request of the job, as far as the instance shows it. None if it shows no path."""
    if job.path is None:
        return None
    chosen = job.job_filter
    return ProcessingRequest(
        path=job.path,
        excluded_paths=tuple(sorted(job.excluded_paths or ())),
        file_types=chosen.file_types if chosen else (),
        created_after=chosen.created_after if chosen else None,
        created_before=chosen.created_before if chosen else None,
        **({"processing_type": job.processing_type} if job.processing_type else {}),
    )


_STATES = {
    Verdict.SUCCEEDED: JobState.SUCCESS,
    Verdict.WITH_ERRORS: JobState.WITH_ERRORS,
    Verdict.FAILED: JobState.FAILED,
    Verdict.CANCELLED: JobState.CANCELLED,
}


def observed(job: Job, known: LedgerJob | None, taken_at: int) -> LedgerJob:
    """The ledger's entry, updated with what the instance shows now. Fields that the instance does not show are kept."""
    state = str(job.state if job.state is not JobState.UNKNOWN else _STATES.get(job.verdict, JobState.UNKNOWN))
    before = known or _unknown(job, taken_at)
    moved = known is None or state != before.state or (job.triggered_count or 0) > (before.triggered_count or 0)
    back = known is not None and not known.active and known.state != LOST and job.is_active
    redone = known is not None and not known.active and not job.is_active and _ended_anew(job, known)
    return dataclasses.replace(
        before,
        state=state,
        active=job.is_active,
        status_word=job.status_word,
        path=job.path or before.path,
        created_by=job.created_by or before.created_by,
        total_files=job.total_files if job.total_files is not None else before.total_files,
        triggered_count=job.triggered_count if job.triggered_count is not None else before.triggered_count,
        started_at=job.started_at or before.started_at,
        completed_at=None if job.is_active else job.completed_at or before.completed_at,
        resumable=bool(job.resumable),
        resumes=before.resumes + (1 if back or redone else 0),
        last_seen_at=taken_at,
        progress_at=taken_at if moved else before.progress_at,
        missing_since=None,
        archive_uri=None if back or redone else before.archive_uri,
        sha256=None if back or redone else before.sha256,
    )


def _unknown(job: Job, taken_at: int) -> LedgerJob:
    request = request_of(job)
    return LedgerJob(
        processing_id=job.processing_id,
        state=str(job.state),
        active=job.is_active,
        request=request.to_json() if request else None,
        fingerprint=request.fingerprint() if request else None,
        first_seen_at=taken_at,
        last_seen_at=taken_at,
        progress_at=taken_at,
    )


def _ended_anew(job: Job, known: LedgerJob) -> bool:
    return None not in (job.completed_at, known.completed_at) and job.completed_at != known.completed_at


@dataclass(frozen=True)
class Snapshot:
    """The state of one instance at one time, with the related facts of Airflow and the archive.

    `window` is in the instance's order. `statuses` has the status of jobs outside of the window: None if the instance
    does not know the job, and no entry if the status could not be read. `runs` maps our runs to their states, None for
    a run that Airflow no longer knows. `archives` has the archives that were read again. `log_grown` says for some
    archived jobs whether the log has grown since. `set_aside` has the places of notes that the ledger cannot store.
    """

    instance: str
    connection_id: str
    taken_at: int
    instance_now: int
    window: tuple[Job, ...]
    unreadable: tuple[str, ...] = ()
    statuses: Mapping[str, Job | None] = field(default_factory=dict)
    runs: Mapping[RunKey, str | None] = field(default_factory=dict)
    archives: Mapping[str, ArchiveCondition] = field(default_factory=dict)
    log_grown: Mapping[str, bool] = field(default_factory=dict)
    set_aside: tuple[str, ...] = ()

    def to_json(self) -> JsonObject:
        """The snapshot as plain JSON, for XCom. `from_json` reads it back."""
        stored: JsonObject = msgspec.json.decode(msgspec.json.encode(dataclasses.replace(self, runs={})))
        return stored | {"runs": [[key.dag_id, key.run_id, state] for key, state in self.runs.items()]}

    @classmethod
    def from_json(cls, data: Mapping[str, JsonValue]) -> Snapshot:
        """Read what `to_json` wrote. Raises ValueError for anything else."""
        runs = msgspec.convert(data.get("runs"), list[tuple[str, str, str | None]])
        read = msgspec.convert({**data, "runs": {}}, cls)
        return dataclasses.replace(read, runs={RunKey(dag_id, run_id): state for dag_id, run_id, state in runs})
