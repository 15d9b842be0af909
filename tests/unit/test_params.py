"""The values that the form and a REST call accept for a parameter."""

from __future__ import annotations

import pytest
from airflow.sdk import Param
from airflow.sdk.exceptions import ParamValidationError

from aem_guides.pipelines.batch_params import process_batch_params
from aem_guides.pipelines.params import process_assets_params


@pytest.fixture(params=[process_assets_params, process_batch_params])
def limit(request: pytest.FixtureRequest) -> Param:
    found: Param = request.param()["fail_on_asset_failures"]
    return found


@pytest.mark.parametrize("value", [None, "", "1", "2.5%", "100%", 1, 250])
def test_a_limit_of_failures_is_a_text_a_count_or_nothing(limit: Param, value: object) -> None:
    assert limit.resolve(value) == value


@pytest.mark.parametrize("value", ["0", "101%", "some", 0, -1, 2.5, True])
def test_an_invalid_limit_of_failures_is_refused(limit: Param, value: object) -> None:
    with pytest.raises(ParamValidationError):
        limit.resolve(value)


def test_the_form_gives_the_limit_a_text_field_since_a_share_is_no_number(limit: Param) -> None:
    assert next(kind for kind in limit.schema["type"] if kind != "null") == "string"


@pytest.fixture(params=[process_assets_params, process_batch_params])
def ignored(request: pytest.FixtureRequest) -> Param:
    found: Param = request.param()["verify_ignore"]
    return found


@pytest.mark.parametrize("value", [None, [], ["/content/dam/x/*"], ["*/fragments/*", "[ab]*"]])
def test_patterns_of_assets_that_do_not_count_are_a_list(ignored: Param, value: object) -> None:
    assert ignored.resolve(value) == value


@pytest.mark.parametrize("value", ["/content/dam/x/*", [""], ["*"], ["/**"], ["content/dam/*"], [3]])
def test_patterns_that_match_no_asset_or_every_one_are_refused(ignored: Param, value: object) -> None:
    with pytest.raises(ParamValidationError):
        ignored.resolve(value)
