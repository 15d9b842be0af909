"""Valid but unusual answers, through both bodies: read as intended, and fit to be stored and carried."""

from __future__ import annotations

import json
import socketserver
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from aem_guides.protocol import contract
from aem_guides.protocol.conversation import Conversation
from aem_guides.protocol.errors import AemGuidesError, AuthenticationError, DoubtfulStartError, MalformedAnswerError
from aem_guides.protocol.models import History, Job, ProcessingRequest
from aem_guides.protocol.pacing import Pacing
from aem_guides.protocol.procedures.events import LogLines
from aem_guides.protocol.procedures.follow import FollowEnd, FollowPlan, follow
from aem_guides.protocol.procedures.log_lines import read_log
from aem_guides.protocol.procedures.start import Origin, Started, StartPolicy, start_once
from aem_guides.protocol.states import JobState
from aem_guides.protocol.steps import Steps
from aem_guides.triggers.base import why_not_carried
from tests.support.bodies import AsyncBody, Body, SyncBody
from tests.support.clocks import Clock
from tests.support.emulator import EmulatorProcess

ODD = "half an emoji \ud83d, NUL \x00"
CLEAN = "half an emoji \ufffd, NUL \ufffd"
NO_PATIENCE = StartPolicy(patience=(0.05, 0.05))
ASKING: dict[str, Callable[[Conversation], Steps[object]]] = {
    "history": lambda talk: talk.call(contract.history()),
    "system_status": lambda talk: talk.call(contract.system_status()),
    "csrf": lambda talk: talk.call(contract.csrf_token()),
}


@pytest.fixture(params=[SyncBody, AsyncBody], ids=["blocking", "asynchronous"])
def body(request: pytest.FixtureRequest) -> Body:
    made: Body = request.param()
    return made


