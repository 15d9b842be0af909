"""A waiting task that was killed while nobody was there to cancel its job, so that it is done after.

Airflow calls `on_kill` only of a task or trigger that runs: not before the waiting task has begun, not in the two
seconds between deferring and the trigger's start, and not while the triggerer is down. The waiting task therefore notes
that it began, that it defers, and that it came back to conclude. Where it ended as killed ahead of the first note, or
after the second and without the third, and its trigger has not seen to the job, the tasks after it cancel it. Where the
whole run was killed, no task comes after: then the reconciliation does so.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping

from airflow.sdk import Context
from airflow.sdk.execution_time.xcom import XCom

from aem_guides.hooks.hook import AemGuidesHook
from aem_guides.protocol.procedures.cancel import CancelOutcome, CancelResult
from aem_guides.protocol.procedures.start import Origin
from aem_guides.runtime.task_states import KILLED_STATES, TaskKey, states_in_task
from aem_guides.triggers.job import CANCEL_KEY

STAGE_KEY = "aem_guides_stage"
CANCEL_SECONDS = 120.0
_SETTLED = (CancelResult.CANCELLED, CancelResult.ALREADY_FINISHED)


class Stage(enum.StrEnum):
    """How far waiting has come."""

    BEGUN = "begun"
    DEFERRED = "deferred"
    DEFERRED_KEEP = "deferred, and not to be cancelled"
    CAME_BACK = "came back"


def settle_killed_wait(
    hook: AemGuidesHook, context: Context, wait_task_id: str, processing_id: str
) -> CancelOutcome | None:
    """Cancel the job of a waiting task that was killed, unless the task or its trigger has; None if all is done.

    The trigger may be at it just now: to cancel a job twice does no harm.
    """
    ti = context["ti"]
    index = -1 if ti.map_index is None else ti.map_index

    def left_behind(key: str) -> object:
        return ti.xcom_pull(task_ids=wait_task_id, key=key, map_indexes=index)

    stage = left_behind(STAGE_KEY)
    if stage != Stage.DEFERRED and not (stage is None and _is_ours(context, wait_task_id, index)):
        return None
    if not states_in_task(TaskKey(ti.dag_id, ti.run_id, wait_task_id, index)) & KILLED_STATES:
        return None
    if left_behind(CANCEL_KEY) in _SETTLED:
        return None
    return hook.cancel_processing(processing_id, within_seconds=CANCEL_SECONDS)


def was_killed_unheard(wait: TaskKey) -> bool:
    """Whether the waiting task of a run that is over was killed while nobody was there to cancel its job.

    To be asked from another run, of a job that its run had started.
    """
    if not states_in_task(wait) & KILLED_STATES:
        return False

    def left_behind(key: str) -> object:
        index = wait.map_index if wait.map_index >= 0 else None
        return XCom.get_one(key=key, dag_id=wait.dag_id, task_id=wait.task_id, run_id=wait.run_id, map_index=index)

    return left_behind(CANCEL_KEY) not in _SETTLED and left_behind(STAGE_KEY) in (Stage.DEFERRED, None)


def _is_ours(context: Context, wait_task_id: str, index: int) -> bool:
    """Whether the task ahead of the waiting one has started the job: one that was adopted is left alone."""
    for task_id in context["dag"].get_task(wait_task_id).upstream_task_ids:
        started = context["ti"].xcom_pull(task_ids=task_id, map_indexes=index)
        if isinstance(started, Mapping) and "origin" in started:
            return bool(started["origin"] != Origin.ADOPTED)
    return False
