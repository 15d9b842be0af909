"""What tasks remember from try to try."""

from __future__ import annotations

import pytest

from aem_guides.protocol.contract import read_job
from aem_guides.runtime.memory import WaitMemory, first_time, generation
from aem_guides.sensors import AemGuidesProcessingSensor
from tests.support.clocks import stop_clock
from tests.support.tasks import Task


def test_the_first_time_stays_the_first_for_the_same_job() -> None:
    context = Task().context()
    assert [first_time(context, "a", now) for now in (10.0, 20.0)] == [10.0, 10.0]
    assert first_time(context, "b", 30.0) == 30.0


def remembered(task: Task, monkeypatch: pytest.MonkeyPatch, now: float, *, max_resumes: int = 2) -> WaitMemory:
    """What a try that begins now remembers of the wait for job a."""
    stop_clock(monkeypatch, now)
    sensor = AemGuidesProcessingSensor(task_id="wait", processing_id="a", deadline_hours=1, max_resumes=max_resumes)
    memory = sensor._memory(task.context(), "a")
    memory.generation = generation(task.context())
    memory.save(task.context())
    return memory


def test_the_deadline_and_the_resumes_are_kept_over_retries_and_new_after_clear(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    task = Task()
    first = remembered(task, monkeypatch, 1000.0)
    assert (first.deadline_at, first.resumes_left) == (4600.0, 2)
    first.resumes_left = 1
    first.save(task.context())
    retried = remembered(task.begin_try(2), monkeypatch, 3000.0)
    assert (retried.deadline_at, retried.resumes_left) == (4600.0, 1)
    cleared = remembered(task.begin_try(3, max_tries=7), monkeypatch, 9000.0)
    assert (cleared.deadline_at, cleared.resumes_left) == (12600.0, 2)


def test_clear_resumes_once_even_where_retries_do_not(monkeypatch: pytest.MonkeyPatch) -> None:
    task = Task()
    assert remembered(task, monkeypatch, 1000.0, max_resumes=0).resumes_left == 0
    assert remembered(task.begin_try(2), monkeypatch, 2000.0, max_resumes=0).resumes_left == 0
    assert remembered(task.begin_try(3, max_tries=7), monkeypatch, 3000.0, max_resumes=0).resumes_left == 1


@pytest.mark.parametrize(
    ("word", "resumable", "origin", "later", "resumes"),
    [
        ("FAILED", True, "started", (2, 3), True),
        ("FAILED", True, "started", (1, 3), False),
        ("FAILED", True, "recovered", (2, 3), True),
        ("FAILED", True, "adopted", (2, 3), False),
        ("FAILED", False, "started", (2, 3), False),
        ("FAILED", True, "started", (2, 9), True),
        ("CANCELLED", True, "started", (2, 3), False),
        ("CANCELLED", True, "started", (2, 9), True),
        ("SUCCESS", True, "started", (2, 9), False),
        ("RUNNING", True, "started", (2, 3), False),
    ],
)
def test_only_a_failed_job_of_ones_own_is_resumed_by_a_retry_and_a_cancelled_one_by_clear(
    monkeypatch: pytest.MonkeyPatch, word: str, resumable: bool, origin: str, later: tuple[int, int], resumes: bool
) -> None:
    task = Task()
    memory = remembered(task, monkeypatch, 1000.0)
    task.begin_try(*later)
    job = read_job({"processingId": "a", "status": word, "resumable": resumable})
    sensor = AemGuidesProcessingSensor(task_id="wait", job={"processing_id": "a", "origin": origin})
    assert sensor._shall_resume(task.context(), memory, job) is resumes
    memory.resumes_left = 0
    assert not sensor._shall_resume(task.context(), memory, job)
