"""Answers that mean "not now" are waited out everywhere, and have no other effect; all other refusals are final."""

from __future__ import annotations

from collections.abc import Callable
from email.utils import formatdate

import pytest

from aem_guides.protocol import contract
from aem_guides.protocol.asset_verdict import AssetQuestion, Verification
from aem_guides.protocol.conversation import IN_MID_RUN, Conversation, RetrySettings
from aem_guides.protocol.errors import (
    AuthenticationError,
    MalformedAnswerError,
    NotFoundError,
    RejectedError,
    Retry,
    ScopeError,
    UnavailableError,
)
from aem_guides.protocol.models import JsonObject, ProcessingRequest
from aem_guides.protocol.pacing import Pacing
from aem_guides.protocol.procedures.cancel import CancelResult, cancel_and_confirm
from aem_guides.protocol.procedures.events import Level, Notice
from aem_guides.protocol.procedures.follow import FollowEnd, FollowPlan, find_job, find_job_patiently, follow
from aem_guides.protocol.procedures.resume import resume_once
from aem_guides.protocol.procedures.start import MustWait, Started, StartPolicy, start_once
from aem_guides.protocol.procedures.verify import Patience, verify_assets
from aem_guides.protocol.steps import HttpRequest, Reply, Steps, TransportFailure
from aem_guides.protocol.tokens import OAuthCredentials
from tests.unit.protocol.driving import Responder, World, in_turn, reply

REQUEST = ProcessingRequest("/content/dam/a")
RUNNING: JsonObject = {"processingId": "a", "status": "RUNNING", "path": "/content/dam/a"}
ENDED: JsonObject = {**RUNNING, "status": "SUCCESS", "completedAt": 5}
NOBODY_KNOWS_IT = reply(400, {"message": "no such job"})
STARTING = reply(404, b"<html><title>Not found</title></html>", content_type="text/html")
LOGIN_PAGE = reply(200, b"<html><title>AEM Sign In</title></html>", content_type="text/html")


def history(*jobs: JsonObject) -> Reply:
    return reply(200, {"executionHistory": list(jobs)})


def mid_run(world: World) -> Conversation:
    conversation = world.conversation()
    return Conversation(conversation.surroundings, retries=IN_MID_RUN)


def by_path(**answers: list[Reply]) -> Responder:
    """Each endpoint's answers in turn, the last of them repeatedly. Keys are the end of the path."""

    def respond(request: HttpRequest) -> Reply:
        left = answers[request.target.partition("?")[0].rpartition("/")[2]]
        return left.pop(0) if len(left) > 1 else left[0]

    return respond


@pytest.mark.parametrize("status", [406, 408, 421, 423, 425, 429, 500, 502, 503, 504])
def test_a_status_that_says_nothing_of_the_request_is_no_refusal_of_it(status: int) -> None:
    world = World(lambda _request: reply(status))
    with pytest.raises(UnavailableError) as raised:
        world.run(world.conversation(attempts=1).call(contract.history()))
    assert raised.value.retry is Retry.USEFUL
    assert "may succeed later" in str(raised.value) or "later" in str(raised.value)


@pytest.mark.parametrize("status", [400, 405, 409, 410, 415, 422])
def test_a_status_that_refuses_the_request_itself_stays_a_refusal(status: int) -> None:
    world = World(lambda _request: reply(status))
    with pytest.raises(RejectedError) as raised:
        world.run(mid_run(world).call(contract.history()))
    assert raised.value.retry is Retry.POINTLESS


def test_a_406_names_the_rules_of_a_cdn_as_the_likely_cause() -> None:
    world = World(lambda _request: reply(406, b""))
    with pytest.raises(UnavailableError, match="The CDN in front of the instance"):
        world.run(world.conversation(attempts=1).call(contract.history()))


@pytest.mark.parametrize("status", [406, 408, 421, 423, 425])
def test_a_status_that_passes_once_is_not_even_seen_by_its_caller(status: int) -> None:
    world = World(by_path(history=[reply(status), history()]))
    assert world.run(world.conversation().call(contract.history())).jobs == ()


@pytest.mark.parametrize("answer", [reply(401), reply(403, b"Forbidden", content_type="text/plain"), LOGIN_PAGE])
def test_a_refused_login_is_final_at_first_contact_and_passes_where_it_worked_before(answer: Reply) -> None:
    world = World(lambda _request: answer)
    with pytest.raises(AuthenticationError) as first:
        world.run(world.conversation().call(contract.history()))
    assert first.value.retry is Retry.POINTLESS
    with pytest.raises(AuthenticationError, match="may be restarting") as later:
        world.run(mid_run(world).call(contract.history()))
    assert later.value.retry is Retry.USEFUL


def test_a_conversation_learns_itself_that_its_login_works() -> None:
    world = World(by_path(history=[history(), reply(401)]))
    conversation = world.conversation()
    world.run(conversation.call(contract.history()))
    with pytest.raises(AuthenticationError) as raised:
        world.run(conversation.call(contract.history()))
    assert raised.value.retry is Retry.USEFUL


