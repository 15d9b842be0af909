"""Integration tests wait by a fast clock; a module that needs the real one overrides the fixture `clock`."""

from __future__ import annotations

import pytest

from aem_guides.hooks import bodies
from tests.support.clocks import FAST, Clock


@pytest.fixture(scope="module")
def clock() -> Clock:
    """The clock of a module's tests and of its emulators."""
    return Clock(FAST)


@pytest.fixture(autouse=True)
def _time_passes_by_the_clock(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "REAL_SURROUNDINGS", clock.surroundings)
