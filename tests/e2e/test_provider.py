"""What Airflow shows of the provider: links of tasks, Test button, masked fields, over REST."""

from __future__ import annotations

import json
import uuid
from urllib.parse import quote

import pytest

from local.rest import AirflowRest
from tests.support.airflow_stack import ARCHIVE, DAG, PULL, START, VERIFY, WAIT, LiveAirflow
from tests.support.emulator import PASSWORD, EmulatorProcess
from tests.support.instances import SLOW
from tests.support.runs import Run
from tests.support.together import Played, Scenario, Stage, lasting, scenarios

FOLDER_LINK, PROCESSOR_LINK, ARCHIVE_LINK = "AEM folder", "Bulk Processor", "Archive"
SECRETS = {
    "token": "canary-in-token",
    "client_secret": "canary-in-client-secret",
    "service_token": '{"integration": {"privateKey": "canary-in-service-token"}}',
    "proxy": "http://user:canary-in-proxy@127.0.0.1:9",
}


def links(airflow: LiveAirflow, run_id: str, task_id: str, map_index: int = -1, **query: int) -> dict[str, str | None]:
    where = f"/dags/{DAG}/dagRuns/{run_id}/taskInstances/{task_id}/links"
    answer = airflow.rest.request("GET", where, params={"map_index": map_index, **query})
    return dict(answer["extra_links"])


def expected(url: str, path: str) -> dict[str, str | None]:
    return {FOLDER_LINK: f"{url}/assets.html{quote(path)}", PROCESSOR_LINK: f"{url}/aem/start.html"}


@lasting
def links_are_right_for_failed_killed_retried_and_mapped_tries(stage: Stage) -> None:
    airflow, instance, url = stage.airflow, stage.common, stage.common.emulator.url
    path, nowhere = f"/content/dam/l'été {uuid.uuid4().hex[:8]}", f"/content/dam/nowhere-{uuid.uuid4().hex[:8]}"
    instance.emulator.virtual_folder(path, 150, rate=SLOW)
    slow, refused = Run.begin_on(instance, [path, nowhere])
    run_id = slow.run_id
    slow.wait_for(WAIT, "deferred")
    airflow.wait_until(lambda: links(airflow, run_id, WAIT, 0) == expected(url, path), "the links of a deferred try")
    refused.wait_for(START, "failed")
    airflow.wait_until(lambda: links(airflow, run_id, START, 1) == expected(url, nowhere), "those of a failed try")
    slow.mark(WAIT, "failed")
    slow.hasten()
    assert slow.end() == "failed"
    assert links(airflow, run_id, WAIT, 0) == expected(url, path)
    slow.clear(WAIT)
    assert slow.end() == "failed"
    assert airflow.instance(run_id, WAIT, 0)["state"] == "success"
    tries = airflow.rest.tries(DAG, run_id, WAIT, 0)
    assert len(tries) >= 2
    for attempt in tries:
        assert links(airflow, run_id, WAIT, 0, try_number=attempt) == expected(url, path)
    for task_id in (START, PULL):
        assert links(airflow, run_id, task_id, 0) == expected(url, path)
    assert links(airflow, run_id, VERIFY, 0) == {**expected(url, path), ARCHIVE_LINK: None}
    xcoms = f"{airflow.rest.url}/dags/{DAG}/runs/{quote(run_id)}/tasks/{ARCHIVE}/mapped/0/xcom"
    assert links(airflow, run_id, ARCHIVE, 0) == {**expected(url, path), ARCHIVE_LINK: xcoms}
    assert links(airflow, run_id, ARCHIVE, 1)[ARCHIVE_LINK] is None
    assert links(airflow, run_id, "check_instance") == {**expected(url, path), FOLDER_LINK: None}
    for task in airflow.rest.task_instances(DAG, run_id):
        shown = json.dumps(links(airflow, run_id, task["task_id"], task["map_index"]))
        assert PASSWORD not in shown


@scenarios(links_are_right_for_failed_killed_retried_and_mapped_tries)
def test_what_is_shown_of_a_run(played: Played, scenario: Scenario) -> None:
    played.result(scenario)


def pressed(rest: AirflowRest, connection: str, **changes: object) -> tuple[bool, str]:
    """Press the Test button on a connection's form."""
    reported = json.loads(connection) | changes
    body = {**reported, "connection_id": "from_the_form", "extra": json.dumps(reported.get("extra") or {})}
    answer = rest.request("POST", "/connections/test", json=body)
    return answer["status"], answer["message"]


def test_the_test_button_says_what_is_right_and_what_is_wrong(airflow: LiveAirflow) -> None:
    emulator: EmulatorProcess = airflow.emulator
    passed, said = pressed(airflow.rest, emulator.connection())
    assert passed
    assert said.startswith(f"Reached: {emulator.url}. Accepted: user admin with a password. AEM Guides: processing is ")
    assert "History readable: " in said
    passed, said = pressed(airflow.rest, emulator.connection(), password="canary-wrong")
    assert (passed, "Refused: user admin with a password." in said, "canary" in said) == (False, True, False)
    passed, said = pressed(airflow.rest, emulator.connection(), host="http://127.0.0.1:9")
    assert (passed, said.startswith("Not reached: http://127.0.0.1:9.")) == (False, True)
    assert pressed(airflow.rest, emulator.connection(), host="https://a.example.com/editor.html") == (
        False,
        "Nothing was sent. Field host: Remove what follows the host name (/editor.html).",
    )


@pytest.fixture
def kept_connection(airflow: LiveAirflow) -> str:
    body = {
        "connection_id": f"kept-{uuid.uuid4().hex[:8]}",
        "conn_type": "aem_guides",
        "host": airflow.emulator.url,
        "login": "admin",
        "password": "canary-in-password",
        "extra": json.dumps(SECRETS),
    }
    airflow.rest.request("POST", "/connections", json=body)
    return body["connection_id"]


def test_no_secret_of_a_kept_connection_is_shown(airflow: LiveAirflow, kept_connection: str) -> None:
    shown = airflow.rest.request("GET", f"/connections/{kept_connection}")
    assert "canary" not in json.dumps(shown)
    assert set(json.loads(shown["extra"])) == set(SECRETS)
    assert "canary" not in json.dumps(airflow.rest.request("GET", "/connections", params={"limit": 100}))
