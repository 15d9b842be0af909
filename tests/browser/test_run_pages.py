"""What the UI shows of a run: live log lines, the graph, the links of its tasks."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import quote

import pytest
from playwright.sync_api import expect

from tests.support.airflow_stack import ARCHIVE, DAG, WAIT, LiveAirflow
from tests.support.browser import Ui
from tests.support.instances import Instance, Instances

FILES = 300
TALL = 2000
FAST, SLOW = 0, 1
"""The map indices of the paths: one that is soon done, one whose job runs until it is hastened."""


@dataclass
class Run:
    """A run of two paths, the second of which is held back."""

    airflow: LiveAirflow
    own: Instance
    paths: list[str]
    run_id: str

    @property
    def page(self) -> str:
        return f"/dags/{DAG}/runs/{quote(self.run_id)}"

    def task_page(self, task_id: str, map_index: int) -> str:
        return f"{self.page}/tasks/{task_id}/mapped/{map_index}"

    def finish(self) -> None:
        """Let it end well, if it has not yet."""
        self.own.hasten(self.paths[SLOW], FILES)
        assert self.airflow.end_of(DAG, self.run_id) == "success", self.airflow.account(self.run_id)


@pytest.fixture(scope="module")
def run(airflow: LiveAirflow, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    with Instances(airflow, tmp_path_factory.mktemp("shown")).new() as own:
        paths = [own.folder(20, rate=50.0), own.folder(FILES, rate=2.0)]
        run_id = airflow.rest.trigger(DAG, {"paths": paths, "connection_id": own.connection_id})
        shown = Run(airflow, own, paths, run_id)
        yield shown
        shown.finish()


def test_the_log_of_a_deferred_task_shows_progress_and_lines_of_the_job_as_they_come(run: Run, ui: Ui) -> None:
    run.airflow.wait_for_state(run.run_id, WAIT, "deferred", map_index=SLOW)
    ui.open(run.task_page(WAIT, SLOW), height=TALL)
    expect(ui.page.get_by_role("heading", name=run.paths[SLOW])).to_be_visible()
    expect(ui.page.get_by_text("Deferred", exact=True).first).to_be_visible()
    log = ui.page.get_by_test_id("virtualized-list")
    expect(log).to_contain_text(re.compile(rf"\d+ of {FILES} assets \([\d.]+ %\), .*about .* left"))
    expect(log).to_contain_text(re.compile(rf"Processed {re.escape(run.paths[SLOW])}/topic_\d+\.dita \[DITATOPIC\]"))

    def processed() -> int:
        return max(int(count) for count in re.findall(rf"(\d+) of {FILES} assets", log.inner_text()))

    seen = processed()
    run.airflow.wait_until(lambda: processed() > seen, "further progress in the page as it stands")
    expect(ui.page.get_by_text("Deferred", exact=True).first).to_be_visible()
    ui.show("log of a deferred task")
    run.finish()
    expect(ui.page.get_by_text("Success", exact=True).first).to_be_visible()


def test_the_graph_shows_the_mapped_group_and_its_tasks(run: Run, ui: Ui) -> None:
    run.finish()
    ui.open(run.page)
    ui.page.get_by_role("button", name="Show Graph").click()
    graph = ui.page.locator(".react-flow")
    for task in ("plan_requests", "check_instance", "process_path", "report", "confirm"):
        expect(graph.get_by_role("link", name=task)).to_be_visible()
    ui.page.get_by_role("button", name="Expand all task groups").click()
    for task in ("start_processing", "wait_for_processing", "pull_logs", "archive_logs", "verify_assets"):
        node = graph.locator(".react-flow__node").filter(has=ui.page.get_by_role("link", name=re.compile(task)))
        expect(node.last).to_contain_text("success")
        mapped = node.get_by_role("link", name=re.compile(task))
        expect(mapped).to_have_attribute("href", re.compile(rf"/tasks/process_path\.{task}/mapped(\?|$)"))
    order = ("start_processing", "wait_for_processing", "verify_assets", "pull_logs")
    for start, end in itertools.pairwise(order):
        edge = f"Edge from process_path.{start} to process_path.{end}"
        expect(graph.get_by_role("img", name=edge)).to_have_count(1)
    ui.show("graph of a run")


def test_the_links_of_a_task_lead_to_the_folder_the_bulk_processor_and_the_archive(run: Run, ui: Ui) -> None:
    run.finish()
    ui.open(f"{run.task_page(ARCHIVE, SLOW)}/details")
    author = run.own.emulator.url
    expected = {
        "AEM folder": f"{author}/assets.html{run.paths[SLOW]}",
        "Bulk Processor": f"{author}/aem/start.html",
        "Archive": f"{run.airflow.rest.url}/dags/{DAG}/runs/{quote(run.run_id)}/tasks/{ARCHIVE}/mapped/{SLOW}/xcom",
    }
    for name, address in expected.items():
        expect(ui.page.get_by_role("link", name=name, exact=True)).to_have_attribute("href", address)
    ui.show("links of a task")
    ui.page.goto(expected["Archive"])
    expect(ui.page.get_by_role("row").filter(has_text="return_value")).to_be_visible()
    ui.show("archive in the XComs")
