"""The mapped tasks of a batch that have no path: a block has ten places, and the last may be less than full."""

from __future__ import annotations

from typing import cast

import pytest
from airflow.sdk import Context
from airflow.sdk.exceptions import AirflowSkipException

from aem_guides.batch_pipeline import _PlannedPathOperator
from aem_guides.protocol.models import JsonObject, ProcessingRequest


class TaskInstance:
    """A task instance with one block of two paths."""

    def xcom_pull(self, task_ids: str, key: str, map_indexes: int) -> list[JsonObject]:
        assert (task_ids, key, map_indexes) == ("plan_batch", "block_0", -1)
        return [ProcessingRequest(f"/content/dam/{name}").to_json() for name in "ab"]


CONTEXT = cast("Context", {"ti": TaskInstance()})


def test_a_place_with_a_path_has_its_request() -> None:
    assert _PlannedPathOperator(task_id="p", block=0, position=1).asked(CONTEXT) == ProcessingRequest("/content/dam/b")


def test_a_place_without_one_is_skipped_and_its_log_says_why(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(AirflowSkipException):
        _PlannedPathOperator(task_id="p", block=0, position=2).asked(CONTEXT)
    assert "The batch has no path here: its last block has 2 paths." in capsys.readouterr().out
