"""What tasks remember between tries."""

from __future__ import annotations

from aem_guides.runtime.memory import first_time
from tests.support.tasks import Task


def test_the_first_time_stays_the_first_for_the_same_job() -> None:
    context = Task().context()
    assert [first_time(context, "a", now) for now in (10.0, 20.0)] == [10.0, 10.0]
    assert first_time(context, "b", 30.0) == 30.0