@pytest.mark.parametrize("answer", [reply(400), reply(401), reply(403, b"Forbidden"), reply(404), LOGIN_PAGE])
def test_a_login_that_the_identity_service_refuses_passes_where_it_worked_before(answer: Reply) -> None:
    world = World(lambda _request: answer)
    client = OAuthCredentials("client", "cl1ent", ("openid",), "https://ims.example")
    with pytest.raises(AuthenticationError) as first:
        world.run(client.obtain(world.conversation()))
    assert first.value.retry is (Retry.BRIEFLY if answer.status == 404 else Retry.POINTLESS)
    with pytest.raises(AuthenticationError, match="the identity service may be restarting") as later:
        world.run(client.obtain(mid_run(world)))
    assert later.value.retry is Retry.USEFUL


def test_a_start_for_which_no_token_can_be_bought_is_in_no_doubt_and_is_sent_once_one_can() -> None:
    answers = by_path(history=[history()], process=[reply(200, {"processingId": "a"})])

    def respond(request: HttpRequest) -> Reply | TransportFailure:
        if request.target.endswith("/history") and world.login_error is None and not world.waits:
            world.login_error = UnavailableError("POST token", 503, "")
        return answers(request)

    world = World(respond, after_wait=lambda: setattr(world, "login_error", None))
    outcome = world.run(start_once(world.conversation(), REQUEST, policy=StartPolicy(), run="run"))
    assert isinstance(outcome, Started)
    assert [request.method for request in world.sent] == ["GET", "GET", "POST"]
    assert len(world.waits) == 1


def test_a_missing_scope_does_not_come_by_waiting() -> None:
    world = World(lambda _request: reply(403, {"title": "missing scope"}, content_type="application/problem+json"))
    with pytest.raises(ScopeError) as raised:
        world.run(mid_run(world).call(contract.history()))
    assert raised.value.retry is Retry.POINTLESS


def test_a_job_counts_as_unknown_only_if_the_history_was_read() -> None:
    starting = World(by_path(status=[STARTING], history=[STARTING]))
    with pytest.raises(NotFoundError):
        starting.run(find_job(starting.conversation(), "a"))
    world = World(by_path(status=[NOBODY_KNOWS_IT], history=[history()]))
    assert world.run(find_job(world.conversation(), "a")) is None
    silent = World(by_path(status=[NOBODY_KNOWS_IT], history=[reply(200, {"executionHistory": None})]))
    with pytest.raises(
        MalformedAnswerError, match="No entry of the history could be read either: executionHistory is null"
    ):
        silent.run(find_job(silent.conversation(), "a"))


def test_a_pod_that_does_not_know_the_job_yet_is_asked_again() -> None:
    world = World(by_path(status=[NOBODY_KNOWS_IT, NOBODY_KNOWS_IT, reply(200, RUNNING)], history=[history()]))
    job = world.run(find_job_patiently(world.conversation(), "a"))
    assert job is not None
    assert len(world.waits) == 2
    never = World(by_path(status=[NOBODY_KNOWS_IT], history=[history()]))
    assert never.run(find_job_patiently(never.conversation(), "a")) is None


@pytest.mark.parametrize("answer", [reply(406), STARTING, reply(401), LOGIN_PAGE])
def test_a_job_is_not_lost_while_all_that_answers_says_not_now_for_five_minutes(answer: Reply) -> None:
    world = World(lambda _request: answer if world.clock < began + 310 else reply(200, ENDED))
    began = world.clock
    plan = FollowPlan(began + 3600, 600, Pacing(), lost_patience=300)
    followed = world.run(follow(mid_run(world), "a", plan))
    assert followed.end is FollowEnd.ENDED


def test_a_start_that_meets_a_part_of_the_instance_that_still_starts_is_sent_again() -> None:
    world = World(by_path(history=[history()], process=[STARTING, reply(200, {"processingId": "a"})]))
    outcome = world.run(start_once(world.conversation(), REQUEST, policy=StartPolicy(), run="run"))
    assert isinstance(outcome, Started)


def test_a_start_that_is_never_there_fails_as_not_found_and_not_as_a_bad_path() -> None:
    world = World(by_path(history=[history()], process=[STARTING]))
    with pytest.raises(NotFoundError):
        world.run(start_once(world.conversation(), REQUEST, policy=StartPolicy(), run="run"))


def test_a_406_to_a_start_is_looked_after_in_the_history_before_it_is_sent_again() -> None:
    world = World(by_path(history=[history(), history(), history(RUNNING)], process=[reply(406)]))
    outcome = world.run(start_once(world.conversation(), REQUEST, policy=StartPolicy(), run="run"))
    assert isinstance(outcome, Started)
    assert outcome.processing_id == "a"
    assert sum(request.method == "POST" for request in world.sent) == 1


