"""Errors in the parameters of a run that only a task can find: the planning tasks, as the DAGs have them."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import cast

import pytest
from airflow.dag_processing.dagbag import DagBag
from airflow.sdk import DAG
from airflow.sdk.bases.decorator import DecoratedOperator
from airflow.sdk.execution_time.context import set_current_context

from aem_guides.operators import AemGuidesCheckInstanceOperator
from aem_guides.pipelines.check import CheckOperator
from aem_guides.protocol.errors import InvalidInputError
from aem_guides.protocol.models import JsonValue
from tests.support.tasks import Task

ROOT = Path(__file__).resolve().parents[2]
MAIN, BATCH = "aem_guides_process_assets", "aem_guides_process_batch"
GUIDES = "/content/dam/aurora/guides"


@functools.cache
def read_dag(dag_id: str) -> DAG:
    dag: DAG = DagBag(str(ROOT / "dags" / f"{dag_id}.py")).dags[dag_id]
    return dag


def planned(dag_id: str, planning: str, **given: JsonValue) -> None:
    """Run the planning task of a DAG on these parameters and the defaults of the others."""
    dag = read_dag(dag_id)
    params = {name: dag.params.get_param(name).value for name in dag.params}
    with set_current_context(Task(planning).context(params={**params, **given})):
        cast("DecoratedOperator", dag.get_task(planning)).python_callable()


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"paths": [GUIDES, f"{GUIDES}/installation"]}, "lies below"),
        ({"paths": [GUIDES], "excluded_paths": ["/content/dam/other"]}, "excluded_paths: '/content/dam/other'"),
        ({"paths": [GUIDES], "excluded_paths": ["content/dam/other"]}, "excluded_paths: 'content/dam/other'"),
        (
            {"paths": [GUIDES], "created_after": "2026-02-01T00:00Z", "created_before": "2026-01-01T00:00Z"},
            "created_before: '2026-01-01T00:00Z'",
        ),
        ({"paths": [GUIDES], "created_after": "2026-02-31T00:00Z"}, "created_after: '2026-02-31T00:00Z'"),
    ],
)
def test_an_error_that_only_a_task_can_find_fails_the_plan_of_the_main_job(
    given: dict[str, JsonValue], said: str
) -> None:
    with pytest.raises(InvalidInputError) as refused:
        planned(MAIN, "plan_requests", **given)
    assert said in str(refused.value)


@pytest.mark.parametrize("dag_id", [MAIN, BATCH])
def test_the_instance_is_not_asked_where_the_parameters_are_wrong(dag_id: str, monkeypatch: pytest.MonkeyPatch) -> None:
    dag = read_dag(dag_id)
    check = dag.get_task("check_instance")
    assert isinstance(check, CheckOperator)
    monkeypatch.setattr(AemGuidesCheckInstanceOperator, "execute", lambda *_: pytest.fail("the instance was asked"))
    params = {name: dag.params.get_param(name).value for name in dag.params}
    context = Task("check_instance").context(params={**params, "paths": [GUIDES, f"{GUIDES}/installation"]})
    assert check.execute(context) is None


@pytest.mark.parametrize("dag_id", [MAIN, BATCH])
def test_the_instance_is_checked_while_the_run_is_planned(dag_id: str, monkeypatch: pytest.MonkeyPatch) -> None:
    dag = read_dag(dag_id)
    check = dag.get_task("check_instance")
    assert isinstance(check, CheckOperator)
    assert check.trigger_rule == "always"
    monkeypatch.setattr(AemGuidesCheckInstanceOperator, "execute", lambda *_: "asked")
    params = {name: dag.params.get_param(name).value for name in dag.params}
    assert check.execute(Task("check_instance").context(params={**params, "paths": [GUIDES]})) == "asked"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({}, "Give paths, or a file of paths"),
        ({"paths_file": "file://FOLDER/paths.txt"}, "paths_file (paths.txt, line 2): this entry is not valid."),
        ({"paths_file": "none.txt"}, "There is no such file below FOLDER"),
        ({"paths_file": "file://FOLDER/../secret.txt"}, "A local file must lie below"),
        ({"paths": ["/content/dam/a", "/content/dam/a/b"]}, "lies below /content/dam/a"),
    ],
)
def test_an_error_that_only_a_task_can_find_fails_the_plan_of_a_batch(
    given: dict[str, JsonValue], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "paths"
    folder.mkdir()
    (folder / "paths.txt").write_text("/content/dam/a\ncontent/dam/b\n")
    (tmp_path / "secret.txt").write_text("the password\n")
    monkeypatch.setenv("AIRFLOW__AEM_GUIDES__PATHS_FILES_FOLDER", str(folder))
    placed = {
        name: str(value).replace("FOLDER", str(folder)) if isinstance(value, str) else value
        for name, value in given.items()
    }
    with pytest.raises(InvalidInputError) as refused:
        planned(BATCH, "plan_batch", **placed)
    assert said.replace("FOLDER", str(folder)) in str(refused.value)
    assert "the password" not in str(refused.value)
