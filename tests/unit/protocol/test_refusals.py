"""The errors for unexpected answers: they show request, answer, attempts and remedy."""

from __future__ import annotations

from urllib.parse import urlsplit

import pytest

from aem_guides.protocol import contract
from aem_guides.protocol.conversation import Conversation, RetrySettings
from aem_guides.protocol.errors import (
    AnswerError,
    AuthenticationError,
    InvalidInputError,
    MalformedAnswerError,
    NotFoundError,
    RejectedError,
    ScopeError,
    UnavailableError,
    UnreachableError,
)
from aem_guides.protocol.steps import Reply, TransportFailure
from tests.unit.protocol.driving import World, in_turn, reply

LABEL = "processing history (GET /bin/guides/v1/assets/process/history)"
LOGIN_REMEDY = "Check the credentials of the Airflow connection."
PAGE = b"<html><title>Sign in</title></html>"


def failing(answer: Reply, *, attempts: int = 1, world: World | None = None) -> AnswerError:
    world = world or World(lambda _request: answer)
    with pytest.raises(AnswerError) as caught:
        world.run(world.conversation(attempts=attempts).call(contract.history()))
    return caught.value


@pytest.mark.parametrize(
    ("answer", "kind", "sent", "excerpt", "remedy"),
    [
        (reply(300, b"x"), AuthenticationError, False, "", "It redirects to nowhere, as"),
        (reply(302, b"x", location="/login?a=b"), AuthenticationError, False, "", "It redirects to /login, as"),
        (reply(302, b"x", location="http://[x"), AuthenticationError, False, "", "It redirects to nowhere, as"),
        (reply(200, PAGE), AuthenticationError, True, "", "The answer is a web page (Sign in), not JSON"),
        (reply(200, b" \n<p>"), AuthenticationError, True, "", "The answer is a web page (without a title), not JSON"),
        (reply(401, b"who?"), AuthenticationError, False, "who?", LOGIN_REMEDY),
        (reply(403, b"no"), AuthenticationError, False, "no", f"{LOGIN_REMEDY} Or the user may lack the permission"),
        (reply(403, b"the Scope lacks"), ScopeError, False, "the Scope lacks", "Give the technical account the scopes"),
        (reply(404, b"no such"), NotFoundError, True, "no such", ""),
        (reply(407, b"proxy"), RejectedError, False, "proxy", "The proxy requires a login"),
        (reply(429, b"busy"), UnavailableError, True, "busy", ""),
        (reply(500, b"broken"), UnavailableError, True, "broken", ""),
        (reply(400, b"two  \n words"), RejectedError, True, "two words", ""),
        (reply(499, b"odd"), RejectedError, True, "odd", ""),
        (
            reply(200, b"[]"),
            MalformedAnswerError,
            True,
            "[]",
            "The answer cannot be read: the answer is not a JSON object.",
        ),
    ],
)
def test_an_answer_becomes_an_error_that_shows_all_of_it(
    answer: Reply, kind: type[AnswerError], sent: bool, excerpt: str, remedy: str
) -> None:
    error = failing(answer)
    assert type(error) is kind
    assert (error.request, error.status, error.attempts) == (LABEL, answer.status, 1)
    assert (error.sent, error.excerpt) == (sent, excerpt)
    assert str(error).startswith(f"{LABEL}: HTTP {answer.status} after 1 attempt")
    assert remedy in str(error)


def test_where_a_redirect_leads_is_reported_with_its_host() -> None:
    reported = str(failing(reply(302, b"", location="https://user:pass@login.example:444/in?code=1")))
    assert "It redirects to https://login.example/in, as it does for who is not logged in." in reported
    assert LOGIN_REMEDY in reported


def test_the_remedy_of_a_refused_login_is_the_connection_s_own() -> None:
    world = World(lambda _request: reply(401))
    surroundings = world.conversation().surroundings
    talk = Conversation(surroundings, login_remedy="Check the field token.")
    with pytest.raises(AuthenticationError, match=r"Check the field token\."):
        world.run(talk.call(contract.history()))


@pytest.mark.parametrize("trouble", [reply(503, b"later"), reply(200, b"{")])
def test_an_error_after_the_last_attempt_shows_the_number_of_attempts(trouble: Reply) -> None:
    error = failing(trouble, attempts=3)
    assert error.attempts == 3
    assert "after 3 attempts" in str(error)


