"""A run that is deleted and created anew under the same id is another run: its paths are processed again."""

from __future__ import annotations

import uuid
from pathlib import Path

import pytest

from aem_guides.ledger import recorder
from tests.support.emulator import EmulatorProcess
from tests.support.notes import KeptNotes
from tests.support.ways import PathRun, Way, every_way


@every_way
def test_what_is_stored_of_a_deleted_run_is_no_outcome_of_the_next_with_its_id(
    emulator: EmulatorProcess, register: KeptNotes, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, way: Way
) -> None:
    monkeypatch.setattr(recorder, "record", lambda _notes: None)
    monkeypatch.setenv("AIRFLOW_CONN_AEM_GUIDES_DEFAULT", emulator.connection(read_timeout=5))
    path = f"/content/dam/story-{uuid.uuid4().hex[:8]}"
    emulator.virtual_folder(path, 20, rate=20)
    options: dict[str, object] = {"archive_uri": f"file://{tmp_path}", "longest_look": 2.0}
    if not way.five_tasks:
        options["verify_assets"] = False
    for count in (1, 2):
        run = PathRun(way, path, register, monkeypatch, options)
        assert run.to_the_end()["state"] == "SUCCESS"
        assert len(emulator.jobs(path)) == count
