"""A waiting task may end in the triggerer, unless Airflow does something in a worker when it succeeds."""

from __future__ import annotations

from typing import Any

import pytest
from airflow.sdk import DAG, Asset, task
from airflow.sdk.listener import get_listener_manager

from aem_guides.runtime.ends import needs_no_worker
from aem_guides.sensors import AemGuidesProcessingSensor


def waiting(**given: Any) -> AemGuidesProcessingSensor:
    return AemGuidesProcessingSensor(task_id="wait", processing_id="job", **given)


def test_a_task_that_only_returns_its_outcome_ends_in_the_trigger() -> None:
    assert needs_no_worker(waiting())


@pytest.mark.parametrize(
    "given",
    [
        {"outlets": [Asset("processed")]},
        {"on_success_callback": print},
        {"post_execute": print},
        {"do_xcom_push": False},
    ],
    ids=["an_asset", "a_callback", "a_hook_after_it", "no_return_value"],
)
def test_a_worker_ends_a_task_whose_success_means_more(given: dict[str, Any]) -> None:
    assert not needs_no_worker(waiting(**given))


def test_a_worker_ends_a_task_whose_result_is_mapped() -> None:
    @task
    def each(name: str) -> None:
        del name

    with DAG("dag", schedule=None):
        sensor = waiting()
        each.expand(name=sensor.output)
    assert not needs_no_worker(sensor)


def test_a_worker_ends_the_task_where_a_listener_hears_of_successes() -> None:
    manager, listener = get_listener_manager(), object()
    manager.pm.register(listener)
    try:
        assert not needs_no_worker(waiting())
    finally:
        manager.pm.unregister(listener)
