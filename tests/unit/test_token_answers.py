"""Access tokens without a network: how long they last, what is shown of them, and what goes to the identity service."""

from __future__ import annotations

import pytest

from aem_guides.protocol.errors import MalformedAnswerError
from aem_guides.protocol.steps import HttpRequest, Reply
from aem_guides.protocol.tokens import OAuthCredentials, ServiceCredentials
from tests.unit.protocol.driving import World, reply

NOW = 1_750_000_000.0
CLIENT = OAuthCredentials("client", "cl1ent-s3cret", ("openid", "AdobeID"), "https://ims.example")


def answered(expires_in: str) -> Reply:
    return reply(200, f'{{"access_token": "canary-token", "expires_in": {expires_in}}}'.encode())


def test_a_life_told_as_a_string_is_read() -> None:
    world = World(lambda _request: answered('"86399"'))
    assert world.run(CLIENT.obtain(world.conversation())).expires_at == NOW + 86_399


@pytest.mark.parametrize("told", ["0", "-1", "true", "null", '"soon"', "NaN", "Infinity"])
def test_an_odd_life_is_an_error_that_shows_no_token(told: str) -> None:
    world = World(lambda _request: answered(told))
    with pytest.raises(MalformedAnswerError, match="no access token") as caught:
        world.run(CLIENT.obtain(world.conversation(attempts=2)))
    assert "canary-token" not in str(caught.value)
    assert len(world.sent) == 2


def test_a_truncated_answer_shows_no_token() -> None:
    world = World(lambda _request: reply(200, b'{"access_token": "canary-tok'))
    with pytest.raises(MalformedAnswerError) as caught:
        world.run(CLIENT.obtain(world.conversation(attempts=1)))
    assert "canary" not in str(caught.value)


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


def test_other_metascopes_do_not_share_a_token() -> None:
    one, other = (
        ServiceCredentials("c", "s", "org", "id", "key", (scope,), "https://ims.example") for scope in ("read", "write")
    )
    assert one.identity != other.identity
