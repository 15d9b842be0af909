"""Actions: who may, from where, and what is started."""

from __future__ import annotations

import re
from typing import cast
from urllib.parse import quote

import httpx
import pytest

from aem_guides.ledger.store import Ledger
from tests.support.console import ADMIN, STRANGER, VIEWER, Host, read
from tests.support.worlds import INSTANCE, apply, job, snapshot

FORM = re.compile(r'name="(\w+)" value="([^"]*)"')
JOB = f"job?instance={INSTANCE}&name="


def ask(host: Host, deed: str, name: str = "it", user: str = ADMIN) -> httpx.Response:
    address = f"act?deed={deed}&instance={INSTANCE}&name={quote(name)}"
    return cast("httpx.Response", host.client(user).get(address))


def form(host: Host, deed: str, name: str = "it") -> dict[str, str]:
    answer = ask(host, deed, name)
    assert answer.status_code == 200, answer.text
    return dict(FORM.findall(answer.text))


def failed(ledger: Ledger) -> None:
    seen = job("it", "FAILED", resumable=True, excluded_paths=("/content/dam/it/drafts",))
    apply(ledger, snapshot(seen))


@pytest.mark.parametrize(
    ("word", "resumable", "deeds"),
    [
        ("RUNNING", False, ["Cancel…"]),
        ("FAILED", True, ["Resume…", "Archive the log…", "Process again…"]),
        ("SUCCESS", False, ["Archive the log…", "Process again…"]),
    ],
)
def test_a_job_offers_what_is_possible_and_a_viewer_sees_no_button(
    host: Host, ledger: Ledger, word: str, resumable: bool, deeds: list[str]
) -> None:
    apply(ledger, snapshot(job("it", word, resumable=resumable)))
    html = host.client().get(f"{JOB}it").text
    assert re.findall(r'href="act[^>]*>([^<]*)</a>', html) == deeds
    assert "act?" not in host.client(VIEWER).get(f"{JOB}it").text


def test_a_confirmed_action_starts_the_control_dag_as_the_user(host: Host, ledger: Ledger) -> None:
    failed(ledger)
    asked = ask(host, "resume")
    assert "goes on from the job's checkpoint" in read(asked.text).words
    assert host.started == []
    answer = host.client().post("act", data=form(host, "resume"))
    assert answer.status_code == 303
    (run,) = host.started
    assert (run["dag_id"], run["user"]) == ("aem_guides_control_job", ADMIN)
    assert run["conf"] == {"processing_id": "it", "action": "resume", "connection_id": "aem_guides_default"}
    shown = host.client().get(answer.headers["location"])
    assert "The run is at work" in read(shown.text).words
    assert host.client().get(answer.headers["location"] + "&part=1").text.count("<html") == 0


def test_processing_again_asks_for_exactly_the_same(host: Host, ledger: Ledger) -> None:
    failed(ledger)
    assert host.client().post("act", data=form(host, "again")).status_code == 303
    (run,) = host.started
    assert run["dag_id"] == "aem_guides_process_assets"
    assert run["conf"]["paths"] == ["/content/dam/it"]
    assert run["conf"]["excluded_paths"] == ["/content/dam/it/drafts"]


def test_one_page_posted_twice_is_one_run(host: Host, ledger: Ledger) -> None:
    failed(ledger)
    fields = form(host, "resume")
    for _ in range(2):
        host.client().post("act", data=fields)
    assert len({run["dag_run_id"] for run in host.started}) == 1
    host.answer = 409
    assert host.client().post("act", data=fields).status_code == 303


@pytest.mark.parametrize("user", [VIEWER, STRANGER, None])
def test_whoever_may_not_act_gets_neither_question_nor_deed(host: Host, ledger: Ledger, user: str | None) -> None:
    failed(ledger)
    fields = form(host, "resume")
    client = host.client(user)
    assert client.get(f"act?deed=resume&instance={INSTANCE}&name=it").status_code in (401, 403)
    assert client.post("act", data=fields).status_code in (401, 403)
    assert host.started == []


@pytest.mark.parametrize(
    ("changed", "headers"),
    [
        ({"token": "0" * 64}, {}),
        ({"token": "ü"}, {}),
        ({"token": ""}, {}),
        ({"nonce": "x"}, {}),
        ({}, {"sec-fetch-site": "cross-site"}),
        ({}, {"sec-fetch-site": "same-site"}),
        ({}, {"origin": "https://elsewhere.example"}),
        ({}, {"origin": "null"}),
        ({}, {"content-type": "text/plain"}),
        ({"filler": "x" * 70_000}, {}),
    ],
)
def test_what_was_not_sent_from_a_page_of_the_same_session_does_nothing(
    host: Host, ledger: Ledger, changed: dict[str, str], headers: dict[str, str]
) -> None:
    failed(ledger)
    fields = form(host, "resume") | changed
    answer = host.client().post("act", data=fields, headers=headers)
    assert 400 <= answer.status_code < 500
    assert "Nothing was done" in read(answer.text).words
    assert host.started == []


def test_an_action_comes_through_a_proxy_that_gives_another_host(host: Host, ledger: Ledger) -> None:
    failed(ledger)
    proxied = {"origin": "https://airflow.example", "x-forwarded-host": "airflow.example"}
    assert host.client().post("act", data=form(host, "resume"), headers=proxied).status_code == 303


def test_the_token_of_another_session_does_not_serve(host: Host, ledger: Ledger) -> None:
    failed(ledger)
    earlier = dict(FORM.findall(ask(host, "resume", user=f"{ADMIN}#earlier").text))
    assert host.client().post("act", data=earlier).status_code == 403
    assert host.started == []
    assert host.client().post("act", data=form(host, "resume")).status_code == 303


@pytest.mark.parametrize(
    ("deed", "name", "status"),
    [("cancel", "it", 409), ("resume", "nobody", 404), ("destroy", "it", 404), ("<script>", "it", 404)],
)
def test_what_is_not_possible_is_said_and_not_begun(
    host: Host, ledger: Ledger, deed: str, name: str, status: int
) -> None:
    failed(ledger)
    assert ask(host, deed, name).status_code == status
    fields = form(host, "resume") | {"deed": deed, "name": name}
    assert host.client().post("act", data=fields).status_code == status
    assert host.started == []


@pytest.mark.parametrize(
    ("answer", "status", "told"),
    [
        (403, 403, "needs the right"),
        (404, 404, "has no DAG"),
        (400, 400, "It answered 400"),
        (500, 502, "answered 500"),
    ],
)
def test_what_airflow_refuses_is_said(host: Host, ledger: Ledger, answer: int, status: int, told: str) -> None:
    failed(ledger)
    fields = form(host, "resume")
    host.answer = answer
    refused = host.client().post("act", data=fields)
    assert refused.status_code == status
    assert told in read(refused.text).words


def test_a_run_that_airflow_does_not_show_is_said_to_be_so(host: Host, ledger: Ledger) -> None:
    host.answer = 404
    here = f"done?deed=cancel&dag_id=aem_guides_control_job&run_id=x&instance={INSTANCE}&name=it"
    assert "does not show the run" in read(host.client().get(here).text).words
    assert host.client().get(here.replace("aem_guides_control_job", "others")).status_code == 404
