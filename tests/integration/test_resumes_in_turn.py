"""Resumes that no lifecycle makes, against a real instance: the operator, the control of single jobs, and the remedy of
the reconciliation. All of them obey `max_active_jobs`, as starts do."""

from __future__ import annotations

import contextlib
import json
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from aem_guides.hooks.hook import AemGuidesHook
from aem_guides.ledger.clock import now_ms
from aem_guides.ledger.database import open_engine
from aem_guides.ledger.findings import Remedy
from aem_guides.ledger.queries import FAILED, WANTED, OpenFinding
from aem_guides.ledger.records import RunKey
from aem_guides.ledger.store import Ledger
from aem_guides.operators import (
    AemGuidesProcessAssetsOperator,
    AemGuidesResumeProcessingOperator,
    AemGuidesStartProcessingOperator,
)
from aem_guides.pipelines import control
from aem_guides.pipelines.control import ActionNotPossibleError, Subject
from aem_guides.protocol.errors import DoubtfulStartError, JobFailedError
from aem_guides.protocol.models import JsonObject
from aem_guides.protocol.procedures import resume_in_turn
from aem_guides.protocol.procedures.course import NoTurnError
from aem_guides.protocol.procedures.resume import resume_once
from aem_guides.reconciliation import remedies
from aem_guides.reconciliation.remedies import Assignment, assignments, carry_out
from aem_guides.runtime.notes import AWAITS
from tests.support.deaths import WorkerKilledError, dies_after_its_post
from tests.support.emulator import EmulatorProcess
from tests.support.new_ledgers import new_ledger
from tests.support.notes import KeptNotes
from tests.support.reconciling import CONNECTION, World
from tests.support.tasks import Run, Task
from tests.support.ways import WAYS, Begin


@dataclass
class FailedJob:
    """A job of ours that failed while no run waited for it, over all tries to resume it."""

    world: World
    processing_id: str
    path: str
    max_active_jobs: int
    task: Task = field(default_factory=lambda: Task(task_id="resume"))

    def by_operator(self) -> None:
        operator = AemGuidesResumeProcessingOperator(
            task_id="resume", processing_id=self.processing_id, max_active_jobs=str(self.max_active_jobs)
        )
        assert operator.execute(self.task.context()) == {
            "processing_id": self.processing_id,
            "resumed_from": self.processing_id,
        }

    def by_control(self) -> None:
        with AemGuidesHook() as hook:
            job = hook.get_status(self.processing_id)
            subject = Subject(hook, job, None, self.task.context(), self.max_active_jobs)
            assert control._resume(subject) == {"goes_on_as": self.processing_id}

    def by_reconciliation(self) -> None:
        self.world.max_active_jobs = self.max_active_jobs
        settings, ledger = self.world.settings, self.world.ledger
        resume = Assignment(
            self.world.instance, CONNECTION, Remedy.RESUME, self.finding.id, processing_id=self.processing_id
        )
        result = carry_out(resume, ledger, settings, by="test")
        if result.waits:
            raise NoTurnError(result.note)
        assert result.succeeded, result.note

    @property
    def shown(self) -> dict[str, Any]:
        """The job as the instance has it."""
        (job,) = self.world.emulator.jobs(self.path)
        return job

    @property
    def finding(self) -> OpenFinding:
        """What the reconciliation found of it."""
        (found,) = (
            item
            for item in self.world.ledger.open_findings(self.world.instance)
            if item.finding.processing_id == self.processing_id and item.remedy == Remedy.RESUME
        )
        return found


Resume = Callable[[FailedJob], None]
every_resume = pytest.mark.parametrize(
    "resume", [FailedJob.by_operator, FailedJob.by_control, FailedJob.by_reconciliation]
)


