"""Policy for every DAG of this project, found by looking."""

from __future__ import annotations

from pathlib import Path

import pytest
from airflow.dag_processing.dagbag import DagBag
from airflow.sdk import DAG
from airflow.serialization.serialized_objects import DagSerialization

from aem_guides.pipelines.reconcile import CARRY_OUT
from aem_guides.runtime.notes import NOTES
from aem_guides.runtime.retry_policy import AemGuidesRetryPolicy

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def bag() -> DagBag:
    return DagBag(str(ROOT / "dags"))


def test_every_dag_file_parses(bag: DagBag) -> None:
    assert bag.import_errors == {}
    assert "aem_guides_process_assets" in bag.dags


def test_every_dag_is_documented_tagged_and_serialises_to_the_same_twice(bag: DagBag) -> None:
    for dag in bag.dags.values():
        assert dag.doc_md
        assert "aem-guides" in dag.tags
        assert dag.catchup is False
        assert DagSerialization.to_dict(dag) == DagSerialization.to_dict(dag)


def test_every_parameter_has_title_description_and_section(bag: DagBag) -> None:
    for dag in bag.dags.values():
        for name in dag.params:
            param = dag.params.get_param(name)
            assert param.schema.get("title"), f"{dag.dag_id}.{name}"
            # The form draws a box around code, which covers the lines above and below it.
            assert "`" not in param.schema.get("description_md", "`"), f"{dag.dag_id}.{name}"
            assert param.schema.get("section"), f"{dag.dag_id}.{name}"
            assert param.value is not None or "null" in param.schema["type"], f"{dag.dag_id}.{name}"


def test_every_task_has_our_retry_policy(bag: DagBag) -> None:
    for dag in bag.dags.values():
        for task in dag.tasks:
            assert isinstance(task.retry_policy, AemGuidesRetryPolicy), f"{dag.dag_id}.{task.task_id}"


@pytest.mark.parametrize(
    ("dag_id", "task_id"), [("aem_guides_control_job", "control_job"), ("aem_guides_reconcile_history", CARRY_OUT)]
)
def test_a_task_that_takes_a_turn_names_the_notes_so_that_airflow_has_them(
    bag: DagBag, dag_id: str, task_id: str
) -> None:
    assert NOTES in bag.dags[dag_id].get_task(task_id).inlets


def test_every_task_ends_in_a_worker_but_those_that_may_wait_there_for_a_job(bag: DagBag) -> None:
    waiting = {"process_path.start_processing", "process_path.wait_for_processing"}
    for dag in bag.dags.values():
        for task in dag.tasks:
            name = f"{dag.dag_id}.{task.task_id}"
            assert (task.execution_timeout is None) == (task.task_id in waiting), name


@pytest.mark.parametrize("dag_id", ["aem_guides_process_assets", "aem_guides_process_batch"])
def test_every_task_of_a_run_may_die_as_often_as_the_others(bag: DagBag, dag_id: str) -> None:
    """A report that is not made is as bad as a job that is not followed."""
    (usual,) = {task.retries or 0 for task in bag.dags[dag_id].tasks if task.task_id == "check_instance"}
    assert [task.task_id for task in bag.dags[dag_id].tasks if (task.retries or 0) < usual] == []


def parameters(dag: DAG) -> dict[str, object]:
    return {name: dag.params.get_param(name).value for name in dag.params}


def test_the_main_dag_has_the_promised_parameters_and_defaults(bag: DagBag) -> None:
    assert parameters(bag.dags["aem_guides_process_assets"]) == {
        "paths": [],
        "excluded_paths": [],
        "file_types": [],
        "created_after": None,
        "created_before": None,
        "processing_type": "ASSET_PROCESSING",
        "on_active_job": "adopt",
        "max_active_jobs": 4,
        "only_between": None,
        "max_resumes": 2,
        "deadline_hours": 24,
        "on_deadline": "cancel",
        "cancel_adopted": False,
        "stall_minutes": 30,
        "stream_logs": True,
        "max_log_lines": 100000,
        "archive_logs": True,
        "verify_assets": True,
        "fail_on_asset_failures": None,
        "verify_ignore": [],
        "connection_id": "aem_guides_default",
    }


def test_the_main_dag_has_the_promised_tasks(bag: DagBag) -> None:
    dag = bag.dags["aem_guides_process_assets"]
    group = "process_path."
    order = {task.task_id: sorted(task.downstream_task_ids) for task in dag.tasks}
    assert "check_instance" in order["plan_requests"]
    assert order["check_instance"] == [group + "start_processing"]
    assert order[group + "start_processing"] == [group + "wait_for_processing"]
    assert order[group + "wait_for_processing"] == [group + "verify_assets"]
    assert order[group + "verify_assets"] == [group + n for n in ("archive_logs", "pull_logs")]
    assert all(order[group + n] == ["report"] for n in ("archive_logs", "pull_logs"))
