"""Whether the tasks that take the log of a job know that all of its assets are done."""

from __future__ import annotations

import pytest

from aem_guides.operators import AemGuidesPullLogsOperator
from aem_guides.protocol.models import Job, JsonValue
from aem_guides.protocol.states import JobState
from tests.support.tasks import Run, Task

END = 1_750_000_000_000
JOB = Job("job", JobState.SUCCESS, "SUCCESS", "/content/a", completed_at=END)
DONE: dict[str, JsonValue] = {
    "all_done": True,
    "processing_id": "job",
    "completed_at": "2025-06-15T15:06:40.000+00:00",
}


def is_done(verified: dict[str, JsonValue], job: Job = JOB, map_index: int = 3) -> bool:
    run = Run()
    run.push("verify", "return_value", verified, map_index=3)
    operator = AemGuidesPullLogsOperator(task_id="pull", processing_id="job", verify_task_id="verify")
    return operator.assets_done(Task("pull", map_index=map_index, run=run).context(), job)


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
