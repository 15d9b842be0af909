"""A run that is deleted and created again under the same id is another run. A try that begins twice is the same try."""

from __future__ import annotations

import uuid
from pathlib import Path

import pytest

from aem_guides.ledger import recorder
from tests.support.emulator import EmulatorProcess
from tests.support.notes import KeptNotes
from tests.support.ways import PathRun, Way, every_way


def a_run(
    emulator: EmulatorProcess, register: KeptNotes, monkeypatch: pytest.MonkeyPatch, folder: Path, way: Way
) -> tuple[PathRun, str]:
    """A run that has not begun, and its path."""
    monkeypatch.setattr(recorder, "record", lambda _notes: None)
    monkeypatch.setenv("AIRFLOW_CONN_AEM_GUIDES_DEFAULT", emulator.connection(read_timeout=5))
    path = f"/content/dam/story-{uuid.uuid4().hex[:8]}"
    emulator.virtual_folder(path, 20, rate=20)
    options: dict[str, object] = {"archive_uri": f"file://{folder}", "longest_look": 2.0}
    if not way.five_tasks:
        options["verify_assets"] = False
    return PathRun(way, path, register, monkeypatch, options), path


@every_way
def test_the_state_of_a_deleted_run_is_no_outcome_of_the_next_run_with_its_id(
    emulator: EmulatorProcess, register: KeptNotes, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, way: Way
) -> None:
    run, path = a_run(emulator, register, monkeypatch, tmp_path, way)
    again = PathRun(way, path, register, monkeypatch, run.options)
    for count, one in enumerate((run, again), 1):
        assert one.to_the_end()["state"] == "SUCCESS"
        assert len(emulator.jobs(path)) == count


@every_way
def test_a_first_try_that_airflow_begins_twice_starts_no_second_job(
    emulator: EmulatorProcess, register: KeptNotes, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, way: Way
) -> None:
    run, path = a_run(emulator, register, monkeypatch, tmp_path, way)
    assert run.to_the_end()["state"] == "SUCCESS"
    for name in dict.fromkeys((run.begins, run.waits)):
        run.begin_twice(name)
    assert run.outcome["state"] == "SUCCESS"
    assert len(emulator.jobs(path)) == 1
