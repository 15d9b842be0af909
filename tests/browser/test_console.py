"""The console in Airflow's own pages: found, searched, acted in, in light and dark, wide and narrow."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from urllib.parse import quote

import pytest
from playwright.sync_api import Frame, Page, expect

from aem_guides.hooks.hook import AemGuidesHook
from aem_guides.ledger.clock import now_ms
from aem_guides.ledger.database import open_engine
from aem_guides.ledger.store import Ledger
from aem_guides.protocol.models import ProcessingRequest
from tests.support.airflow_stack import DAG, LEDGER, LiveAirflow
from tests.support.browser import Ui, barriers
from tests.support.console_world import COUNT, SHOWN, SHOWN_PATH, World
from tests.support.instances import Instance, Instances
from tests.support.worlds import job

PATH = "/content/dam/aurora"
DOWN, STAGE = "author.example.com", "stage.example.com"
RUNNING = {
    "/content/dam/harbour/guides/operation/en": (900, 2.0),
    "/content/dam/harbour/guides/safety/de": (2_400, 7.0),
}
"""The assets of the jobs that run, and how many are done in a second."""


@pytest.fixture(scope="module")
def ended(airflow: LiveAirflow) -> str:
    """A run whose job has ended and is archived."""
    run_id, state = airflow.run({"paths": [PATH], "verify_assets": False})
    assert state == "success", airflow.account(run_id)
    return run_id


@dataclass(frozen=True)
class Crowd:
    """The jobs of an instance that is down, and two that run on one that is not."""

    running: dict[str, str]

    @property
    def pages(self) -> dict[str, str]:
        here = f"instance={DOWN}&name={SHOWN}"
        runs = f"instance={STAGE}&name={next(iter(self.running.values()))}"
        return {
            "now": "now",
            "jobs": "jobs",
            "job": f"job?{here}",
            "running job": f"job?{runs}",
            "log": f"log?{here}",
            "running log": f"log?{runs}",
            "assets": f"assets?{here}",
            "trends": "trends",
            "findings": "findings?which=all",
            "question": f"act?deed=again&{here}",
            "run": f"run?dag_id={DAG}&run_id=manual__1",
            "empty": "jobs?state=LOST",
        }


@pytest.fixture(scope="module")
def crowd(airflow: LiveAirflow, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Crowd]:
    """All of them in the ledger."""
    folder = tmp_path_factory.mktemp("crowd")
    with Instances(airflow, folder).new() as own, pytest.MonkeyPatch.context() as patched:
        patched.setenv(LEDGER, airflow.stack.environment[LEDGER])
        patched.setenv("AIRFLOW_CONN_AEM_GUIDES_DEFAULT", own.emulator.connection())
        running = started(own)
        with Ledger(open_engine()) as ledger:
            World(DOWN, "nobody_there").fill(ledger, folder / "archived")
            seen = [
                job(name, "RUNNING", start=now_ms(), path=path, total_files=RUNNING[path][0], triggered_count=1)
                for path, name in running.items()
            ]
            World(STAGE, own.connection_id).reconcile(ledger, *seen, at=now_ms())
        yield Crowd(running)


def started(own: Instance) -> dict[str, str]:
    """Jobs that have done a part, and go on for longer than the tests look at them: their ids by path."""
    for path, (files, _) in RUNNING.items():
        own.emulator.virtual_folder(path, files, rate=files / 5, failed_assets=0.05)
    with AemGuidesHook() as hook:
        names = {path: hook.start_processing(ProcessingRequest(path)) for path in RUNNING}
    for path, (files, rate) in RUNNING.items():
        own.emulator.wait_until(partial(has_done, own, path, files / 4))
        own.emulator.virtual_folder(path, files, rate=rate, failed_assets=0.05)
    return names


def has_done(own: Instance, path: str, count: float) -> bool:
    return bool(own.emulator.jobs(path)[-1]["position"] >= count)


def settled(page: Page | Frame) -> None:
    """Wait until all parts of a page are there, and its charts are drawn."""
    expect(page.locator("[data-part][aria-busy]")).to_have_count(0)
    expect(page.locator("[data-chart]:not(:has(.main-svg))")).to_have_count(0)


def test_the_menu_leads_to_the_jobs_and_an_action_to_a_run_of_airflow(airflow: LiveAirflow, ended: str, ui: Ui) -> None:
    ui.open("/plugin/aem-guides")
    console = ui.page.frame_locator("iframe[title='AEM Guides']")
    expect(console.get_by_text("Answers").first).to_be_visible()
    console.get_by_role("link", name="Jobs", exact=True).click()
    console.get_by_label("Path begins with").fill(PATH)
    console.get_by_role("button", name="Show").click()
    console.get_by_role("link", name=PATH).first.click()
    console.get_by_role("link", name="Process again…").click()
    console.get_by_role("button", name="Process it again").click()
    expect(console.get_by_text("Done")).to_be_visible()
    console.get_by_role("link", name="The run in Airflow").click()
    expect(ui.page).to_have_url(re.compile(r"/dags/aem_guides_process_assets/runs/console__again__"))
    run_id = ui.page.url.split("/runs/")[1].split("/")[0]
    assert airflow.end_of(DAG, run_id) == "success"


def test_the_tab_of_a_run_shows_its_jobs(ended: str, ui: Ui) -> None:
    ui.open(f"/dags/{DAG}/runs/{quote(ended)}/plugin/aem-guides-run")
    tab = ui.page.frame_locator("iframe[title='AEM Guides jobs']")
    expect(tab.get_by_role("link", name=PATH)).to_have_count(1)


@pytest.mark.parametrize("width", [1440, 400])
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_each_page_fits_its_window_keeps_nobody_out_and_asks_no_other_host(
    airflow: LiveAirflow, crowd: Crowd, ui: Ui, theme: str, width: int
) -> None:
    asked: list[str] = []
    ui.page.on("request", lambda request: asked.append(request.url))
    ui.page.add_init_script(f"localStorage.setItem('theme', '{theme}')")
    ui.page.set_viewport_size({"width": width, "height": 900})
    found = {}
    for name, address in crowd.pages.items():
        ui.page.goto(f"/aem-guides/{address}")
        expect(ui.page.locator(f"html[data-theme={theme}]")).to_have_count(1)
        settled(ui.page)
        ui.show(f"console {name} {theme} {width}")
        # The narrow window has the layout of the one theme and the colours of the other, which were looked at before.
        found[name] = barriers(ui.page) if (theme, width) != ("dark", 400) else []
        if ui.page.evaluate("document.documentElement.scrollWidth") > width:
            found[name].append("It is wider than its window.")
    assert {name: what for name, what in found.items() if what} == {}
    assert [url for url in asked if not url.startswith((airflow.rest.url, "data:", "blob:"))] == []


@pytest.mark.usefixtures("crowd")
def test_jobs_are_filtered_sorted_and_paged(ui: Ui) -> None:
    page = ui.page
    page.goto("/aem-guides/jobs")
    rows = page.locator("table.jobs tbody tr")
    expect(rows).to_have_count(50)
    page.get_by_label("Instance").select_option(DOWN)
    page.get_by_label("State").select_option("Failed")
    page.get_by_role("button", name="Show").click()
    expect(rows.get_by_text("Failed", exact=True)).to_have_count(COUNT // 20)
    page.get_by_label("Path begins with").fill("/content/dam/harbour/guides/safety")
    page.get_by_label("Sort by").select_option("Most assets first")
    page.get_by_role("button", name="Show").click()
    expect(page.get_by_label("State")).to_have_value("FAILED")
    expect(rows.first).to_contain_text("/content/dam/harbour/guides/safety/")
    paths = rows.locator("th a").all_inner_texts()
    assert [path for path in paths if not path.startswith("/content/dam/harbour/guides/safety/")] == []
    page.get_by_label("Path begins with").fill("<script>alert('x')</script>")
    page.get_by_role("button", name="Show").click()
    expect(page.get_by_role("heading", name="No job is like this")).to_be_visible()
    page.get_by_role("link", name="All jobs").click()
    first = rows.first.locator("th a")  # not the whole row: a moment after the page comes, its times become local
    job = first.get_attribute("href") or ""
    page.get_by_role("link", name="Further").click()
    expect(first).not_to_have_attribute("href", job)
    page.get_by_role("link", name="Back").click()
    expect(first).to_have_attribute("href", job)


@pytest.mark.usefixtures("crowd")
def test_a_log_is_searched_and_the_failed_assets_are_paged(ui: Ui) -> None:
    page = ui.page
    page.goto(f"/aem-guides/job?instance={DOWN}&name={SHOWN}")
    expect(page.get_by_text("Log archived")).to_be_visible()
    page.get_by_role("link", name="Read the log").click()
    page.get_by_label("Lines with").fill("topic-0047.dita")
    page.get_by_role("button", name="Show").click()
    expect(page.locator(".log li")).to_have_count(1)
    page.get_by_role("link", name=SHOWN_PATH).click()
    page.get_by_role("link", name="All failed assets").click()
    expect(page.locator("table.assets tbody tr")).to_have_count(100)
    page.get_by_role("link", name="Further").click()
    expect(page.locator("table.assets tbody tr")).to_have_count(20)


def test_a_viewer_sees_no_buttons_and_cannot_post(crowd: Crowd, viewers_ui: Ui) -> None:
    page = viewers_ui.page
    for name in ("now", "jobs", "job", "running job"):
        page.goto(f"/aem-guides/{crowd.pages[name]}")
        settled(page)
        expect(page.locator("main a[href^=act]")).to_have_count(0)
        expect(page.locator("form[method=post]")).to_have_count(0)
    expect(page.get_by_role("heading", name="What happened")).to_be_visible()
    question = crowd.pages["question"]
    with viewers_ui.refused("/act"):
        page.goto(f"/aem-guides/{question}")
        expect(page.get_by_role("heading", name="You may not see this")).to_be_visible()
    form: dict[str, str | float | bool] = {"token": "0" * 64, "nonce": "0" * 32, "deed": "again"}
    form |= {"instance": DOWN, "name": SHOWN}
    assert page.request.post("/aem-guides/act", form=form).status == 403


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_in_airflows_frame_the_pages_wear_its_theme(crowd: Crowd, ui: Ui, theme: str) -> None:
    ui.page.add_init_script(f"localStorage.setItem('theme', '{theme}')")
    ui.open("/plugin/aem-guides", height=800)
    frame = ui.page.frame_locator("iframe[title='AEM Guides']")
    expect(frame.locator(f"html[data-theme={theme}]")).to_have_count(1)
    inner = ui.page.frames[-1]
    found = {}
    for name in ("job", "trends", "now"):
        inner.goto(f"/aem-guides/{crowd.pages[name]}")
        settled(inner)
        found[name] = barriers(inner)
        ui.show(f"console in Airflow {name} {theme}")
    assert {name: what for name, what in found.items() if what} == {}
