"""Resume a job that this run did not start, against a real instance: the operator, and the control of single jobs."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator

import pytest

from aem_guides.hooks.hook import AemGuidesHook
from aem_guides.operators import AemGuidesResumeProcessingOperator
from aem_guides.pipelines import control
from aem_guides.pipelines.control import Subject
from aem_guides.protocol.errors import DeadlineExceededError
from aem_guides.protocol.models import ProcessingRequest
from aem_guides.sensors import AemGuidesProcessingSensor
from tests.support.emulator import EmulatorProcess
from tests.support.notes import KeptNotes
from tests.support.tasks import Task

Resume = Callable[[Task, str], str]


def by_operator(task: Task, processing_id: str) -> str:
    operator = AemGuidesResumeProcessingOperator(task_id="resume", processing_id=processing_id)
    result = operator.execute(task.context())
    assert isinstance(result, dict)
    return str(result["processing_id"])


def by_control(task: Task, processing_id: str) -> str:
    with AemGuidesHook() as hook:
        subject = Subject(hook, hook.get_status(processing_id), None, task.context(), max_active_jobs=4)
        return str(control._resume(subject)["goes_on_as"])


both = pytest.mark.parametrize("resume", [by_operator, by_control])


@pytest.fixture(autouse=True)
def _connection(emulator: EmulatorProcess, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("AIRFLOW_CONN_AEM_GUIDES_DEFAULT", emulator.connection(read_timeout=5))
    yield
    emulator.delete("/emulator/faults")
    emulator.settings(resume_keeps_id=True)


@pytest.fixture
def failed(emulator: EmulatorProcess) -> str:
    """A job of another user that had a filter, and failed."""
    path = f"/content/dam/slow-{uuid.uuid4().hex[:8]}"
    emulator.virtual_folder(path, 10_000, rate=0.5)
    with AemGuidesHook() as hook:
        processing_id = hook.start_processing(ProcessingRequest(path, file_types=("DITATOPIC",)))
    fail(emulator, processing_id)
    return processing_id


def fail(emulator: EmulatorProcess, processing_id: str) -> None:
    emulator.post("/emulator/jobs/fail", {"processingId": processing_id, "resumable": True})


@both
def test_a_filtered_job_whose_answer_is_lost_is_resumed_once_also_under_a_new_id(
    emulator: EmulatorProcess, failed: str, resume: Resume
) -> None:
    emulator.settings(resume_keeps_id=False)
    emulator.fault("resume", "reset_after")
    before = len(emulator.requests("resume"))
    goes_on_as = resume(Task(task_id="resume", map_index=-1), failed)
    assert len(emulator.requests("resume")) - before == 1
    path = emulator.job(failed)["path"]
    assert [job["processing_id"] for job in emulator.jobs(path)] == [failed, goes_on_as]
    fail(emulator, goes_on_as)


@both
def test_a_retry_sends_nothing_again_and_clear_does_once_the_job_has_failed_again(
    emulator: EmulatorProcess, failed: str, resume: Resume
) -> None:
    task = Task(task_id="resume", map_index=-1)
    before = len(emulator.requests("resume"))
    assert resume(task, failed) == failed
    task.try_number = 2
    assert resume(task, failed) == failed
    fail(emulator, failed)
    assert len(emulator.requests("resume")) - before == 1
    task.try_number, task.max_tries = 3, 8
    assert resume(task, failed) == failed
    assert len(emulator.requests("resume")) - before == 2
    fail(emulator, failed)


def test_the_sensor_of_a_job_that_is_known_by_its_id_alone_asks_the_instance_for_its_filter(
    emulator: EmulatorProcess, failed: str, register: KeptNotes
) -> None:
    emulator.settings(resume_keeps_id=False)
    emulator.fault("resume", "reset_after")
    sensor = AemGuidesProcessingSensor(task_id="wait", processing_id=failed, deadline_hours=3 / 3600, longest_look=1.0)
    sensor.deferrable = False
    task = Task(try_number=2)
    with pytest.raises(DeadlineExceededError):
        sensor.execute(task.context())
    state = register.state(str(task.pushed["state_key"]))
    assert state is not None
    assert state.request.file_types == ("DITATOPIC",)
    assert (state.earlier_ids, state.resumes) == ((failed,), 1)
    path = emulator.job(failed)["path"]
    assert [job["state"] for job in emulator.jobs(path)] == ["FAILED", "CANCELLED"]
