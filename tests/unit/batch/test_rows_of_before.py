"""The report of a batch that was cleared, and whose paths did not run again because an earlier task failed."""

from __future__ import annotations

from typing import cast

import pytest

from aem_guides.pipelines import batch
from aem_guides.pipelines.batch_plan import PLANNED_KEY, BatchPlan, block_key
from aem_guides.pipelines.confirm import PROBLEMS_KEY
from aem_guides.protocol.models import JsonValue, ProcessingRequest
from aem_guides.results.rows import Row
from tests.support.tasks import Task

REQUEST = ProcessingRequest("/content/a")
ROW = Row(REQUEST.path, "SUCCESS", REQUEST.fingerprint(), "job", "started")


class Report(Task):
    """The reporting task, with the row of its one path."""

    def xcom_pull(
        self, task_ids: object = None, key: str = "return_value", *, map_indexes: int | None = -1
    ) -> JsonValue:
        if task_ids == [batch.PATHS]:
            return [ROW.to_json()]
        return self.run.pull(str(task_ids), key)


@pytest.mark.parametrize(("state", "is_success"), [("success", True), ("upstream_failed", False)])
def test_rows_of_before_the_clear_are_no_success(
    monkeypatch: pytest.MonkeyPatch, state: str, *, is_success: bool
) -> None:
    task = Report("report")
    plan = BatchPlan("author", "batch", ((REQUEST.path, REQUEST.fingerprint()),), 0)
    task.run.push(batch.PLAN, PLANNED_KEY, plan.to_json())
    task.run.push(batch.PLAN, block_key(0), [REQUEST.to_json()])
    context = task.context(params={"connection_id": "none", "archive_logs": False})
    monkeypatch.setattr(batch, "get_current_context", lambda: context)
    monkeypatch.setattr(batch, "note_outcomes", lambda *_: None)
    monkeypatch.setattr(batch, "store_outcome", lambda *_: "file:///outcome.csv")
    monkeypatch.setattr(batch, "states_in_task", lambda _key: frozenset({state}))
    batch.report.function()
    problems = cast("list[str]", task.pushed[PROBLEMS_KEY])
    assert [problem.endswith("from before the Clear") for problem in problems] == ([] if is_success else [True])
