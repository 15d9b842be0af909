"""A waiting task that was killed before its trigger ran: nobody was there to cancel the job, so that it is done after.

Airflow calls `on_kill` only of a trigger that runs, which is about two seconds after the task was deferred. The
waiting task therefore notes that it defers, and the trigger that it follows; where the first note stands without the
second and the task has ended as killed, the tasks after it cancel the job.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping

from airflow.sdk import Context

from aem_guides.hook import AemGuidesHook
from aem_guides.protocol.procedures.cancel import CancelOutcome
from aem_guides.taskstate import KILLED_STATES, TaskKey, states_in_task

STAGE_KEY = "aem_guides_stage"
CANCEL_SECONDS = 120.0


class Stage(enum.StrEnum):
    """How far waiting has come."""

    DEFERRED = "deferred"
    DEFERRED_KEEP = "deferred, and not to be cancelled"
    FOLLOWED = "followed"


def settle_killed_wait(
    hook: AemGuidesHook, context: Context, wait_task_id: str, processing_id: str
) -> CancelOutcome | None:
    """Cancel the job of a waiting task that was killed before its trigger ran; None where there is nothing to do."""
    ti = context["ti"]
    index = -1 if ti.map_index is None else ti.map_index
    stage = ti.xcom_pull(task_ids=wait_task_id, key=STAGE_KEY, map_indexes=index)
    if isinstance(stage, Mapping) or stage != Stage.DEFERRED:
        return None
    if not states_in_task(TaskKey(ti.dag_id, ti.run_id, wait_task_id, index)) & KILLED_STATES:
        return None
    return hook.cancel_processing(processing_id, within_seconds=CANCEL_SECONDS)
