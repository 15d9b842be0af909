"""The DAGs that plans become, and the import errors of invalid plans, in Airflow's own DagBag."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import cast

import pytest
from airflow.dag_processing.dagbag import DagBag
from airflow.sdk import DAG, BaseNotifier, Context
from airflow.sdk.definitions.callback import AsyncCallback, SyncCallback
from airflow.serialization.serialized_objects import DagSerialization

from aem_guides.pipelines.params import process_assets_params
from aem_guides.runtime.retry_policy import AemGuidesRetryPolicy

ROOT = Path(__file__).resolve().parents[2]
MAIN = "aem_guides_process_assets"
CHECK = "aem_guides_plans_check.py"
GOOD = """
plans:
  - name: nightly
    description: Every night
    schedule: {cron: "30 1 * * *", timezone: Europe/Paris}
    start_date: 2026-01-01
    incremental: true
    paths: [/content/dam/a]
    excluded_paths: [/content/dam/a/drafts]
    file_types: [DITAMAP]
    connection: author_two
    parameters: {max_active_jobs: 2}
    only_between: {from: "22:00", to: "05:00"}
    tags: [nightly]
    owner: docs
    notifications:
      on_success: [{notifier: tests.dags.test_plan_dags.Remembering, kwargs: {text: "good: {{ run_id }}"}}]
      on_failure: [{notifier: tests.dags.test_plan_dags.Remembering, kwargs: {text: "bad: {{ run_id }}"}}]
    deadline:
      - {name: soon, interval: {hours: 2}, callback: tests.dags.test_plan_dags.Remembering, kwargs: {text: late}}
      - {interval: {days: 1}, reference: AVERAGE_RUNTIME, callback: os.getcwd, runs_in: executor}
  - name: by_hand
    schedule: null
    paths: [/content/dam/b]
  - name: not_enabled
    enabled: false
    schedule: null
    paths: [/content/dam/c]
"""
BROKEN = """
  - name: broken
    schedule: "@dayly"
    paths: [/content/dam/d]
  - name: refused
    schedule: "@daily"
    paths: [/content/dam/e]
    deadline: [{interval: {hours: 1}, callback: os.path.join}]
  - name: batched
    schedule: "@daily"
    batch: true
    paths: [/content/dam/f]
    parameters: {max_log_lines: 5}
"""


class Remembering(BaseNotifier):
    """A notifier that stores its messages."""

    template_fields = ("text",)
    said: list[str] = []  # noqa: RUF012  # shared on purpose: each notification is an instance of its own

    def __init__(self, text: str) -> None:
        super().__init__()
        self.text = text

    def notify(self, context: Context) -> None:
        self.said.append(self.text)


@pytest.fixture
def bag(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], DagBag]:
    """Airflow's DagBag over our DAG folder, with a file of plans."""

    def fill(text: str) -> DagBag:
        file = tmp_path / "plans.yaml"
        file.write_text(text, encoding="utf-8")
        monkeypatch.setenv("AIRFLOW__AEM_GUIDES__PLANS_FILE", str(file))
        return DagBag(str(ROOT / "dags"), bundle_path=ROOT / "dags", bundle_name="dags-folder")

    return fill


def test_each_enabled_plan_is_a_dag_with_the_tasks_of_the_main_dag(bag: Callable[[str], DagBag]) -> None:
    found = bag(GOOD)
    assert found.import_errors == {}
    assert {name for name in found.dags if name.startswith("aem_guides_plan_")} == {
        "aem_guides_plan_nightly",
        "aem_guides_plan_by_hand",
    }
    tasks = {task.task_id: task.downstream_task_ids for task in found.dags[MAIN].tasks}
    for name in ("nightly", "by_hand"):
        dag = found.dags[f"aem_guides_plan_{name}"]
        assert {task.task_id: task.downstream_task_ids for task in dag.tasks} == tasks
        assert all(isinstance(task.retry_policy, AemGuidesRetryPolicy) for task in dag.tasks)
        assert dag.fileloc == str(ROOT / "dags" / "aem_guides_plans.py")
        assert DagSerialization.to_dict(dag) == DagSerialization.to_dict(dag)
        assert dag.doc_md
        assert dag.max_active_runs == 1


def test_a_batch_has_the_tasks_and_parameters_of_the_batch_dag(bag: Callable[[str], DagBag]) -> None:
    found = bag(
        "plans: [{name: all, schedule: {interval: {days: 1}}, start_date: 2026-01-01, batch: true, incremental: true, "
        "paths_file: s3://bucket/paths.csv, parameters: {queue_hours: 12}}]"
    )
    assert found.import_errors == {}
    dag, main = found.dags["aem_guides_plan_all"], found.dags["aem_guides_process_batch"]
    assert {task.task_id: task.downstream_task_ids for task in dag.tasks} == {
        task.task_id: task.downstream_task_ids for task in main.tasks
    }
    assert set(dag.params) == set(main.params)
    assert dag.params.get_param("paths_file").value == "s3://bucket/paths.csv"
    assert dag.params.get_param("queue_hours").value == 12
    assert type(dag.timetable).__name__ == "DeltaDataIntervalTimetable"


