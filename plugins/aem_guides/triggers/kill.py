"""Cancel the job of a path whose task was killed, from a later task.

Airflow calls `on_kill` only for a running task or trigger, and ends a worker five seconds later. It does not call it
before the task has begun, in the two seconds between deferring and the trigger's start, or while the triggerer is down.
The later tasks, the report and the reconciliation then cancel the job, all with this function.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable

from aem_guides.hooks.connection import require_instance
from aem_guides.hooks.hook import AemGuidesHook
from aem_guides.protocol.procedures.cancel import CancelOutcome
from aem_guides.protocol.procedures.path_state import PathState
from aem_guides.protocol.procedures.settle_kill import settle_kill
from aem_guides.runtime.path_store import NewerStateError, PathStore
from aem_guides.runtime.task_log import show_event
from aem_guides.runtime.task_states import KILLED_STATES, TaskKey, states_in_task

CANCEL_SECONDS = 120.0
_MOST_ROUNDS = 3

log = logging.getLogger(__name__)


def settle_left_behind(
    hook: AemGuidesHook, store: PathStore, tasks: Iterable[TaskKey]
) -> tuple[PathState | None, CancelOutcome | None]:
    """The state of a path and the result of the cancel if one of its tasks was killed. None if none was killed.

    The trigger or another task may do the same right now. A second cancel does no harm, and the state that the other
    one stores is used. Raises ConfigurationError if the connection now leads to another instance, DoubtfulStartError,
    and what a call raises.
    """
    asked, state = list(tasks), store.load()
    if state is not None:
        require_instance(hook.settings.instance, state.instance)

    def take(item: object) -> None:
        if isinstance(item, PathState):
            store.save(item)
        else:
            show_event(log, item)

    for _ in range(_MOST_ROUNDS):
        if state is None or not state.is_left_behind or not was_killed(asked):
            break
        try:
            state, outcome = hook.drive(settle_kill(hook.talk, state, within_seconds=CANCEL_SECONDS), take)
        except NewerStateError:
            state = store.load()
            continue
        if outcome is not None:
            log.warning(outcome.in_words(state.processing_id or ""))
        return state, outcome
    return state, None


def was_killed(tasks: Iterable[TaskKey]) -> bool:
    """Whether one of the tasks was killed, or failed."""
    return any(states_in_task(task) & KILLED_STATES for task in tasks)
