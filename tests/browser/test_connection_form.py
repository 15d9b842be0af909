"""The form of a connection of type AEM Guides, and its Test button."""

from __future__ import annotations

import json
import uuid
from typing import Any, cast

import pytest
from cryptography.fernet import Fernet
from playwright.sync_api import Locator, expect

from aem_guides.provider_info import get_provider_info
from tests.support.airflow_stack import LiveAirflow
from tests.support.browser import Form, Ui
from tests.support.emulator import PASSWORD

TALL = 2300
STANDARD = ["Description", "Base URL", "User", "Password"]
SECRET = {"Access token", "Client secret", "Service credentials"}
TYPES = cast("list[dict[str, Any]]", get_provider_info()["connection-types"])
FIELDS: dict[str, dict[str, str]] = TYPES[0]["conn-fields"]


@pytest.fixture
def connection_id() -> str:
    """The id of a connection that the test makes."""
    return f"made_in_the_ui_{uuid.uuid4().hex[:8]}"


def new_connection(ui: Ui) -> Form:
    ui.open("/connections", height=TALL)
    ui.page.get_by_role("button", name="Add Connection").click()
    form = ui.dialog("Add Connection")
    box = form.dialog.get_by_role("combobox", name="Connection Type")
    box.fill("AEM")
    ui.page.get_by_role("option", name="AEM Guides").click()
    return form


def row(ui: Ui, connection_id: str) -> Locator:
    return ui.page.get_by_role("row").filter(has_text=connection_id)


def save(ui: Ui, form: Form, notice: str) -> None:
    form.dialog.get_by_role("button", name="Save").click()
    expect(form.dialog).to_have_count(0)
    ui.said(notice)


def test_the_form_has_our_fields_and_secrets_are_typed_unseen(airflow: LiveAirflow, ui: Ui) -> None:
    form = new_connection(ui)
    expect(form.sections).to_have_text(["Standard Fields", "Extra Fields", "Extra Fields JSON"])
    expect(form.labels(form.section("Standard Fields"))).to_have_text(STANDARD)
    expect(form.field("Password").locator("input")).to_have_attribute("type", "password")
    ui.show("connection 1 Standard Fields")
    extra = form.section("Extra Fields")
    expect(form.labels(extra)).to_have_text([field["label"] for field in FIELDS.values()])
    expect(extra.locator("[data-part=helper-text]")).to_have_text([field["description"] for field in FIELDS.values()])
    for label in (field["label"] for field in FIELDS.values()):
        typed = form.field(label).locator("input[type=password]")
        expect(typed).to_have_count(1 if label in SECRET else 0)
    ui.show("connection 2 Extra Fields")


def test_the_kinds_of_login_have_names_that_say_what_they_are(airflow: LiveAirflow, ui: Ui) -> None:
    form = new_connection(ui)
    form.section("Extra Fields")
    automatic = "As the filled-in fields say"
    expect(form.field("Authentication").get_by_text(automatic)).to_be_visible()
    assert form.choices("Authentication") == [
        "User and password",
        "Access token",
        "OAuth server-to-server",
        "Service credentials (JWT)",
        automatic,
    ]


def test_the_test_button_says_what_is_right_and_what_is_wrong(airflow: LiveAirflow, ui: Ui, connection_id: str) -> None:
    form = new_connection(ui)
    form.write("Connection ID", connection_id)
    form.section("Standard Fields")
    form.write("Base URL", airflow.emulator.url)
    form.write("User", "admin")
    form.write("Password", PASSWORD)
    save(ui, form, "successfully created")
    row(ui, connection_id).get_by_role("button", name="Test Connection").click()
    reached = f"Reached: {airflow.emulator.url}. Accepted: user admin with a password."
    ui.said("Test Connection Successful", reached, "History readable: ")
    ui.show("connection 3 tested well")
    form = edit(ui, connection_id)
    form.write("Password", "canary-wrong")
    save(ui, form, "successfully updated")
    row(ui, connection_id).get_by_role("button", name="Test Connection").click()
    assert "canary" not in ui.said("Test Connection Failed", "Refused: user admin with a password.")
    ui.show("connection 4 tested badly")


def edit(ui: Ui, connection_id: str) -> Form:
    row(ui, connection_id).get_by_role("button", name="Edit Connection").click()
    return ui.dialog("Edit Connection")


def test_a_saved_connection_keeps_its_secrets_and_shows_none(airflow: LiveAirflow, ui: Ui, connection_id: str) -> None:
    form = new_connection(ui)
    form.write("Connection ID", connection_id)
    form.section("Standard Fields")
    form.write("Base URL", airflow.emulator.url)
    form.section("Extra Fields")
    form.choose("Authentication", "Access token")
    form.write("Access token", "canary-in-token")
    form.write("Proxy", "http://user:canary-in-proxy@127.0.0.1:9")
    save(ui, form, "successfully created")
    kept = stored(airflow, connection_id)
    form = edit(ui, connection_id)
    form.write("Description", "The author of the tests")
    form.section("Extra Fields")
    for label in ("Access token", "Proxy"):
        expect(form.field(label).locator("input")).to_have_value("***")
    assert "canary" not in ui.page.content()
    save(ui, form, "successfully updated")
    assert stored(airflow, connection_id) == kept
    assert kept["token"] == "canary-in-token"
    shown = airflow.rest.request("GET", f"/connections/{connection_id}")
    assert shown["description"] == "The author of the tests"
    assert "canary" not in json.dumps(shown)


def stored(airflow: LiveAirflow, connection_id: str) -> dict[str, object]:
    """The extra fields as Airflow's database holds them."""
    ((extra,),) = airflow.ask_database("SELECT extra FROM connection WHERE conn_id = %s", connection_id)
    key = airflow.stack.environment["AIRFLOW__CORE__FERNET_KEY"]
    return dict(json.loads(Fernet(key).decrypt(str(extra))))
