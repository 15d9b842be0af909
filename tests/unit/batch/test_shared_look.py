"""What those who follow a job make of the look at the history that one of them had for all."""

from __future__ import annotations

import pytest

from aem_guides.protocol.admission import take_a_look
from aem_guides.protocol.models import JsonObject
from aem_guides.protocol.pacing import Pacing
from aem_guides.triggers.admission import Coordinator, StartLease
from tests.support.notes import KeptNotes
from tests.unit.protocol.driving import World, reply


def a_job(status: str) -> JsonObject:
    return {"processingId": "a", "path": "/content/a", "status": status}


@pytest.mark.parametrize(
    ("in_the_window", "asked"),
    [("RUNNING", []), ("FAILED", ["status"])],
    ids=["seen at work", "seen with the end that it had before it was resumed"],
)
def test_only_of_a_job_that_it_shows_at_work_the_shared_look_is_the_last_word(
    in_the_window: str, asked: list[str]
) -> None:
    history = {"executionHistory": [a_job(in_the_window)]}
    world = World(lambda request: reply(200, history if "history" in request.target else a_job("RUNNING")))
    talk = world.conversation()
    coordinator = Coordinator(StartLease(KeptNotes(), "lease"), Pacing())
    coordinator._seen = world.run(take_a_look(talk, coordinator.turns))
    coordinator._read_at = talk.now()
    world.sent.clear()
    found = world.run(coordinator.find(talk, "a"))
    assert found is not None
    assert found.is_active
    assert [request.target.partition("?")[0].rpartition("/")[2] for request in world.sent] == asked
