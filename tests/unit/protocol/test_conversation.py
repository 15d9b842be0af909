"""One call from its first try to its answer, second by second."""

from __future__ import annotations

import html
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aem_guides.protocol import contract
from aem_guides.protocol.conversation import RetrySettings
from aem_guides.protocol.errors import (
    AemGuidesError,
    AuthenticationError,
    MalformedAnswerError,
    RejectedError,
    ScopeError,
    UnavailableError,
    UnreachableError,
)
from aem_guides.protocol.models import History, ProcessingRequest
from aem_guides.protocol.procedures.start import StartPolicy, start_once
from aem_guides.protocol.steps import Authorize, HttpRequest, Reply, TransportFailure
from tests.unit.protocol.driving import LOGIN, World, in_turn, reply

HISTORY: dict[str, list[object]] = {"executionHistory": []}
REQUEST = ProcessingRequest("/content/dam/a")
RESET = TransportFailure("ConnectionResetError", sent=True)
REFUSED = TransportFailure("ConnectionRefusedError", sent=False)


@pytest.mark.parametrize("trouble", [RESET, REFUSED, reply(429), reply(502), reply(503), reply(504), reply(200, b"{")])
def test_a_get_is_repeated_after_what_passes(trouble: Reply | TransportFailure) -> None:
    world = World(in_turn([trouble, trouble, reply(200, HISTORY)]))
    assert world.run(world.conversation().call(contract.history())) == History(())
    assert len(world.sent) == 3
    assert len(world.waits) == 2


@pytest.mark.parametrize("trouble", [reply(400), reply(404), reply(409), reply(500), reply(501)])
def test_a_get_is_not_repeated_after_what_stays(trouble: Reply) -> None:
    world = World(lambda _request: trouble)
    with pytest.raises((RejectedError, UnavailableError)):
        world.run(world.conversation().call(contract.history()))
    assert len(world.sent) == 1


@pytest.mark.parametrize(
    "doubt", [RESET, reply(429), reply(500), reply(503), reply(200, b""), reply(200, {}), reply(103), reply(0)]
)
def test_a_start_whose_fate_is_open_is_never_repeated_by_itself(doubt: Reply | TransportFailure) -> None:
    world = World(lambda _request: doubt)
    with pytest.raises((UnreachableError, UnavailableError, MalformedAnswerError)):
        world.run(world.conversation().call(contract.start(REQUEST)))
    assert len(world.sent) == 1


def test_a_start_that_was_certainly_not_sent_is_repeated() -> None:
    world = World(in_turn([REFUSED, reply(200, {"processingId": "p"})]))
    assert world.run(world.conversation().call(contract.start(REQUEST))) == "p"


def test_attempts_are_counted_and_reported() -> None:
    world = World(lambda _request: REFUSED)
    with pytest.raises(UnreachableError, match="after 3 attempts") as caught:
        world.run(world.conversation(attempts=3).call(contract.history()))
    assert caught.value.attempts == 3
    assert not caught.value.sent


@pytest.mark.parametrize(
    ("header", "waited"),
    [("7", 7.0), ("100000", 120.0), ("Sun, 15 Jun 2025 15:06:50 GMT", 10.0), ("Sun, 15 Jun 2025 15:00:00 GMT", 0.0)],
)
def test_retry_after_is_followed_in_seconds_and_as_a_date_and_capped(header: str, waited: float) -> None:
    world = World(in_turn([reply(503, b"", retry_after=header), reply(200, HISTORY)]))
    world.run(world.conversation().call(contract.history()))
    assert [wait.seconds for wait in world.waits] == [waited]


@pytest.mark.parametrize("header", ["soon", "-5", "", "1e9", "٣"])
def test_a_retry_after_that_is_none_is_passed_over(header: str) -> None:
    world = World(in_turn([reply(429, b"", retry_after=header), reply(200, HISTORY)]))
    world.run(world.conversation().call(contract.history()))
    assert [wait.seconds for wait in world.waits] == [1.0]


