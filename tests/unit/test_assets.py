"""Events on assets: one asset for each path, whatever reports it, and no event if nothing was processed."""

from __future__ import annotations

from typing import cast

import pytest
from airflow.sdk import Asset, BaseOperator, Context
from airflow.sdk.definitions.asset import AssetAlias
from airflow.sdk.execution_time.context import OutletEventAccessors

from aem_guides.assets import PROCESSED, aem_guides_asset, announce, watched_asset
from aem_guides.protocol.models import JsonValue

INSTANCE, PATH = "author.example.com", "/content/dam/manuals"
ROW: dict[str, JsonValue] = {
    "path": PATH,
    "state": "SUCCESS",
    "processing_id": "p",
    "total_files": 3,
    "triggered_count": 3,
}


def announced(row: dict[str, JsonValue], outlets: tuple[AssetAlias, ...] = (PROCESSED,)) -> list[Asset]:
    events = OutletEventAccessors()
    task = BaseOperator(task_id="report", outlets=list(outlets))
    announce(cast("Context", {"task": task, "outlet_events": events}), INSTANCE, row, "dag / run")
    reported = [event.dest_asset_key for event in events[PROCESSED].asset_alias_events]
    return [Asset(name=key.name, uri=key.uri) for key in reported]


def test_a_run_updates_the_asset_of_its_path_which_is_the_one_that_is_watched() -> None:
    (asset,) = announced(ROW)
    assert asset.uri == aem_guides_asset(INSTANCE, PATH).uri == f"aem-guides://{INSTANCE}{PATH}"
    assert watched_asset(INSTANCE, PATH).uri == asset.uri


@pytest.mark.parametrize("change", [{"total_files": 0, "triggered_count": 0}, {"state": "FAILED"}])
def test_a_failed_job_and_a_job_without_assets_are_not_reported(change: dict[str, JsonValue]) -> None:
    assert announced({**ROW, **change}) == []


def test_a_job_whose_assets_were_not_counted_is_reported_nevertheless() -> None:
    assert len(announced({**ROW, "total_files": None, "triggered_count": None})) == 1


def test_a_task_without_the_alias_updates_nothing() -> None:
    assert announced(ROW, ()) == []
