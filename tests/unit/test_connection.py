"""The Airflow connection, with each field wrong in turn."""

from __future__ import annotations

import json
from collections.abc import Mapping

import pytest
from airflow.sdk import Connection

from aem_guides.hooks.connection import read_connection
from aem_guides.protocol.credentials import BasicCredentials, BearerCredentials
from aem_guides.protocol.errors import ConfigurationError

OAUTH: dict[str, object] = {"auth": "oauth", "client_id": "c", "client_secret": "p4ss", "scopes": "openid"}


def connection(extra: Mapping[str, object] | None = None, **fields: object) -> Connection:
    reported = {"host": "https://author.example.com", "login": "u", "password": "p4ss"} | fields
    return Connection(conn_id="aem", conn_type="aem_guides", extra=json.dumps(extra or {}), **reported)  # type: ignore[arg-type]


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
        ({"host": "[::1]:4502"}, "http://[::1]:4502"),
        ({"host": "[2001:db8::1]:4502"}, "https://[2001:db8::1]:4502"),
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
        ({"host": "https://a.example.com:99999"}, {}, "host"),
        ({"host": "https://a.example.com:0"}, {}, "host"),
        ({"host": "https://[::1"}, {}, "host"),
        ({"host": "https://author..example.com"}, {}, "host"),
        ({"host": f"https://{'a' * 64}.example.com"}, {}, "host"),
        ({"host": "https://a\\b.example.com"}, {}, "host"),
        ({}, {"proxy": "http://proxy..example.com:3128"}, "proxy"),
        ({"host": "https://a.exa\nmple.com"}, {}, "host"),
        ({"host": "https://a.example.com?wcmmode=disabled"}, {}, "host"),
        ({"host": "a.example.com", "schema": "ftp"}, {}, "schema"),
        ({"port": 70_000}, {}, "port"),
        ({"host": "https://a.example.com:4502", "port": 4503}, {}, "port"),
        ({"login": "user:name"}, {}, "login"),
        ({"login": "us\ner"}, {}, "login"),
        ({"password": "p4ss\r\n"}, {}, "password"),
        ({"login": ""}, {"token": "to ken"}, "token"),
        ({"login": ""}, {"token": "p4ss\u2014"}, "token"),
        ({"password": ""}, {}, "password"),
        ({"login": "", "password": ""}, {}, "password"),
        ({"login": "", "password": "to\nken"}, {}, "password"),
        ({"login": ""}, {"auth": "basic"}, "login"),
        ({}, {"auth": "kerberos"}, "auth"),
        ({}, {"verify": "perhaps"}, "verify"),
        ({}, {"ca_file": "/nowhere.pem"}, "ca_file"),
        ({}, {"ca_file": __file__}, "ca_file"),
        ({}, {"ca_file": 1}, "ca_file"),
        ({}, {"proxy": "proxy:3128"}, "proxy"),
        ({}, {"proxy": "http://"}, "proxy"),
        ({}, {"proxy": "socks5://proxy:1080"}, "proxy"),
        ({}, {"proxy": "http://user:p4ss@pro\nxy:3128"}, "proxy"),
        ({}, {"connect_timeout": "soon"}, "connect_timeout"),
        ({}, {"connect_timeout": "nan"}, "connect_timeout"),
        ({}, {"read_timeout": -1}, "read_timeout"),
        ({}, {"bulk_processor_page": "https://b.example.com/"}, "bulk_processor_page"),
        ({}, {"bulk_processor_page": "//b.example.com/"}, "bulk_processor_page"),
    ],
)
def test_a_wrong_field_is_named_and_no_secret_is(fields: dict[str, str], extra: dict[str, object], named: str) -> None:
    with pytest.raises(ConfigurationError, match=f"^Connection aem, field {named}: ") as caught:
        read_connection(connection(extra, **fields))
    assert "p4ss" not in str(caught.value)


def test_a_password_without_login_is_a_bearer_token() -> None:
    assert read_connection(connection(login="", password="tok")).credentials == BearerCredentials("tok")
    assert read_connection(connection()).credentials == BasicCredentials("u", "p4ss")


def refused(extra: Mapping[str, object] | None = None, **fields: object) -> str:
    with pytest.raises(ConfigurationError) as caught:
        read_connection(connection(extra, **fields))
    assert "p4ss" not in str(caught.value)
    return str(caught.value).removeprefix("Connection aem, ")


