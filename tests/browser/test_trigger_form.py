"""The trigger form of the main DAG, filled in as a person does."""

from __future__ import annotations

import re
from pathlib import Path

from airflow.sdk import Param
from playwright.sync_api import expect

from aem_guides.pipelines.params import process_assets_params
from tests.support.airflow_stack import DAG, LiveAirflow
from tests.support.browser import Form, Ui
from tests.support.instances import Instances

TALL = 1500
PARAMETERS = process_assets_params()


def trigger_form(ui: Ui) -> Form:
    ui.open(f"/dags/{DAG}", height=TALL)
    ui.page.get_by_test_id("trigger-dag-button").click()
    return ui.dialog("Trigger Dag")


def sections() -> dict[str, list[Param]]:
    """The parameters by the title of their section, in the order in which they are declared."""
    found: dict[str, list[Param]] = {}
    for param in PARAMETERS.values():
        found.setdefault(param.schema["section"], []).append(param)
    return found


def test_the_form_has_its_sections_with_a_title_and_an_explanation_for_every_field(
    airflow: LiveAirflow, ui: Ui
) -> None:
    form = trigger_form(ui)
    expect(form.sections).to_have_text([*sections(), "Advanced Options"])
    for number, (title, params) in enumerate(sections().items(), 1):
        section = form.section(title)
        expect(form.labels(section)).to_have_text(
            [re.compile(rf"^{re.escape(p.schema['title'])}\s*\*?$") for p in params]
        )
        explanations = section.locator("[data-part=helper-text]")
        expect(explanations).to_have_count(len(params))
        assert all(len(text) > 10 for text in explanations.all_inner_texts())
        ui.show(f"form {number} {title}")


def test_the_lines_of_an_explanation_do_not_cover_each_other(airflow: LiveAirflow, ui: Ui) -> None:
    form = trigger_form(ui)
    for title in sections():
        section = form.section(title)
        # What stands out in a line by more than half of its height covers the words above or below it.
        covering = section.locator("[data-part=helper-text] *").evaluate_all(
            """inner => inner.filter(one => {
                const line = parseFloat(getComputedStyle(one.closest('p')).fontSize);
                return [...one.getClientRects()].some(box => getComputedStyle(one).display !== 'block'
                    && box.height > 1.7 * line);
            }).map(one => one.textContent)"""
        )
        assert covering == [], title


def test_every_field_is_what_its_values_need(airflow: LiveAirflow, ui: Ui) -> None:
    form = trigger_form(ui)
    form.section("What is processed")
    for title in ("Paths", "Excluded paths"):
        expect(form.field(title).get_by_placeholder("Enter each string on a new line")).to_be_visible()
    types = form.field("File types")
    expect(types.get_by_text("Select one or multiple values")).to_be_visible()
    assert form.choices("File types") == [
        "DITATOPIC",
        "DITAMAP",
        "MARKDOWN",
        "HTML and CSS",
        "DITAVAL",
        "All other types",
    ]
    for title in ("Created after", "Created before"):
        expect(form.field(title).get_by_test_id("datetime-input")).to_be_visible()
    assert form.choices("Processing type") == ["ASSET_PROCESSING"]
    form.section("Other jobs on the instance")
    assert form.choices("If a job is already active on a path") == [
        "adopt it if it is the same request",
        "wait until it has ended",
        "fail",
    ]
    form.section("While the job runs")
    assert form.choices("At the deadline") == ["cancel", "leave"]
    for title in ("Most resumes", "Deadline in hours", "Warn without progress after (minutes)"):
        expect(form.field(title).get_by_role("spinbutton")).to_be_visible()
    for title in ("Cancel adopted jobs", "Show the job's log while it runs"):
        expect(form.field(title).get_by_role("checkbox")).to_have_count(1)


