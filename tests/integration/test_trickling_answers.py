"""Answers that trickle forever, at every endpoint, through both bodies: each ends in time, and no deadline is
delayed."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pytest

from aem_guides.hooks import bodies
from aem_guides.protocol import contract
from aem_guides.protocol.conversation import Conversation
from aem_guides.protocol.errors import UnreachableError
from aem_guides.protocol.limits import TRICKLES, longest_answer, too_slow
from aem_guides.protocol.models import ProcessingRequest
from aem_guides.protocol.pacing import Pacing
from aem_guides.protocol.procedures.cancel import CancelResult, cancel_and_confirm
from aem_guides.protocol.procedures.download import download_log
from aem_guides.protocol.procedures.follow import FollowEnd, FollowPlan, follow
from aem_guides.protocol.procedures.start import Started, StartPolicy, start_once
from aem_guides.protocol.steps import Steps
from emulator.faults import ENDPOINTS
from tests.support.bodies import AsyncBody, Body, SyncBody
from tests.support.clocks import Clock
from tests.support.emulator import EmulatorProcess
from tests.support.logins import TOKEN_SERVICES, connect_all, connection_for, forget_tokens

READ_TIMEOUT = 30.0
ROOM = 40
"""On a busy machine a second without a processor is three minutes by the clock of these tests. Without a limit, these
answers would continue forever."""
VERY_FAST = 200.0
BODIES: dict[str, type[SyncBody | AsyncBody]] = {"blocking": SyncBody, "asynchronous": AsyncBody}
KINDS = ("trickle", "trickle_headers", "trickle_status")
CALLS: dict[str, Callable[[Conversation], Steps[object]]] = {
    "start": lambda talk: talk.call(contract.start(ProcessingRequest("/content/dam/a"))),
    "status": lambda talk: talk.call(contract.status("a")),
    "logs": lambda talk: talk.call(contract.logs("a")),
    "download": lambda talk: download_log(talk, "a", base_url="http://127.0.0.1"),
    "cancel": lambda talk: talk.call(contract.cancel("a")),
    "resume": lambda talk: talk.call(contract.resume("a")),
    "history": lambda talk: talk.call(contract.history()),
    "asset_status_start": lambda talk: talk.call(contract.start_asset_status(("/content/dam/a",))),
    "asset_status": lambda talk: talk.call(contract.asset_status("a")),
    "system_status": lambda talk: talk.call(contract.system_status()),
    "csrf": lambda talk: talk.call(contract.csrf_token()),
    **dict.fromkeys(TOKEN_SERVICES, lambda talk: talk.call(contract.system_status())),
}
NAMED_BY_THE_DOWNLOAD = "log_file"
STREAMED = ("download", NAMED_BY_THE_DOWNLOAD)


@dataclass(frozen=True)
class Trickled:
    """The result of a call, and after how many seconds it came."""

    error: BaseException | None
    seconds: float


@pytest.fixture(scope="module")
def clock() -> Clock:
    """By this clock five minutes are a second and a half."""
    return Clock(VERY_FAST)


@pytest.fixture(params=list(BODIES.values()), ids=list(BODIES))
def body(request: pytest.FixtureRequest) -> Body:
    made: Body = request.param()
    return made


@pytest.fixture(autouse=True)
def _connection(emulator: EmulatorProcess, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    connect_all(monkeypatch, emulator, read_timeout=READ_TIMEOUT)
    yield
    emulator.delete("/emulator/faults")


def play(
    emulator: EmulatorProcess, clock: Clock, body: Body, kind: str, calls: Iterable[tuple[str, Callable[[], object]]]
) -> dict[str, Trickled]:
    """Let every endpoint trickle, and call them side by side. Returns the result of each."""

    def timed(call: Callable[[], object]) -> Trickled:
        began = clock.elapsed()
        error: BaseException | None = None
        try:
            call()
        except Exception as raised:  # noqa: BLE001  # whatever it is, a test looks at it
            error = raised
        return Trickled(error, clock.elapsed() - began)

    waiting = dict(calls)
    forget_tokens()
    for endpoint in waiting:
        emulator.fault(endpoint, kind, count=None, seconds=3.0)
    with ThreadPoolExecutor(len(waiting)) as pool:
        return dict(zip(waiting, pool.map(timed, waiting.values()), strict=True))


@pytest.fixture(scope="module")
def trickled(emulator: EmulatorProcess, clock: Clock) -> dict[tuple[str, str, str], Trickled]:
    """Each body, kind and endpoint, all endpoints at once. A log file is requested where the download names it."""
    found: dict[tuple[str, str, str], Trickled] = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bodies, "REAL_SURROUNDINGS", clock.surroundings)
        connect_all(patch, emulator, read_timeout=READ_TIMEOUT)
        ended = started(emulator, SyncBody(), rate=10_000)
        emulator.wait_until(lambda: emulator.get("/emulator/health")["active"] == 0)

        def call(body: Body, endpoint: str) -> Callable[[], object]:
            wanted = CALLS[endpoint]
            return lambda: body.drive(lambda talk: wanted(talk.without_retries()), conn_id=connection_for(endpoint))

        def file(body: Body) -> Callable[[], object]:
            return lambda: body.drive(lambda talk: download_log(talk.without_retries(), ended, base_url=emulator.url))

        for name, made in BODIES.items():
            body = made()
            for kind in KINDS:
                came = play(emulator, clock, body, kind, ((endpoint, call(body, endpoint)) for endpoint in CALLS))
                emulator.delete("/emulator/faults")
                emulator.settings(download_form="json")
                came |= play(emulator, clock, body, kind, ((NAMED_BY_THE_DOWNLOAD, file(body)),))
                emulator.settings(download_form="zip")
                emulator.delete("/emulator/faults")
                found |= {(name, kind, endpoint): outcome for endpoint, outcome in came.items()}
    return found


def started(emulator: EmulatorProcess, body: Body, *, rate: float) -> str:
    """A job on a new folder. Returns its id."""
    path = f"/content/dam/trickle-{uuid.uuid4().hex[:8]}"
    emulator.virtual_folder(path, 1_000, rate=rate)
    begun = body.drive(lambda talk: start_once(talk, ProcessingRequest(path), policy=StartPolicy(), run="r"))
    assert isinstance(begun, Started)
    return begun.processing_id


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("endpoint", ENDPOINTS)
@pytest.mark.parametrize("name", BODIES)
def test_an_answer_that_trickles_for_ever_ends_in_time(
    trickled: dict[tuple[str, str, str], Trickled], name: str, endpoint: str, kind: str
) -> None:
    outcome = trickled[name, kind, endpoint]
    is_streamed = kind == "trickle" and endpoint in STREAMED
    assert isinstance(outcome.error, UnreachableError)
    limits = [too_slow(longest_answer(READ_TIMEOUT)), *([TRICKLES] if is_streamed else [])]
    assert any(limit in str(outcome.error) for limit in limits)
    assert outcome.seconds < ROOM * longest_answer(READ_TIMEOUT)


@pytest.mark.parametrize("token_service", [None, *TOKEN_SERVICES])
def test_the_deadline_of_a_job_holds_and_its_cancel_is_sent_while_answers_trickle(
    body: Body, emulator: EmulatorProcess, clock: Clock, token_service: str | None
) -> None:
    processing_id = started(emulator, body, rate=0.1)
    forget_tokens()
    for endpoint in [token_service] if token_service else ("status", "history", "logs"):
        emulator.fault(endpoint, "trickle", count=None, seconds=3.0)
    deadline = clock.now() + 60
    plan = FollowPlan(deadline, 600.0, Pacing())
    conn_id = connection_for(token_service or "status")
    followed = body.drive(lambda talk: follow(talk, processing_id, plan), conn_id=conn_id)
    assert followed.end is FollowEnd.DEADLINE
    assert clock.now() - deadline < ROOM * longest_answer(READ_TIMEOUT)
    emulator.delete("/emulator/faults")
    outcome = body.drive(lambda talk: cancel_and_confirm(talk, processing_id, within_seconds=6000.0), conn_id=conn_id)
    assert outcome.result is CancelResult.CANCELLED
