"""The fault matrix: every endpoint, every fault, once and forever, through both hooks. Each cell has its expected
result."""

from __future__ import annotations

import asyncio
import itertools
import os
import uuid
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import pytest

from aem_guides.hooks.hook import AemGuidesAsyncHook, AemGuidesHook
from aem_guides.protocol import contract
from aem_guides.protocol.conversation import Conversation, RetrySettings
from aem_guides.protocol.errors import (
    AemGuidesError,
    AnswerError,
    AuthenticationError,
    MalformedAnswerError,
    NotFoundError,
    RejectedError,
    ScopeError,
    UnavailableError,
    UnreachableError,
)
from aem_guides.protocol.models import ProcessingRequest
from aem_guides.protocol.procedures.download import download_log
from aem_guides.protocol.steps import Steps
from tests.support.emulator import PASSWORD, EmulatorProcess
from tests.support.logins import JWT_SECRET, OAUTH_SECRET, TOKEN_SERVICES, connect_all, connection_for, forget_tokens

ATTEMPTS = 3
RETRIES = RetrySettings(attempts=ATTEMPTS, base_seconds=0.001, cap_seconds=0.002, retry_after_cap_seconds=0.005)
READ_TIMEOUT = 2.0
SHORT_READ_TIMEOUT = 0.5
"""No call is ever answered, so a longer wait would show nothing else."""

SECRETS = {"token_oauth": OAUTH_SECRET, "token_jwt": JWT_SECRET}
HTML = f"<html>gateway, you are {PASSWORD} or {OAUTH_SECRET} or {JWT_SECRET}</html>"
SCOPE = {"status": 403, "body": '{"title": "scope"}', "headers": {"Content-Type": "application/problem+json"}}

JSON = {"Content-Type": "application/json"}
GZIP = JSON | {"Content-Encoding": "gzip"}

FAULTS: dict[str, dict[str, object]] = {
    "reset before the request is read": {"kind": "reset_before"},
    "reset after it was accepted": {"kind": "reset_after"},
    "reset in the body": {"kind": "reset_body"},
    "time-out": {"kind": "timeout_after"},
    "400": {"kind": "status", "status": 400, "body": HTML},
    "401": {"kind": "status", "status": 401, "body": HTML},
    "403 plain": {"kind": "status", "status": 403, "body": "Forbidden"},
    "403 CSRF": {"kind": "csrf"},
    "403 scope": {"kind": "status", **SCOPE},
    "404": {"kind": "status", "status": 404, "body": HTML},
    "409": {"kind": "status", "status": 409, "body": "active"},
    "429": {"kind": "status", "status": 429},
    "429 with Retry-After": {"kind": "status", "status": 429, "headers": {"Retry-After": "1"}},
    "500": {"kind": "status", "status": 500, "body": HTML},
    "502": {"kind": "status", "status": 502},
    "503 with HTML": {"kind": "status", "status": 503, "body": HTML},
    "redirect to login": {"kind": "redirect_login"},
    "login page": {"kind": "login_page"},
    "HTML": {"kind": "html"},
    "empty body": {"kind": "empty_body"},
    "truncated JSON": {"kind": "truncated_json"},
    "JSON of the wrong shape": {"kind": "wrong_shape"},
    "JSON nested too deep": {"kind": "status", "status": 200, "body": "[" * 10_000, "headers": JSON},
    "gzip that is none": {
        "kind": "status",
        "status": 200,
        "body": "{}",
        "headers": JSON | {"Content-Encoding": "gzip"},
    },
    **{f"{status}": {"kind": "status", "status": status} for status in (406, 408, 421, 423, 425)},
    "byte order mark": {"kind": "byte_order_mark"},
    "another charset": {"kind": "charset", "word": "utf-16"},
}
HARMLESS = {"byte order mark", "another charset"}
IN_THE_BODY = {"reset in the body", "gzip that is none"}
CUT_OFF = {"reset before the request is read", "reset after it was accepted", "time-out", *IN_THE_BODY}
MISSHAPEN = {"empty body", "truncated JSON", "JSON of the wrong shape", "JSON nested too deep"}
PLAIN: dict[str, type[AemGuidesError]] = {
    "400": RejectedError,
    "401": AuthenticationError,
    "403 plain": AuthenticationError,
    "403 scope": ScopeError,
    "404": NotFoundError,
    "409": RejectedError,
    "500": UnavailableError,
    "redirect to login": AuthenticationError,
    "login page": AuthenticationError,
    "HTML": AuthenticationError,
}
PLAIN_OF_TOKENS = PLAIN | dict.fromkeys(("400", "404", "409"), AuthenticationError)
"""Whatever a token service refuses, the result is a login error: the instance itself was not called."""
ENDPOINTS = (
    "start",
    "status",
    "logs",
    "download",
    "cancel",
    "resume",
    "history",
    "system_status",
    "asset_status_start",
    "asset_status",
    "csrf",
    *TOKEN_SERVICES,
)
NOT_REPEATED = {"start", "resume"}
WRITES = {"start", "cancel", "resume", "asset_status_start"}
Procedure = Callable[[Conversation], Steps[object]]


