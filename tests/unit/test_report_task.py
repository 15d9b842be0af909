"""The task that reports on a run: which assets it updates, and when its report counts as made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import pytest

from aem_guides import pipeline
from aem_guides.assets import PROCESSED
from aem_guides.pipeline import ARCHIVE, PROBLEMS_KEY, PULL, START, VERIFY, WAIT
from aem_guides.report import RunFailedError
from aem_guides.sensors import OUTCOME_KEY

SUCCESS = {"state": "SUCCESS", "processing_id": "job"}
LEFT: dict[tuple[str, str], object] = {
    (START, "return_value"): {"processing_id": "job", "instance": "author"},
    (WAIT, OUTCOME_KEY): SUCCESS,
    (PULL, "return_value"): {"lines": 3},
    (ARCHIVE, "return_value"): {"uri": "file:///logs.zip", "sha256": "0" * 64},
    (VERIFY, "return_value"): {"failed": 0, "too_many": False},
}


@dataclass
class Task:
    """The reporting task among those of a run with one path, with what the others left behind."""

    left: Mapping[tuple[str, str], object]
    params: dict[str, object]
    pushed: dict[str, object] = field(default_factory=dict)
    announced: list[str] = field(default_factory=list)
    outlets: tuple[object, ...] = (PROCESSED,)
    dag_id: str = "dag"
    run_id: str = "run"

    def xcom_pull(self, *, task_ids: str, key: str = "return_value", map_indexes: int = -1) -> object:
        if task_ids == "plan_requests":
            return [{"path": "/content/a"}]
        if task_ids == "report":
            return self.pushed.get(key)
        assert map_indexes == 0
        return self.left.get((task_ids, key))

    def xcom_push(self, key: str, value: object) -> None:
        self.pushed[key] = value

    def __getitem__(self, _alias: object) -> Task:
        return self

    def add(self, asset: object, extra: object) -> None:
        del extra
        self.announced.append(str(getattr(asset, "uri", asset)))


def reporting(monkeypatch: pytest.MonkeyPatch, left: Mapping[tuple[str, str], object], **params: object) -> Task:
    """The task, ready to report on what the tasks of the path left behind."""
    asked = {"connection_id": "none", "archive_logs": True, "verify_assets": True, **params}
    task = Task({**LEFT, **left}, asked)
    context = {"ti": task, "params": asked, "task": task, "outlet_events": task}
    monkeypatch.setattr(pipeline, "get_current_context", lambda: context)
    monkeypatch.setattr(pipeline, "note_outcomes", lambda *_: None)
    return task


def test_a_path_that_went_well_updates_its_asset(monkeypatch: pytest.MonkeyPatch) -> None:
    task = reporting(monkeypatch, {})
    pipeline.report.function()
    assert task.announced == ["aem-guides://author/content/a"]
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
    monkeypatch: pytest.MonkeyPatch, missing: dict[tuple[str, str], object], unless: str | None
) -> None:
    task = reporting(monkeypatch, missing)
    pipeline.report.function()
    assert task.announced == []
    assert len(task.pushed[PROBLEMS_KEY]) == 1  # type: ignore[arg-type]  # a list
    if unless is not None:
        lenient = reporting(monkeypatch, missing, **{unless: False})
        pipeline.report.function()
        assert len(lenient.announced) == 1


def test_a_report_that_breaks_off_is_not_taken_for_made(monkeypatch: pytest.MonkeyPatch) -> None:
    reporting(monkeypatch, {})

    def breaks_off(*_: object) -> None:
        raise ConnectionError

    monkeypatch.setattr(pipeline, "announce", breaks_off)
    with pytest.raises(ConnectionError):
        pipeline.report.function()
    with pytest.raises(RunFailedError, match="could not be made"):
        pipeline.confirm.function()
