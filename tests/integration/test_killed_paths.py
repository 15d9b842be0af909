"""A path of a batch whose task was killed before its job could be cancelled, against a real instance."""

from __future__ import annotations

import uuid
from dataclasses import replace

import pytest

from aem_guides.hooks.hook import AemGuidesHook
from aem_guides.pipelines import batch as batch_pipeline
from aem_guides.protocol.models import ProcessingRequest
from aem_guides.protocol.procedures import begin
from aem_guides.protocol.procedures.intent import Intent
from aem_guides.protocol.procedures.path_state import PathState, Phase
from aem_guides.protocol.procedures.start import Origin, StartPolicy
from aem_guides.results.rows import Row
from aem_guides.runtime.path_store import encoded
from aem_guides.triggers import kill
from tests.support.emulator import EmulatorProcess
from tests.support.notes import KeptNotes, key_of
from tests.support.tasks import Task


@pytest.fixture(autouse=True)
def _connection(emulator: EmulatorProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_AEM_GUIDES_DEFAULT", emulator.connection(read_timeout=5))


@pytest.fixture
def asked(emulator: EmulatorProcess) -> ProcessingRequest:
    path = f"/content/dam/killed-{uuid.uuid4().hex[:8]}"
    emulator.virtual_folder(path, 10_000, rate=0.5)
    return ProcessingRequest(path)


def about_to_start(asked: ProcessingRequest) -> PathState:
    """The stored state right before the start is sent."""
    with AemGuidesHook() as hook:
        intent = Intent.before(asked, hook.get_history(), hook.talk.instance_now(), "try")
    return PathState(asked).to(Phase.STARTING, intent=intent)


def started(asked: ProcessingRequest) -> str:
    with AemGuidesHook() as hook:
        return hook.start_processing(asked)


def row_of_killed(monkeypatch: pytest.MonkeyPatch, register: KeptNotes, state: PathState) -> Row:
    task = Task(batch_pipeline.PATHS, map_index=0)
    register.set(key_of(task, state.request), encoded(state))
    monkeypatch.setattr(kill, "states_in_task", lambda _key: frozenset({"failed"}))
    with AemGuidesHook() as hook:
        return batch_pipeline._killed_row(task.context(), hook, 0, state.request)


def test_the_job_of_an_unanswered_start_is_found_and_cancelled(
    emulator: EmulatorProcess, monkeypatch: pytest.MonkeyPatch, register: KeptNotes, asked: ProcessingRequest
) -> None:
    state = about_to_start(asked)
    processing_id = started(asked)
    row = row_of_killed(monkeypatch, register, state)
    assert (row.state, row.processing_id) == ("CANCELLED", processing_id)
    assert emulator.jobs(asked.path)[0]["state"] == "CANCELLED"


def test_a_start_that_was_never_sent_is_reported_as_not_sent(
    monkeypatch: pytest.MonkeyPatch, register: KeptNotes, asked: ProcessingRequest
) -> None:
    monkeypatch.setattr(begin, "StartPolicy", lambda: StartPolicy(patience=()))
    assert row_of_killed(monkeypatch, register, about_to_start(asked)).state == "NOT_STARTED"


def test_a_start_that_could_not_be_settled_stays_unknown(
    monkeypatch: pytest.MonkeyPatch, register: KeptNotes, asked: ProcessingRequest
) -> None:
    state = replace(about_to_start(asked), doubtful=True)
    assert row_of_killed(monkeypatch, register, state).state == "UNKNOWN"


@pytest.mark.parametrize("cancel_adopted", [False, True])
def test_an_adopted_job_is_cancelled_only_where_that_is_asked_for(
    emulator: EmulatorProcess,
    monkeypatch: pytest.MonkeyPatch,
    register: KeptNotes,
    asked: ProcessingRequest,
    cancel_adopted: bool,
) -> None:
    state = PathState(asked, cancel_adopted=cancel_adopted).works(started(asked), Origin.ADOPTED)
    row_of_killed(monkeypatch, register, state)
    (job,) = emulator.jobs(asked.path)
    assert (job["state"] == "CANCELLED") is cancel_adopted
