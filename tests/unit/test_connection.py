"""The Airflow connection, each field wrong in turn."""

from __future__ import annotations

import json
from collections.abc import Mapping

import pytest
from airflow.sdk import Connection

from aem_guides.connection import read_connection
from aem_guides.protocol.credentials import BasicCredentials, BearerCredentials
from aem_guides.protocol.errors import ConfigurationError


def connection(extra: Mapping[str, object] | None = None, **fields: object) -> Connection:
    told = {"host": "https://author.example.com", "login": "u", "password": "p4ss"} | fields
    return Connection(conn_id="aem", conn_type="aem_guides", extra=json.dumps(extra or {}), **told)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("fields", "base_url"),
    [
        ({"host": "https://a.example.com/"}, "https://a.example.com"),
        ({"host": "a.example.com"}, "https://a.example.com"),
        ({"host": "a.example.com", "schema": "http", "port": 4502}, "http://a.example.com:4502"),
        ({"host": "https://a.example.com:443"}, "https://a.example.com"),
        ({"host": "localhost", "port": 4502}, "http://localhost:4502"),
        ({"host": "127.0.0.1:4502"}, "http://127.0.0.1:4502"),
        ({"host": "http://127.0.0.1", "port": 4502}, "http://127.0.0.1:4502"),
        ({"host": "http://[::1]:4502"}, "http://[::1]:4502"),
    ],
)
def test_the_base_url_is_put_together(fields: dict[str, object], base_url: str) -> None:
    assert read_connection(connection(None, **fields)).base_url == base_url


@pytest.mark.parametrize(
    ("fields", "extra", "named"),
    [
        ({"host": ""}, {}, "host"),
        ({"host": "ftp://a.example.com"}, {}, "host"),
        ({"host": "https://user:p4ss@a.example.com"}, {}, "host"),
        ({"host": "https://a.example.com/editor"}, {}, "host"),
        ({"host": "https://"}, {}, "host"),
        ({"host": "https://a.example.com:port"}, {}, "host"),
        ({"password": ""}, {}, "password"),
        ({"login": "", "password": ""}, {}, "password"),
        ({"login": "", "password": "to\nken"}, {}, "password"),
        ({"login": ""}, {"auth": "basic"}, "login"),
        ({}, {"auth": "kerberos"}, "auth"),
        ({}, {"verify": "perhaps"}, "verify"),
        ({}, {"ca_file": "/nowhere.pem"}, "ca_file"),
        ({}, {"proxy": "proxy:3128"}, "proxy"),
        ({}, {"connect_timeout": "soon"}, "connect_timeout"),
        ({}, {"read_timeout": -1}, "read_timeout"),
    ],
)
def test_a_wrong_field_is_named_and_no_secret_is(fields: dict[str, str], extra: dict[str, object], named: str) -> None:
    with pytest.raises(ConfigurationError, match=f"field {named}") as caught:
        read_connection(connection(extra, **fields))
    assert "p4ss" not in str(caught.value)


def test_a_password_without_login_is_a_bearer_token() -> None:
    assert read_connection(connection(login="", password="tok")).credentials == BearerCredentials("tok")
    assert read_connection(connection()).credentials == BasicCredentials("u", "p4ss")


def test_secrets_are_not_in_any_repr() -> None:
    assert "p4ss" not in repr(read_connection(connection()))
    assert "p4ss" not in repr(BasicCredentials("u", "p4ss"))


def test_http_is_warned_about_except_on_this_machine() -> None:
    assert read_connection(connection(host="http://a.example.com")).warnings
    assert not read_connection(connection(host="http://localhost:4502")).warnings
