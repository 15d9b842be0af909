"""A connection that changes to another instance during a run: the next task stops before anything is sent there."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from aem_guides.hooks.hook import AemGuidesHook
from aem_guides.operators import (
    AemGuidesArchiveLogsOperator,
    AemGuidesProcessAssetsOperator,
    AemGuidesPullLogsOperator,
    AemGuidesStartProcessingOperator,
    AemGuidesVerifyAssetsOperator,
)
from aem_guides.protocol.errors import AemGuidesError, Retry
from aem_guides.protocol.models import JsonObject, ProcessingRequest
from aem_guides.protocol.procedures.path_state import PathState
from aem_guides.protocol.procedures.start import Origin
from aem_guides.runtime.path_store import PathStore, encoded
from aem_guides.runtime.task_states import TaskKey
from aem_guides.sensors import AemGuidesProcessingSensor
from aem_guides.triggers import kill
from aem_guides.triggers.kill import settle_left_behind
from tests.support.emulator import EmulatorProcess
from tests.support.notes import KeptNotes, key_of
from tests.support.path_triggers import event_of, path_trigger
from tests.support.tasks import Task

REQUEST = ProcessingRequest("/content/dam/elsewhere")
TASK = Task("path.task")
KEY = key_of(TASK, REQUEST)
JOB: JsonObject = {"processing_id": "the-job", "origin": "started", "request": REQUEST.to_json()}


def starting_again() -> None:
    AemGuidesStartProcessingOperator(task_id=TASK.task_id, request=REQUEST.to_json()).execute(TASK.context())


def waiting_again() -> None:
    AemGuidesProcessingSensor(task_id=TASK.task_id, job={**JOB, "state_key": KEY}).execute(TASK.context())


def waiting_for_a_job_of_which_the_state_is_lost() -> None:
    job: JsonObject = {**JOB, "instance": "the-instance-of-before", "state_key": "lost"}
    AemGuidesProcessingSensor(task_id=TASK.task_id, job=job).execute(TASK.context())


def pulling() -> None:
    pull = AemGuidesPullLogsOperator(task_id=TASK.task_id, processing_id="the-job", request=REQUEST.to_json())
    pull.execute(TASK.context())


def archiving() -> None:
    archive = AemGuidesArchiveLogsOperator(task_id=TASK.task_id, processing_id="the-job", request=REQUEST.to_json())
    archive.execute(TASK.context())


def verifying() -> None:
    verify = AemGuidesVerifyAssetsOperator(task_id=TASK.task_id, processing_id="the-job", request=REQUEST.to_json())
    verify.execute(TASK.context())


def a_batch_that_comes_back() -> None:
    operator = AemGuidesProcessAssetsOperator(task_id=TASK.task_id, request=REQUEST.to_json())
    operator.execute_complete(TASK.context(), {"phase": "ended"})


def settling_a_kill() -> None:
    with AemGuidesHook() as hook:
        settle_left_behind(hook, PathStore(KEY), [TaskKey("dag", "run", "task", -1)])


@pytest.mark.parametrize(
    "act",
    [
        starting_again,
        waiting_again,
        waiting_for_a_job_of_which_the_state_is_lost,
        pulling,
        archiving,
        verifying,
        a_batch_that_comes_back,
        settling_a_kill,
    ],
)
def test_nothing_is_sent(
    emulator: EmulatorProcess, monkeypatch: pytest.MonkeyPatch, register: KeptNotes, act: Callable[[], None]
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_AEM_GUIDES_DEFAULT", emulator.connection())
    monkeypatch.setattr(kill, "states_in_task", lambda _key: frozenset({"failed"}))
    register.set(KEY, encoded(PathState(REQUEST).works("the-job", Origin.STARTED, "the-instance-of-before")))
    before = len(emulator.requests())
    with pytest.raises(AemGuidesError, match="the-instance-of-before") as caught:
        act()
    assert caught.value.retry is Retry.POINTLESS
    assert len(emulator.requests()) == before


def test_nothing_is_sent_by_a_trigger(
    emulator: EmulatorProcess, monkeypatch: pytest.MonkeyPatch, register: KeptNotes
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_AEM_GUIDES_DEFAULT", emulator.connection())
    before = len(emulator.requests())
    state = PathState(REQUEST).works("the-job", Origin.STARTED, "the-instance-of-before")
    event = asyncio.run(event_of(path_trigger(register, REQUEST.path, state=state)))
    assert "the-instance-of-before" in str(event["error"])
    assert event["retry"] == "pointless"
    assert len(emulator.requests()) == before
