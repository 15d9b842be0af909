"""The last task of a run and of a batch: it sets the true state of the run."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from airflow.sdk import get_current_context, task

from aem_guides.results.rows import RunFailedError

if TYPE_CHECKING:
    from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance

PROBLEMS_KEY = "problems"
"""The XCom of the report that lists the problems. It is pushed last, so it shows that the report is complete."""


@task(trigger_rule="all_done")
def confirm() -> None:
    """Fail the run if any path did not succeed. Raises RunFailedError.

    This is a separate task, because Airflow drops the asset events of a task that fails.
    """
    ti = cast("RuntimeTaskInstance", get_current_context()["ti"])
    wrong = cast("list[str] | None", ti.xcom_pull(task_ids="report", key=PROBLEMS_KEY))
    if wrong is None:
        raise RunFailedError("The task report failed. Its log has the reason.")
    if wrong:
        raise RunFailedError.of(wrong)
