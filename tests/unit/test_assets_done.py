"""Whether the tasks that take the log of a job know that all of its assets are done."""

from __future__ import annotations

import pytest

from aem_guides.operators import AemGuidesPullLogsOperator, jobs
from aem_guides.protocol.models import Job, JsonValue
from aem_guides.protocol.states import JobState
from aem_guides.runtime.task_states import TaskKey
from tests.support.tasks import Run, Task

END = 1_750_000_000_000
JOB = Job("job", JobState.SUCCESS, "SUCCESS", "/content/a", completed_at=END)
DONE: dict[str, JsonValue] = {
    "all_done": True,
    "processing_id": "job",
    "completed_at": "2025-06-15T15:06:40.000+00:00",
}


@pytest.fixture(autouse=True)
def states(monkeypatch: pytest.MonkeyPatch) -> dict[int, str]:
    """The state of the task that verifies, by map index."""
    states = {3: "success"}

    def of(key: TaskKey) -> frozenset[str]:
        assert key.task_id == "verify"
        return frozenset({states[key.map_index]} if key.map_index in states else ())

    monkeypatch.setattr(jobs, "states_in_task", of)
    return states


def is_done(verified: dict[str, JsonValue], job: Job = JOB, map_index: int = 3) -> bool:
    run = Run()
    run.push("verify", "return_value", verified, map_index=3)
    operator = AemGuidesPullLogsOperator(task_id="pull", processing_id="job", verify_task_id="verify")
    task = Task("pull", map_index=map_index, run=run)
    done = operator.assets_done(task.context(), job)
    assert run.asked_in_vain == [], "Airflow would log an error"
    return done


def test_the_verification_of_this_path_and_this_end_of_the_job_shows_it() -> None:
    assert is_done(DONE)
    assert not is_done({**DONE, "all_done": False})
    assert not is_done(DONE, map_index=4), "another path's"


@pytest.mark.parametrize(
    "before",
    [{"processing_id": "earlier"}, {"completed_at": "2025-06-15T15:06:39.000+00:00"}, {"completed_at": None}],
)
def test_a_verification_from_before_a_clear_does_not_show_it(before: dict[str, JsonValue]) -> None:
    assert not is_done({**DONE, **before})


@pytest.mark.parametrize("state", ["skipped", "failed", "upstream_failed", "running"])
def test_a_verification_that_did_not_succeed_does_not_show_it(states: dict[int, str], state: str) -> None:
    states[3] = state
    assert not is_done(DONE)


def test_the_results_of_other_paths_are_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """A run has up to a thousand paths, each with two tasks that ask, and with the names of a hundred failed assets."""
    pull = Task.xcom_pull

    def one(self: Task, task_ids: str | None = None, key: str = "return_value", **where: int | None) -> JsonValue:
        assert where.get("map_indexes") == 3
        return pull(self, task_ids, key, **where)

    monkeypatch.setattr(Task, "xcom_pull", one)
    assert is_done(DONE)
