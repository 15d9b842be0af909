"""The trigger ends a waiting task whose job succeeded. A worker has nothing to add, and is not started for it."""

from __future__ import annotations

import asyncio

import pytest
from airflow.triggers.base import TaskSuccessEvent

from aem_guides.protocol.models import JsonObject
from aem_guides.protocol.procedures.path_state import PathState, Phase
from aem_guides.results.handed_on import EARLIER_IDS_KEY, OUTCOME_KEY, PROCESSING_ID_KEY, RETURN_KEY, STATE_KEY
from aem_guides.runtime.path_store import PathStore
from aem_guides.runtime.task_states import TaskKey
from aem_guides.triggers.lifecycle import AemGuidesLifecycleTrigger
from tests.support.emulator import EmulatorProcess
from tests.support.ways import Begin, PathRun, Way, every_way

DEFERRED = Way(five_tasks=True, deferred=True)
LONG = {"files": 400, "rate": 40}


def waited(run: PathRun) -> JsonObject:
    """The XComs of the waiting task, after a success."""
    assert run.play("start")
    assert run.play("wait")
    assert run.state is not None
    assert run.state.concluded
    return dict(run.tasks["wait"].pushed)


@every_way
def test_a_success_leaves_the_same_xcoms_whoever_ends_the_task(begin: Begin) -> None:
    run = begin(**LONG)
    if not run.way.five_tasks:
        assert run.to_the_end()["state"] == "SUCCESS"
        assert run.ended_in_trigger == [], "a task of a batch has more to do"
        return
    xcoms = waited(run)
    assert set(xcoms) == {PROCESSING_ID_KEY, EARLIER_IDS_KEY, STATE_KEY, OUTCOME_KEY, RETURN_KEY}
    assert xcoms[OUTCOME_KEY] == xcoms[RETURN_KEY] == run.outcome
    assert (run.outcome["state"], run.outcome["processing_id"]) == ("SUCCESS", xcoms[PROCESSING_ID_KEY])
    assert run.ended_in_trigger == (["wait"] if run.way.deferred else [])


@pytest.mark.parametrize("way", [DEFERRED], ids=str)
def test_a_worker_ends_the_task_if_airflow_refuses_the_results(begin: Begin, monkeypatch: pytest.MonkeyPatch) -> None:
    run = begin(**LONG)

    async def refused(key: TaskKey, values: JsonObject) -> None:
        raise OSError(f"{key.task_id}: {sorted(values)}")

    monkeypatch.setattr("aem_guides.triggers.base.push_xcoms", refused)
    assert waited(run)[RETURN_KEY] == run.outcome
    assert run.ended_in_trigger == []


@pytest.mark.parametrize("way", [DEFERRED], ids=str)
def test_a_worker_ends_the_task_if_the_job_failed(emulator: EmulatorProcess, begin: Begin) -> None:
    run = begin(**LONG, max_resumes=0)
    assert run.play("start")
    assert run.state is not None
    emulator.post("/emulator/jobs/fail", {"processingId": run.state.processing_id})
    assert not run.play("wait")
    assert "failed at" in str(run.error)
    assert run.ended_in_trigger == []


@pytest.mark.parametrize("way", [DEFERRED], ids=str)
def test_a_trigger_that_begins_again_after_its_results_were_stored_ends_the_task_with_the_same_results(
    begin: Begin, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, again = begin(**LONG), dict[str, object]()
    xcoms = waited(run)

    async def push(_key: TaskKey, values: JsonObject) -> None:
        again.update(values)

    monkeypatch.setattr("aem_guides.triggers.base.push_xcoms", push)
    _, given = run.triggers[-1].serialize()
    trigger = AemGuidesLifecycleTrigger(**given)  # type: ignore[arg-type]  # its own
    trigger.task_instance = run.triggers[-1].task_instance
    assert isinstance(asyncio.run(_event_of(trigger)), TaskSuccessEvent)
    assert again == xcoms


@pytest.mark.parametrize("way", [DEFERRED], ids=str)
def test_a_trigger_whose_task_was_cleared_meanwhile_does_not_say_that_the_next_try_has_finished(
    begin: Begin, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If it did, a kill of that try would not cancel its job."""
    run, go_on = begin(**LONG), AemGuidesLifecycleTrigger.go_on
    assert run.play("start")

    async def overtaken(trigger: AemGuidesLifecycleTrigger) -> PathState:
        reached = await go_on(trigger)
        next_try = PathStore(trigger.store.key, trigger.store.register)
        await next_try.aload()
        await next_try.asave(reached.to(Phase.FOLLOWING, end=None))
        return reached

    concluded: list[bool] = []
    run.wait_is_over = lambda _trigger: concluded.append(run.state is None or run.state.concluded)
    monkeypatch.setattr(AemGuidesLifecycleTrigger, "go_on", overtaken)
    run.play("wait")
    assert concluded == [False]
    assert run.ended_in_trigger == []


async def _event_of(trigger: AemGuidesLifecycleTrigger) -> object:
    return await anext(trigger.run())
