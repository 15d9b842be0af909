"""Access tokens: fetched once, shared, renewed; refusals are distinguished. Through both hooks against the emulator."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from aem_guides.hooks import hook as hook_module
from aem_guides.hooks.hook import AemGuidesAsyncHook, AemGuidesHook
from aem_guides.hooks.token_cache import TokenVault
from aem_guides.protocol import contract
from aem_guides.protocol.conversation import RetrySettings
from aem_guides.protocol.errors import (
    AuthenticationError,
    ConfigurationError,
    MalformedAnswerError,
    ScopeError,
    UnavailableError,
)
from aem_guides.protocol.steps import Reply
from aem_guides.protocol.tokens import OAuthCredentials, ServiceCredentials, parse_service_credentials
from tests.support.bodies import AsyncBody, Body, SyncBody
from tests.support.clocks import Clock
from tests.support.emulator import EmulatorProcess
from tests.support.keys import PRIVATE_KEY, key_pair
from tests.support.logins import (
    JWT_SECRET,
    OAUTH_CLIENT,
    OAUTH_SECRET,
    account_document,
    jwt_client,
)
from tests.unit.protocol.driving import World, reply

QUICK = RetrySettings(attempts=2, base_seconds=0.001, cap_seconds=0.002)
OTHER_PRIVATE_KEY, _ = key_pair()


@pytest.fixture(scope="module")
def clock() -> Clock:
    """The real clock: a caller that comes during a fetch must come before the end of the fetch, however busy the
    machine is."""
    return Clock()


def with_account(**changes: str) -> str:
    account = {"clientId": "jwt-client", "clientSecret": JWT_SECRET} | changes
    return json.dumps(account_document("ims.example", technicalAccount=account))


@pytest.fixture(autouse=True)
def _clients(emulator: EmulatorProcess, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(hook_module, "_VAULT", TokenVault())
    emulator.settings(
        oauth_clients={"oauth-client": OAUTH_CLIENT},
        jwt_clients={"jwt-client": jwt_client(emulator)},
        token_life_seconds=86399.0,
    )
    yield
    emulator.delete("/emulator/faults")


def connection(emulator: EmulatorProcess, **extra: object) -> str:
    return json.dumps({"conn_type": "aem_guides", "host": emulator.url, "extra": {"ims_url": emulator.url} | extra})


def oauth(emulator: EmulatorProcess, **changes: object) -> str:
    reported = {
        "auth": "oauth",
        "client_id": "oauth-client",
        "client_secret": OAUTH_SECRET,
        "scopes": "openid, AdobeID",
    }
    return connection(emulator, **(reported | changes))


def service(emulator: EmulatorProcess, **changes: object) -> str:
    pasted = json.dumps(account_document(emulator.url, **changes))
    return connection(emulator, auth="service_credentials", service_token=pasted)


def blocking() -> None:
    with AemGuidesHook(retries=QUICK) as hook:
        hook.get_history()
        hook.get_history()


def asynchronous() -> None:
    async def run() -> None:
        async with AemGuidesAsyncHook(retries=QUICK) as hook:
            await hook.call(contract.history())
            await hook.call(contract.history())

    asyncio.run(run())


bodies = pytest.mark.parametrize("body", [blocking, asynchronous])


@bodies
@pytest.mark.parametrize(("made", "endpoint"), [(oauth, "token_oauth"), (service, "token_jwt")])
def test_a_token_is_bought_once_and_kept(
    emulator: EmulatorProcess,
    monkeypatch: pytest.MonkeyPatch,
    body: Callable[[], None],
    made: Callable[[EmulatorProcess], str],
    endpoint: str,
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_AEM_GUIDES_DEFAULT", made(emulator))
    before = len(emulator.requests(endpoint))
    body()
    body()
    assert len(emulator.requests(endpoint)) == before + 1
    assert emulator.requests("history")[-1]["user"] == "technical-account"


@bodies
def test_a_refused_token_is_renewed_once(
    emulator: EmulatorProcess, monkeypatch: pytest.MonkeyPatch, body: Callable[[], None]
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_AEM_GUIDES_DEFAULT", oauth(emulator))
    before = len(emulator.requests("token_oauth"))
    emulator.fault("history", "status", status=401)
    body()
    assert len(emulator.requests("token_oauth")) == before + 2


def at_once(body: Callable[[], None], count: int = 8) -> list[Exception | None]:
    """Log in from as many threads at once, or from as many tasks of one loop. Returns the result of each."""
    if body is blocking:
        with ThreadPoolExecutor(count) as threads:
            return [future.exception() for future in [threads.submit(_one) for _ in range(count)]]  # type: ignore[misc]  # no BaseException

    async def all_of_them() -> list[Exception | None]:
        ended = await asyncio.gather(*(_one_task() for _ in range(count)), return_exceptions=True)
        return [error for error in ended if not isinstance(error, BaseException) or isinstance(error, Exception)]

    return asyncio.run(all_of_them())


def _one() -> None:
    with AemGuidesHook(retries=QUICK) as hook:
        hook.get_history()


async def _one_task() -> None:
    async with AemGuidesAsyncHook(retries=QUICK) as hook:
        await hook.call(contract.history())


@bodies
def test_many_logins_at_the_same_time_send_one_request(
    emulator: EmulatorProcess, monkeypatch: pytest.MonkeyPatch, body: Callable[[], None]
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_AEM_GUIDES_DEFAULT", oauth(emulator))
    emulator.fault("token_oauth", "delay", seconds=1)
    before = len(emulator.requests("token_oauth"))
    assert at_once(body) == [None] * 8
    assert len(emulator.requests("token_oauth")) == before + 1


@bodies
def test_many_callers_with_a_refused_login_send_one_request_and_all_get_the_refusal(
    emulator: EmulatorProcess, monkeypatch: pytest.MonkeyPatch, body: Callable[[], None]
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_AEM_GUIDES_DEFAULT", oauth(emulator, client_secret="wrong"))
    emulator.fault("token_oauth", "delay", seconds=3)
    before = len(emulator.requests("token_oauth"))
    assert [type(error) for error in at_once(body, 4)] == [AuthenticationError] * 4
    assert len(emulator.requests("token_oauth")) == before + 1


@pytest.mark.parametrize("body", [SyncBody(), AsyncBody()], ids=["blocking", "asynchronous"])
def test_a_cancel_buys_its_token_with_one_request_and_waits_behind_no_retry(
    emulator: EmulatorProcess, monkeypatch: pytest.MonkeyPatch, body: Body
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_AEM_GUIDES_DEFAULT", oauth(emulator))
    emulator.fault("token_oauth", "status", count=None, headers={"Retry-After": "120"})
    before = len(emulator.requests("token_oauth"))
    with pytest.raises(UnavailableError) as caught:
        body.drive(lambda talk: talk.without_retries().call(contract.cancel("a")))
    assert len(emulator.requests("token_oauth")) == before + 1
    assert (caught.value.attempts, caught.value.sent) == (1, False)


@bodies
@pytest.mark.parametrize(
    "odd",
    [
        {"access_token": "canary\n"},
        {"access_token": "canary \x00"},
        {"access_token": "canary \ud83d"},
        {"access_token": "canary" * 50_000},
        {"access_token": 5},
        {"access_token": None},
        {"access_token": ["canary"]},
        {"expires_in": None},
        {"expires_in": -(10**400)},
        {"expires_in": {"canary": 1}},
    ],
    ids=lambda odd: repr(odd)[:40],
)
def test_a_token_or_life_that_cannot_be_meant_is_an_error_that_shows_neither(
    emulator: EmulatorProcess, monkeypatch: pytest.MonkeyPatch, body: Callable[[], None], odd: dict[str, object]
) -> None:
    for made, endpoint in ((oauth, "token_oauth"), (service, "token_jwt")):
        monkeypatch.setenv("AIRFLOW_CONN_AEM_GUIDES_DEFAULT", made(emulator))
        emulator.fault(endpoint, "odd_fields", count=None, body=json.dumps(odd))
        with pytest.raises(MalformedAnswerError, match="has no access token with a lifetime") as caught:
            body()
        assert "canary" not in str(caught.value)


@bodies
def test_a_life_beyond_all_measure_is_a_long_one(
    emulator: EmulatorProcess, monkeypatch: pytest.MonkeyPatch, body: Callable[[], None]
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_AEM_GUIDES_DEFAULT", oauth(emulator))
    emulator.fault("token_oauth", "odd_fields", body=json.dumps({"expires_in": 10**400}))
    before = len(emulator.requests("token_oauth"))
    body()
    body()
    assert len(emulator.requests("token_oauth")) == before + 1


@bodies
def test_a_token_of_a_minute_is_kept_too(
    emulator: EmulatorProcess, monkeypatch: pytest.MonkeyPatch, body: Callable[[], None]
) -> None:
    emulator.settings(token_life_seconds=60.0)
    monkeypatch.setenv("AIRFLOW_CONN_AEM_GUIDES_DEFAULT", oauth(emulator))
    before = len(emulator.requests("token_oauth"))
    body()
    body()
    assert len(emulator.requests("token_oauth")) == before + 1


@bodies
@pytest.mark.parametrize(
    ("made", "error", "hint"),
    [
        (lambda e: oauth(e, client_secret="wrong"), AuthenticationError, "client_id and client_secret"),
        (lambda e: oauth(e, scopes="everything"), ScopeError, "scopes against the Developer Console"),
        (lambda e: service(e, metascopes="other"), ScopeError, "integration.metascopes in service_token"),
        (lambda e: service(e, privateKey=OTHER_PRIVATE_KEY), AuthenticationError, "does not belong to the certificate"),
        (
            lambda e: service(e, technicalAccount={"clientId": "nobody", "clientSecret": JWT_SECRET}),
            AuthenticationError,
            "check integration.technicalAccount.clientId and clientSecret in service_token",
        ),
    ],
)
def test_refusals_are_distinguished_and_show_no_secret(
    emulator: EmulatorProcess,
    monkeypatch: pytest.MonkeyPatch,
    body: Callable[[], None],
    made: Callable[[EmulatorProcess], str],
    error: type[AuthenticationError],
    hint: str,
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_AEM_GUIDES_DEFAULT", made(emulator))
    with pytest.raises(error, match=hint) as caught:
        body()
    assert JWT_SECRET not in str(caught.value)
    assert OAUTH_SECRET not in str(caught.value)


@bodies
def test_an_expired_certificate_is_reported(
    emulator: EmulatorProcess, monkeypatch: pytest.MonkeyPatch, body: Callable[[], None]
) -> None:
    emulator.settings(jwt_clients={"jwt-client": jwt_client(emulator) | {"certificate_expired": True}})
    monkeypatch.setenv("AIRFLOW_CONN_AEM_GUIDES_DEFAULT", service(emulator))
    with pytest.raises(AuthenticationError, match="renew the certificate"):
        body()


@pytest.mark.parametrize(
    ("reported", "life"), [(86_399, 86_399.0), (86_399_999, 86_399.999), (3600, 3600.0), (3_600_000, 3600.0)]
)
def test_seconds_and_milliseconds_are_distinguished_at_both_endpoints(reported: int, life: float) -> None:
    answer: Reply = reply(200, {"access_token": "t", "expires_in": reported})
    for credentials in (
        OAuthCredentials("c", "s", ("openid",), "https://ims.example"),
        ServiceCredentials("c", "s", "o", "i", PRIVATE_KEY, ("m",), "https://ims.example"),
    ):
        world = World(lambda _request: answer)
        token = world.run(credentials.obtain(world.conversation()))
        assert token.expires_at - 1_750_000_000.0 == pytest.approx(life)
        assert "t" in world.masked
        assert token.is_fresh(token.expires_at - 301)
        assert not token.is_fresh(token.expires_at - 299)


@pytest.mark.parametrize(
    ("pasted", "named"),
    [
        ("not json", "not JSON"),
        ("[]", "imsEndpoint"),
        ("{}", "imsEndpoint"),
        (json.dumps(account_document("ims.example", org="")), "integration.org"),
        (
            json.dumps(account_document("ims.example", technicalAccount={"clientId": "c"})),
            "technicalAccount.clientSecret",
        ),
        (json.dumps(account_document("ims.example", privateKey="-----BEGIN")), "privateKey"),
        (json.dumps(account_document("ims.example", org="org\n@example")), "integration.org"),
        (json.dumps(account_document("ims.example", id="acc ount@example")), "integration.id"),
        (json.dumps(account_document("ims.exa\nmple")), "integration.imsEndpoint"),
        (json.dumps(account_document("ims.example", metascopes="one, t\nwo")), "integration.metascopes"),
        (with_account(clientId="cli\r\nent"), "integration.technicalAccount.clientId"),
        (with_account(clientSecret="canary-\nclient-secret"), "integration.technicalAccount.clientSecret"),
    ],
)
def test_pasted_credentials_that_lack_something_name_it(pasted: str, named: str) -> None:
    with pytest.raises(ConfigurationError, match=named) as caught:
        parse_service_credentials(pasted)
    assert "canary" not in str(caught.value)


@pytest.mark.parametrize("pasted_break", ["\\n", "\\r\\n", "\n", "\\\\n", "\\\\r\\\\n"])
def test_the_key_s_line_breaks_are_borne_in_every_form_they_are_pasted_in(pasted_break: str) -> None:
    pasted = json.dumps(account_document("ims.example")).replace("\\n", pasted_break)
    assert parse_service_credentials(pasted).ims_url == "https://ims.example"


@pytest.mark.parametrize("reported", ["2025-06-14T15:06:40.000Z", "2025-06-15T15:06:39", "2025-06-15T17:06:39+02:00"])
def test_credentials_whose_certificate_has_ended_are_not_sent_and_its_renewal_is_named(reported: str) -> None:
    ended = parse_service_credentials(json.dumps(account_document("ims.example", certificateExpirationDate=reported)))
    world = World(lambda _request: reply(200, {}))
    with pytest.raises(ConfigurationError, match=r"certificateExpirationDate: The .* Renew it in") as e:
        world.run(ended.obtain(world.conversation()))
    assert not world.sent
    assert "canary" not in str(e.value)


@pytest.mark.parametrize("reported", ["2025-06-15T15:06:41.000Z", "in a year", "", None, 1_700_000_000])
def test_a_certificate_whose_end_is_to_come_or_cannot_be_read_is_left_to_the_identity_service(reported: object) -> None:
    credentials = parse_service_credentials(
        json.dumps(account_document("ims.example", certificateExpirationDate=reported))
    )
    world = World(lambda _request: reply(200, {"access_token": "t", "expires_in": 86_399_999}))
    world.run(credentials.obtain(world.conversation()))
    assert len(world.sent) == 1


def test_a_certificate_that_has_ended_keeps_a_task_from_sending_anything(
    emulator: EmulatorProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended = service(emulator, certificateExpirationDate="2024-02-22T19:53:05.000Z")
    monkeypatch.setenv("AIRFLOW_CONN_AEM_GUIDES_DEFAULT", ended)
    before = len(emulator.requests())
    with pytest.raises(ConfigurationError, match="ended at 2024-02-22"):
        blocking()
    passed, reported = AemGuidesHook().test_connection()
    assert (passed, reported[:53]) == (False, "Nothing was sent. Field service_token: integration.ce")
    assert len(emulator.requests()) == before
