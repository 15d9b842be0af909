"""A path of a batch whose task was killed before anybody could look after its job, against a real instance."""

from __future__ import annotations

import uuid
from dataclasses import replace

import pytest

from aem_guides.hooks.hook import AemGuidesHook
from aem_guides.pipelines import batch as batch_pipeline
from aem_guides.protocol.batch import PathNote
from aem_guides.protocol.models import ProcessingRequest
from aem_guides.protocol.procedures.intent import Intent
from aem_guides.protocol.procedures.start import Origin, StartPolicy
from aem_guides.results.batch_rows import BatchRow
from aem_guides.runtime.notes import path_key
from tests.support.emulator import EmulatorProcess
from tests.support.notes import KeptNotes
from tests.support.tasks import Task


@pytest.fixture(autouse=True)
def _connection(emulator: EmulatorProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_AEM_GUIDES_DEFAULT", emulator.connection(read_timeout=5))


@pytest.fixture
def asked(emulator: EmulatorProcess) -> ProcessingRequest:
    path = f"/content/dam/killed-{uuid.uuid4().hex[:8]}"
    emulator.virtual_folder(path, 10_000, rate=0.5)
    return ProcessingRequest(path)


def about_to_start(asked: ProcessingRequest) -> PathNote:
    """What is noted right before the start is sent."""
    with AemGuidesHook() as hook:
        intent = Intent.before(asked, hook.get_history(), hook.talk.instance_now(), "try")
    return PathNote(asked.fingerprint(), start=intent)


def started(asked: ProcessingRequest) -> str:
    with AemGuidesHook() as hook:
        return hook.start_processing(asked)


def row_of_killed(
    monkeypatch: pytest.MonkeyPatch, asked: ProcessingRequest, note: PathNote, *, cancel_adopted: bool = False
) -> BatchRow:
    task, notes = Task(), KeptNotes()
    notes.set(path_key(task.dag_id, task.run_id, batch_pipeline.PATHS, asked.fingerprint()), note.to_json())
    monkeypatch.setattr(batch_pipeline, "AirflowNotes", lambda: notes)
    with AemGuidesHook() as hook:
        return batch_pipeline._killed_row(task.context(), hook, asked, cancel_adopted=cancel_adopted)


def test_a_start_of_which_nobody_heard_is_found_and_its_job_cancelled(
    emulator: EmulatorProcess, monkeypatch: pytest.MonkeyPatch, asked: ProcessingRequest
) -> None:
    note = about_to_start(asked)
    processing_id = started(asked)
    row = row_of_killed(monkeypatch, asked, note)
    assert (row.state, row.processing_id) == ("CANCELLED", processing_id)
    assert emulator.jobs(asked.path)[0]["state"] == "CANCELLED"


def test_a_start_that_was_never_sent_is_told_as_none(monkeypatch: pytest.MonkeyPatch, asked: ProcessingRequest) -> None:
    monkeypatch.setattr(batch_pipeline, "StartPolicy", lambda: StartPolicy(patience=()))
    assert row_of_killed(monkeypatch, asked, about_to_start(asked)).state == "NOT_STARTED"


def test_a_start_that_could_not_be_settled_stays_unknown(
    monkeypatch: pytest.MonkeyPatch, asked: ProcessingRequest
) -> None:
    note = replace(about_to_start(asked), doubtful=True)
    assert row_of_killed(monkeypatch, asked, note).state == "UNKNOWN"


@pytest.mark.parametrize("cancel_adopted", [False, True])
def test_an_adopted_job_is_cancelled_only_where_that_is_asked_for(
    emulator: EmulatorProcess,
    monkeypatch: pytest.MonkeyPatch,
    asked: ProcessingRequest,
    cancel_adopted: bool,
) -> None:
    processing_id = started(asked)
    note = PathNote(asked.fingerprint()).started(processing_id, Origin.ADOPTED, 0.0)
    row_of_killed(monkeypatch, asked, note, cancel_adopted=cancel_adopted)
    (job,) = emulator.jobs(asked.path)
    assert (job["state"] == "CANCELLED") is cancel_adopted
