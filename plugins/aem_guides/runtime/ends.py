"""Where a deferred task ends: in the triggerer, or in a worker."""

from __future__ import annotations

from airflow.sdk import BaseOperator
from airflow.sdk.listener import get_listener_manager


def needs_no_worker(task: BaseOperator) -> bool:
    """Whether a success of the task may be set by its trigger, which saves the start of a worker.

    Not if Airflow does more in a worker than to store the result: for an asset, a callback, a hook, a listener, or
    tasks that are mapped over the result.
    """
    asked_for = (task.outlets, task.has_on_success_callback, task._post_execute_hook, not task.do_xcom_push)
    is_heard = get_listener_manager().has_listeners
    is_mapped_over = task._dag is not None and next(task.iter_mapped_dependants(), None) is not None
    return not (any(asked_for) or is_heard or is_mapped_over)