def test_a_resume_that_meets_a_404_is_sent_again() -> None:
    failed = {**RUNNING, "status": "FAILED", "completedAt": 5, "resumable": True}
    world = World(
        by_path(
            history=[history(failed)],
            status=[reply(200, failed)],
            resume=[STARTING, reply(200, {"processingId": "a"})],
        )
    )
    job = contract.read_job(failed)
    assert world.run(resume_once(world.conversation(), job, REQUEST, run="run")) == "a"


def asset_status_of(world: World) -> Steps[Verification]:
    return verify_assets(world.conversation(), AssetQuestion(REQUEST), Patience(60, Pacing()))


def test_nothing_is_posted_to_an_asset_status_that_is_not_there() -> None:
    world = World(by_path(history=[history()], status=[STARTING]))
    assert not world.run(asset_status_of(world)).asked
    assert {request.method for request in world.sent} == {"GET"}


def test_an_asset_status_is_not_missing_while_the_history_is_missing_too() -> None:
    world = World(by_path(history=[STARTING], status=[STARTING]))
    with pytest.raises(NotFoundError):
        world.run(asset_status_of(world))


def test_an_asset_status_that_comes_a_moment_later_is_asked() -> None:
    done = reply(200, {"jobId": "q", "status": "SUCCESS", "assets": []})
    world = World(by_path(history=[history()], status=[STARTING, STARTING, NOBODY_KNOWS_IT, done]))
    assert world.run(asset_status_of(world)).asked


def test_a_cancel_waits_behind_no_retry_and_no_retry_after() -> None:
    world = World(by_path(status=[reply(503, retry_after="120")], cancel=[reply(503, retry_after="120")]))
    outcome = world.run(cancel_and_confirm(world.conversation(), "a", within_seconds=20))
    assert outcome.result is CancelResult.UNKNOWN
    assert [request.method for request in world.sent[:2]] == ["GET", "POST"]
    assert max(wait.seconds for wait in world.waits) <= 1.0
    assert sum(request.method == "POST" for request in world.sent) >= 10


def dated(world: World, behind: float, answer: Reply) -> Reply:
    return Reply(answer.status, {**answer.headers, "date": formatdate(world.clock - behind, usegmt=True)}, answer.body)


def started_after(created_before: float, behind: float) -> tuple[float, World]:
    """How long a start waited whose interval ends so many seconds from now, on an instance whose clock is behind."""

    def respond(request: HttpRequest) -> Reply:
        answer = reply(200, {"processingId": "a"}) if request.method == "POST" else history()
        return dated(world, behind, answer)

    world = World(respond)
    began = world.clock
    request = ProcessingRequest("/content/dam/a", created_before=round((began + created_before) * 1000))
    assert not isinstance(
        world.run(start_once(world.conversation(), request, policy=StartPolicy(), run="run")), MustWait
    )
    return world.clock - began, world


def test_an_instance_whose_clock_is_a_day_behind_is_waited_for_ten_minutes_at_most_and_aloud() -> None:
    waited, world = started_after(-5.0, behind=86_400)
    assert 0 < waited <= 600
    notices = [item for item in world.emitted if isinstance(item, Notice)]
    assert {notice.level for notice in notices} == {Level.WARNING}
    assert "clock of the instance" in notices[0].text


def test_an_interval_that_ended_long_ago_waits_for_no_clock() -> None:
    assert started_after(-3600.0, behind=86_400)[0] == 0


def test_an_interval_whose_end_is_still_to_come_by_this_workers_clock_is_waited_for() -> None:
    waited, _ = started_after(120.0, behind=0)
    assert 120 <= waited < 130


def test_an_end_that_is_meant_to_be_in_the_future_is_not_waited_for() -> None:
    assert started_after(86_400.0, behind=0)[0] == 0


def test_the_retries_of_a_conversation_are_its_own_again_after_a_cancel() -> None:
    world = World(lambda _request: reply(200, ENDED))
    conversation = world.conversation()
    world.run(cancel_and_confirm(conversation, "a", within_seconds=1))
    assert conversation.retries == RetrySettings()


@pytest.mark.parametrize("hurried", [Conversation.without_retries, lambda talk: talk.giving_up_at(0.0)])
def test_what_a_hurried_copy_learns_the_conversation_knows(hurried: Callable[[Conversation], Conversation]) -> None:
    world = World(in_turn([history(), reply(401)]))
    conversation = world.conversation(attempts=1)
    world.run(hurried(conversation).call(contract.history()))
    with pytest.raises(AuthenticationError) as raised:
        world.run(conversation.call(contract.history()))
    assert raised.value.retry is Retry.USEFUL


def test_nothing_is_tried_again_once_its_time_is_over() -> None:
    world = World(lambda _request: reply(503, retry_after="120"))
    conversation = world.conversation(attempts=5)
    over = world.clock + 150
    with pytest.raises(UnavailableError) as raised:
        world.run(conversation.giving_up_at(over).call(contract.history()))
    assert raised.value.attempts == 2
    assert world.clock < over
