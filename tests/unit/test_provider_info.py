"""The provider's information for Airflow: it fits Airflow's schema, and the form shows and hides the right fields."""

from __future__ import annotations

import importlib.resources
import json
from typing import Any, cast

import jsonschema
import pytest
from airflow.api_fastapi.core_api.services.ui.connections import HookMetaService
from airflow.providers_manager import ProvidersManager
from airflow.sdk._shared.secrets_masker import should_hide_value_for_key
from airflow.sdk.providers_manager_runtime import ProvidersManagerTaskRuntime

from aem_guides.hooks.connection import EXTRA_FIELDS
from aem_guides.hooks.logins import CREDENTIAL_KINDS
from aem_guides.protocol.admission import MAX_ACTIVE_JOBS
from aem_guides.provider_info import get_provider_info


@pytest.fixture(scope="module")
def form() -> Any:
    """The connection form, as the UI gets it."""
    return next(hook for hook in HookMetaService.hook_meta_data() if hook.connection_type == "aem_guides")


def test_it_fits_the_schema_of_airflow() -> None:
    schema = importlib.resources.files("airflow") / "provider_info.schema.json"
    jsonschema.validate(get_provider_info(), json.loads(schema.read_text()))


def test_every_field_that_is_read_has_its_place_in_the_form_and_an_explanation(form: Any) -> None:
    assert set(form.extra_fields) == set(EXTRA_FIELDS) - {"service_credentials"}
    assert all(field["description"].endswith(".") and field["schema"]["title"] for field in form.extra_fields.values())
    assert [kind for kind in form.extra_fields["auth"]["schema"]["enum"] if kind] == list(CREDENTIAL_KINDS)
    assert form.standard_fields.url_schema.hidden
    assert form.standard_fields.port.hidden
    assert form.standard_fields.host.title == "Base URL"


def test_secret_fields_are_password_fields_and_have_names_that_airflow_masks(form: Any) -> None:
    secret = {name for name, field in form.extra_fields.items() if field["schema"].get("format") == "password"}
    assert secret == {"token", "client_secret", "service_token"}
    assert all(should_hide_value_for_key(name) for name in (*secret, "proxy", "password"))  # type: ignore[no-untyped-call]  # as below


def test_links_hook_and_options_are_found_by_airflow() -> None:
    manager = ProvidersManager()  # type: ignore[no-untyped-call]  # Airflow's own has no types
    links = cast("list[str]", get_provider_info()["extra-links"])
    assert set(links) <= set(manager.extra_links_class_names)
    assert ProvidersManagerTaskRuntime().hooks["aem_guides"] is not None  # type: ignore[no-untyped-call]  # as above
    (ours,) = (options for name, options in manager.provider_configs if name == "airflow-provider-aem-guides")
    assert all(option["description"] for option in ours["aem_guides"]["options"].values())


def test_the_limit_of_active_jobs_that_is_shown_is_the_one_that_is_used() -> None:
    options = cast("Any", get_provider_info()["config"])["aem_guides"]["options"]
    assert options["reconcile_max_active_jobs"]["default"] == str(MAX_ACTIVE_JOBS)