@pytest.fixture(autouse=True)
def _connection(emulator: EmulatorProcess, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("AIRFLOW_CONN_AEM_GUIDES_DEFAULT", emulator.connection(read_timeout=30))
    yield
    emulator.delete("/emulator/faults")


def begin(emulator: EmulatorProcess, path: str, files: int = 5) -> str:
    """A job of another user on a new folder. Returns its id."""
    emulator.virtual_folder(path, files, rate=10_000)
    started = SyncBody().drive(lambda talk: start_once(talk, ProcessingRequest(path), policy=NO_PATIENCE, run="r"))
    assert isinstance(started, Started)
    return started.processing_id


def status_of(body: Body, name: str) -> Job:
    return body.drive(lambda talk: talk.call(contract.status(name)))


def test_texts_that_no_database_stores_are_marked_in_every_field(body: Body, emulator: EmulatorProcess) -> None:
    name = begin(emulator, f"/content/dam/texts-{type(body).__name__}")
    odd = json.dumps({"comments": ODD, "createdBy": ODD, "path": ODD})
    emulator.fault("status", "odd_fields", body=odd)
    job = status_of(body, name)
    assert (job.comments, job.created_by, job.path) == (CLEAN, CLEAN, CLEAN)
    assert why_not_carried(job.to_json()) is None


def test_log_lines_that_no_database_stores_are_marked_and_all_of_them_come(
    body: Body, emulator: EmulatorProcess
) -> None:
    name = begin(emulator, f"/content/dam/lines-{type(body).__name__}")
    emulator.wait_until(lambda: emulator.get("/emulator/health")["active"] == 0)
    emulator.fault("logs", "odd_lines", count=None, body=json.dumps(ODD))
    seen: list[str] = []

    def keep(item: object) -> None:
        if isinstance(item, LogLines):
            seen.extend(item.lines)

    body.drive(lambda talk: read_log(talk, name), keep)
    assert seen == [f"{line}{CLEAN}" for line in emulator.log_lines(name)]


@pytest.mark.parametrize("endpoint", ASKING)
def test_a_byte_order_mark_is_no_part_of_the_answer(body: Body, emulator: EmulatorProcess, endpoint: str) -> None:
    expected = body.drive(ASKING[endpoint])
    emulator.fault(endpoint, "byte_order_mark")
    found = body.drive(ASKING[endpoint])
    if isinstance(found, History) and isinstance(expected, History):
        assert found.jobs == expected.jobs
    else:
        assert type(found) is type(expected)


@pytest.mark.parametrize("charset", ["ISO-8859-1", "utf-16", "windows-1252"])
def test_a_job_is_known_as_ours_where_the_answer_to_its_start_is_lost_and_the_history_has_another_charset(
    body: Body, emulator: EmulatorProcess, charset: str
) -> None:
    path = f"/content/dam/Pr\xe9cautions-{charset}-{type(body).__name__}"
    emulator.virtual_folder(path, 5, rate=10_000)
    emulator.fault("start", "reset_after")
    emulator.fault("history", "charset", count=None, word=charset)
    started = body.drive(lambda talk: start_once(talk, ProcessingRequest(path), policy=NO_PATIENCE, run="r"))
    assert isinstance(started, Started)
    assert started.origin is Origin.RECOVERED
    assert len(emulator.jobs(path)) == 1


def test_a_new_job_whose_path_is_kept_back_may_be_ours_and_no_second_is_started(
    body: Body, emulator: EmulatorProcess
) -> None:
    path = f"/content/dam/kept-back-{type(body).__name__}"
    emulator.virtual_folder(path, 5, rate=10_000)
    emulator.fault("start", "reset_after")
    emulator.fault("history", "odd_fields", count=None, after=1, body=json.dumps({"path": None}))
    with pytest.raises(DoubtfulStartError):
        body.drive(lambda talk: start_once(talk, ProcessingRequest(path), policy=NO_PATIENCE, run="r"))
    assert len(emulator.jobs(path)) == 1


def test_a_second_pod_that_does_not_know_the_job_loses_none(
    body: Body, emulator: EmulatorProcess, clock: Clock
) -> None:
    path = f"/content/dam/pods-{type(body).__name__}"
    emulator.virtual_folder(path, 20, rate=2)
    started = body.drive(lambda talk: start_once(talk, ProcessingRequest(path), policy=NO_PATIENCE, run="r"))
    assert isinstance(started, Started)
    for endpoint in ("status", "history"):
        emulator.fault(endpoint, "lose_job", count=None, every=2)
    plan = FollowPlan(clock.now() + 600, 600.0, Pacing(shortest=1.0, longest=2.0))
    followed = body.drive(lambda talk: follow(talk, started.processing_id, plan))
    assert followed.end is FollowEnd.ENDED
    assert followed.job is not None
    assert followed.job.state is JobState.SUCCESS
    assert len(emulator.jobs(path)) == 1


def test_numbers_beyond_all_measure_are_the_largest_that_can_be_meant(body: Body, emulator: EmulatorProcess) -> None:
    name = begin(emulator, f"/content/dam/numbers-{type(body).__name__}")
    huge = {
        "migrationSet": {"totalFiles": 10**400},
        "triggeredCount": -5,
        "startedAt": 10**30,
        "eta": {"value": 10**400, "unit": "DAYS"},
    }
    emulator.fault("status", "odd_fields", body=json.dumps(huge))
    job = status_of(body, name)
    assert (job.total_files, job.triggered_count, job.started_at) == (2**63 - 1, None, None)
    assert why_not_carried(job.to_json()) is None


def test_nulls_count_as_not_shown(body: Body, emulator: EmulatorProcess) -> None:
    name = begin(emulator, f"/content/dam/nulls-{type(body).__name__}")
    nulls = dict.fromkeys(("comments", "createdBy", "excludedPaths", "migrationSet", "hasLogs", "filter", "eta"))
    emulator.fault("status", "odd_fields", body=json.dumps(nulls))
    job = status_of(body, name)
    assert (job.processing_id, job.comments, job.total_files) == (name, None, None)
    emulator.fault("history", "odd_fields", body=json.dumps({"executionHistory": None}))
    assert body.drive(lambda talk: talk.call(contract.history())).unreadable == ("executionHistory is null",)


def test_an_id_that_is_a_number_is_an_id(body: Body, emulator: EmulatorProcess) -> None:
    name = begin(emulator, f"/content/dam/ids-{type(body).__name__}")
    emulator.fault("status", "odd_fields", body=json.dumps({"processingId": 20260226085910}))
    assert status_of(body, name).processing_id == "20260226085910"


def test_comments_of_any_length_are_cut_with_a_mark(body: Body, emulator: EmulatorProcess) -> None:
    name = begin(emulator, f"/content/dam/long-{type(body).__name__}")
    emulator.fault("status", "odd_fields", body=json.dumps({"comments": "a" * 1_000_000}))
    comments = status_of(body, name).comments or ""
    assert len(comments) < 5_000
    assert comments.endswith(" more characters]")


def test_an_answer_nested_ten_thousand_deep_is_refused_with_an_error_of_ours(
    body: Body, emulator: EmulatorProcess
) -> None:
    deep = "[" * 10_000 + "]" * 10_000
    emulator.fault("history", "status", status=200, count=None, body=deep, headers={"content-type": "application/json"})
    with pytest.raises(MalformedAnswerError, match="nested too deep"):
        body.drive(lambda talk: talk.call(contract.history()))


@pytest.mark.parametrize("status", [301, 302, 307])
def test_a_location_that_is_no_text_is_an_error_of_ours(body: Body, status: int) -> None:
    answer = f"HTTP/1.1 {status} Found\r\nLocation: ".encode() + b"\xc3\xa9\xff/login\r\nContent-Length: 0\r\n\r\n"
    with answering(answer) as url, pytest.MonkeyPatch.context() as patched:
        patched.setenv("AIRFLOW_CONN_AEM_GUIDES_DEFAULT", connection_to(url))
        with pytest.raises(AuthenticationError, match="redirects to"):
            body.drive(lambda talk: talk.call(contract.history()))


def test_header_fields_that_cannot_be_read_are_not_written_into_the_log(
    body: Body, caplog: pytest.LogCaptureFixture
) -> None:
    odd = b"No colon at all\r\nX-Long: canary-" + b"a" * 9_000
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n" + odd + b"\r\n\r\n{}"
    with answering(answer) as url, pytest.MonkeyPatch.context() as patched:
        patched.setenv("AIRFLOW_CONN_AEM_GUIDES_DEFAULT", connection_to(url))
        with pytest.raises(AemGuidesError):
            body.drive(lambda talk: talk.call(contract.history()))
    assert "canary" not in caplog.text


def test_the_connection_is_kept_for_the_next_call(body: Body) -> None:
    reported = json.dumps({"executionHistory": []}).encode()
    connections: list[int] = []

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            connections.append(1)
            while self.rfile.readline().strip():
                while self.rfile.readline().strip():
                    pass
                self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(reported), reported))

    def three_calls(talk: Conversation) -> Steps[None]:
        for _ in range(3):
            yield from talk.call(contract.history())

    with serving(Handler) as url, pytest.MonkeyPatch.context() as patched:
        patched.setenv("AIRFLOW_CONN_AEM_GUIDES_DEFAULT", connection_to(url))
        body.drive(three_calls)
    assert len(connections) == 1


def connection_to(url: str) -> str:
    return json.dumps({"conn_type": "aem_guides", "host": url, "login": "admin", "password": "x"})


@contextmanager
def answering(answer: bytes) -> Iterator[str]:
    """A server that gives every request the same answer. Yields its URL."""

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            while self.rfile.readline().strip():
                pass
            self.wfile.write(answer)

    with serving(Handler) as url:
        yield url


@contextmanager
def serving(handler: type[socketserver.StreamRequestHandler]) -> Iterator[str]:
    """A server. Yields its URL."""
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
