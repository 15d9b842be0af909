"""What the batch DAG promises."""

from __future__ import annotations

from pathlib import Path

import pytest
from airflow.dag_processing.dagbag import DagBag
from airflow.sdk import DAG

from aem_guides.pipelines.batch_params import MOST_PATHS_IN_FORM
from aem_guides.pipelines.batch_plan import most_paths

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def dag() -> DAG:
    found: DAG = DagBag(str(ROOT / "dags" / "aem_guides_process_batch.py")).dags["aem_guides_process_batch"]
    return found


def test_it_has_the_promised_parameters_and_defaults(dag: DAG) -> None:
    assert {name: dag.params.get_param(name).value for name in dag.params} == {
        "paths": [],
        "paths_file": None,
        "excluded_paths": [],
        "file_types": [],
        "created_after": None,
        "created_before": None,
        "processing_type": "ASSET_PROCESSING",
        "on_active_job": "adopt",
        "max_active_jobs": 4,
        "queue_hours": 168,
        "only_between": None,
        "max_resumes": 2,
        "deadline_hours": 24,
        "on_deadline": "cancel",
        "cancel_adopted": False,
        "stall_minutes": 30,
        "archive_logs": True,
        "verify_assets": True,
        "fail_on_asset_failures": None,
        "verify_ignore": [],
        "connection_id": "aem_guides_default",
        "batch_name": None,
        "reprocess": False,
    }


def test_it_has_one_task_a_path_and_a_task_for_progress(dag: DAG) -> None:
    assert {task.task_id: sorted(task.downstream_task_ids) for task in dag.tasks} == {
        "plan_batch": ["batch_progress", "check_instance", "process_path"],
        "check_instance": ["batch_progress", "process_path"],
        "process_path": ["report"],
        "batch_progress": ["confirm"],
        "report": ["confirm"],
        "confirm": [],
    }


def test_the_form_takes_as_many_paths_as_airflow_can_map_over() -> None:
    assert most_paths() == MOST_PATHS_IN_FORM


def test_so_many_paths_are_with_the_triggerer_as_leave_room_for_others(dag: DAG) -> None:
    limit = dag.get_task("process_path").max_active_tis_per_dag
    assert limit is not None
    assert 100 <= limit <= 500
