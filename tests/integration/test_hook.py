"""The two bodies against a real instance: the same calls, the same answers."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from typing import TypeVar

import pytest

from aem_guides.protocol import contract
from aem_guides.protocol.asset_verdict import AssetQuestion
from aem_guides.protocol.contract import Call
from aem_guides.protocol.conversation import Conversation
from aem_guides.protocol.errors import AemGuidesError, AuthenticationError, ConfigurationError, UnreachableError
from aem_guides.protocol.models import ProcessingRequest
from aem_guides.protocol.pacing import Pacing
from aem_guides.protocol.procedures.cancel import CancelResult, cancel_and_confirm
from aem_guides.protocol.procedures.download import ForeignOriginError, download_log
from aem_guides.protocol.procedures.events import LogLines
from aem_guides.protocol.procedures.follow import FollowEnd, FollowPlan, follow
from aem_guides.protocol.procedures.log_lines import read_log
from aem_guides.protocol.procedures.parts import ArchivePart
from aem_guides.protocol.procedures.start import Origin, Started, StartPolicy, start_once
from aem_guides.protocol.procedures.verify import Patience, verify_assets
from aem_guides.protocol.states import JobState
from aem_guides.protocol.steps import Steps
from tests.support.bodies import AsyncBody, Body, SyncBody
from tests.support.emulator import PASSWORD, TOKEN, EmulatorProcess

T = TypeVar("T")
NO_PATIENCE = StartPolicy(patience=(0.05, 0.05))


@pytest.fixture(params=[SyncBody, AsyncBody], ids=["blocking", "asynchronous"])
def body(request: pytest.FixtureRequest) -> Body:
    made: Body = request.param()
    return made


@pytest.fixture(autouse=True)
def _connection(emulator: EmulatorProcess, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("AIRFLOW_CONN_AEM_GUIDES_DEFAULT", emulator.connection(read_timeout=30))
    yield
    emulator.delete("/emulator/faults")


@pytest.fixture
def folder(emulator: EmulatorProcess) -> str:
    """A virtual folder of its own for one test, of 200 assets."""
    path = f"/content/dam/virtual-{uuid.uuid4().hex[:8]}"
    emulator.virtual_folder(path, 200, rate=1000)
    return path


def call(body: Body, wanted: Call[T]) -> T:
    return body.drive(lambda talk: talk.call(wanted))


def start(body: Body, path: str) -> str:
    outcome = body.drive(lambda talk: start_once(talk, ProcessingRequest(path), policy=NO_PATIENCE, run="test"))
    assert isinstance(outcome, Started)
    return outcome.processing_id


def follow_to_end(body: Body, processing_id: str, consume: Callable[[object], None] = lambda _item: None) -> JobState:
    plan = FollowPlan(
        deadline_at=2e10, stall_seconds=60, pacing=Pacing(shortest=0.05, longest=0.1), log_budget=10_000, first_look=0
    )
    followed = body.drive(lambda talk: follow(talk, processing_id, plan), consume)
    assert followed.end is FollowEnd.ENDED
    assert followed.job is not None
    return followed.job.state


def test_a_job_is_started_followed_and_read(body: Body, emulator: EmulatorProcess, folder: str) -> None:
    processing_id = start(body, folder)
    streamed: list[str] = []
    ended = follow_to_end(
        body, processing_id, lambda item: streamed.extend(item.lines) if isinstance(item, LogLines) else None
    )
    assert ended is JobState.SUCCESS
    pulled: list[str] = []
    body.drive(lambda talk: read_log(talk, processing_id, page_lines=7), lambda item: pulled.extend(_lines(item)))
    assert pulled == emulator.log_lines(processing_id)
    assert streamed == pulled


def _lines(item: object) -> tuple[str, ...]:
    assert isinstance(item, LogLines)
    return item.lines


def test_an_id_with_slashes_spaces_and_any_letter_survives(body: Body, emulator: EmulatorProcess, folder: str) -> None:
    emulator.settings(awkward_ids=True)
    try:
        processing_id = start(body, folder)
    finally:
        emulator.settings(awkward_ids=False)
    assert " +é/" in processing_id
    assert call(body, contract.status(processing_id)).processing_id == processing_id


def test_paths_with_spaces_accents_quotes_and_commas_survive(body: Body, emulator: EmulatorProcess) -> None:
    path = f'/content/dam/l\'été, "50" + {uuid.uuid4().hex[:6]}'
    emulator.virtual_folder(path, 3)
    processing_id = start(body, path)
    assert call(body, contract.status(processing_id)).path == path


def test_basic_and_bearer_are_both_accepted(
    body: Body, emulator: EmulatorProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    call(body, contract.history())
    monkeypatch.setenv("AIRFLOW_CONN_AEM_GUIDES_DEFAULT", emulator.connection(auth="bearer", token=TOKEN))
    call(body, contract.history())
    assert [entry["user"] for entry in emulator.requests("history")[-2:]] == ["admin", "technical-account"]


def test_extra_fields_never_become_headers(
    body: Body, emulator: EmulatorProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = emulator.connection(client_secret="s3cret", token="t0ken", X_Custom="x")
    monkeypatch.setenv("AIRFLOW_CONN_AEM_GUIDES_DEFAULT", secret)
    call(body, contract.history())
    sent = emulator.requests("history")[-1]
    assert set(sent["headers"]) <= {"host", "accept", "accept-encoding", "authorization", "connection", "user-agent"}
    assert sent["agent"].startswith("airflow-provider-aem-guides/")


@pytest.mark.parametrize("style", ["401", "403", "redirect", "login_page"])
def test_a_wrong_password_is_an_authentication_error_in_every_style(
    body: Body, emulator: EmulatorProcess, monkeypatch: pytest.MonkeyPatch, style: str
) -> None:
    emulator.settings(refusal_style=style)
    wrong = emulator.connection().replace(PASSWORD, "wr0ng-canary")
    monkeypatch.setenv("AIRFLOW_CONN_AEM_GUIDES_DEFAULT", wrong)
    try:
        with pytest.raises(AuthenticationError, match="credentials") as caught:
            call(body, contract.history())
    finally:
        emulator.settings(refusal_style="401")
    assert "wr0ng-canary" not in str(caught.value)


def test_a_csrf_token_is_fetched_once_and_kept(body: Body, emulator: EmulatorProcess, folder: str) -> None:
    emulator.settings(csrf=True)
    before = len(emulator.requests("csrf"))
    try:
        steps = _start_twice_cancelled(folder)
        body.drive(steps)
    finally:
        emulator.settings(csrf=False)
    assert len(emulator.requests("csrf")) == before + 1
    assert len(emulator.jobs(folder)) == 1


def _start_twice_cancelled(folder: str) -> Callable[[Conversation], Steps[None]]:
    def steps(talk: Conversation) -> Steps[None]:
        processing_id = yield from talk.call(contract.start(ProcessingRequest(folder)))
        yield from cancel_and_confirm(talk, processing_id, within_seconds=120, look_every=0.05)

    return steps


def test_an_instance_that_is_down_is_reported_so_and_nothing_was_sent(
    body: Body, monkeypatch: pytest.MonkeyPatch, emulator: EmulatorProcess
) -> None:
    monkeypatch.setenv(
        "AIRFLOW_CONN_AEM_GUIDES_DEFAULT", emulator.connection().replace(emulator.url, "http://127.0.0.1:9")
    )
    with pytest.raises(UnreachableError) as caught:
        call(body, contract.history())
    assert caught.value.sent is False
    assert caught.value.attempts == 3


def test_an_unknown_connection_names_itself_and_the_remedy(body: Body, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AIRFLOW_CONN_AEM_GUIDES_DEFAULT")
    with pytest.raises(ConfigurationError, match=r"aem_guides_default.*Admin > Connections"):
        call(body, contract.history())


def test_a_connection_of_another_type_is_sent_nowhere(
    body: Body, emulator: EmulatorProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = emulator.connection().replace("aem_guides", "postgres")
    monkeypatch.setenv("AIRFLOW_CONN_AEM_GUIDES_DEFAULT", other)
    before = len(emulator.requests())
    with pytest.raises(ConfigurationError, match="is not an AEM Guides connection") as caught:
        call(body, contract.history())
    assert PASSWORD not in str(caught.value)
    assert len(emulator.requests()) == before


def test_a_connection_without_host_names_the_field(body: Body, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_AEM_GUIDES_DEFAULT", '{"conn_type": "aem_guides", "login": "a", "password": "b"}')
    with pytest.raises(ConfigurationError, match="field host"):
        call(body, contract.history())


@pytest.mark.parametrize(
    ("kind", "more"),
    [
        ("reset_after", {}),
        ("timeout_after", {}),
        ("missing_id", {}),
        ("empty_body", {}),
        ("truncated_json", {}),
        ("reset_body", {}),
        ("status", {"status": 503, "body": "<html>first byte timeout</html>", "acted": True}),
        ("status", {"status": 500, "acted": True}),
    ],
)
def test_a_start_whose_answer_is_lost_is_found_and_not_repeated(
    body: Body,
    emulator: EmulatorProcess,
    folder: str,
    kind: str,
    more: dict[str, object],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_AEM_GUIDES_DEFAULT", emulator.connection(read_timeout=1))
    emulator.fault("start", kind, **more)
    outcome = body.drive(lambda talk: start_once(talk, ProcessingRequest(folder), policy=NO_PATIENCE, run="test"))
    jobs = emulator.jobs(folder)
    assert len(jobs) == 1
    assert outcome == Started(jobs[0]["processing_id"], Origin.RECOVERED)


@pytest.mark.parametrize(
    ("kind", "more"),
    [("reset_before", {}), ("status", {"status": 503}), ("status", {"status": 429, "headers": {"Retry-After": "0"}})],
)
def test_a_start_that_was_not_accepted_is_repeated_once_that_is_certain(
    body: Body, emulator: EmulatorProcess, folder: str, kind: str, more: dict[str, object]
) -> None:
    emulator.fault("start", kind, **more)
    outcome = body.drive(lambda talk: start_once(talk, ProcessingRequest(folder), policy=NO_PATIENCE, run="test"))
    assert [job["processing_id"] for job in emulator.jobs(folder)] == [outcome.processing_id]


def test_an_active_job_of_the_same_request_is_adopted(body: Body, emulator: EmulatorProcess) -> None:
    path = f"/content/dam/slow-{uuid.uuid4().hex[:8]}"
    emulator.virtual_folder(path, 1000, rate=1)
    first = start(body, path)
    outcome = body.drive(lambda talk: start_once(talk, ProcessingRequest(path), policy=NO_PATIENCE, run="other"))
    assert outcome == Started(first, Origin.ADOPTED)
    ended = body.drive(lambda talk: cancel_and_confirm(talk, first, within_seconds=120, look_every=0.05))
    assert ended.result is CancelResult.CANCELLED


def test_cancelling_a_finished_job_says_that_it_had_finished(body: Body, folder: str) -> None:
    processing_id = start(body, folder)
    follow_to_end(body, processing_id)
    outcome = body.drive(lambda talk: cancel_and_confirm(talk, processing_id, within_seconds=120, look_every=0.05))
    assert outcome.result is CancelResult.ALREADY_FINISHED


@pytest.mark.parametrize("form", ["zip", "json"])
def test_both_documented_answers_of_the_download_are_handed_on(
    body: Body, emulator: EmulatorProcess, folder: str, form: str
) -> None:
    processing_id = start(body, folder)
    follow_to_end(body, processing_id)
    emulator.settings(download_form=form)
    parts: list[ArchivePart] = []
    try:
        body.drive(
            lambda talk: download_log(talk, processing_id, base_url=emulator.url),
            lambda item: parts.append(_part(item)),
        )
    finally:
        emulator.settings(download_form="zip")
    whole = b"".join(part.block for part in parts)
    if form == "zip":
        assert whole.startswith(b"PK")
    else:
        assert whole.decode().splitlines() == emulator.log_lines(processing_id)
        assert parts[0].name is not None
        assert parts[0].name.endswith("processing log.txt")


def _part(item: object) -> ArchivePart:
    assert isinstance(item, ArchivePart)
    return item


def test_a_log_file_on_another_origin_is_refused_without_a_request(
    body: Body, emulator: EmulatorProcess, folder: str
) -> None:
    processing_id = start(body, folder)
    follow_to_end(body, processing_id)
    emulator.settings(download_form="json_foreign")
    before = len(emulator.requests("log_file"))
    try:
        with pytest.raises(ForeignOriginError):
            body.drive(lambda talk: download_log(talk, processing_id, base_url=emulator.url))
    finally:
        emulator.settings(download_form="zip")
    assert len(emulator.requests("log_file")) == before


def test_every_asset_is_verified_with_its_failures(body: Body, emulator: EmulatorProcess) -> None:
    path = f"/content/dam/failing-{uuid.uuid4().hex[:8]}"
    emulator.virtual_folder(path, 20, failed_assets=3, rate=1000)
    follow_to_end(body, start(body, path))
    request = ProcessingRequest(path)
    question, patience = AssetQuestion(request), Patience(120, Pacing(0.05, 0.1))
    found = body.drive(lambda talk: verify_assets(talk, question, patience))
    assert (found.total, found.succeeded, found.failed) == (20, 17, 3)
    emulator.settings(asset_status=False)
    try:
        missing = body.drive(lambda talk: verify_assets(talk, question, patience))
    finally:
        emulator.settings(asset_status=True)
    assert not missing.asked
    assert emulator.get("/emulator/nodes") == [], "nothing was made by asking"


def test_a_question_that_the_instance_forgot_is_asked_anew(body: Body, emulator: EmulatorProcess) -> None:
    path = f"/content/dam/forgotten-{uuid.uuid4().hex[:8]}"
    emulator.virtual_folder(path, 10, rate=1000)
    follow_to_end(body, start(body, path))
    notices: list[object] = []
    emulator.fault("asset_status", "status", status=400, after=1, body="No job found for this jobId")
    question, patience = AssetQuestion(ProcessingRequest(path)), Patience(120, Pacing(0.05, 0.1))
    found = body.drive(lambda talk: verify_assets(talk, question, patience), notices.append)
    assert found.succeeded == 10
    assert any("sending it again" in str(notice) for notice in notices)


def test_an_error_shows_request_answer_and_attempts_and_no_secret(body: Body, emulator: EmulatorProcess) -> None:
    emulator.fault("history", "status", status=503, body=f"echo {PASSWORD} " + "x" * 1000, count=None)
    with pytest.raises(AemGuidesError) as caught:
        call(body, contract.history())
    shown = str(caught.value)
    assert "GET /bin/guides/v1/assets/process/history" in shown
    assert "HTTP 503 after 3 attempts" in shown
    assert PASSWORD not in shown
    assert len(shown) < 1000