@given(attempt=st.integers(1, 10_000), random=st.floats(0, 1, exclude_max=True))
def test_backoff_has_full_jitter_below_its_cap(attempt: int, random: float) -> None:
    pause = RetrySettings().backoff(attempt, random)
    assert 0 <= pause <= 30
    assert RetrySettings().backoff(attempt, 0.0) == 0


def test_a_401_renews_the_login_once() -> None:
    world = World(
        in_turn([reply(401), reply(200, HISTORY)]),
        logins=[{"Authorization": "Bearer 1"}, {"Authorization": "Bearer 2"}],
    )
    world.run(world.conversation().call(contract.history()))
    assert [request.headers["Authorization"] for request in world.sent] == ["Bearer 1", "Bearer 2"]
    assert world.masked == ["1", "2"]


def test_a_login_that_stays_the_same_is_not_tried_twice() -> None:
    world = World(lambda _request: reply(401))
    with pytest.raises(AuthenticationError):
        world.run(world.conversation().call(contract.history()))
    assert len(world.sent) == 1


def test_a_csrf_token_is_fetched_and_the_post_repeated_once() -> None:
    answers = [reply(403, b"no token"), reply(200, {"token": "csrf-1"}), reply(200, {"processingId": "p"})]
    world = World(in_turn(answers))
    assert world.run(world.conversation().call(contract.start(REQUEST))) == "p"
    assert world.sent[2].headers["CSRF-Token"] == "csrf-1"
    assert "csrf-1" in world.masked


def test_a_csrf_token_that_lacks_costs_no_new_access_token() -> None:
    answers = [reply(403, b"no token"), reply(200, {"token": "csrf-1"}), reply(200, {"processingId": "p"})]
    world = World(in_turn(answers), logins=[LOGIN, {"Authorization": "Bearer second"}])
    world.run(world.conversation().call(contract.start(REQUEST)))
    assert {request.headers["Authorization"] for request in world.sent} == {"Bearer first"}


def test_an_access_token_that_a_403_refuses_is_renewed_after_all() -> None:
    def answer(request: HttpRequest) -> Reply:
        if request.method == "GET":
            return reply(200, {"token": "csrf-1"})
        ready = request.headers["Authorization"] == "Bearer second" and "CSRF-Token" in request.headers
        return reply(200, {"processingId": "p"}) if ready else reply(403, b"no")

    world = World(answer, logins=[LOGIN, {"Authorization": "Bearer second"}])
    assert world.run(world.conversation().call(contract.start(REQUEST))) == "p"


@pytest.mark.parametrize("trouble", [reply(500), TransportFailure("reset", sent=True)])
def test_a_csrf_token_that_cannot_be_had_means_that_the_post_was_not_acted_on(
    trouble: Reply | TransportFailure,
) -> None:
    world = World(lambda request: reply(403, b"no token") if request.method == "POST" else trouble)
    with pytest.raises((UnavailableError, UnreachableError)) as caught:
        world.run(world.conversation(attempts=2).call(contract.start(REQUEST)))
    assert caught.value.sent is False


@pytest.mark.parametrize(
    "trouble",
    [
        UnreachableError("POST token", "reset", sent=True, attempts=5),
        UnavailableError("POST token", 503, ""),
        MalformedAnswerError("POST token", 200, ""),
        AuthenticationError("POST token", 400, ""),
    ],
)
def test_a_login_that_cannot_be_had_means_that_the_request_was_not_acted_on(trouble: AemGuidesError) -> None:
    world = World(in_turn([]), login_error=trouble)
    with pytest.raises(type(trouble)) as caught:
        world.run(world.conversation().call(contract.start(REQUEST)))
    assert caught.value is trouble
    assert trouble.sent is False


def test_a_login_is_asked_for_in_the_same_haste_as_the_request() -> None:
    talk = World(in_turn([])).conversation()
    for asking, is_hurried in ((talk, False), (talk.without_retries(), True)):
        step = next(asking.call(contract.history()))
        assert isinstance(step, Authorize)
        assert step.talk is asking
        assert step.talk.is_hurried is is_hurried


