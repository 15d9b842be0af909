"""Answers that trickle for ever, through both bodies: each ends in time, and no deadline waits for it."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from aem_guides.protocol import contract
from aem_guides.protocol.conversation import Conversation
from aem_guides.protocol.errors import MalformedAnswerError, UnreachableError
from aem_guides.protocol.limits import longest_answer
from aem_guides.protocol.models import ProcessingRequest
from aem_guides.protocol.pacing import Pacing
from aem_guides.protocol.procedures.cancel import CancelResult, cancel_and_confirm
from aem_guides.protocol.procedures.download import download_log
from aem_guides.protocol.procedures.follow import FollowEnd, FollowPlan, follow
from aem_guides.protocol.procedures.start import Started, StartPolicy, start_once
from aem_guides.protocol.steps import Steps
from tests.support.bodies import AsyncBody, Body, SyncBody
from tests.support.clocks import Clock
from tests.support.emulator import EmulatorProcess

READ_TIMEOUT = 30.0
VERY_FAST = 200.0
CALLS: dict[str, Callable[[Conversation], Steps[object]]] = {
    "history": lambda talk: talk.call(contract.history()),
    "download": lambda talk: download_log(talk, "a", base_url="http://127.0.0.1"),
    "start": lambda talk: talk.call(contract.start(ProcessingRequest("/content/dam/a"))),
}


@pytest.fixture(scope="module")
def clock() -> Clock:
    """By it five minutes are a second and a half."""
    return Clock(VERY_FAST)


@pytest.fixture(params=[SyncBody, AsyncBody], ids=["blocking", "asynchronous"])
def body(request: pytest.FixtureRequest) -> Body:
    made: Body = request.param()
    return made


@pytest.fixture(autouse=True)
def _connection(emulator: EmulatorProcess, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("AIRFLOW_CONN_AEM_GUIDES_DEFAULT", emulator.connection(read_timeout=READ_TIMEOUT))
    yield
    emulator.delete("/emulator/faults")


@pytest.mark.parametrize("kind", ["trickle", "trickle_headers"])
@pytest.mark.parametrize("endpoint", CALLS)
def test_an_answer_that_trickles_for_ever_ends_in_time(
    body: Body, emulator: EmulatorProcess, clock: Clock, endpoint: str, kind: str
) -> None:
    emulator.fault(endpoint, kind, count=None, seconds=3.0)
    began = clock.elapsed()
    with pytest.raises((UnreachableError, MalformedAnswerError)):
        body.drive(lambda talk: CALLS[endpoint](talk.without_retries()))
    assert clock.elapsed() - began < 4 * longest_answer(READ_TIMEOUT)


def test_the_deadline_of_a_job_holds_and_its_cancel_is_sent_while_answers_trickle(
    body: Body, emulator: EmulatorProcess, clock: Clock
) -> None:
    path = f"/content/dam/trickle-{type(body).__name__}"
    emulator.virtual_folder(path, 1_000, rate=0.1)
    started = body.drive(lambda talk: start_once(talk, ProcessingRequest(path), policy=StartPolicy(), run="r"))
    assert isinstance(started, Started)
    for endpoint in ("status", "history", "logs"):
        emulator.fault(endpoint, "trickle", count=None, seconds=3.0)
    deadline = clock.now() + 60
    followed = body.drive(lambda talk: follow(talk, started.processing_id, FollowPlan(deadline, 600.0, Pacing())))
    assert followed.end is FollowEnd.DEADLINE
    assert clock.now() - deadline < 6 * longest_answer(READ_TIMEOUT)
    emulator.delete("/emulator/faults")
    outcome = body.drive(lambda talk: cancel_and_confirm(talk, started.processing_id, within_seconds=60.0))
    assert outcome.result is CancelResult.CANCELLED
