"""Access tokens without a network: how long they last, what is shown of them, and the requests to the identity
service."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from aem_guides.protocol.errors import (
    AnswerError,
    AuthenticationError,
    MalformedAnswerError,
    RejectedError,
    Retry,
    ScopeError,
    UnavailableError,
)
from aem_guides.protocol.steps import HttpRequest, Reply
from aem_guides.protocol.tokens import OAuthCredentials, ServiceCredentials
from tests.unit.protocol.driving import World, reply

NOW = 1_750_000_000.0
CLIENT = OAuthCredentials("client", "cl1ent-s3cret", ("openid", "AdobeID"), "https://ims.example")


def answered(expires_in: str) -> Reply:
    return reply(200, f'{{"access_token": "canary-token", "expires_in": {expires_in}}}'.encode())


def test_a_life_given_as_a_string_is_read() -> None:
    world = World(lambda _request: answered('"86399"'))
    assert world.run(CLIENT.obtain(world.conversation())).expires_at == NOW + 86_399


@pytest.mark.parametrize("reported", ["0", "-1", "true", "null", '"soon"', "NaN", "Infinity"])
def test_an_odd_life_is_an_error_that_shows_no_token(reported: str) -> None:
    world = World(lambda _request: answered(reported))
    with pytest.raises(MalformedAnswerError, match="no access token") as caught:
        world.run(CLIENT.obtain(world.conversation(attempts=2)))
    assert "canary-token" not in str(caught.value)
    assert len(world.sent) == 2


def test_a_truncated_answer_shows_no_token() -> None:
    world = World(lambda _request: reply(200, b'{"access_token": "canary-tok'))
    with pytest.raises(MalformedAnswerError) as caught:
        world.run(CLIENT.obtain(world.conversation(attempts=1)))
    assert "canary" not in str(caught.value)


@pytest.mark.parametrize("status", [400, 404, 429, 500])
@pytest.mark.parametrize(
    "body",
    [
        b'{"access_token": "canary-tok", "error": "server_error"}',
        b'{"refresh_token":"canary-tok',
        b"id_token=canary-tok&error=server_error",
        b'{"error_description": "{\\"access_token\\": \\"canary-tok\\"}"}',
    ],
)
def test_an_error_that_comes_with_a_token_shows_none(status: int, body: bytes) -> None:
    world = World(lambda _request: reply(status, body))
    with pytest.raises(AnswerError) as caught:
        world.run(CLIENT.obtain(world.conversation(attempts=1)))
    assert "canary" not in str(caught.value)
    assert "_token" in caught.value.excerpt


def test_the_instance_s_csrf_token_does_not_go_to_the_identity_service() -> None:
    talks = World(lambda request: _author(request))
    talk = talks.conversation()
    talks.run(talk._fetch_csrf_token())
    talks.run(CLIENT.obtain(talk))
    assert talks.sent[-1].target == "https://ims.example/ims/token/v3"
    assert "CSRF-Token" not in talks.sent[-1].headers
    assert "Authorization" not in talks.sent[-1].headers


def _author(request: HttpRequest) -> Reply:
    return reply(200, {"access_token": "t", "expires_in": 86_399} if "ims" in request.target else {"token": "csrf"})


def test_nothing_secret_is_in_a_repr_and_all_of_it_is_masked() -> None:
    key = "-----BEGIN\nk3y\n-----END"
    account = ServiceCredentials("c", "cl1ent-s3cret", "org", "id", key, ("scope",), "https://ims.example")
    assert "cl1ent-s3cret" not in repr(CLIENT) + repr(account)
    assert "k3y" not in repr(account)
    assert {key, "-----BEGIN\\nk3y\\n-----END", "cl1ent-s3cret"} <= set(account.secrets)


@pytest.mark.parametrize(
    "change", [{"metascopes": ("write",)}, {"organisation": "other"}, {"technical_account_id": "other"}], ids=str
)
def test_service_credentials_that_differ_do_not_share_a_token(change: dict[str, Any]) -> None:
    one = ServiceCredentials("c", "s", "org", "id", "key", ("read",), "https://ims.example")
    assert one.identity != replace(one, **change).identity


@pytest.mark.parametrize(
    ("error", "description", "hint"),
    [
        ("invalid_client", "invalid_scope is not what is wrong; it expired", "client_id and client_secret"),
        ("INVALID_CLIENT", None, "client_id and client_secret"),
        ("unauthorized_client", "the client has no scope", "may not log in this way"),
        ("invalid_token", "JWT has expired", "renew the certificate"),
        ("invalid_token", "Could not match JWT signature to any of the bindings", "does not belong"),
        ("invalid_token", "Could not match JWT signature to any of the bindings: Invalid issuer", "integration.org"),
        ("invalid_token", "Invalid subject", "integration.id"),
        ("invalid_token", "JWT signature ... bindings: Audience doesn't match", "integration.imsEndpoint"),
        ("invalid_token", "client and scope and all", "The identity service refuses the credentials"),
        ("server_said_no", None, "The identity service refuses the credentials"),
    ],
)
def test_a_refusal_is_reported_with_its_error_field(error: str, description: str | None, hint: str) -> None:
    body = {"error": error, "error_description": description, "padding": "scope " * 200}
    for status in (400, 401, 403):
        world = World(lambda _request, status=status: reply(status, body))  # type: ignore[misc]  # a bound default
        with pytest.raises(AuthenticationError, match=hint) as caught:
            world.run(CLIENT.obtain(world.conversation()))
        assert not isinstance(caught.value, ScopeError)


def test_a_scope_that_is_not_granted_is_reported_even_where_the_answer_is_long() -> None:
    answer = reply(400, {"padding": "client " * 200, "error": "invalid_scope"})
    world = World(lambda _request: answer)
    with pytest.raises(ScopeError, match="check scopes"):
        world.run(CLIENT.obtain(world.conversation()))


def test_an_answer_about_scopes_that_names_no_error_is_about_scopes() -> None:
    world = World(lambda _request: reply(403, {"title": "missing scope"}, content_type="application/problem+json"))
    with pytest.raises(ScopeError, match="check scopes"):
        world.run(CLIENT.obtain(world.conversation()))


def test_an_identity_service_that_is_not_there_is_not_taken_for_an_instance_that_lacks_something() -> None:
    world = World(lambda _request: reply(404, b"<h1>Not found</h1>"))
    with pytest.raises(AuthenticationError, match=r"does not come from the identity service: .*ims_url") as caught:
        world.run(CLIENT.obtain(world.conversation()))
    assert caught.value.retry is Retry.BRIEFLY
    world = World(lambda _request: reply(404, {"error": "invalid_client"}))
    with pytest.raises(AuthenticationError, match="client_id and client_secret"):
        world.run(CLIENT.obtain(world.conversation()))


def test_a_busy_identity_service_and_a_proxy_that_wants_a_login_are_not_taken_for_refusals() -> None:
    world = World(lambda _request: reply(503, {"error": "invalid_client"}))
    with pytest.raises(UnavailableError):
        world.run(CLIENT.obtain(world.conversation(attempts=1)))
    world = World(lambda _request: reply(407, b"who are you?"))
    with pytest.raises(RejectedError, match="field proxy"):
        world.run(CLIENT.obtain(world.conversation()))


def test_only_the_instance_s_own_answers_show_its_time() -> None:
    world = World(lambda request: _dated(request))
    talk = world.conversation()
    before = talk.instance_now()
    world.run(CLIENT.obtain(talk))
    assert talk.instance_now() == before
    world.run(talk._fetch_csrf_token())
    assert talk.instance_now() == before + 10_000


def _dated(request: HttpRequest) -> Reply:
    date = "Sun, 15 Jun 2025 20:00:00 GMT" if request.is_elsewhere else "Sun, 15 Jun 2025 15:06:50 GMT"
    body = _author(request).body
    return reply(200, body, date=date)
