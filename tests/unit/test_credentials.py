"""Access tokens that are kept, and connections that cannot fetch any."""

from __future__ import annotations

import json
from collections.abc import Mapping

import pytest
from airflow.sdk import Connection

from aem_guides.hooks.connection import read_connection
from aem_guides.hooks.token_cache import AbandonedPurchaseError, Claim, TokenVault
from aem_guides.protocol.credentials import AccessToken
from aem_guides.protocol.errors import AuthenticationError, ConfigurationError

NOW = 1_750_000_000.0
OAUTH = {"auth": "oauth", "client_id": "client", "client_secret": "cl1ent-s3cret", "scopes": "openid,AdobeID"}


def settings_of(**extra: object) -> object:
    reported = json.dumps(OAUTH | extra)
    return read_connection(Connection(conn_id="aem", conn_type="aem_guides", host="https://a.example", extra=reported))


def vault_with(token: AccessToken, identity: str = "me") -> TokenVault:
    vault = TokenVault()
    buy(vault, vault.claim(identity, None, NOW), token)
    return vault


def buy(vault: TokenVault, claim: Claim, token: AccessToken) -> None:
    assert claim.is_buyer
    with vault.settling(claim) as settle:
        settle(token)


@pytest.mark.parametrize(("life", "ahead"), [(86_400, 300), (3600, 300), (3000, 300), (300, 30), (60, 6), (1, 0.1)])
def test_a_token_serves_until_five_minutes_or_a_tenth_of_its_life_before_its_end(life: float, ahead: float) -> None:
    vault = vault_with(AccessToken("first", NOW, NOW + life))
    assert not vault.claim("me", None, NOW + life - ahead - 0.01).is_buyer
    assert vault.claim("me", None, NOW + life - ahead + 0.01).is_buyer


def test_a_refused_token_is_not_used_again_but_its_successor_is() -> None:
    vault = vault_with(AccessToken("second", NOW, NOW + 3600))
    assert vault.claim("me", "first", NOW).outcome.result().value == "second"
    assert vault.claim("me", "second", NOW).is_buyer
    assert vault.claim("somebody else", None, NOW).is_buyer


def test_all_callers_during_the_fetch_of_a_token_get_that_token() -> None:
    vault = TokenVault()
    first, second = vault.claim("me", None, NOW), vault.claim("me", None, NOW)
    assert not second.is_buyer
    buy(vault, first, AccessToken("bought", NOW, NOW + 3600))
    assert first.outcome.result().value == second.outcome.result().value == "bought"


def test_all_callers_during_a_failing_fetch_share_the_failure_and_the_next_caller_fetches_again() -> None:
    vault = TokenVault()
    first, second = vault.claim("me", None, NOW), vault.claim("me", None, NOW)
    with vault.settling(first):
        raise AuthenticationError("POST token", 401, "")
    for claim in (first, second):
        with pytest.raises(AuthenticationError):
            claim.outcome.result()
    assert vault.claim("me", None, NOW).is_buyer


def test_an_urgent_caller_does_not_wait_for_a_fetch_with_retries() -> None:
    vault = TokenVault()
    patient = vault.claim("me", None, NOW)
    first, second = vault.claim("me", None, NOW, is_hurried=True), vault.claim("me", None, NOW, is_hurried=True)
    assert not second.is_buyer
    buy(vault, first, AccessToken("hurried", NOW, NOW + 3600))
    assert second.outcome.result().value == "hurried"
    assert not patient.outcome.done()
    assert vault.claim("me", None, NOW).outcome.result().value == "hurried"
    buy(vault, patient, AccessToken("patient", NOW, NOW + 3600))
    assert vault.claim("me", None, NOW, is_hurried=True).outcome.result().value == "patient"


def test_a_waiting_caller_takes_over_when_the_fetching_one_is_stopped() -> None:
    vault = TokenVault()
    first, second = vault.claim("me", None, NOW), vault.claim("me", None, NOW)

    def stopped() -> None:
        with vault.settling(first):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stopped()
    assert not second.outcome.cancel()
    with pytest.raises(AbandonedPurchaseError):
        second.outcome.result()
    assert vault.claim("me", None, NOW).is_buyer


@pytest.mark.parametrize(
    ("extra", "named"),
    [
        ({"client_id": ""}, "client_id"),
        ({"client_id": "cli\nent"}, "client_id"),
        ({"client_secret": ""}, "client_secret"),
        ({"client_secret": "cl1ent-\ns3cret"}, "client_secret"),
        ({"scopes": " , "}, "scopes"),
        ({"scopes": "openid\nAdobeID"}, "scopes"),
        ({"ims_url": "ims.example"}, "ims_url"),
        ({"ims_url": "https://"}, "ims_url"),
        ({"ims_url": "https:///ims"}, "ims_url"),
        ({"ims_url": "https://user:s3cret@ims.example"}, "ims_url"),
        ({"ims_url": "https://ims.example/ims/token/v3"}, "ims_url"),
        ({"ims_url": "https://ims.exa\nmple"}, "ims_url"),
        ({"auth": "service_credentials"}, "service_token"),
        ({"auth": "service_credentials", "service_token": "{"}, "service_token"),
        ({"auth": "service_credentials", "service_token": "s3cret"}, "service_token"),
        ({"auth": "service_credentials", "service_token": "{}"}, "service_token"),
        ({"auth": "service_credentials", "service_token": {"integration": {"id": 1}}}, "service_token"),
        ({"auth": "service_credentials", "service_credentials": "{"}, "service_credentials"),
    ],
)
def test_a_wrong_field_is_named_and_no_secret_is(extra: Mapping[str, object], named: str) -> None:
    with pytest.raises(ConfigurationError, match=f"field {named}") as caught:
        settings_of(**extra)
    assert "s3cret" not in str(caught.value)