def test_a_403_that_goes_on_after_the_token_is_an_authentication_error() -> None:
    world = World(in_turn([reply(403, b"no"), reply(200, {"token": "t"}), reply(403, b"no")]))
    with pytest.raises(AuthenticationError):
        world.run(world.conversation().call(contract.start(REQUEST)))
    assert len(world.sent) == 3


def test_a_403_about_scopes_gets_no_token_and_says_so() -> None:
    world = World(lambda _request: reply(403, b'{"title": "missing scope"}', content_type="application/problem+json"))
    with pytest.raises(ScopeError, match="scopes"):
        world.run(world.conversation().call(contract.start(REQUEST)))
    assert len(world.sent) == 1


def test_a_web_page_where_json_is_due_is_an_authentication_error() -> None:
    world = World(lambda _request: reply(200, b"<html>Sign in</html>", content_type="text/html"))
    with pytest.raises(AuthenticationError, match="login page") as caught:
        world.run(world.conversation().call(contract.history()))
    assert "<html>" not in str(caught.value)


def test_a_web_page_is_reported_with_its_title_without_any_secret() -> None:
    page = b"<html><head>\n<TITLE lang='en'>Welcome,\n s3cret " + b"guest " * 100 + b"</title></head><body>Hello</body>"
    world = World(lambda _request: reply(200, page))
    with pytest.raises(AuthenticationError) as caught:
        world.run(world.conversation().call(contract.history()))
    assert "(Welcome, *** guest " in str(caught.value)
    assert len(str(caught.value)) < 400


def test_the_answer_s_beginning_is_a_sentence_of_its_own() -> None:
    world = World(lambda _request: reply(400, b"what?"))
    with pytest.raises(RejectedError, match=r"HTTP 400 after 1 attempt\. The answer begins: what\?"):
        world.run(world.conversation().call(contract.history()))


def test_a_redirect_is_reported_without_its_query() -> None:
    world = World(lambda _request: reply(302, b"", location="https://x.example/login?token=abc"))
    with pytest.raises(AuthenticationError, match=r"https://x\.example/login") as caught:
        world.run(world.conversation().call(contract.history()))
    assert "abc" not in str(caught.value)


@pytest.mark.parametrize(("status", "sent"), [(301, False), (302, False), (303, True), (307, False)])
def test_a_start_that_is_redirected_may_have_been_accepted_if_the_redirect_can_mean_that(
    status: int, sent: bool
) -> None:
    world = World(lambda _request: reply(status, b"", location="https://x.example/done"))
    with pytest.raises(AuthenticationError) as caught:
        world.run(world.conversation().call(contract.start(REQUEST)))
    assert caught.value.sent is sent


HIBERNATED_PAGE = f"<html><style>{'p {} ' * 500}</style>Your sandbox is hibernated</html>".encode()


@pytest.mark.parametrize(
    "reported",
    [
        reply(200, HIBERNATED_PAGE, content_type="text/html"),
        reply(503, HIBERNATED_PAGE, content_type="text/html"),
        reply(302, b"", location="https://console.example/hibernated?release=1"),
    ],
)
def test_a_hibernated_sandbox_is_no_wrong_password_and_is_to_be_woken(reported: Reply) -> None:
    world = World(lambda _request: reported)
    with pytest.raises(UnavailableError, match=r"is hibernated\. .*De-hibernate.* in the Developer Console"):
        world.run(world.conversation(attempts=1).call(contract.history()))


def test_a_folder_with_such_a_name_hibernates_no_instance() -> None:
    reported = reply(400, {"message": "No such folder: /content/dam/hibernating bears"})
    world = World(lambda _request: reported)
    with pytest.raises(RejectedError, match="hibernating bears"):
        world.run(world.conversation().call(contract.history()))


def test_an_excerpt_is_short_and_has_no_secret_even_at_its_edge() -> None:
    body = ("x" * 497 + "s3cret and more " * 50).encode()
    world = World(lambda _request: reply(400, body))
    with pytest.raises(RejectedError) as caught:
        world.run(world.conversation().call(contract.history()))
    assert len(caught.value.excerpt) == 500
    assert "s3c" not in caught.value.excerpt