def test_a_run_gets_exactly_what_was_filled_in(airflow: LiveAirflow, ui: Ui, tmp_path: Path) -> None:
    with Instances(airflow, tmp_path).new() as own:
        first, second = own.folder(3, rate=100), own.folder(3, rate=100)
        form = trigger_form(ui)
        form.section("What is processed")
        form.write("Paths", f"{first}\n{second}")
        form.write("Excluded paths", f"{first}/drafts")
        form.choose("File types", "DITATOPIC", "HTML and CSS")
        form.pick("Created after", "2026/03/01", "08:30")
        form.pick("Created before", "2026/07/01", "08:30")
        form.write("Connection", own.connection_id)
        ui.show("form filled in")
        form.section("Other jobs on the instance")
        form.choose("If a job is already active on a path", "wait until it has ended")
        form.write("Most active jobs", "7")
        form.write("Only in off-peak hours", '{"from": "00:00", "to": "23:59:59", "timezone": "Europe/Paris"}')
        form.section("While the job runs")
        form.write("Most resumes", "1")
        form.write("Deadline in hours", "1.5")
        form.choose("At the deadline", "leave")
        form.switch("Cancel adopted jobs")
        form.write("Warn without progress after (minutes)", "10")
        form.switch("Show the job's log while it runs")
        form.section("Afterwards")
        form.write("Most log lines", "500")
        form.switch("Archive the log")
        form.switch("Verify the assets")
        form.write("Fail if so many assets failed", "2.5%")
        run_id = triggered(ui, form)
        given = airflow.rest.request("GET", f"/dags/{DAG}/dagRuns/{run_id}")["conf"]
        assert given == {
            "paths": [first, second],
            "excluded_paths": [f"{first}/drafts"],
            "file_types": ["DITATOPIC", "HTML/CSS"],
            "created_after": "2026-03-01T07:30:00.000Z",
            "created_before": "2026-07-01T06:30:00.000Z",
            "processing_type": "ASSET_PROCESSING",
            "connection_id": own.connection_id,
            "on_active_job": "queue",
            "max_active_jobs": 7,
            "only_between": {"from": "00:00", "to": "23:59:59", "timezone": "Europe/Paris"},
            "max_resumes": 1,
            "deadline_hours": 1.5,
            "on_deadline": "leave",
            "cancel_adopted": True,
            "stall_minutes": 10,
            "stream_logs": False,
            "max_log_lines": 500,
            "archive_logs": False,
            "verify_assets": False,
            "fail_on_asset_failures": "2.5%",
            "verify_ignore": [],
        }
        assert airflow.end_of(DAG, run_id) == "success", airflow.account(run_id)


def triggered(ui: Ui, form: Form) -> str:
    """Press the form's button; the id of the run that comes of it."""
    with ui.page.expect_response(lambda answer: answer.url.endswith("/dagRuns") and answer.status == 200) as answer:
        form.dialog.get_by_role("button", name="Trigger", exact=True).click()
    expect(form.dialog).to_have_count(0)
    return str(answer.value.json()["dag_run_id"])


def runs_on(airflow: LiveAirflow, path: str) -> int:
    """How many runs there are of the main DAG that name this path."""
    named = "SELECT count(*) FROM dag_run WHERE dag_id = %s AND conf::text LIKE %s"
    ((count,),) = airflow.ask_database(named, DAG, f"%{path}%")
    return int(str(count))


def test_the_form_shows_what_is_wrong_and_starts_nothing(airflow: LiveAirflow, ui: Ui) -> None:
    form = trigger_form(ui)
    button = form.dialog.get_by_role("button", name="Trigger", exact=True)
    expect(button).to_be_disabled()
    form.section("What is processed")
    expect(form.field("Paths").get_by_text("This field is required")).to_be_visible()
    form.write("Paths", "content/dam/manuals")
    form.section("Other jobs on the instance")
    jobs = form.field("Most active jobs").get_by_role("spinbutton")
    jobs.fill("400")
    jobs.press("Tab")
    expect(jobs).to_have_value("100")
    hours = form.field("Only in off-peak hours")
    hours.get_by_role("textbox").fill('{"from": "22:00"')
    expect(hours.get_by_text("Value must be one of: object, array, null")).to_be_visible()
    expect(button).to_be_disabled()
    hours.get_by_role("textbox").fill("")
    with ui.refused(f"/dags/{DAG}/dagRuns"):
        button.click()
        expect(form.dialog.get_by_text("Invalid input for param paths: 'content/dam/manuals'")).to_be_visible()
        ui.show("form refused")
    assert runs_on(airflow, "content/dam/manuals") == 0
