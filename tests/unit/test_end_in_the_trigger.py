"""A waiting task may end in the triggerer, unless Airflow does something in a worker when it succeeds."""

from __future__ import annotations

from typing import Any

import pytest
from airflow.sdk import DAG, Asset, Context, task
from airflow.sdk.bases.xcom import BaseXCom
from airflow.sdk.listener import get_listener_manager

from aem_guides.pipelines.batch_progress import AemGuidesBatchProgressOperator
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
        {"multiple_outputs": True},
    ],
    ids=["an_asset", "a_callback", "a_hook_after_it", "no_return_value", "an_xcom_for_each_field"],
)
def test_a_worker_ends_a_task_whose_success_means_more(given: dict[str, Any]) -> None:
    assert not needs_no_worker(waiting(**given))


class TellsSomebody(AemGuidesProcessingSensor):
    """A user's own sensor, which does more when the job has ended."""

    def execute_complete(self, context: Context, event: Any = None) -> Any:
        print("It has ended.")
        return super().execute_complete(context, event)


class TidiesUp(AemGuidesBatchProgressOperator):
    """A user's own operator, which does more after its work."""

    def post_execute(self, context: Any, result: Any = None) -> None:
        print("Everything has ended.")


@pytest.mark.parametrize(
    "extended",
    [
        TellsSomebody(task_id="wait", processing_id="job"),
        TidiesUp(task_id="progress", plan_task_id="plan", path_task_id="path"),
    ],
    ids=["its_execute_complete", "its_post_execute"],
)
def test_a_worker_ends_a_task_whose_class_may_do_more(extended: Any) -> None:
    assert not needs_no_worker(extended)


def test_a_worker_ends_a_task_that_returns_the_result_of_its_dag() -> None:
    with DAG("dag", schedule=None) as dag:
        sensor = waiting()
        dag.add_result(sensor.output)
    assert not needs_no_worker(sensor)


def test_a_worker_stores_results_outside_of_airflow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Storing them in the triggerer would hold up all triggers, and may need what only workers have."""

    class Elsewhere(BaseXCom):
        pass

    monkeypatch.setattr("airflow.sdk.execution_time.xcom.XCom", Elsewhere)
    assert not needs_no_worker(waiting())


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