@pytest.mark.parametrize("pasted", ["Bearer p4ss", "bearer\tp4ss", "Authorization: Bearer p4ss", " BEARER  p4ss\n"])
def test_a_token_with_the_word_bearer_gets_the_message_to_leave_it_out(pasted: str) -> None:
    said = "It begins with the word Bearer. Paste only the token"
    assert refused({"token": pasted}, login="").startswith(f"field token: {said}")
    assert refused(login="", password=pasted).startswith(f"field password: {said}")


def test_a_token_that_begins_like_the_word_bearer_is_a_token() -> None:
    assert read_connection(connection({"auth": "bearer", "token": "Bearer123"})).credentials == BearerCredentials(
        "Bearer123"
    )


@pytest.mark.parametrize("password", ["pass phrase", "s\u00e9same"])
def test_a_password_that_cannot_be_a_token_gets_the_message_that_its_user_is_missing(password: str) -> None:
    said = refused(login="", password=password)
    assert said.startswith("field password: ")
    assert "the field login is empty" in said
    assert "field login" not in refused({"auth": "bearer"}, login="", password=password)


@pytest.mark.parametrize("login", [" admin", "admin ", "admin\t", "\u00a0admin"])
def test_a_user_with_white_space_at_its_ends_is_refused(login: str) -> None:
    assert refused(login=login).startswith("field login: It has white space at its ends. ")


@pytest.mark.parametrize(
    ("host", "shown"),
    [
        ("https://a.example.com/?x=1", "(/?x=…)"),
        ("https://a.example.com?token=p4ss&x=p4ss", "(?token=…&x=…)"),
        ("https://a.example.com/editor.html#/content?p4ss", "(/editor.html#…)"),
    ],
)
def test_what_follows_the_host_name_is_shown_without_its_values(host: str, shown: str) -> None:
    assert refused(host=host) == f"field host: Remove what follows the host name {shown}."


def test_secrets_are_not_in_any_repr() -> None:
    assert "p4ss" not in repr(read_connection(connection()))
    assert "p4ss" not in repr(BasicCredentials("u", "p4ss"))


def test_the_proxy_s_password_is_a_secret_as_it_is_written_and_as_it_is() -> None:
    settings = read_connection(connection({"proxy": "http://user:c%40nary@proxy:3128"}))
    assert {"c%40nary", "c@nary", "p4ss"} <= set(settings.secrets)
    assert "nary" not in repr(settings)


@pytest.mark.parametrize(
    ("fields", "extra", "named"),
    [
        ({"host": "http://a.example.com"}, {}, "host"),
        ({}, OAUTH | {"ims_url": "http://ims.example.com"}, "ims_url"),
        ({"password": "p4ss "}, {}, "password"),
        ({"password": "\tp4ss"}, {}, "password"),
        ({}, {"verify": False}, "verify"),
        ({}, {"service_credentials": "{}"}, "service_credentials"),
        ({}, {"client-id": "p4ss"}, "client-id"),
    ],
)
def test_dangerous_settings_cause_warnings(fields: dict[str, str], extra: dict[str, object], named: str) -> None:
    (warning,) = read_connection(connection(extra, **fields)).warnings
    assert warning.startswith(f"Connection aem, field {named}: ")
    assert "p4ss" not in warning


def test_http_to_this_machine_is_not_warned_about() -> None:
    assert not read_connection(connection(OAUTH | {"ims_url": "http://127.0.0.1:1"}, host="http://localhost")).warnings


@pytest.mark.parametrize("conn_type", ["postgres", "http", "", "generic", "AEM_GUIDES"])
def test_a_connection_of_another_type_is_refused_and_nothing_of_it_is_shown(conn_type: str) -> None:
    fields: dict[str, object] = {"login": "own3r", "host": "db.example.com/p4ss", "port": 99_999}
    other = connection({"ca_file": "/p4ss", "auth": "p4ss"}, **fields)
    other.conn_type = conn_type
    with pytest.raises(ConfigurationError, match="connection_id: 'aem' is not an AEM Guides connection") as caught:
        read_connection(other)
    assert not [word for word in ("own3r", "p4ss", "db.example", "99999", "postgres") if word in str(caught.value)]
