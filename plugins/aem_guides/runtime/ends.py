"""Where a deferred task ends: in the triggerer, or in a worker."""

from __future__ import annotations

from airflow.sdk import BaseOperator
from airflow.sdk.bases.xcom import BaseXCom
from airflow.sdk.execution_time import xcom
from airflow.sdk.listener import get_listener_manager

_OURS = __name__.partition(".")[0]


def needs_no_worker(task: BaseOperator) -> bool:
    """Whether a success of the task may be set by its trigger, which saves the start of a worker.

    Not if more is done in a worker than to store the result. Airflow does more for an asset, a callback, a hook, a
    listener, a result of several XComs, the result of the DAG, or tasks that are mapped over the result. A class of a
    user may do more. And an XCom backend that stores the result outside of Airflow would hold up all triggers.
    """
    asked_for = (
        task.outlets,
        task.has_on_success_callback,
        task._post_execute_hook,
        not task.do_xcom_push,
        task.multiple_outputs,
        task.returns_dag_result,
    )
    is_heard = get_listener_manager().has_listeners
    is_extended = type(task).__module__.partition(".")[0] != _OURS
    is_stored_elsewhere = xcom.XCom is not BaseXCom
    is_mapped_over = task._dag is not None and next(task.iter_mapped_dependants(), None) is not None
    return not (any(asked_for) or is_heard or is_extended or is_stored_elsewhere or is_mapped_over)