@dataclass(frozen=True)
class Use:
    """One use of an endpoint, over the connection that calls it."""

    steps: Procedure
    conn_id: str


@dataclass(frozen=True)
class Expected:
    """The expected result of a cell: a value, or an error after so many attempts."""

    error: type[AemGuidesError] | None
    attempts: int = 1


def expected(endpoint: str, fault: str, *, forever: bool) -> Expected:
    """The rule behind all cells."""
    repeated = endpoint not in NOT_REPEATED
    attempts = ATTEMPTS if repeated else 1
    if fault == "403 CSRF":
        return Expected(AuthenticationError, 2) if forever and endpoint in WRITES else Expected(None)
    if fault in PLAIN:
        return Expected((PLAIN_OF_TOKENS if endpoint in TOKEN_SERVICES else PLAIN)[fault])
    if fault in MISSHAPEN:
        return _misshapen(endpoint, fault, attempts, forever=forever)
    if fault in HARMLESS:
        return Expected(MalformedAnswerError if (endpoint, fault) == ("download", "byte order mark") else None)
    if endpoint == "download" and fault in IN_THE_BODY:
        return Expected(UnreachableError)
    if repeated and not forever:
        return Expected(None)
    return Expected(UnreachableError if fault in CUT_OFF else UnavailableError, attempts)


def _misshapen(endpoint: str, fault: str, attempts: int, *, forever: bool) -> Expected:
    if endpoint in ("cancel", "resume"):
        return Expected(None)  # their answers need no body
    if endpoint == "download":
        return Expected(None if fault == "truncated JSON" else MalformedAnswerError)  # half a ZIP is found by its check
    return Expected(MalformedAnswerError, attempts) if forever or attempts == 1 else Expected(None)


@dataclass
class Jobs:
    """Jobs in the states that the endpoints need."""

    emulator: EmulatorProcess
    counter: Iterator[int] = field(default_factory=itertools.count)

    def folder(self, **more: object) -> str:
        path = f"/content/dam/matrix-{next(self.counter)}-{uuid.uuid4().hex[:6]}"
        self.emulator.virtual_folder(path, 2, **({"rate": 100_000} | more))
        return path

    def start(self, path: str) -> str:
        with AemGuidesHook(retries=RETRIES) as hook:
            return hook.start_processing(ProcessingRequest(path))

    def wait_for(self, processing_id: str, state: str) -> str:
        self.emulator.wait_until(lambda: self.emulator.job(processing_id)["state"] == state, state)
        return processing_id

    def ended(self) -> str:
        return self.wait_for(self.start(self.folder()), "SUCCESS")

    def resumable(self) -> str:
        return self.wait_for(self.start(self.folder(fail_at=0.5)), "FAILED")

    def active(self) -> str:
        return self.start(self.folder(rate=0.02))


@pytest.fixture(scope="module")
def jobs(emulator: EmulatorProcess) -> Iterator[Jobs]:
    patch = pytest.MonkeyPatch()
    connect_all(patch, emulator, read_timeout=READ_TIMEOUT, connect_timeout=5, requests_per_second=1000)
    emulator.settings(waiting_seconds=0.0, cancel_seconds=600.0, asset_status_seconds=0.0)
    yield Jobs(emulator)
    patch.undo()


@pytest.fixture(scope="module")
def ended_id(jobs: Jobs) -> str:
    return jobs.ended()


@pytest.fixture(scope="module")
def question(jobs: Jobs, ended_id: str) -> str:
    with AemGuidesHook(retries=RETRIES) as hook:
        return hook.start_asset_status(ProcessingRequest("/content/dam/aurora/guides"))


def use(endpoint: str, jobs: Jobs, ended_id: str, question: str) -> Use:
    return Use(procedure(endpoint, jobs, ended_id, question), connection_for(endpoint))


def procedure(endpoint: str, jobs: Jobs, ended_id: str, question: str) -> Procedure:
    """One use of the endpoint, on a job in the right state. For a token service, a call that needs a token."""
    match endpoint:
        case "start":
            request = ProcessingRequest(jobs.folder())
            return lambda talk: talk.call(contract.start(request))
        case "download":
            return lambda talk: download_log(talk, ended_id, base_url=jobs.emulator.url)
        case "cancel":
            active = jobs.active()
            return lambda talk: talk.call(contract.cancel(active))
        case "resume":
            resumable = jobs.resumable()
            return lambda talk: talk.call(contract.resume(resumable))
    plain: dict[str, Procedure] = {
        "status": lambda talk: talk.call(contract.status(ended_id)),
        "logs": lambda talk: talk.call(contract.logs(ended_id, offset=0, limit=5)),
        "history": lambda talk: talk.call(contract.history()),
        "system_status": lambda talk: talk.call(contract.system_status()),
        "asset_status_start": lambda talk: talk.call(contract.start_asset_status(("/content/dam/aurora",))),
        "asset_status": lambda talk: talk.call(contract.asset_status(question)),
        "csrf": lambda talk: talk.call(contract.csrf_token()),
        **dict.fromkeys(TOKEN_SERVICES, lambda talk: talk.call(contract.history())),
    }
    return plain[endpoint]


