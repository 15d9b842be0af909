"""Access tokens that are kept, and connections that cannot buy any."""

from __future__ import annotations

import json
from collections.abc import Mapping

import pytest
from airflow.sdk import Connection

from aem_guides.bodies import TokenVault
from aem_guides.connection import read_connection
from aem_guides.protocol.credentials import AccessToken
from aem_guides.protocol.errors import ConfigurationError

NOW = 1_750_000_000.0
OAUTH = {"auth": "oauth", "client_id": "client", "client_secret": "cl1ent-s3cret", "scopes": "openid,AdobeID"}


def settings_of(**extra: object) -> object:
    told = json.dumps(OAUTH | extra)
    return read_connection(Connection(conn_id="aem", conn_type="aem_guides", host="https://a.example", extra=told))


def test_a_kept_token_serves_until_five_minutes_before_its_end() -> None:
    vault = TokenVault()
    vault.keep("me", AccessToken("first", NOW + 3600))
    assert vault.usable("me", None, NOW + 3299) is not None
    assert vault.usable("me", None, NOW + 3300) is None


def test_a_refused_token_is_not_used_again_but_its_successor_is() -> None:
    vault = TokenVault()
    vault.keep("me", AccessToken("second", NOW + 3600))
    assert vault.usable("me", "second", NOW) is None
    assert vault.usable("me", "first", NOW) is not None
    assert vault.usable("somebody else", None, NOW) is None


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
        ({"auth": "service_credentials"}, "service_credentials"),
        ({"auth": "service_credentials", "service_credentials": "{"}, "service_credentials"),
    ],
)
def test_a_wrong_field_is_named_and_no_secret_is(extra: Mapping[str, object], named: str) -> None:
    with pytest.raises(ConfigurationError, match=f"field {named}") as caught:
        settings_of(**extra)
    assert "s3cret" not in str(caught.value)
