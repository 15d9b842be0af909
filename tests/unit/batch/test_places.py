"""The mapped tasks of a batch without a path: a block has ten places, and the last block may not be full."""

from __future__ import annotations

import pytest
from airflow.sdk import Context
from airflow.sdk.exceptions import AirflowSkipException

from aem_guides.pipelines.batch import _PlannedPathOperator
from aem_guides.protocol.models import ProcessingRequest
from tests.support.tasks import Task


@pytest.fixture
def context() -> Context:
    """Of a task in a run with one block of two paths."""
    task = Task("p", map_index=0)
    task.run.push("plan_batch", "block_0", [ProcessingRequest(f"/content/dam/{name}").to_json() for name in "ab"])
    return task.context()


def test_a_place_with_a_path_has_its_request(context: Context) -> None:
    assert _PlannedPathOperator(task_id="p", block=0, position=1).asked(context) == ProcessingRequest("/content/dam/b")


def test_a_place_without_one_is_skipped_and_its_log_says_why(
    context: Context, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(AirflowSkipException):
        _PlannedPathOperator(task_id="p", block=0, position=2).asked(context)
    assert "The batch has no path for this task: its last block has 2 paths." in capsys.readouterr().out
