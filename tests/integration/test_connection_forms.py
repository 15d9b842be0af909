"""Connections in the environment, as URI and as JSON, for every kind of credentials; and the answers of the Test
button."""

from __future__ import annotations

import json
from collections.abc import Iterator
from urllib.parse import quote, urlencode

import pytest

from aem_guides.hooks import hook as hook_module
from aem_guides.hooks.hook import AemGuidesHook
from aem_guides.hooks.logins import CREDENTIAL_KINDS
from aem_guides.hooks.token_cache import TokenVault
from aem_guides.protocol.errors import AuthenticationError
from aem_guides.protocol.tokens import OAUTH_IMS_URL
from tests.support.emulator import PASSWORD, TOKEN, EmulatorProcess
from tests.support.logins import JWT_SECRET, OAUTH_CLIENT, OAUTH_SECRET, account_document, jwt_client

USERS = {"basic": "admin"} | dict.fromkeys(("bearer", "oauth", "service_credentials"), "technical-account")


@pytest.fixture(autouse=True)
def _clients(emulator: EmulatorProcess, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(hook_module, "_VAULT", TokenVault())
    emulator.settings(
        oauth_clients={"oauth-client": OAUTH_CLIENT},
        jwt_clients={"jwt-client": jwt_client(emulator)},
    )
    yield
    emulator.delete("/emulator/faults")


def login(kind: str, emulator: EmulatorProcess) -> tuple[str, str, dict[str, str]]:
    """User, password and extra fields of a kind of credentials."""
    match kind:
        case "basic":
            return "admin", PASSWORD, {}
        case "bearer":
            return "", TOKEN, {}
        case "oauth":
            reported = {
                "auth": "oauth",
                "client_id": "oauth-client",
                "client_secret": OAUTH_SECRET,
                "scopes": "openid,AdobeID",
            }
            return "", "", reported | {"ims_url": emulator.url}
        case _:
            return "", "", {"auth": kind, "service_token": json.dumps(account_document(emulator.url), indent=2)}


def as_uri(kind: str, emulator: EmulatorProcess) -> str:
    user, password, extra = login(kind, emulator)
    who = f"{quote(user)}:{quote(password, safe='')}@" if user or password else ""
    return f"aem-guides://{who}127.0.0.1:{emulator.port}/?{urlencode(extra)}"


def as_json(kind: str, emulator: EmulatorProcess) -> str:
    user, password, extra = login(kind, emulator)
    reported = {"conn_type": "aem_guides", "host": emulator.url, "login": user, "password": password, "extra": extra}
    return json.dumps(reported)


def as_json_with_nested_document(kind: str, emulator: EmulatorProcess) -> str:
    reported = json.loads(as_json(kind, emulator))
    if kind == "service_credentials":
        reported["extra"]["service_token"] = account_document(emulator.url)
    return json.dumps(reported)


@pytest.mark.parametrize("made", [as_uri, as_json, as_json_with_nested_document])
@pytest.mark.parametrize("kind", CREDENTIAL_KINDS)
def test_every_kind_of_credentials_works_in_every_form(
    emulator: EmulatorProcess, monkeypatch: pytest.MonkeyPatch, kind: str, made: object
) -> None:
    assert callable(made)
    monkeypatch.setenv("AIRFLOW_CONN_AEM_GUIDES_DEFAULT", made(kind, emulator))
    with AemGuidesHook() as hook:
        hook.get_history()
    assert emulator.requests("history")[-1]["user"] == USERS[kind]


def pressed(monkeypatch: pytest.MonkeyPatch, connection: str) -> tuple[bool, str]:
    monkeypatch.setenv("AIRFLOW_CONN_AEM_GUIDES_DEFAULT", connection)
    return AemGuidesHook().test_connection()


@pytest.mark.parametrize("kind", CREDENTIAL_KINDS)
def test_the_test_button_names_what_it_looked_at(
    emulator: EmulatorProcess, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    passed, said = pressed(monkeypatch, as_json(kind, emulator))
    assert passed
    login_words = {
        "basic": "user admin with a password",
        "bearer": "the access token",
        "oauth": "OAuth client oauth-client",
    }
    assert said.startswith(f"Reached: {emulator.url}. Accepted: {login_words.get(kind, 'the service credentials')}. ")
    assert "AEM Guides: processing is " in said
    assert "History readable: 0 jobs, 0 active." in said
    assert not any(secret in said for secret in (PASSWORD, TOKEN, OAUTH_SECRET, JWT_SECRET))


@pytest.mark.parametrize(
    ("kind", "wrong", "said"),
    [
        ("basic", (PASSWORD, "canary"), "Refused: user admin with a password. Processing history ("),
        ("bearer", (TOKEN, "canary"), "Refused: the access token. "),
        ("oauth", (OAUTH_SECRET, "canary"), "Refused by the identity service: OAuth client oauth-client. "),
        ("oauth", ("AdobeID", "canary"), "check scopes against the Developer Console"),
        ("service_credentials", (JWT_SECRET, "canary"), "Refused by the identity service: the service credentials. "),
    ],
)
def test_the_test_button_shows_what_refuses_which_credentials(
    emulator: EmulatorProcess, monkeypatch: pytest.MonkeyPatch, kind: str, wrong: tuple[str, str], said: str
) -> None:
    passed, reported = pressed(monkeypatch, as_json(kind, emulator).replace(*wrong))
    assert not passed
    assert said in reported
    assert not any(secret in reported for secret in (OAUTH_SECRET, JWT_SECRET))


def withdraw(emulator: EmulatorProcess, kind: str) -> None:
    """From now on the identity service refuses this client. Issued tokens stay valid."""
    if kind == "oauth":
        emulator.settings(oauth_clients={"oauth-client": {"secret": "another", "scopes": ["openid", "AdobeID"]}})
    else:
        emulator.settings(jwt_clients={"jwt-client": jwt_client(emulator) | {"certificate_expired": True}})


@pytest.mark.parametrize(
    ("kind", "said"), [("oauth", "check client_id and client_secret"), ("service_credentials", "renew the certificate")]
)
def test_the_test_button_asks_the_identity_service_although_a_token_is_kept(
    emulator: EmulatorProcess, monkeypatch: pytest.MonkeyPatch, kind: str, said: str
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_AEM_GUIDES_DEFAULT", as_json(kind, emulator))
    with AemGuidesHook() as hook:
        hook.get_history()
    withdraw(emulator, kind)
    passed, reported = pressed(monkeypatch, as_json(kind, emulator))
    assert not passed
    assert "Refused by the identity service" in reported
    assert said in reported
    with AemGuidesHook() as hook:
        hook.get_history()  # what runs meanwhile goes on with its good token


def test_the_test_button_buys_one_token_for_all_that_it_looks_at(
    emulator: EmulatorProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = len(emulator.requests("token_oauth"))
    assert pressed(monkeypatch, as_json("oauth", emulator))[0]
    assert len(emulator.requests("token_oauth")) == before + 1


def test_the_test_button_names_a_wrong_organisation_although_a_token_is_kept(
    emulator: EmulatorProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert pressed(monkeypatch, as_json("service_credentials", emulator))[0]
    passed, reported = pressed(
        monkeypatch, as_json("service_credentials", emulator).replace("org@example", "other@example")
    )
    assert not passed
    assert "integration.org" in reported
    assert "does not belong" not in reported


FIELDS = {
    "basic": "the fields login and password",
    "bearer": "the field password",
    "oauth": "the fields client_id, client_secret and scopes",
    "service_credentials": "the field service_token",
}


@pytest.mark.parametrize("kind", CREDENTIAL_KINDS)
def test_a_refused_login_is_reported_with_its_fields(
    emulator: EmulatorProcess, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    reported = json.loads(as_json(kind, emulator))
    reported["extra"]["auth"] = kind
    monkeypatch.setenv("AIRFLOW_CONN_AEM_GUIDES_DEFAULT", json.dumps(reported))
    emulator.fault("history", "status", status=401, count=2)
    with AemGuidesHook() as hook, pytest.raises(AuthenticationError, match="Check the credentials of") as caught:
        hook.get_history()
    assert FIELDS[kind] in str(caught.value)
    assert "permission" not in str(caught.value)
    assert not any(secret in str(caught.value) for secret in (PASSWORD, TOKEN, OAUTH_SECRET, JWT_SECRET))


def test_a_login_without_the_right_gets_the_hint_that_a_permission_may_be_missing(
    emulator: EmulatorProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    emulator.fault("history", "status", status=403)
    passed, reported = pressed(monkeypatch, emulator.connection())
    assert not passed
    assert "the fields login and password" in reported
    assert "may lack the permission" in reported


def test_a_password_without_a_user_gets_the_message_that_it_was_taken_as_a_token(
    emulator: EmulatorProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    passed, reported = pressed(monkeypatch, json.dumps(json.loads(emulator.connection()) | {"login": ""}))
    assert not passed
    assert "Refused: the access token. " in reported
    assert "the field login is empty" in reported
    assert "password was used as an access token" in reported
    assert "choose the kind in the field auth" in reported
    assert PASSWORD not in reported


def test_a_web_page_instead_of_the_instance_is_not_reported_as_a_refusal(
    emulator: EmulatorProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    emulator.fault("history", "login_page")
    passed, reported = pressed(monkeypatch, emulator.connection())
    assert not passed
    assert "Refused" not in reported
    assert "No answer from AEM Guides: processing history (GET " in reported
    assert "<" not in reported
    assert "the field host" in reported
    assert "the fields login and password" in reported


@pytest.mark.parametrize(("kind", "more"), [("login_page", {}), ("status", {"status": 404})])
def test_a_web_page_instead_of_the_identity_service_names_its_field(
    emulator: EmulatorProcess, monkeypatch: pytest.MonkeyPatch, kind: str, more: dict[str, object]
) -> None:
    emulator.fault("token_oauth", kind, **more)
    passed, reported = pressed(monkeypatch, as_json("oauth", emulator))
    assert not passed
    assert "Refused" not in reported
    assert "No answer from the identity service: OAuth token (POST " in reported
    assert "check the field ims_url" in reported
    assert "<" not in reported


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (404, "AEM Guides: this host has no bulk processing API (404)"),
        (503, "History not readable: processing history "),
        (400, "History not readable: processing history "),
    ],
)
def test_the_test_button_says_what_is_wrong_behind_the_login(
    emulator: EmulatorProcess, monkeypatch: pytest.MonkeyPatch, status: int, said: str
) -> None:
    emulator.fault("history", "status", status=status)
    passed, reported = pressed(monkeypatch, emulator.connection())
    assert not passed
    assert reported.startswith(f"Reached: {emulator.url}.")
    assert said in reported
    assert ("AEM Guides: processing is" in reported) == (status != 404)


def test_the_test_button_shows_the_state_of_the_database(
    emulator: EmulatorProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    emulator.settings(is_database=True, database_check="Failed")
    try:
        passed, reported = pressed(monkeypatch, emulator.connection())
    finally:
        emulator.settings(database_check="passed")
    assert not passed
    assert "database check says Failed" in reported
    assert "Stop using the system" in reported


def test_the_test_button_says_what_cannot_be_reached_and_what_to_do(
    emulator: EmulatorProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    passed, reported = pressed(monkeypatch, emulator.connection().replace(emulator.url, "https://no-such-host.invalid"))
    assert (passed, reported.startswith("Not reached: https://no-such-host.invalid. ")) == (False, True)
    assert "field host" in reported
    nobody = as_json("oauth", emulator).replace(f'"ims_url": "{emulator.url}"', '"ims_url": "http://127.0.0.1:9"')
    assert OAUTH_IMS_URL not in nobody
    reported = pressed(monkeypatch, nobody)[1]
    assert "Not reached: the identity service" in reported
    assert "the field ims_url" in reported


def test_the_test_button_names_a_wrong_field_and_nothing_is_sent(
    emulator: EmulatorProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = len(emulator.requests())
    passed, reported = pressed(monkeypatch, emulator.connection(connect_timeout="soon"))
    assert (passed, reported) == (
        False,
        "Nothing was sent. Field connect_timeout: 'soon' is not a time in seconds. "
        "Give a number above 0, and at most 3600.",
    )
    assert len(emulator.requests()) == before