def test_a_busy_instance_s_own_pause_is_handed_on() -> None:
    assert failing(reply(503, b"", retry_after="7")).retry_after == 7
    assert failing(reply(429, b"", retry_after="Sun, 15 Jun 2025 15:06:50 GMT")).retry_after == 10


def test_a_pause_says_what_is_tried_again_and_why() -> None:
    reset = TransportFailure("it was reset", sent=True)
    answers: list[Reply | TransportFailure] = [reply(503), reset, reply(200, {"executionHistory": []})]
    world = World(in_turn(answers))
    world.run(world.conversation().call(contract.history()))
    assert [(wait.seconds, wait.why) for wait in world.waits] == [
        (1.0, "processing history: trying again, since it answered 503"),
        (2.0, "processing history: trying again, since it was reset"),
    ]


def test_pauses_double_up_to_their_cap() -> None:
    retries = RetrySettings(base_seconds=2, cap_seconds=30)
    assert [retries.backoff(attempt, 1.0) for attempt in (1, 2, 3, 4, 99)] == [4, 8, 16, 30, 30]


def test_a_missing_answer_is_reported_with_its_reason_and_without_any_secret() -> None:
    world = World(lambda _request: TransportFailure("no route to http://s3cret@author", sent=False))
    with pytest.raises(UnreachableError) as caught:
        world.run(world.conversation(attempts=2).call(contract.history()))
    assert (caught.value.request, caught.value.reason) == (LABEL, "no route to http://***@author")
    assert (caught.value.sent, caught.value.attempts) == (False, 2)


def test_a_secret_that_begins_like_a_shorter_one_is_hidden_whole() -> None:
    surroundings = World(lambda _request: reply()).conversation().surroundings
    assert Conversation(surroundings, secrets=("abc", "abcdef", "")).redact("x abcdef abc") == "x *** ***"


@pytest.mark.parametrize(("length", "shown"), [(198, "x" * 198), (199, "x" * 199)])
def test_a_value_that_is_not_valid_is_shown_up_to_200_characters(length: int, shown: str) -> None:
    reported = str(InvalidInputError("paths", "x" * length, "Mend it."))
    whole = f"paths: '{shown}' is not valid. Mend it."
    assert reported == (whole if length == 198 else f"paths: '{shown}… is not valid. Mend it.")


@pytest.mark.parametrize(
    ("call", "method", "target", "body"),
    [
        (contract.status("a b"), "GET", "/assets/process/status?processingId=a%20b", None),
        (
            contract.logs("p", offset=0, limit=5),
            "GET",
            "/assets/process/logs?processingId=p&offset=0&limit=5",
            None,
        ),
        (contract.logs("p", tail=20), "GET", "/assets/process/logs?processingId=p&tail=20", None),
        (contract.download("p"), "GET", "/assets/process/logs/download?processingId=p", None),
        (contract.cancel("p"), "POST", "/assets/process/cancel", b'{"processingId": "p"}'),
        (contract.resume("p"), "POST", "/assets/process/resume", b'{"processingId": "p"}'),
        (contract.history(), "GET", "/assets/process/history", None),
        (contract.system_status(), "GET", "/system/status", None),
        (contract.asset_status("j"), "GET", "/assets/status?jobId=j", None),
        (
            contract.start_asset_status(("/a",), ("/a/b",)),
            "POST",
            "/assets/status",
            b'{"paths": ["/a"], "excludedPaths": ["/a/b"]}',
        ),
        (contract.start_asset_status(("/a",)), "POST", "/assets/status", b'{"paths": ["/a"]}'),
    ],
)
def test_every_endpoint_is_asked_where_it_is(
    call: contract.Call[object], method: str, target: str, body: bytes | None
) -> None:
    assert (call.request.method, call.request.target) == (method, f"/bin/guides/v1{target}")
    assert call.request.body == body
    assert call.request.headers.get("Content-Type") == (body and "application/json; charset=utf-8")
    assert "application/json" in call.request.headers["Accept"]
    assert call.repeatable is not urlsplit(target).path.endswith("resume")
