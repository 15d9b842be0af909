"""Which earlier tasks show that the task of a job was killed."""

from __future__ import annotations

from airflow.sdk import DAG, TaskGroup, task

from aem_guides.operators import AemGuidesArchiveLogsOperator, AemGuidesStartProcessingOperator
from aem_guides.sensors import AemGuidesProcessingSensor
from tests.support.tasks import Run, Task


def test_a_failed_task_of_a_user_in_the_group_is_no_reason_to_cancel_the_job() -> None:
    @task
    def check_something() -> None:
        pass

    with DAG("dag", schedule=None), TaskGroup("group"):
        start = AemGuidesStartProcessingOperator(task_id="start", path="/content/a")
        wait = AemGuidesProcessingSensor(task_id="wait", processing_id="job")
        archive = AemGuidesArchiveLogsOperator(task_id="archive", processing_id="job", trigger_rule="all_done")
        start >> check_something() >> wait >> archive
    before = archive._tasks_before(Task("group.archive", run=Run()).context())
    assert [key.task_id for key in before] == ["group.start", "group.wait"]
