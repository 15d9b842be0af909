"""A worker that dies between a resume and its answer, against a real instance: what the next try does."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, replace

import pytest

from aem_guides.hooks.hook import AemGuidesHook
from aem_guides.operators import AemGuidesStartProcessingOperator
from aem_guides.protocol import contract
from aem_guides.protocol.conversation import Conversation
from aem_guides.protocol.errors import DoubtfulStartError, JobCancelledError, JobFailedError
from aem_guides.protocol.models import Job, JsonObject, ProcessingRequest
from aem_guides.protocol.procedures import go_on
from aem_guides.protocol.procedures.intent import Intent
from aem_guides.protocol.procedures.path_state import PathState
from aem_guides.protocol.procedures.resume import resume_once
from aem_guides.protocol.steps import Emit, Steps
from aem_guides.results.handed_on import STATE_KEY
from aem_guides.sensors import AemGuidesProcessingSensor
from tests.support.deaths import WorkerKilledError, dies_after_its_post
from tests.support.emulator import EmulatorProcess
from tests.support.notes import KeptNotes
from tests.support.path_triggers import deferred_trigger, run_until
from tests.support.tasks import Task


@dataclass
class SecondTry(Task):
    """The try after the interrupted one."""

    try_number: int = 2
    max_tries: int = 12


def last_state(register: KeptNotes) -> PathState:
    """The last stored state of the one path of a test."""
    (key,) = [key for key in register.values if key.startswith("path:")]
    return register.states(key)[-1]


@pytest.fixture(autouse=True)
def _connection(emulator: EmulatorProcess, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("AIRFLOW_CONN_AEM_GUIDES_DEFAULT", emulator.connection(read_timeout=5))
    yield
    emulator.settings(resume_keeps_id=True)


def fail(emulator: EmulatorProcess, path: str) -> None:
    (*_, last) = emulator.jobs(path)
    emulator.post("/emulator/jobs/fail", {"processingId": last["processing_id"], "resumable": True})


@pytest.fixture(params=[True, False], ids=["same id", "new id"])
def cut_short(
    request: pytest.FixtureRequest, emulator: EmulatorProcess, monkeypatch: pytest.MonkeyPatch
) -> tuple[SecondTry, AemGuidesProcessingSensor, str]:
    """A failed job whose resume was sent by a try that died before the answer. Returns its task, sensor and path."""
    path = f"/content/dam/slow-{uuid.uuid4().hex[:8]}"
    emulator.settings(resume_keeps_id=request.param)
    emulator.virtual_folder(path, 10_000, rate=0.5)
    asked = ProcessingRequest(path)
    with AemGuidesHook() as hook:
        processing_id = hook.start_processing(asked)
    fail(emulator, path)
    job: JsonObject = {"processing_id": processing_id, "origin": "started", "request": asked.to_json()}
    sensor = AemGuidesProcessingSensor(
        task_id="wait",
        job=job,
        deferrable=False,
        stream_logs=False,
        longest_look=1.0,
        max_resumes=2,
        deadline_hours=0.01,
    )
    task = SecondTry()
    with monkeypatch.context() as patch:
        patch.setattr(go_on, "resume_once", dies_after_its_post(resume_once))
        with pytest.raises(WorkerKilledError):
            sensor.execute(task.context())
    task.begin_try(3)
    return task, sensor, path


def resumes(emulator: EmulatorProcess, path: str) -> int:
    return sum(int(job["resumes"]) for job in emulator.jobs(path))


def test_a_job_that_a_person_cancelled_meanwhile_stays_cancelled(
    emulator: EmulatorProcess, cut_short: tuple[SecondTry, AemGuidesProcessingSensor, str]
) -> None:
    task, sensor, path = cut_short
    with AemGuidesHook() as hook:
        hook.cancel_processing(emulator.jobs(path)[-1]["processing_id"], within_seconds=30)
    with pytest.raises(JobCancelledError):
        sensor.execute(task.context())
    assert resumes(emulator, path) == 1
    assert emulator.jobs(path)[-1]["state"] == "CANCELLED"


def test_a_resume_that_ran_and_failed_again_counts(
    emulator: EmulatorProcess, cut_short: tuple[SecondTry, AemGuidesProcessingSensor, str], register: KeptNotes
) -> None:
    task, sensor, path = cut_short
    fail(emulator, path)
    with pytest.raises(JobFailedError) as caught:
        sensor.execute(task.context())
    assert caught.value.resumable
    state = last_state(register)
    assert (state.resumes, state.resumes_left) == (1, 1)
    assert resumes(emulator, path) == 1


def test_it_is_kept_from_which_end_the_job_was_resumed(emulator: EmulatorProcess, register: KeptNotes) -> None:
    path = f"/content/dam/slow-{uuid.uuid4().hex[:8]}"
    emulator.virtual_folder(path, 10_000, rate=0.5)
    with AemGuidesHook() as hook:
        processing_id = hook.start_processing(ProcessingRequest(path))
    fail(emulator, path)
    (failed,) = emulator.jobs(path)
    job: JsonObject = {"processing_id": processing_id, "origin": "started"}
    sensor = AemGuidesProcessingSensor(task_id="wait", job=job, max_resumes=1)
    trigger = deferred_trigger(sensor, SecondTry())
    assert asyncio.run(run_until(trigger, lambda: last_state(register).resumes)) is None
    end = last_state(register).earlier_end
    assert end is not None
    assert (end.processing_id, end.completed_at) == (processing_id, failed["completed"])
    fail(emulator, path)


def test_how_often_it_is_resumed_is_for_the_waiting_task_to_say(emulator: EmulatorProcess) -> None:
    path = f"/content/dam/slow-{uuid.uuid4().hex[:8]}"
    emulator.virtual_folder(path, 10_000, rate=0.5)
    start = Task("path.start")
    job = AemGuidesStartProcessingOperator(task_id="path.start", path=path).execute(start.context())
    fail(emulator, path)
    sensor = AemGuidesProcessingSensor(task_id="path.wait", job=job, deferrable=False, max_resumes=0)
    with pytest.raises(JobFailedError) as caught:
        sensor.execute(SecondTry("path.wait", run=start.run).context())
    assert not caught.value.resumable
    assert resumes(emulator, path) == 0


def stays_in_doubt(talk: Conversation, job: Job, request: ProcessingRequest, *, run: str, **_: object) -> Steps[str]:
    """A resume with an unknown result."""
    history = yield from talk.call(contract.history())
    yield Emit(replace(Intent.before(request, history, talk.instance_now(), run), resumes=job))
    raise DoubtfulStartError("It may be it, or not.")


def unsettled(*_: object) -> Steps[str | None]:
    """A later look, which shows no more."""
    yield from ()
    raise DoubtfulStartError("It may be it, or not.")


def test_clear_settles_a_resume_in_doubt_and_a_retry_does_not(
    emulator: EmulatorProcess, monkeypatch: pytest.MonkeyPatch, register: KeptNotes
) -> None:
    path = f"/content/dam/half-{uuid.uuid4().hex[:8]}"
    emulator.virtual_folder(path, 40, rate=1000, fail_at=0.5)
    with AemGuidesHook() as hook:
        processing_id = hook.start_processing(ProcessingRequest(path))
        emulator.wait_until(lambda: not hook.get_status(processing_id).is_active)
    job: JsonObject = {"processing_id": processing_id, "origin": "started"}
    sensor = AemGuidesProcessingSensor(task_id="wait", job=job, deferrable=False, stream_logs=False, max_resumes=1)
    task = SecondTry()
    with monkeypatch.context() as patch:
        patch.setattr(go_on, "resume_once", stays_in_doubt)
        patch.setattr(go_on, "settle_resume", unsettled)
        for number in (2, 3):
            with pytest.raises(DoubtfulStartError):
                sensor.execute(task.begin_try(number).context())
            state = register.states(str(task.pushed[STATE_KEY]))[-1]
            assert (state.intent is not None, state.doubtful) == (True, True)
    assert resumes(emulator, path) == 0
    sensor.execute(task.begin_try(4, max_tries=15).context())
    assert resumes(emulator, path) == 1
    assert {asset["times_processed"] for asset in emulator.assets(path)} == {1}
