"""A job that goes on under another id after a resume: its first part has a log of its own, which is kept, too."""

from __future__ import annotations

import uuid
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import pytest
from airflow.sdk import Context

from aem_guides import batch_operator
from aem_guides.hook import AemGuidesHook
from aem_guides.operators import (
    AemGuidesArchiveLogsOperator,
    AemGuidesProcessAssetsOperator,
    AemGuidesPullLogsOperator,
)
from aem_guides.protocol.batch import PathNote
from aem_guides.protocol.errors import JobFailedError
from aem_guides.protocol.models import JsonObject, JsonValue, ProcessingRequest
from aem_guides.protocol.procedures.resume import resume_once
from aem_guides.protocol.procedures.start import Origin
from aem_guides.sensors import PROCESSING_ID_KEY, AemGuidesProcessingSensor
from tests.support.clocks import Clock
from tests.support.emulator import EmulatorProcess


class Store:
    """A task state store, as far as it is used."""

    def __init__(self) -> None:
        self.kept: dict[str, object] = {}

    def get(self, key: str, default: object = None) -> object:
        return self.kept.get(key, default)

    def set(self, key: str, value: object, *, retention: object = None) -> None:
        self.kept[key] = value


@dataclass
class TaskInstance:
    """One try of the task `wait` or of one after it; all share their XComs."""

    try_number: int = 1
    dag_id: str = "dag"
    run_id: str = "run"
    task_id: str = "wait"
    map_index: int = -1
    max_tries: int = 5
    xcoms: dict[str, object] = field(default_factory=dict)

    def xcom_push(self, key: str, value: object) -> None:
        self.xcoms[key] = value

    def xcom_pull(self, *, task_ids: str, key: str, map_indexes: int) -> object:
        assert (task_ids, map_indexes) == ("wait", self.map_index)
        return self.xcoms.get(key)


@dataclass
class Run:
    """The tries of a run's tasks, one after the other."""

    store: Store = field(default_factory=Store)
    xcoms: dict[str, object] = field(default_factory=dict)

    def context(self, try_number: int = 1) -> Context:
        return cast("Context", {"task_state_store": self.store, "ti": TaskInstance(try_number, xcoms=self.xcoms)})


@pytest.fixture(autouse=True)
def _instance(emulator: EmulatorProcess, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("AIRFLOW_CONN_AEM_GUIDES_DEFAULT", emulator.connection(read_timeout=30))
    emulator.settings(resume_keeps_id=False)
    yield
    emulator.settings(resume_keeps_id=True)


def failed_job(emulator: EmulatorProcess) -> tuple[str, str]:
    """The path and id of a job that fails half way, and succeeds once it is resumed."""
    path = f"/content/dam/half-{uuid.uuid4().hex[:8]}"
    emulator.virtual_folder(path, 40, rate=1000, fail_at=0.5)
    with AemGuidesHook() as hook:
        first = hook.start_processing(ProcessingRequest(path))
        emulator.wait_until(lambda: not hook.get_status(first).is_active)
    return path, first


def archived_lines(base: Path) -> set[str]:
    """The lines of every log archive below a folder."""
    lines: set[str] = set()
    for place in base.rglob("logs.zip"):
        with zipfile.ZipFile(place) as stored:
            for name in stored.namelist():
                lines.update(stored.read(name).decode().splitlines())
    return lines


def test_every_part_of_its_log_is_pulled_and_archived(
    emulator: EmulatorProcess, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, first = failed_job(emulator)
    run = Run()
    job: JsonObject = {"processing_id": first, "path": path, "origin": "started"}
    sensor = AemGuidesProcessingSensor(task_id="wait", job=job, deferrable=False, stream_logs=False)
    with pytest.raises(JobFailedError):
        sensor.execute(run.context())
    sensor.execute(run.context(try_number=2))
    second = str(run.xcoms[PROCESSING_ID_KEY])
    assert second != first
    logged = emulator.log_lines(first) + emulator.log_lines(second)

    pull = AemGuidesPullLogsOperator(task_id="pull", processing_id=second, wait_task_id="wait")
    capsys.readouterr()
    assert pull.act(AemGuidesHook(), run.context()) == {"lines": len(logged), "left_out": 0}
    shown = capsys.readouterr().out
    assert [shown.count(line) for line in logged] == [1] * len(logged)
    assert shown.index(logged[0]) < shown.index(logged[-1])

    archive = AemGuidesArchiveLogsOperator(
        task_id="archive", processing_id=second, wait_task_id="wait", archive_uri=f"file://{tmp_path}"
    )
    stored = cast("dict[str, JsonValue]", archive.act(AemGuidesHook(), run.context()))
    assert second in str(stored["uri"])
    assert archived_lines(tmp_path) == set(logged)


def test_a_part_that_the_instance_has_forgotten_is_told_and_the_rest_is_kept(
    emulator: EmulatorProcess, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, known = failed_job(emulator)
    run = Run(xcoms={"earlier_processing_ids": ["forgotten"], "aem_guides_stage": "came back"})
    pull = AemGuidesPullLogsOperator(task_id="pull", processing_id=known, wait_task_id="wait")
    pulled = cast("dict[str, JsonValue]", pull.act(AemGuidesHook(), run.context()))
    assert pulled["lines"] == len(emulator.log_lines(known))
    assert "Job forgotten, which was resumed, is not known any more" in capsys.readouterr().out


def test_every_part_of_a_path_of_a_batch_is_archived(
    emulator: EmulatorProcess, clock: Clock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, first = failed_job(emulator)
    request = ProcessingRequest(path)
    with AemGuidesHook() as hook:
        second = hook.drive(resume_once(hook.talk, hook.get_status(first), request, run="run"))
        emulator.wait_until(lambda: not hook.get_status(second).is_active)
    note = PathNote(request.fingerprint()).started(first, Origin.STARTED, clock.now() + 600)
    notes = {"note": note.resumed(second, clock.now() + 600).to_json()}

    class Notes:
        def get(self, _key: str) -> JsonValue:
            return notes.get("note")

        def delete(self, _key: str) -> None:
            notes.clear()

    monkeypatch.setattr(batch_operator, "AirflowNotes", Notes)
    monkeypatch.setattr(batch_operator, "announce", lambda *_told: None)
    operator = AemGuidesProcessAssetsOperator(task_id="wait", path=path, archive_uri=f"file://{tmp_path}")
    run = Run()
    run.store.set("aem_guides_path", {"note": notes["note"], "generation": 5})
    row = operator.execute(run.context())
    assert second in str(row["archive_uri"])
    assert archived_lines(tmp_path) == set(emulator.log_lines(first) + emulator.log_lines(second))
