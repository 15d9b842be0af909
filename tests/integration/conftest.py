"""Integration tests use a fast clock. A module that needs the real one overrides the fixture `clock`."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from aem_guides.hooks import bodies
from aem_guides.ledger import recorder
from aem_guides.ledger.notes import Note
from aem_guides.runtime import notes
from tests.support.clocks import FAST, Clock
from tests.support.emulator import EmulatorProcess
from tests.support.notes import KeptNotes
from tests.support.ways import Begin, PathRun, Way


@pytest.fixture(scope="module")
def clock() -> Clock:
    """The clock of a module's tests and of its emulators."""
    return Clock(FAST)


@pytest.fixture(autouse=True)
def _time_passes_by_the_clock(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "REAL_SURROUNDINGS", clock.surroundings)


@pytest.fixture(autouse=True)
def register(monkeypatch: pytest.MonkeyPatch) -> KeptNotes:
    """The store of the paths' states during a test. Tasks of one run and group share a state, as in Airflow."""
    kept = KeptNotes()
    monkeypatch.setattr(notes, "AirflowNotes", lambda: kept)
    return kept


@pytest.fixture
def noted(monkeypatch: pytest.MonkeyPatch) -> list[Note]:
    """The notes for the ledger."""
    notes: list[Note] = []
    monkeypatch.setattr(recorder, "record", notes.extend)
    return notes


@pytest.fixture
def begin(
    emulator: EmulatorProcess,
    register: KeptNotes,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    noted: list[Note],
    way: Way,
) -> Iterator[Begin]:
    """Returns a new path to run, in the way of the test."""
    del noted
    monkeypatch.setenv("AIRFLOW_CONN_AEM_GUIDES_DEFAULT", emulator.connection(read_timeout=5))

    def begun(
        path: str | None = None,
        *,
        files: int = 20,
        rate: float = 20,
        run_id: str = "run",
        created_after: int | None = None,
        **options: object,
    ) -> PathRun:
        if path is None:
            path = f"/content/dam/story-{uuid.uuid4().hex[:8]}"
            emulator.virtual_folder(path, files, rate=rate)
        fields = {"archive_uri": f"file://{tmp_path}", "longest_look": 2.0, **options}
        if not way.five_tasks:
            fields.setdefault("verify_assets", False)
        return PathRun(way, path, register, monkeypatch, fields, run_id, created_after)

    yield begun
    emulator.delete("/emulator/faults")
    for path in {job["path"] for job in emulator.jobs() if job["state"] in ("RUNNING", "WAITING", "QUEUED")}:
        emulator.post("/emulator/jobs/fail", {"processingId": emulator.jobs(path)[-1]["processing_id"]})
