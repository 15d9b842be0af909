"""The task that reports on a run: which assets it updates, and when its report counts as complete."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import cast

import pytest

from aem_guides.assets import PROCESSED
from aem_guides.pipelines import confirm as confirming
from aem_guides.pipelines import process as pipeline
from aem_guides.pipelines.confirm import PROBLEMS_KEY, confirm
from aem_guides.pipelines.process import ARCHIVE, PULL, START, VERIFY, WAIT
from aem_guides.protocol.models import JsonValue
from aem_guides.results.handed_on import OUTCOME_KEY
from aem_guides.results.rows import RunFailedError
from aem_guides.runtime.task_states import TaskKey
from tests.support.tasks import Task

SUCCESS: JsonValue = {"state": "SUCCESS", "processing_id": "job"}
LEFT: dict[tuple[str, str], JsonValue] = {
    (START, "return_value"): {"processing_id": "job", "instance": "author"},
    (WAIT, OUTCOME_KEY): SUCCESS,
    (PULL, "return_value"): {"lines": 3},
    (ARCHIVE, "return_value"): {"uri": "file:///logs.zip", "sha256": "0" * 64},
    (VERIFY, "return_value"): {"failed": 0, "too_many": False},
}


@dataclass
class Announced:
    """The reporting task's outlets and their events: which assets it updates."""

    uris: list[str] = field(default_factory=list)
    outlets: tuple[object, ...] = (PROCESSED,)

    def __getitem__(self, _alias: object) -> Announced:
        return self

    def add(self, asset: object, extra: object) -> None:
        del extra
        self.uris.append(str(getattr(asset, "uri", asset)))


def reporting(
    monkeypatch: pytest.MonkeyPatch, left: Mapping[tuple[str, str], JsonValue], **params: object
) -> tuple[Task, Announced]:
    """The task, ready to report on the results of a run's one path."""
    asked = {"connection_id": "none", "archive_logs": True, "verify_assets": True, **params}
    task, announced = Task("report"), Announced()
    task.run.push("plan_requests", "return_value", [{"path": "/content/a"}])
    for (task_id, key), value in {**LEFT, **left}.items():
        task.run.push(task_id, key, value, map_index=0)
    context = task.context(params=asked, task=announced, outlet_events=announced)
    for module in (pipeline, confirming):
        monkeypatch.setattr(module, "get_current_context", lambda: context)
    monkeypatch.setattr(pipeline, "note_outcomes", lambda *_: None)
    monkeypatch.setattr(pipeline, "states_in_task", lambda _task: frozenset({"success"}))
    return task, announced


def test_the_report_on_a_run_that_went_well_asks_for_nothing_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """For each such request, Airflow would log an error."""
    task, _ = reporting(monkeypatch, {})
    pipeline.report.function()
    assert task.run.asked_in_vain == []


def test_a_path_that_went_well_updates_its_asset(monkeypatch: pytest.MonkeyPatch) -> None:
    task, announced = reporting(monkeypatch, {})
    pipeline.report.function()
    assert announced.uris == ["aem-guides://author/content/a"]
    assert task.pushed[PROBLEMS_KEY] == []


@pytest.mark.parametrize(
    ("missing", "unless"),
    [
        ({(VERIFY, "return_value"): {"failed": 9, "too_many": True}}, "verify_assets"),
        ({(VERIFY, "return_value"): None}, "verify_assets"),
        ({(ARCHIVE, "return_value"): None}, "archive_logs"),
        ({(PULL, "return_value"): None}, None),
    ],
    ids=["too many assets failed", "not verified", "not archived", "log not pulled"],
)
def test_a_path_that_fails_the_run_updates_no_asset(
    monkeypatch: pytest.MonkeyPatch, missing: dict[tuple[str, str], JsonValue], unless: str | None
) -> None:
    task, announced = reporting(monkeypatch, missing)
    pipeline.report.function()
    assert announced.uris == []
    assert len(cast("list[str]", task.pushed[PROBLEMS_KEY])) == 1
    if unless is not None:
        _, lenient = reporting(monkeypatch, missing, **{unless: False})
        pipeline.report.function()
        assert len(lenient.uris) == 1