def test_the_instances_clock_is_learnt_from_its_date_header() -> None:
    world = World(lambda _request: reply(200, HISTORY, date="Sun, 15 Jun 2025 16:06:40 GMT"))
    talk = world.conversation()
    history = world.run(talk.call(contract.history()))
    assert talk.instance_now() == history.read_at == 1_750_003_600_000


@pytest.mark.parametrize(
    "echoed",
    [
        "client_secret=a%2Fb%2Bc%3D%22&x=1",
        "client_secret=a%2fb%2bc%3d%22&x=1",
        'a/b+c="',
        r'{"client_secret": "a/b+c=\""}',
        r'{"client_secret": "a\/b+c=\""}',
        r'{"client_secret": "a/b+c\u003d\""}',
        r'{"client_secret": "a\/b+c\u003D\""}',
    ],
)
def test_a_secret_is_hidden_in_whatever_form_it_comes_back(echoed: str) -> None:
    world = World(lambda _request: reply(400, echoed.encode()))
    conversation = world.conversation()
    world.run(conversation.keep_secret('a/b+c="'))
    with pytest.raises(RejectedError) as caught:
        world.run(conversation.call(contract.history()))
    assert "***" in str(caught.value)
    assert "b+c" not in str(caught.value)
    assert "b%2Bc" not in str(caught.value)


@pytest.mark.parametrize("escaped", [r"\u00fc\u0026", r"\u00FC\u0026", r"ü\u0026", "ü&", r"\u00fc&"])
def test_a_secret_is_hidden_in_json_whatever_of_it_is_escaped(escaped: str) -> None:
    world = World(lambda _request: reply(400, f'{{"password": "p{escaped}w"}}'.encode()))
    conversation = world.conversation()
    world.run(conversation.keep_secret("pü&w"))
    with pytest.raises(RejectedError) as caught:
        world.run(conversation.call(contract.history()))
    assert caught.value.excerpt == '{"password": "***"}'


@pytest.mark.parametrize(
    "password", ["p&ss\"w'<r>d", "two  words & \"more\" 'so'"], ids=["without spaces", "with white space"]
)
@pytest.mark.parametrize(("double", "single"), [("&quot;", "&#x27;"), ("&#34;", "&#39;"), ('"', "&apos;"), ('"', "'")])
def test_a_secret_is_hidden_in_html_whichever_way_its_marks_are_escaped(
    password: str, double: str, single: str
) -> None:
    escaped = html.escape(password, quote=False).replace('"', double).replace("'", single)
    world = World(lambda _request: reply(400, f"<input value={escaped}>".encode(), content_type="text/html"))
    conversation = world.conversation()
    world.run(conversation.keep_secret(password))
    with pytest.raises(RejectedError) as caught:
        world.run(conversation.call(contract.history()))
    assert caught.value.excerpt == "<input value=***>"


def test_a_403_of_an_instance_without_csrf_tokens_is_reported_in_its_own_words() -> None:
    forbidden = reply(403, b"Forbidden: the user may not run the Bulk Processor", content_type="text/plain")

    def answer(request: HttpRequest) -> Reply:
        if request.target.endswith("token.json"):
            return reply(404, b"No resource", content_type="text/plain")
        return forbidden if request.method == "POST" else reply(200, HISTORY)

    world = World(answer)
    with pytest.raises(AuthenticationError, match="may not run the Bulk Processor") as caught:
        world.run(start_once(world.conversation(), REQUEST, policy=StartPolicy(), run="try"))
    assert "does not accept '/content" not in str(caught.value)


def test_a_secret_leaves_none_of_its_letters_behind() -> None:
    world = World(lambda _request: reply(200))
    conversation = world.conversation()
    world.run(conversation.keep_secret('x"y\nz &'))
    for shown in (
        json.dumps({"a": 'x"y\nz &'}),
        '{"a": "x\\"y\\nz &amp;"}',
        '{"a": "x%22y%0Az+%26"}',
        '{"a": "x%22y%0Az%20%26"}',
    ):
        assert conversation.redact(shown) == '{"a": "***"}'
