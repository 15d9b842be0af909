"""Service credentials and OAuth: the pasted document is read completely, and the identity service gets the right
request."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from urllib.parse import parse_qsl

import jwt
import pytest

from aem_guides.protocol import tokens
from aem_guides.protocol.credentials import AccessToken, bearer
from aem_guides.protocol.errors import AuthenticationError, ConfigurationError, MalformedAnswerError, ScopeError
from aem_guides.protocol.steps import HttpRequest, Reply
from aem_guides.protocol.tokens import OAuthCredentials, ServiceCredentials, parse_service_credentials
from tests.support.keys import PRIVATE_KEY, PUBLIC_KEY
from tests.unit.protocol.driving import World, reply

NOW = 1_750_000_000
DAY = 86_400
ACCOUNT = ServiceCredentials(
    client_id="client",
    client_secret="s",
    organisation="org@AdobeOrg",
    technical_account_id="id@techacct",
    private_key=PRIVATE_KEY.strip(),
    metascopes=("read", "write"),
    ims_url="https://ims.example",
)
CLIENT = OAuthCredentials("client", "s", ("openid", "AdobeID"), "https://ims.example")
PLACES = {
    "imsEndpoint": "integration.imsEndpoint",
    "metascopes": "integration.metascopes",
    "org": "integration.org",
    "id": "integration.id",
    "privateKey": "integration.privateKey",
    "clientId": "integration.technicalAccount.clientId",
    "clientSecret": "integration.technicalAccount.clientSecret",
}


def document(**changes: object) -> str:
    """The document of the Developer Console. A change to None removes a field."""
    account = {"clientId": "client", "clientSecret": "s"}
    fields: dict[str, object] = {
        "imsEndpoint": "ims.example",
        "metascopes": "read, write,",
        "org": "org@AdobeOrg",
        "id": "id@techacct",
        "privateKey": PRIVATE_KEY,
        **{name: value for name, value in changes.items() if name not in account},
    }
    account |= {name: str(value) for name, value in changes.items() if name in account}
    reported = {name: value for name, value in fields.items() if value is not None}
    reported["technicalAccount"] = {name: value for name, value in account.items() if value != "None"}
    return json.dumps({"ok": True, "integration": reported})


def bought(credentials: OAuthCredentials | ServiceCredentials, answer: Reply) -> tuple[AccessToken, HttpRequest, World]:
    world = World(lambda _request: answer)
    token = world.run(credentials.obtain(world.conversation(attempts=1)))
    (request,) = world.sent
    return token, request, world


def form(request: HttpRequest) -> dict[str, str]:
    return dict(parse_qsl((request.body or b"").decode(), strict_parsing=True))


def test_the_document_is_read_whole() -> None:
    assert parse_service_credentials(document()) == ACCOUNT


@pytest.mark.parametrize("name", list(PLACES))
@pytest.mark.parametrize("reported", [None, " "])
def test_a_field_that_is_missing_or_empty_is_named_by_its_place(name: str, reported: str | None) -> None:
    with pytest.raises(ConfigurationError) as caught:
        parse_service_credentials(document(**{name: reported}))
    assert str(caught.value).startswith(f"{PLACES[name]} is missing.")


@pytest.mark.parametrize("name", [name for name in PLACES if name != "privateKey"])
@pytest.mark.parametrize("reported", ["two words", "two\nlines", "odd\u200bsign"])
def test_a_field_that_was_pasted_over_two_lines_is_named_by_its_place(name: str, reported: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        parse_service_credentials(document(**{name: reported}))
    assert str(caught.value).startswith(f"{PLACES[name]} has white space or line breaks in it.")


@pytest.mark.parametrize("pasted", ["", "{", "no JSON"])
def test_a_text_that_is_not_a_document_is_reported(pasted: str) -> None:
    with pytest.raises(ConfigurationError, match="It is not JSON"):
        parse_service_credentials(pasted)


def test_a_key_whose_line_breaks_were_escaped_on_their_way_is_mended() -> None:
    for escaped in (PRIVATE_KEY.replace("\n", "\\n"), PRIVATE_KEY.replace("\n", "\\r\\n")):
        assert parse_service_credentials(document(privateKey=escaped)).private_key.strip() == PRIVATE_KEY.strip()


def test_a_key_is_read_once_for_all_hooks_and_tokens() -> None:
    tokens._read_key.cache_clear()
    for _ in range(3):
        bought(parse_service_credentials(document()), reply(200, {"access_token": "t", "expires_in": DAY * 1000}))
    assert tokens._read_key.cache_info().misses == 1


def test_an_invalid_key_is_reported_before_anything_is_sent() -> None:
    with pytest.raises(ConfigurationError, match="privateKey is no RSA private key"):
        parse_service_credentials(document(privateKey=PRIVATE_KEY.replace("A", "B", 1)[:400]))


@pytest.mark.parametrize(
    ("endpoint", "url"),
    [
        ("ims.example", "https://ims.example"),
        ("ims.example/", "https://ims.example"),
        ("http://localhost:8080", "http://localhost:8080"),
    ],
)
def test_the_identity_service_is_asked_over_tls_unless_the_document_says_otherwise(endpoint: str, url: str) -> None:
    assert parse_service_credentials(document(imsEndpoint=endpoint)).ims_url == url


@pytest.mark.parametrize(
    ("reported", "ends"),
    [
        ("2027-03-01T10:00:00Z", datetime(2027, 3, 1, 10, tzinfo=UTC)),
        ("2027-03-01T10:00:00+02:00", datetime(2027, 3, 1, 10, tzinfo=timezone(timedelta(hours=2)))),
        ("2027-03-01T10:00:00", datetime(2027, 3, 1, 10, tzinfo=UTC)),
        ("next year", None),
    ],
)
def test_the_end_of_the_certificate_is_read_and_without_a_zone_meant_in_utc(
    reported: str, ends: datetime | None
) -> None:
    assert parse_service_credentials(document(certificateExpirationDate=reported)).certificate_ends == ends


def account(**changes: Any) -> ServiceCredentials:
    return ServiceCredentials(**{**ACCOUNT.__dict__, **changes})


def test_a_certificate_that_has_ended_buys_nothing() -> None:
    world = World(lambda _request: reply(500))
    with pytest.raises(ConfigurationError, match=r"certificateExpirationDate.* ended at 2025-06-15T15:06:40\+00:00"):
        world.run(account(certificate_ends=datetime.fromtimestamp(NOW, UTC)).obtain(world.conversation()))
    assert world.sent == []


def test_a_certificate_that_ends_in_a_second_still_buys() -> None:
    ends = datetime.fromtimestamp(NOW + 1, UTC)
    token, _, _ = bought(account(certificate_ends=ends), reply(200, {"access_token": "t", "expires_in": DAY * 1000}))
    assert token.value == "t"


def test_a_jwt_names_account_and_scopes_and_is_never_shown() -> None:
    _, request, world = bought(ACCOUNT, reply(200, {"access_token": "token", "expires_in": DAY * 1000}))
    sent = form(request)
    signed = sent.pop("jwt_token")
    assert (request.method, request.target) == ("POST", "https://ims.example/ims/exchange/jwt")
    assert request.headers["Content-Type"] == "application/x-www-form-urlencoded"
    assert request.headers["Accept"] == "application/json"
    assert sent == {"client_id": "client", "client_secret": "s"}
    options: Any = {"verify_exp": False}
    assert jwt.get_unverified_header(signed)["alg"] == "RS256"
    assert jwt.decode(signed, PUBLIC_KEY, ["RS256"], options, audience="https://ims.example/c/client") == {
        "iss": "org@AdobeOrg",
        "sub": "id@techacct",
        "aud": "https://ims.example/c/client",
        "exp": NOW + 3600,
        "https://ims.example/s/read": True,
        "https://ims.example/s/write": True,
    }
    assert world.masked == [signed, "token"]


def test_an_oauth_client_asks_with_its_secret_and_scopes() -> None:
    token, request, world = bought(CLIENT, reply(200, {"access_token": "token", "expires_in": DAY}))
    assert (request.method, request.target) == ("POST", "https://ims.example/ims/token/v3")
    assert form(request) == {
        "grant_type": "client_credentials",
        "client_id": "client",
        "client_secret": "s",
        "scope": "openid,AdobeID",
    }
    assert token == AccessToken("token", NOW, NOW + DAY)
    assert bearer(token) == {"Authorization": "Bearer token"}
    assert world.masked == ["token"]


@pytest.mark.parametrize(
    ("credentials", "reported", "seconds"),
    [
        (CLIENT, 3600, 3600),
        (CLIENT, 7 * DAY, 7 * DAY),
        (CLIENT, DAY * 1000, DAY),
        (CLIENT, 0.5, 0.5),
        (ACCOUNT, DAY * 1000, DAY),
        (ACCOUNT, DAY, DAY),
        (ACCOUNT, 2 * DAY, 2 * DAY),
        (ACCOUNT, 2 * DAY + 1, (2 * DAY + 1) / 1000),
        (ACCOUNT, str(DAY * 1000), DAY),
    ],
)
def test_a_life_is_taken_in_the_unit_in_which_it_can_be_meant(
    credentials: OAuthCredentials | ServiceCredentials, reported: float | str, seconds: float
) -> None:
    token, _, _ = bought(credentials, reply(200, {"access_token": "t", "expires_in": reported}))
    assert token == AccessToken("t", NOW, NOW + seconds)


@pytest.mark.parametrize("answer", [{}, {"access_token": ""}, {"access_token": 5, "expires_in": 9}, ["x"], "x"])
def test_an_answer_without_a_token_is_reported_without_an_excerpt(answer: object) -> None:
    world = World(lambda _request: reply(200, answer))
    with pytest.raises(MalformedAnswerError, match="has no access token with a lifetime") as caught:
        world.run(CLIENT.obtain(world.conversation(attempts=1)))
    assert (caught.value.request, caught.value.status) == ("OAuth token (POST https://ims.example/ims/token/v3)", 200)
    assert (caught.value.excerpt, caught.value.attempts) == ("", 1)


@pytest.mark.parametrize("answer", [reply(302, b"", location="/login"), reply(200, b"<html>Hello</html>")])
def test_a_web_page_is_no_identity_service(answer: Reply) -> None:
    world = World(lambda _request: answer)
    with pytest.raises(AuthenticationError, match=r"does not come from the identity service: .*ims_url") as caught:
        world.run(CLIENT.obtain(world.conversation()))
    assert caught.value.request == "OAuth token (POST https://ims.example/ims/token/v3)"
    assert (caught.value.status, caught.value.excerpt, caught.value.attempts) == (answer.status, "", 1)


@pytest.mark.parametrize(
    ("error", "kind", "remedy"),
    [
        ("invalid_scope", ScopeError, "check integration.metascopes"),
        ("invalid_client", AuthenticationError, "technicalAccount.clientId and clientSecret"),
        ("unauthorized_client", AuthenticationError, "check its kind"),
        ("anything", AuthenticationError, "The identity service refuses the credentials."),
    ],
)
def test_a_refused_account_is_reported_with_the_fields_of_its_document(
    error: str, kind: type[AuthenticationError], remedy: str
) -> None:
    world = World(lambda _request: reply(400, {"error": error}))
    with pytest.raises(kind, match=remedy) as caught:
        world.run(ACCOUNT.obtain(world.conversation()))
    assert type(caught.value) is kind
    assert caught.value.request == "JWT exchange (POST https://ims.example/ims/exchange/jwt)"
    assert (caught.value.status, caught.value.attempts) == (400, 1)
    assert error in caught.value.excerpt
