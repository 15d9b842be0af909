"""A worker that dies between a resume and its answer, against a real instance: what the next try makes of it."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import dataclass, replace

import pytest
from airflow.sdk.exceptions import TaskDeferred

from aem_guides.hooks.hook import AemGuidesHook
from aem_guides.protocol import contract
from aem_guides.protocol.conversation import Conversation
from aem_guides.protocol.errors import DoubtfulStartError, JobCancelledError, JobFailedError
from aem_guides.protocol.models import Job, JsonObject, ProcessingRequest
from aem_guides.protocol.procedures.intent import Intent
from aem_guides.protocol.procedures.resume import resume_once
from aem_guides.protocol.steps import Emit, Steps
from aem_guides.runtime.memory import WaitMemory
from aem_guides.sensors import AemGuidesProcessingSensor
from aem_guides.sensors import wait as sensors
from tests.support.deaths import WorkerKilledError, dies_after_its_post
from tests.support.emulator import EmulatorProcess
from tests.support.tasks import Task


@dataclass
class SecondTry(Task):
    """The try after the one that was cut short."""

    try_number: int = 2
    max_tries: int = 12

    def memory(self, processing_id: str) -> WaitMemory:
        memory = WaitMemory.load(self.context(), processing_id)
        assert memory is not None
        return memory


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
    """A failed job whose resume was sent by a try that did not live to hear of it; its task, sensor and path."""
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
        patch.setattr(sensors, "resume_once", dies_after_its_post(resume_once))
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
    emulator: EmulatorProcess, cut_short: tuple[SecondTry, AemGuidesProcessingSensor, str]
) -> None:
    task, sensor, path = cut_short
    fail(emulator, path)
    with pytest.raises(JobFailedError) as caught:
        sensor.execute(task.context())
    assert caught.value.resumable
    memory = task.memory(emulator.jobs(path)[0]["processing_id"])
    assert (memory.resumes, memory.resumes_left) == (1, 1)
    assert resumes(emulator, path) == 1


def test_the_trigger_is_told_from_which_end_the_job_was_resumed(emulator: EmulatorProcess) -> None:
    path = f"/content/dam/slow-{uuid.uuid4().hex[:8]}"
    emulator.virtual_folder(path, 10_000, rate=0.5)
    with AemGuidesHook() as hook:
        processing_id = hook.start_processing(ProcessingRequest(path))
    fail(emulator, path)
    (failed,) = emulator.jobs(path)
    job: JsonObject = {"processing_id": processing_id, "origin": "started"}
    sensor = AemGuidesProcessingSensor(task_id="wait", job=job, max_resumes=1)
    with pytest.raises(TaskDeferred) as deferred:
        sensor.execute(SecondTry().context())
    _, told = deferred.value.trigger.serialize()
    end = told["earlier_end"]
    assert (end["processing_id"], end["completed_at"]) == (processing_id, failed["completed"])
    fail(emulator, path)


def stays_in_doubt(talk: Conversation, job: Job, request: ProcessingRequest, *, run: str, **_: object) -> Steps[str]:
    """A resume of which nobody can tell what came of it."""
    history = yield from talk.call(contract.history())
    yield Emit(replace(Intent.before(request, history, talk.instance_now(), run), resumes=job))
    raise DoubtfulStartError("It may be it, or not.")


def test_clear_settles_a_resume_in_doubt_and_a_retry_does_not(
    emulator: EmulatorProcess, monkeypatch: pytest.MonkeyPatch
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
        patch.setattr(sensors, "resume_once", stays_in_doubt)
        for number in (2, 3):
            with pytest.raises(DoubtfulStartError):
                sensor.execute(task.begin_try(number).context())
            assert task.memory(processing_id).resume_intent is not None
    assert resumes(emulator, path) == 0
    sensor.execute(task.begin_try(4, max_tries=15).context())
    assert resumes(emulator, path) == 1
    assert {asset["times_processed"] for asset in emulator.assets(path)} == {1}
