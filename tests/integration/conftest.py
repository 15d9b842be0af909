"""Integration tests wait by a fast clock; a module that needs the real one overrides the fixture `clock`."""

from __future__ import annotations

import pytest

from aem_guides.hooks import bodies
from aem_guides.runtime import notes
from tests.support.clocks import FAST, Clock
from tests.support.notes import KeptNotes


@pytest.fixture(scope="module")
def clock() -> Clock:
    """The clock of a module's tests and of its emulators."""
    return Clock(FAST)


@pytest.fixture(autouse=True)
def _time_passes_by_the_clock(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "REAL_SURROUNDINGS", clock.surroundings)


@pytest.fixture(autouse=True)
def register(monkeypatch: pytest.MonkeyPatch) -> KeptNotes:
    """Where the states of paths are kept during a test: tasks of one run and group share theirs, as in Airflow."""
    kept = KeptNotes()
    monkeypatch.setattr(notes, "AirflowNotes", lambda: kept)
    return kept
