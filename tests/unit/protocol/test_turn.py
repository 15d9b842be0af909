"""Waiting for one's turn, second by second."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from aem_guides.protocol.procedures.turn import wait_for_turn

from aem_guides.protocol.errors import AuthenticationError
from aem_guides.protocol.models import JsonValue, ProcessingRequest
from aem_guides.protocol.pacing import Pacing
from aem_guides.protocol.procedures.events import Notice
from aem_guides.protocol.steps import HttpRequest, Reply, TransportFailure
from tests.unit.protocol.driving import World, reply

PATH = "/content/dam/a"
BEGAN = 1_750_000_000.0


def running(number: str, path: str = "/content/dam/other") -> JsonValue:
    return {"processingId": number, "path": path, "status": "RUNNING"}


class Instance:
    """Answers history by the seconds that have passed; the status of any job as it is set."""

    def __init__(
        self, history: Callable[[float], list[JsonValue] | Reply | TransportFailure], status: Reply | None = None
    ) -> None:
        self.world = World(self.respond, clock=BEGAN)
        self._history = history
        self._status = status or reply(400)

    def respond(self, request: HttpRequest) -> Reply | TransportFailure:
        if not request.target.endswith("/history"):
            return self._status
        told = self._history(self.world.clock - BEGAN)
        return reply(200, {"executionHistory": told}) if isinstance(told, list) else told

    def wait(
        self,
        *,
        blocking_id: str | None = None,
        max_active_jobs: int | None = None,
        within: float = 7200,
        first_look: float = 0.0,
        queues: bool = True,
    ) -> bool:
        steps = wait_for_turn(
            self.world.conversation(attempts=1),
            ProcessingRequest(PATH),
            blocking_id=blocking_id,
            max_active_jobs=max_active_jobs,
            deadline_at=BEGAN + within,
            pacing=Pacing(longest=15),
            first_look=first_look,
            queues=queues,
        )
        return self.world.run(steps)

    @property
    def waited(self) -> float:
        return self.world.clock - BEGAN

    def told(self) -> list[str]:
        return [item.text for item in self.world.emitted if isinstance(item, Notice)]


def test_a_free_path_is_not_waited_for() -> None:
    instance = Instance(lambda _s: [running("1")])
    assert instance.wait(max_active_jobs=2)
    assert instance.waited == 0


def test_the_first_look_may_be_put_off() -> None:
    instance = Instance(lambda _s: [])
    assert instance.wait(first_look=2)
    assert instance.waited == 2


def test_a_job_on_the_path_is_waited_for_and_told_once() -> None:
    instance = Instance(lambda s: [running("1", PATH)] if s < 600 else [])
    assert instance.wait()
    assert 600 <= instance.waited < 620
    assert instance.told() == [f"{PATH} waits: job 1 is active on {PATH}"]


def test_room_on_the_instance_is_waited_for() -> None:
    instance = Instance(lambda s: [running("1"), running("2")] if s < 600 else [running("1")])
    assert instance.wait(max_active_jobs=2)
    assert 600 <= instance.waited < 620


def test_who_does_not_queue_has_the_turn_when_a_job_begins_on_the_path_however_full_the_instance_is() -> None:
    instance = Instance(lambda s: [running("1"), running("2", PATH if s >= 600 else "/content/dam/else")])
    assert instance.wait(max_active_jobs=2, queues=False)
    assert 600 <= instance.waited < 620


def test_a_job_in_the_way_that_left_the_window_is_asked_for_by_its_id() -> None:
    instance = Instance(lambda _s: [], reply(200, running("gone", PATH)))
    assert not instance.wait(blocking_id="gone", within=600)
    assert "job gone is active" in instance.told()[0]


def test_the_deadline_is_kept_to_the_second() -> None:
    instance = Instance(lambda _s: [running("1", PATH)])
    assert not instance.wait(within=1000)
    assert 1000 <= instance.waited < 1001


@pytest.mark.parametrize(
    "trouble", [reply(503), reply(401), TransportFailure("reset", sent=True), reply(200, b"<html>")]
)
def test_an_instance_that_cannot_be_asked_for_a_while_is_borne(trouble: Reply | TransportFailure) -> None:
    instance = Instance(lambda s: trouble if s < 600 else [])
    assert instance.wait()
    assert 600 <= instance.waited < 620


def test_a_login_that_stays_refused_is_an_error_long_before_the_deadline() -> None:
    instance = Instance(lambda _s: reply(401))
    with pytest.raises(AuthenticationError):
        instance.wait()
    assert 900 <= instance.waited < 920
