"""A start whose answer is lost, on the real Airflow: a person settles it in the console, and the run goes on."""

from __future__ import annotations

import html
import re
from typing import Self
from urllib.parse import urljoin

import httpx

from tests.support.airflow_stack import START, LiveAirflow
from tests.support.instances import SLOW
from tests.support.runs import Run
from tests.support.together import Played, Scenario, Stage, lasting, scenarios

HIDDEN = re.compile(r'type="hidden" name="(\w+)" value="([^"]*)"')


class Console:
    """The console as a browser without scripts shows it to the administrator."""

    def __init__(self, airflow: LiveAirflow) -> None:
        self._airflow = airflow
        answer = httpx.post(f"{airflow.rest.url}/auth/token", json=airflow.rest.login, timeout=60, trust_env=False)
        token = answer.raise_for_status().json()["access_token"]
        headers = {"Authorization": f"Bearer {token}"}
        address = f"{airflow.rest.url}/aem-guides/"
        self._client = httpx.Client(base_url=address, headers=headers, timeout=60, trust_env=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._client.close()

    def get(self, where: str) -> str:
        return self._client.get(where).raise_for_status().text

    def post(self, where: str, page: str, **fields: str) -> str:
        """Send the form of a page; the page to which that leads."""
        hidden = {name: html.unescape(value) for name, value in HIDDEN.findall(page)}
        answer = self._client.post(where, data={**hidden, **fields})
        assert answer.status_code == 303, answer.text
        return urljoin(where, answer.headers["location"])

    def doubt_about(self, path: str) -> str | None:
        """The address of the page about a path, as the first page shows it."""
        found = re.search(rf'href="(doubt\?[^"]*)">{re.escape(path)}<', self.get("doubts"))
        return html.unescape(found.group(1)) if found else None

    def settle(self, path: str, choice: str) -> None:
        """Settle the doubt about a path, and let its run go on."""
        where = self.doubt_about(path)
        assert where is not None
        self._airflow.wait_until(lambda: f'value="{choice}"' in self.get(where), f"the choice about {path}")
        page = self.get(where)
        part = self.post("settle", page, choice=choice) + "&part=1"
        self._airflow.wait_until(lambda: "data-go" in self.get(part), f"the choice about {path} to be stored")
        self.post("go-on", self.get(part))


@lasting
def a_start_in_doubt_is_settled_in_the_console_and_the_run_goes_on_with_that_one_job(stage: Stage) -> None:
    with Console(stage.airflow) as console, stage.instances.new() as instance:
        emulator = instance.emulator
        emulator.fault("history", "history_lag", seconds=3600, count=None)
        emulator.fault("history", "history_bad_entry", count=None)
        emulator.fault("start", "reset_after")
        paths = [instance.folder(20, rate=SLOW) for _ in range(2)]
        runs = Run.begin_on(instance, paths, files=20)
        stage.airflow.wait_until(lambda: any(console.doubt_about(path) for path in paths), "the doubt")
        emulator.delete("/emulator/faults")
        (lost,) = (run for run in runs if console.doubt_about(run.path))
        (other,) = (run for run in runs if run is not lost)
        lost.wait_for_words("Settle it on the page AEM Guides", START)
        (job,) = lost.jobs()
        for run in runs:
            run.hasten()
        other.wait_for(START, "success")
        with stage.airflow.clearing(lost.dag_id, lost.run_id):
            console.settle(lost.path, f"={job['processing_id']}")
        assert lost.end() == "success"
        assert [lost.row()[name] for name in ("processing_id", "state")] == [job["processing_id"], "SUCCESS"]
        assert [len(run.jobs()) for run in runs] == [1, 1]
        assert (lost.tries(START), other.tries(START)) == (2, 1)
        assert console.doubt_about(lost.path) is None


@scenarios(
    a_start_in_doubt_is_settled_in_the_console_and_the_run_goes_on_with_that_one_job,
)
def test_what_is_in_doubt_is_settled_in_the_console(played: Played, scenario: Scenario) -> None:
    played.result(scenario)