def test_a_plan_sets_the_defaults_of_the_parameters_and_leaves_the_others(bag: Callable[[str], DagBag]) -> None:
    dag = bag(GOOD).dags["aem_guides_plan_nightly"]
    values = {name: dag.params.get_param(name).value for name in dag.params}
    others = {name: param.value for name, param in process_assets_params().items()}
    assert values == {
        **others,
        "paths": ["/content/dam/a"],
        "excluded_paths": ["/content/dam/a/drafts"],
        "file_types": ["DITAMAP"],
        "connection_id": "author_two",
        "max_active_jobs": 2,
        "on_active_job": "queue",
        "only_between": {"from": "22:00", "to": "05:00", "timezone": "Europe/Paris", "at_end": "leave"},
    }
    for name in dag.params:
        schema = dag.params.get_param(name).schema
        assert schema.get("title"), name
        assert schema.get("description_md"), name
        assert schema.get("section"), name


def test_a_plan_carries_what_airflow_shows_of_it(bag: Callable[[str], DagBag]) -> None:
    dag = bag(GOOD).dags["aem_guides_plan_nightly"]
    assert dag.tags == {"aem-guides", "nightly"}
    assert dag.owner == "docs"
    assert dag.description == "Every night"
    assert dag.catchup is True
    assert dag.start_date == datetime(2025, 12, 31, 23, tzinfo=UTC)
    assert type(dag.timetable).__name__ == "CronDataIntervalTimetable"


def test_notifiers_are_built_when_there_is_something_to_say(bag: Callable[[str], DagBag]) -> None:
    dag = bag(GOOD).dags["aem_guides_plan_nightly"]
    assert dag.has_on_success_callback
    assert dag.has_on_failure_callback
    (success,) = cast("list[Callable[[Context], None]]", dag.on_success_callback)
    (failure,) = cast("list[Callable[[Context], None]]", dag.on_failure_callback)
    Remembering.said.clear()
    success(cast("Context", {"dag": dag, "run_id": "run one"}))
    failure(cast("Context", {"dag": dag, "run_id": "run two"}))
    assert Remembering.said == ["good: run one", "bad: run two"]


def test_an_import_of_a_plan_that_fails_is_reported_and_its_runs_continue(bag: Callable[[str], DagBag]) -> None:
    text = """
plans:
  - name: mute
    schedule: null
    paths: [/content/dam/a]
    notifications:
      on_failure:
        - {notifier: tests.dags.test_plan_dags.Remembering, kwargs: {text: bad}}
        - {notifier: no.such.Notifier}
      on_success:
        - {notifier: tests.dags.test_plan_dags.Forgetting}
        - {notifier: tests.dags.test_plan_dags.GOOD}
    deadline: [{interval: {hours: 1}, callback: no.such.thing}]
"""
    found = bag(text)
    reported = [line for line in found.import_errors[CHECK].splitlines() if "plan 'mute'" in line]
    assert len(reported) == 4
    for said, line, field, what in zip(
        reported,
        (9, 11, 12, 13),
        (
            "notifications.on_failure.1.notifier",
            "notifications.on_success.0.notifier",
            "notifications.on_success.1.notifier",
            "deadline.0.callback",
        ),
        ("'no.such.Notifier' cannot be", "no attribute 'Forgetting'", "cannot be called", "No module named 'no'"),
        strict=True,
    ):
        assert f"plans.yaml, line {line}: plan 'mute', field {field}: " in said
        assert what in said
        assert "Write the import path" in said
    assert "aem_guides_plan_mute" in found.dags


def test_the_deadlines_of_a_plan_are_airflows_own(bag: Callable[[str], DagBag]) -> None:
    dag = bag(GOOD).dags["aem_guides_plan_nightly"]
    soon, average = dag.deadline if isinstance(dag.deadline, list) else []
    assert (soon.name, soon.interval) == ("soon", timedelta(hours=2))
    assert soon.reference.reference_name == "DagRunQueuedAtDeadline"
    assert soon.callback == AsyncCallback("tests.dags.test_plan_dags.Remembering", {"text": "late"})
    assert average.reference.reference_name == "AverageRuntimeDeadline"
    assert average.callback == SyncCallback("os.getcwd")


def test_broken_plans_are_an_import_error_and_the_others_are_dags(bag: Callable[[str], DagBag]) -> None:
    found = bag(GOOD + BROKEN)
    assert list(found.import_errors) == [CHECK]
    reported = found.import_errors[CHECK]
    first = GOOD.count("\n") + 2
    for plan, line, field, remedy in (
        ("broken", first + 1, "schedule", "@daily"),
        ("refused", first + 6, "deadline.0.callback", "asynchronous"),
        ("batched", first + 11, "parameters.max_log_lines", "remove the field"),
    ):
        (said,) = [text for text in reported.splitlines() if f"plan {plan!r}" in text]
        assert f"plans.yaml, line {line}: plan {plan!r}, field {field}:" in said
        assert remedy in said
    assert {"aem_guides_plan_nightly", "aem_guides_plan_by_hand", MAIN} <= set(found.dags)
    assert not {"aem_guides_plan_broken", "aem_guides_plan_refused", "aem_guides_plan_batched"} & set(found.dags)


def test_a_plan_that_airflow_itself_refuses_is_reported_with_its_words(
    bag: Callable[[str], DagBag], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(dag: DAG) -> None:
        if dag.dag_id == "aem_guides_plan_by_hand":
            raise RuntimeError("not on my watch")

    monkeypatch.setattr(DAG, "validate", refuse)
    found = bag(GOOD)
    assert "plan 'by_hand', field name: Airflow refuses the plan: not on my watch." in found.import_errors[CHECK]
    assert "aem_guides_plan_nightly" in found.dags
    assert "aem_guides_plan_by_hand" not in found.dags


def test_the_shipped_plans_make_no_dag_until_they_are_enabled() -> None:
    found = DagBag(str(ROOT / "dags"))
    assert found.import_errors == {}
    assert not [name for name in found.dags if name.startswith("aem_guides_plan_")]
