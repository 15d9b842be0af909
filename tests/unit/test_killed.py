"""A waiting task that was killed while nobody could cancel its job: the tasks after it see to that."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import cast

import pytest
from aem_guides.triggers.job import CANCEL_KEY

from aem_guides.hooks.hook import AemGuidesHook
from aem_guides.protocol.models import JsonValue
from aem_guides.protocol.procedures.cancel import CancelOutcome, CancelResult
from aem_guides.triggers import kill as killed
from aem_guides.triggers.kill import STAGE_KEY, Stage, settle_killed_wait
from tests.support.tasks import Task


class WaitingTask:
    """The waiting task among the others of its DAG."""

    upstream_task_ids = frozenset({"start"})

    def get_task(self, task_id: str) -> WaitingTask:
        assert task_id == "wait"
        return self


@dataclass
class Hook:
    cancelled: list[str] = field(default_factory=list)

    def cancel_processing(self, processing_id: str, *, within_seconds: float) -> CancelOutcome:
        self.cancelled.append(processing_id)
        return CancelOutcome(CancelResult.CANCELLED)


def test_after_a_task_that_came_back_nothing_is_asked_for_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """For each such question, Airflow would log an error."""
    monkeypatch.setattr(killed, "states_in_task", lambda _key: frozenset({"success"}))
    task = Task("pull", map_index=0)
    task.run.push("wait", STAGE_KEY, Stage.CAME_BACK, 0)
    assert settle_killed_wait(cast("AemGuidesHook", Hook()), task.context(dag=WaitingTask()), "wait", "job") is None
    assert task.run.asked_in_vain == []


def settled(
    monkeypatch: pytest.MonkeyPatch, state: str, *, origin: str = "started", left: Mapping[str, JsonValue] | None = None
) -> list[str]:
    """The jobs that are cancelled after a waiting task that ended so."""
    monkeypatch.setattr(killed, "states_in_task", lambda _key: frozenset({state}))
    hook = Hook()
    task = Task("pull", map_index=0)
    task.run.push("start", "return_value", {"origin": origin}, task.map_index)
    for key, value in (left or {}).items():
        task.run.push("wait", key, value, task.map_index)
    settle_killed_wait(cast("AemGuidesHook", hook), task.context(dag=WaitingTask()), "wait", "job")
    return hook.cancelled


@pytest.mark.parametrize("cancel", [None, "unknown"])
def test_a_job_whose_task_was_killed_while_it_was_deferred_is_cancelled(
    monkeypatch: pytest.MonkeyPatch, cancel: str | None
) -> None:
    assert settled(monkeypatch, "failed", left={STAGE_KEY: Stage.DEFERRED, CANCEL_KEY: cancel}) == ["job"]


@pytest.mark.parametrize(("origin", "cancelled"), [("started", ["job"]), ("recovered", ["job"]), ("adopted", [])])
def test_a_job_whose_task_was_killed_before_it_began_is_cancelled_unless_it_was_adopted(
    monkeypatch: pytest.MonkeyPatch, origin: str, cancelled: list[str]
) -> None:
    assert settled(monkeypatch, "failed", origin=origin) == cancelled


@pytest.mark.parametrize(
    ("state", "left"),
    [
        ("failed", {STAGE_KEY: Stage.DEFERRED, CANCEL_KEY: "cancelled"}),
        ("failed", {STAGE_KEY: Stage.DEFERRED, CANCEL_KEY: "already finished"}),
        ("failed", {STAGE_KEY: Stage.DEFERRED_KEEP}),
        ("failed", {STAGE_KEY: Stage.CAME_BACK}),
        ("failed", {STAGE_KEY: Stage.BEGUN}),
        ("success", {}),
        ("success", {STAGE_KEY: Stage.DEFERRED}),
        ("queued", {STAGE_KEY: Stage.DEFERRED}),
    ],
    ids=[
        "the trigger has cancelled it",
        "it had ended",
        "it was adopted",
        "the task failed by itself",
        "the task could not even look, or waited in a worker",
        "marked successful before it began",
        "marked successful",
        "cleared",
    ],
)
def test_any_other_job_is_left_alone(monkeypatch: pytest.MonkeyPatch, state: str, left: dict[str, JsonValue]) -> None:
    assert settled(monkeypatch, state, left=left) == []
