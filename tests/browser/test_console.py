"""The console in Airflow's own pages: found, searched, acted in, in light and dark, wide and narrow."""

from __future__ import annotations

import re
from urllib.parse import quote

import pytest
from playwright.sync_api import expect

from tests.support.airflow_stack import DAG, LiveAirflow
from tests.support.browser import Ui

PATH = "/content/dam/aurora"


@pytest.fixture(scope="module")
def ended(airflow: LiveAirflow) -> str:
    """A run whose job has ended and is archived."""
    run_id, state = airflow.run({"paths": [PATH], "verify_assets": False})
    assert state == "success", airflow.account(run_id)
    return run_id


def test_the_menu_leads_to_the_jobs_and_an_action_to_a_run_of_airflow(airflow: LiveAirflow, ended: str, ui: Ui) -> None:
    ui.open("/plugin/aem-guides")
    console = ui.page.frame_locator("iframe[title='AEM Guides']")
    expect(console.get_by_text("Answers").first).to_be_visible()
    ui.show("console 1 now")
    console.get_by_role("link", name="Jobs", exact=True).click()
    console.get_by_label("Path begins with").fill(PATH)
    console.get_by_role("button", name="Show").click()
    console.get_by_role("link", name=PATH).first.click()
    console.get_by_role("link", name="Process again…").click()
    console.get_by_role("button", name="Process it again").click()
    expect(console.get_by_text("Done")).to_be_visible()
    ui.show("console 2 done")
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
def test_each_page_fits_its_window_and_asks_no_other_host(
    airflow: LiveAirflow, ended: str, ui: Ui, theme: str, width: int
) -> None:
    asked: list[str] = []
    ui.page.on("request", lambda request: asked.append(request.url))
    ui.page.add_init_script(f"localStorage.setItem('theme', '{theme}')")
    ui.page.set_viewport_size({"width": width, "height": 900})
    for name in ("now", "jobs", "trends", "findings"):
        ui.page.goto(f"/aem-guides/{name}")
        expect(ui.page.locator(f"html[data-theme={theme}]")).to_have_count(1)
        if name == "trends":
            expect(ui.page.locator(".chart .main-svg").first).to_be_visible()
        assert ui.page.evaluate("document.documentElement.scrollWidth") <= width
        ui.show(f"console {name} {theme} {width}")
    elsewhere = [url for url in asked if not url.startswith((airflow.rest.url, "data:", "blob:"))]
    assert elsewhere == []