def test_results_from_before_a_clear_are_no_success_if_the_path_did_not_run_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """XComs stay until the task's next try begins. If an earlier task fails, no next try begins."""
    task, announced = reporting(monkeypatch, {})
    not_run = {TaskKey("dag", "run", WAIT, index): frozenset({"upstream_failed"}) for index in (-1, 0)}
    monkeypatch.setattr(pipeline, "states_in_task", not_run.get)
    pipeline.report.function()
    assert announced.uris == []
    assert task.pushed[PROBLEMS_KEY] == ["/content/a: not processed, because an earlier task failed"]


@pytest.mark.parametrize(
    "before", [{"processing_id": "earlier"}, {"processing_id": "job", "completed_at": "2026-11-27T10:00:00.000+00:00"}]
)
def test_a_verification_from_before_a_clear_is_not_one_of_the_job_that_came_after(
    monkeypatch: pytest.MonkeyPatch, before: dict[str, JsonValue]
) -> None:
    """The waiting task was killed while its job ended well, so the assets were not verified again."""
    ended: JsonValue = {"state": "SUCCESS", "processing_id": "job", "completed_at": "2026-11-28T10:00:00.000+00:00"}
    verified: JsonValue = {"failed": 0, "too_many": False, **before}
    task, announced = reporting(monkeypatch, {(WAIT, OUTCOME_KEY): ended, (VERIFY, "return_value"): verified})
    (row,) = pipeline.report.function()
    assert (announced.uris, row["failed_assets"]) == ([], None)
    assert task.pushed[PROBLEMS_KEY] == ["/content/a: its assets were not verified"]


def test_a_verification_of_an_end_that_moved_after_the_wait_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """An instance may move the end of a job until the last asset is done."""
    ended: JsonValue = {"state": "SUCCESS", "processing_id": "job", "completed_at": "2026-11-28T10:00:00.000+00:00"}
    later: JsonValue = {"failed": 0, "processing_id": "job", "completed_at": "2026-11-28T10:00:09.000+00:00"}
    _, announced = reporting(monkeypatch, {(WAIT, OUTCOME_KEY): ended, (VERIFY, "return_value"): later})
    pipeline.report.function()
    assert len(announced.uris) == 1


def test_the_report_on_many_paths_reads_the_results_of_all_of_them_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """All results of a thousand paths are megabytes."""
    task, _ = reporting(monkeypatch, {})
    task.run.push("plan_requests", "return_value", [{"path": f"/content/{number}"} for number in range(40)])
    for (task_id, key), value in LEFT.items():
        for number in range(40):
            task.run.push(task_id, key, value, map_index=number)
    pull, all_read = Task.xcom_pull, list[tuple[str | None, str]]()

    def counted(self: Task, task_ids: str | None = None, key: str = "return_value", **where: int | None) -> JsonValue:
        if "map_indexes" not in where:
            all_read.append((task_ids, key))
        return pull(self, task_ids, key, **where)

    monkeypatch.setattr(Task, "xcom_pull", counted)
    assert len(pipeline.report.function()) == 40
    assert len(all_read) == len(set(all_read))


def test_a_report_that_breaks_off_is_not_taken_for_made(monkeypatch: pytest.MonkeyPatch) -> None:
    reporting(monkeypatch, {})

    def breaks_off(*_: object) -> None:
        raise ConnectionError

    monkeypatch.setattr(pipeline, "announce", breaks_off)
    with pytest.raises(ConnectionError):
        pipeline.report.function()
    with pytest.raises(RunFailedError, match="The task report failed"):
        confirm.function()


def test_the_error_of_a_run_names_the_paths_and_says_where_the_reasons_are() -> None:
    assert str(RunFailedError.of(["/content/a: NOT_STARTED"])) == (
        "Not every path succeeded (1 problem): /content/a: NOT_STARTED. The logs of the failed tasks have the reasons."
    )