@pytest.fixture
def world(emulator: EmulatorProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    monkeypatch.setenv("AIRFLOW__AEM_GUIDES__ARCHIVE_URI", f"file://{tmp_path / 'archive'}")
    monkeypatch.setenv("AIRFLOW_CONN_AEM_GUIDES_DEFAULT", emulator.connection(read_timeout=5))
    emulator.post("/emulator/reset", {})
    with Ledger(open_engine(new_ledger(tmp_path / "ledger.db"))) as ledger:
        yield World(emulator, ledger, tmp_path / "archive")


def hours_around(at: float) -> JsonObject:
    """Off-peak hours from an hour before an instant (epoch seconds) to an hour after it."""
    begin, end = (datetime.fromtimestamp(at + offset, UTC) for offset in (-3600, 3600))
    return {"from": f"{begin:%H:%M}", "to": f"{end:%H:%M}", "timezone": "UTC"}


def failed_jobs(world: World, count: int, *, max_active_jobs: int, rate: float = 4) -> list[FailedJob]:
    """So many jobs that failed and can be resumed, and the findings of the reconciliation."""
    found = []
    for _ in range(count):
        path = f"/content/dam/failed-{uuid.uuid4().hex[:8]}"
        world.emulator.virtual_folder(path, 40, rate=1000, fail_at=0.5)
        found.append(FailedJob(world, world.start_ours(path, state="failed"), path, max_active_jobs))
        world.settle()
        world.emulator.virtual_folder(path, 40, rate=rate)
    world.reconcile()
    return found


def most_at_once(emulator: EmulatorProcess, jobs: list[dict[str, Any]]) -> int:
    """The highest number of these jobs that were active at the same time, each from its resume or its start on."""
    spans = [(last_begin(emulator, job), int(job["completed"])) for job in jobs]
    return max(sum(begin <= at < end for begin, end in spans) for at, _ in spans)


def last_begin(emulator: EmulatorProcess, job: dict[str, Any]) -> int:
    """When a job was resumed, by its log, or else started, in epoch milliseconds."""
    lines = [line for line in emulator.log_lines(job["processing_id"]) if "Resuming bulk processing" in line]
    if not lines:
        return int(job["started"])
    moment = datetime.strptime(lines[-1].partition(": ")[0], "%Y-%m-%d %H:%M:%S:%f").replace(tzinfo=UTC)
    return round(moment.timestamp() * 1000)


def resume_till_it_runs(job: FailedJob, resume: Resume) -> None:
    """Resume the job, with as many retries as it takes."""
    for _ in range(10):
        try:
            resume(job)
        except NoTurnError:
            continue
        return
    raise AssertionError(f"job {job.processing_id} never got its turn")


@every_resume
@pytest.mark.parametrize("way", WAYS[-2:-1], ids=str)
def test_six_resumes_at_once_beside_a_start_never_exceed_the_limit(world: World, begin: Begin, resume: Resume) -> None:
    jobs = failed_jobs(world, 6, max_active_jobs=2)
    run = begin(files=60, rate=4, max_active_jobs=2)
    with ThreadPoolExecutor(len(jobs) + 1) as pool:
        start = pool.submit(run.to_the_end)
        ends = [pool.submit(resume_till_it_runs, job, resume) for job in jobs]
        for end in ends:
            end.result()
        assert start.result()["state"] == "SUCCESS"
    world.settle()
    assert [job.shown["resumes"] for job in jobs] == [1] * len(jobs)
    assert [job.shown["state"] for job in jobs] == ["SUCCESS"] * len(jobs)
    assert most_at_once(world.emulator, [*(job.shown for job in jobs), *world.emulator.jobs(run.path)]) == 2


@pytest.mark.parametrize("keeps_id", [True, False])
def test_one_job_that_all_ways_resume_at_the_same_time_is_resumed_once(world: World, keeps_id: bool) -> None:
    (job,) = failed_jobs(world, 1, max_active_jobs=4, rate=1)
    world.emulator.settings(resume_keeps_id=keeps_id)
    other = replace(job, task=Task(task_id="another", run=Run(run_id="another")))

    def attempt(resume: Callable[[], None]) -> None:
        with contextlib.suppress(NoTurnError, ActionNotPossibleError, JobFailedError, AssertionError):
            resume()

    try:
        with ThreadPoolExecutor(3) as pool:
            list(pool.map(attempt, [job.by_operator, other.by_control, other.by_reconciliation]))
    finally:
        world.emulator.settings(resume_keeps_id=True)
    answers = [request["status"] for request in world.emulator.requests("resume")]
    assert answers.count(200) == 1


@every_resume
def test_a_full_instance_is_said_and_nothing_is_sent_until_there_is_room(world: World, resume: Resume) -> None:
    (job,) = failed_jobs(world, 1, max_active_jobs=1)
    busy = f"/content/dam/busy-{uuid.uuid4().hex[:8]}"
    world.emulator.virtual_folder(busy, 10_000, rate=1)
    stranger = world.start_foreign(busy)
    with pytest.raises(NoTurnError, match=r"1 job is active on the instance, 1 is allowed \(max_active_jobs\)"):
        resume(job)
    assert world.emulator.requests("resume") == []
    assert job.shown["state"] == "FAILED"
    world.emulator.post("/emulator/jobs/fail", {"processingId": stranger, "resumable": True})
    resume(job)
    assert len(world.emulator.requests("resume")) == 1
    world.settle()
    assert job.shown["state"] == "SUCCESS"


@every_resume
def test_who_waits_for_a_turn_is_stored_for_people(world: World, register: KeptNotes, resume: Resume) -> None:
    (job,) = failed_jobs(world, 1, max_active_jobs=1)
    busy = f"/content/dam/busy-{uuid.uuid4().hex[:8]}"
    world.emulator.virtual_folder(busy, 10_000, rate=1)
    world.start_foreign(busy)
    with pytest.raises(NoTurnError):
        resume(job)
    stored = [json.dumps(value) for key, value in register.past if key.startswith(AWAITS)]
    assert any(job.path in value and "1 job is active on the instance" in value for value in stored)


def test_a_remedy_that_finds_no_turn_waits_for_the_next_reconciliation_and_is_not_a_failed_try(world: World) -> None:
    (job,) = failed_jobs(world, 1, max_active_jobs=1)
    busy = f"/content/dam/busy-{uuid.uuid4().hex[:8]}"
    world.emulator.virtual_folder(busy, 10_000, rate=1)
    stranger = world.start_foreign(busy)
    for _ in range(2):
        with pytest.raises(NoTurnError, match=r"reconcile_max_active_jobs"):
            job.by_reconciliation()
        world.reconcile()
        found = job.finding
        assert (found.remedy_state, found.remedy_attempts, found.intent) == (WANTED, 0, None)
        assert "1 job is active on the instance, 1 is allowed" in (found.remedy_note or "")
    world.emulator.post("/emulator/jobs/fail", {"processingId": stranger, "resumable": True})
    job.by_reconciliation()
    assert job.shown["resumes"] == 1


def test_many_interrupted_jobs_hold_no_more_workers_than_jobs_may_be_active_and_all_get_their_try(world: World) -> None:
    jobs = failed_jobs(world, 5, max_active_jobs=2)
    world.max_active_jobs = 2
    tried: list[str] = []
    for _ in range(3):
        planned = assignments(world.ledger, world.instance, CONNECTION, world.settings)
        resumes = [one for one in planned if one.remedy is Remedy.RESUME]
        assert len(resumes) == 2
        assert planned[-2:] == resumes, "other remedies do not wait for them"
        for one in resumes:
            tried.append(one.processing_id)
            world.ledger.begin_remedy(one.finding_id, by="test", now=now_ms())
            world.ledger.postpone_remedy(one.finding_id, note="no turn", now=now_ms())
    assert set(tried[:5]) == {job.processing_id for job in jobs}


@pytest.mark.parametrize("is_batch", [False, True])
def test_a_remedy_keeps_to_the_off_peak_hours_of_the_run_that_started_the_job(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_batch: bool
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_AEM_GUIDES_LEDGER", f"sqlite:///{tmp_path / 'ledger.db'}")
    path, hours = f"/content/dam/night-{uuid.uuid4().hex[:8]}", hours_around(now_ms() / 1000)
    world.emulator.virtual_folder(path, 40, rate=1000, fail_at=0.5)
    task = Task(task_id="process_path" if is_batch else "process_path.start_processing")
    operator: AemGuidesStartProcessingOperator | AemGuidesProcessAssetsOperator
    if is_batch:
        operator = AemGuidesProcessAssetsOperator(
            task_id=task.task_id, path=path, only_between=hours, max_resumes=0, deferrable=False
        )
    else:
        operator = AemGuidesStartProcessingOperator(task_id=task.task_id, path=path, only_between=hours)
    with contextlib.suppress(JobFailedError):
        operator.execute(task.context())
    world.settle()
    world.runs[RunKey(task.dag_id, task.run_id)] = "failed"
    world.emulator.virtual_folder(path, 40, rate=1000)
    world.reconcile()
    (shown,) = world.emulator.jobs(path)
    job = FailedJob(world, shown["processing_id"], path, 4)
    with monkeypatch.context() as later:
        later.setattr(remedies, "now_ms", lambda: now_ms() + 3 * 3_600_000)
        with pytest.raises(NoTurnError, match=r"off-peak hours \(only_between: .*They begin again at"):
            job.by_reconciliation()
    assert (job.finding.remedy_state, job.finding.remedy_attempts) == (WANTED, 0)
    assert world.emulator.requests("resume") == []
    job.by_reconciliation()
    assert job.shown["resumes"] == 1


@pytest.mark.parametrize("status", [500, 503])
def test_a_remedy_that_the_instance_never_answers_has_failed_and_says_what_it_answered(
    world: World, status: int
) -> None:
    (job,) = failed_jobs(world, 1, max_active_jobs=1)
    world.emulator.fault("resume", "status", status=status, count=None)
    try:
        with pytest.raises(AssertionError, match=f"{status}"):
            job.by_reconciliation()
    finally:
        world.emulator.delete("/emulator/faults")
    found = job.finding
    assert (found.remedy_state, found.remedy_attempts) == (FAILED, 1)
    assert found.intent is not None, "the next attempt looks for the job first"


def test_a_job_that_a_person_resumed_and_cancelled_while_its_remedy_waited_stays_cancelled(world: World) -> None:
    (job,) = failed_jobs(world, 1, max_active_jobs=4)
    with AemGuidesHook() as hook:
        hook.resume_processing(job.processing_id)
        hook.cancel_processing(job.processing_id, within_seconds=60)
    job.by_reconciliation()
    assert job.shown["state"] == "CANCELLED"
    assert len(world.emulator.requests("resume")) == 1


@every_resume
def test_a_worker_that_dies_before_the_answer_has_resumed_once_and_its_retry_needs_no_turn(
    world: World, resume: Resume, monkeypatch: pytest.MonkeyPatch
) -> None:
    (job,) = failed_jobs(world, 1, max_active_jobs=1, rate=1)
    with monkeypatch.context() as dying:
        dying.setattr(resume_in_turn, "resume_once", dies_after_its_post(resume_once))
        with pytest.raises(WorkerKilledError):
            resume(job)
    assert job.shown["resumes"] == 1
    asked = len(world.emulator.requests("resume"))
    resume(job)  # the job itself is active now, so there is no room for another one
    assert len(world.emulator.requests("resume")) == asked == 1


@pytest.mark.parametrize("resume", [FailedJob.by_operator, FailedJob.by_control])
def test_a_resume_in_doubt_is_sent_again_by_no_retry_but_by_a_clear_of_a_person(world: World, resume: Resume) -> None:
    (job,) = failed_jobs(world, 1, max_active_jobs=1)
    world.emulator.fault("resume", "reset_before")
    world.emulator.fault("history", "history_bad_entry", count=None)
    for attempt in (1, 2):
        job.task.begin_try(attempt)
        with pytest.raises(DoubtfulStartError, match="If the job was not resumed, clear this task: then it is"):
            resume(job)
    assert job.shown["resumes"] == 0
    job.task.begin_try(3, max_tries=job.task.max_tries + 1)
    resume(job)
    assert job.shown["resumes"] == 1
    world.emulator.delete("/emulator/faults")


@every_resume
def test_the_next_process_counts_a_job_that_was_just_resumed_though_the_history_shows_its_end_from_before(
    world: World, resume: Resume, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resume_in_turn, "PATIENCE_SECONDS", 20.0)  # what it shows is believed after a minute
    first, second = failed_jobs(world, 2, max_active_jobs=1, rate=0.1)
    before = {"status": first.shown["state"], "completedAt": first.shown["completed"]}
    resume(first)
    world.emulator.fault("history", "odd_fields", count=None, body=json.dumps(before))
    try:
        with pytest.raises(NoTurnError):
            resume(second)
    finally:
        world.emulator.delete("/emulator/faults")
    assert second.shown["resumes"] == 0