def blocking(wanted: Use) -> object:
    with AemGuidesHook(wanted.conn_id, retries=RETRIES) as hook:
        return hook.drive(wanted.steps(hook.talk))


def asynchronous(wanted: Use) -> object:
    async def run() -> object:
        async with AemGuidesAsyncHook(wanted.conn_id, retries=RETRIES) as hook:
            return await asyncio.wait_for(hook.drive(wanted.steps(await hook.talk())), 30)

    return asyncio.run(run())


@dataclass(frozen=True)
class Outcome:
    """The result of a cell: an error or none, and how many more jobs the instance has than before."""

    error: BaseException | None
    more_jobs: int


Body = Callable[[Use], object]
BODIES: tuple[Body, ...] = (blocking, asynchronous)


def set_fault(emulator: EmulatorProcess, endpoint: str, fault: str, *, forever: bool) -> None:
    """A missing CSRF token is not a fault but a demand of the instance. Forever: no issued token satisfies it."""
    if fault == "403 CSRF":
        emulator.settings(csrf=True, csrf_life_seconds=0.0 if forever else 600.0)
    else:
        emulator.post("/emulator/faults", {"endpoint": endpoint, "count": None if forever else 1, **FAULTS[fault]})


def count_jobs(emulator: EmulatorProcess) -> int:
    return int(emulator.get("/emulator/health")["jobs"])


def play(jobs: Jobs, body: Body, fault: str, *, forever: bool, uses: Mapping[str, Use]) -> dict[str, Outcome]:
    """Set the fault at every endpoint of the uses, and run them side by side. Returns the result of each."""
    emulator = jobs.emulator
    forget_tokens()
    before = count_jobs(emulator)
    for endpoint in uses:
        set_fault(emulator, endpoint, fault, forever=forever)
    try:
        with ThreadPoolExecutor(len(uses)) as pool:
            played = {endpoint: pool.submit(body, wanted) for endpoint, wanted in uses.items()}
    finally:
        emulator.delete("/emulator/faults")
        emulator.settings(csrf=False)
    more = count_jobs(emulator) - before
    return {endpoint: Outcome(future.exception(), more) for endpoint, future in played.items()}


@pytest.fixture(scope="module")
def timed_out(jobs: Jobs, ended_id: str, question: str) -> dict[tuple[Body, bool, str], Outcome]:
    """The cells that wait for a time-out, all endpoints at once."""
    found = {}
    for body, forever in itertools.product(BODIES, (False, True)):
        uses = {endpoint: use(endpoint, jobs, ended_id, question) for endpoint in ENDPOINTS}
        with pytest.MonkeyPatch.context() as patch:
            read_timeout = SHORT_READ_TIMEOUT if forever else READ_TIMEOUT
            connect_all(patch, jobs.emulator, read_timeout=read_timeout, connect_timeout=5, requests_per_second=1000)
            for endpoint, outcome in play(jobs, body, "time-out", forever=forever, uses=uses).items():
                found[body, forever, endpoint] = outcome
    return found


@pytest.mark.parametrize("forever", [False, True], ids=["once", "for ever"])
@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("endpoint", ENDPOINTS)
@pytest.mark.parametrize("body", BODIES)
def test_a_cell_of_the_matrix_is_as_stated(
    request: pytest.FixtureRequest,
    jobs: Jobs,
    ended_id: str,
    question: str,
    body: Body,
    endpoint: str,
    fault: str,
    forever: bool,
) -> None:
    if fault == "time-out":
        outcome = request.getfixturevalue("timed_out")[body, forever, endpoint]
    else:
        uses = {endpoint: use(endpoint, jobs, ended_id, question)}
        outcome = play(jobs, body, fault, forever=forever, uses=uses)[endpoint]
    cell = expected(endpoint, fault, forever=forever)
    reported = outcome.error
    assert type(reported) is (type(None) if cell.error is None else cell.error)
    if reported is not None:
        assert SECRETS.get(endpoint, PASSWORD) not in str(reported)
        assert isinstance(reported, UnreachableError | AnswerError)
        assert reported.attempts == cell.attempts
        assert reported.sent is False or endpoint not in TOKEN_SERVICES
    assert outcome.more_jobs <= 1


@pytest.mark.parametrize("endpoint", ENDPOINTS)
@pytest.mark.parametrize("body", BODIES)
def test_a_refused_connection_was_certainly_not_sent(
    jobs: Jobs,
    ended_id: str,
    question: str,
    body: Body,
    endpoint: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    wanted = use(endpoint, jobs, ended_id, question)
    forget_tokens()
    connection = f"AIRFLOW_CONN_{wanted.conn_id.upper()}"
    monkeypatch.setenv(connection, os.environ[connection].replace(jobs.emulator.url, "http://127.0.0.1:9"))
    with pytest.raises(UnreachableError) as caught:
        body(wanted)
    assert (caught.value.sent, caught.value.attempts) == (False, ATTEMPTS)
