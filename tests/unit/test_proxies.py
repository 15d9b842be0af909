"""The proxy for a URL: both bodies read the environment as requests does."""

from __future__ import annotations

import pytest
from airflow.sdk import Connection

from aem_guides.hooks.bodies import proxy_for
from aem_guides.hooks.connection import read_connection

PROXY = "http://proxy.example.com:3128"
AUTHOR = "https://author.example.com:4502"


@pytest.mark.parametrize(
    ("environment", "url", "proxy"),
    [
        ({"https_proxy": PROXY}, AUTHOR, PROXY),
        ({"http_proxy": PROXY}, AUTHOR, None),
        ({"all_proxy": PROXY}, AUTHOR, PROXY),
        ({"ALL_PROXY": PROXY}, "http://[2001:db8::1]:4502", PROXY),
        ({"https_proxy": PROXY, "no_proxy": "author.example.com"}, AUTHOR, None),
        ({"https_proxy": PROXY, "no_proxy": "author.example.com:4502"}, AUTHOR, None),
        ({"https_proxy": PROXY, "no_proxy": "author.example.com:4503"}, AUTHOR, PROXY),
        ({"https_proxy": PROXY, "no_proxy": ".example.com"}, AUTHOR, None),
        ({"http_proxy": PROXY, "no_proxy": "10.1.0.0/16"}, "http://10.1.2.3:4502", None),
        ({"http_proxy": PROXY, "no_proxy": "10.1.0.0/16"}, "http://10.2.2.3:4502", PROXY),
        ({"http_proxy": PROXY, "no_proxy": "2001:db8::1"}, "http://[2001:db8::1]:4502", None),
        ({}, AUTHOR, None),
    ],
)
def test_the_environment_names_the_proxy_and_what_it_is_not_for(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], url: str, proxy: str | None
) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    reported = Connection(conn_id="aem", conn_type="aem_guides", host=AUTHOR, login="u", password="p")
    assert proxy_for(read_connection(reported), f"{url}/bin") == proxy
