"""A start or resume in doubt: how far it is settled, and the jobs that it may have become. Pure."""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from aem_guides.console.airflow_runs import NOT_SHOWN, AirflowRun
from aem_guides.ledger.lookup import Listed
from aem_guides.protocol.models import History, Job, Match, ProcessingRequest, newest_first
from aem_guides.protocol.procedures.intent import CLOCK_TOLERANCE_MS, Intent
from aem_guides.protocol.procedures.path_state import PathState, Phase
from aem_guides.protocol.procedures.settle import why_not
from aem_guides.protocol.states import JobState
from aem_guides.protocol.wording import iso_time
from aem_guides.runtime.doubts import MARKED_STATES, Doubt

MOST = 50
_STOPPED = ("failed", "upstream_failed")
_STATES = {*map(str, JobState)}


class Stage(enum.StrEnum):
    """How far a doubt is settled.

    open: a person has to choose. storing: a run stores the choice. stored: the run has not gone on yet. at_work: the
    task is at work again, whether with the choice or by a retry. hidden: Airflow does not show the task. gone: nothing
    waits for the choice, since the run was deleted, or the task marked. deleted: the state of the path was. over: there
    is no doubt any more, though it is still listed for a moment, or for good where a process died before it took it off
    the list.
    """

    OPEN = "open"
    STORING = "storing"
    STORED = "stored"
    AT_WORK = "at_work"
    HIDDEN = "hidden"
    GONE = "gone"
    DELETED = "deleted"
    OVER = "over"


FORGETTABLE = frozenset({Stage.GONE, Stage.DELETED, Stage.OVER})
"""The stages in which nothing waits for a choice, so that the doubt can be taken off the list."""


@dataclass(frozen=True)
class Case:
    """A doubt as it is now.

    `task_state`: that of its task in Airflow, None where Airflow does not show it. `settling`: the last run that was to
    store a choice. `is_deleted`: the state of the path was deleted, and only what is listed of it is known.
    """

    doubt: Doubt
    state: PathState
    task_state: str | None
    settling: AirflowRun | None = None
    is_deleted: bool = False

    @property
    def name(self) -> str:
        return self.doubt.name

    @property
    def intent(self) -> Intent | None:
        """The request in doubt; None where that is not in doubt any more."""
        return self.state.intent_in_doubt(self.doubt.at)

    @property
    def is_resume(self) -> bool:
        return self.state.phase is Phase.RESUMING

    @property
    def chosen(self) -> str | None:
        """The job that was chosen; None where the choice is that no job came of the request."""
        if self.state.settled_at is None or self.is_resume:
            return None
        return self.state.processing_id

    @property
    def stage(self) -> Stage:
        if self.is_deleted:
            return Stage.DELETED
        is_stored = self.state.settled_at == self.doubt.at
        if not is_stored and self.intent is None:
            return Stage.OVER
        if self.task_state is None or self.task_state in MARKED_STATES:
            return Stage.GONE
        if self.task_state == NOT_SHOWN:
            return Stage.HIDDEN
        if self.task_state not in _STOPPED:
            return Stage.AT_WORK
        if is_stored:
            return Stage.STORED
        return Stage.STORING if self.settling is not None and not self.settling.is_over else Stage.OPEN


@dataclass(frozen=True)
class Candidate:
    """A job that a request may have become. Times in epoch milliseconds.

    `why_not`: why it cannot be chosen. `note`: what a person should know. `is_shown`: the instance shows it now.
    """

    name: str
    state: str
    began: int | None
    ended: int | None
    by: str | None
    done: int | None
    total: int | None
    is_shown: bool
    is_known: bool
    why_not: str | None
    note: str


def candidates(state: PathState, intent: Intent, history: History | None, ledger: Iterable[Listed]) -> list[Candidate]:
    """The jobs on the path that the instance or the ledger shows since the request; those that can be chosen first."""
    known = {listed.job.processing_id: listed for listed in ledger}
    found = [
        _of_job(state, intent, job, known)
        for job in newest_first(history.jobs if history is not None else ())
        if _may_be_it(state, intent, job.processing_id) and (job.path is None or job.on_path(state.request.path))
    ]
    shown = {candidate.name for candidate in found}
    for name, listed in known.items():
        if name not in shown and _may_be_it(state, intent, name):
            job = as_shown(listed)
            if job.on_path(state.request.path) and why_not(state, intent, job) is None:
                found.append(_of_job(state, intent, job, known, is_shown=False))
    return sorted(found, key=lambda candidate: candidate.why_not is not None)[:MOST]


def as_shown(listed: Listed) -> Job:
    """The job of the ledger as far as it was seen: what it was asked to do is not certain."""
    job = listed.job
    return Job(
        job.processing_id,
        JobState(job.state) if job.state in _STATES else JobState.UNKNOWN,
        job.status_word,
        path=job.path,
        started_at=job.started_at,
        completed_at=job.completed_at,
    )


def facts(request: ProcessingRequest) -> list[tuple[str, str]]:
    """What was asked for, in words."""
    told = [("Path", request.path), ("Processing type", request.processing_type)]
    if request.excluded_paths:
        told.append(("Without", ", ".join(request.excluded_paths)))
    if request.file_types:
        told.append(("File types", ", ".join(request.file_types)))
    for label, at in (("Created after", request.created_after), ("Created before", request.created_before)):
        if at is not None:
            told.append((label, iso_time(at) or ""))
    return told


def _may_be_it(state: PathState, intent: Intent, name: str) -> bool:
    return name not in intent.window or (intent.resumes is not None and name == state.processing_id)


def _of_job(
    state: PathState, intent: Intent, job: Job, known: Mapping[str, Listed], *, is_shown: bool = True
) -> Candidate:
    listed = known.get(job.processing_id)
    entry = listed.job if listed is not None else None
    run = entry.run if entry is not None and job.processing_id != state.processing_id else None
    return Candidate(
        name=job.processing_id,
        state=entry.state if entry is not None and not is_shown else str(job.state),
        began=job.started_at,
        ended=job.completed_at,
        by=job.created_by or (entry.created_by if entry is not None else None),
        done=job.triggered_count if is_shown or entry is None else entry.triggered_count,
        total=job.total_files if is_shown or entry is None else entry.total_files,
        is_shown=is_shown,
        is_known=entry is not None,
        why_not=f"run {run.run_id} of {run.dag_id} has it" if run is not None else why_not(state, intent, job),
        note=_note(state, intent, job, is_shown=is_shown),
    )


def _note(state: PathState, intent: Intent, job: Job, *, is_shown: bool) -> str:
    if not is_shown:
        return "The instance does not show it any more"
    if job.started_at is not None and job.started_at < intent.at - CLOCK_TOLERANCE_MS:
        return "By the instance's clock, it began before the request was sent"
    if job.path is None:
        return "The instance does not show its path"
    return "It asks for the same" if job.match(state.request) is Match.SAME else "Not all that it asks for is shown"
