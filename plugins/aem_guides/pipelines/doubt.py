"""Settle a start or resume in doubt: store what a person says came of it. The path's next try goes on from there."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from dataclasses import asdict, replace

from airflow.sdk import Context

from aem_guides.hooks.bodies import surroundings
from aem_guides.hooks.connection import require_instance
from aem_guides.hooks.hook import AemGuidesHook
from aem_guides.ledger.recorder import StartedPath, note_path
from aem_guides.ledger.records import LedgerJob, RunKey
from aem_guides.protocol.errors import InvalidInputError
from aem_guides.protocol.models import Job, JsonObject
from aem_guides.protocol.procedures.follow import find_job
from aem_guides.protocol.procedures.path_state import PathState
from aem_guides.protocol.procedures.settle import NotSettledError, settle
from aem_guides.runtime import fields
from aem_guides.runtime.doubts import MARKED_STATES, Doubt, doubt_key
from aem_guides.runtime.memory import run_label
from aem_guides.runtime.path_store import NewerStateError, PathStore
from aem_guides.runtime.task_states import run_state, states_in_task

SEEN_SECONDS = 2.0
"""How long after it was written the choice is read again: the store has no compare-and-set."""
InLedger = Callable[[str, str], LedgerJob | None]
"""The ledger's entry of a job, by instance and id; None where it has none, or cannot be read."""
_NAME = re.compile(r"(path:[0-9a-f]{64})@(\d{1,19})")

log = logging.getLogger(__name__)


def parse_name(name: object) -> tuple[str, int]:
    """The state's key and the time of the request, from the name of a doubt. Raises InvalidInputError."""
    found = _NAME.fullmatch(name) if isinstance(name, str) and name.isascii() else None
    if found is None:
        raise InvalidInputError("doubt", name, "Settle it on the page AEM Guides, which gives the name of the doubt.")
    return found.group(1), int(found.group(2))


def settle_doubt(
    context: Context, hook: AemGuidesHook, name: object, processing_id: object, in_ledger: InLedger
) -> JsonObject:
    """Store the choice. `processing_id` None says that no job came of the request.

    Doing it again with the same choice does no harm. The ledger has the job as that of the run from now on, so that no
    other run in doubt can have it, too. Raises InvalidInputError, NotSettledError, ConfigurationError where the
    connection leads to another instance than the path's, and what a call raises.
    """
    state_key, at = parse_name(name)
    chosen = None if processing_id is None else fields.identifier("processing_id", processing_id)
    store = PathStore(state_key)
    state = store.load()
    if state is None:
        raise NotSettledError(
            "The stored state of this path was deleted. Nothing was changed. See in the Bulk Processor whether a job "
            "ran for the path. If none did, clear its task to start one."
        )
    listed = _listed(store)
    if _is_run_gone(listed):
        raise NotSettledError(f"{state.request.path}: its run was deleted, so nothing goes on. Nothing was changed.")
    require_instance(hook.settings.instance, state.instance)
    state = replace(state, instance=hook.settings.instance)
    job = None if chosen is None else _find(hook, chosen)
    if job is not None and (has_it := _run_that_has(job, state, listed, in_ledger)) is not None:
        raise NotSettledError(has_it)
    settled = settle(state, at, job, surroundings().now())
    _save(store, settled)
    surroundings().sleep(SEEN_SECONDS)
    if _was_lost(settled, store.load()):
        raise NotSettledError(_OVERTAKEN)
    if job is not None:
        if (has_it := _run_that_has(job, state, listed, in_ledger)) is not None:
            if state.doubtful:
                _save(store, replace(state, serial=settled.serial + 1))
            raise NotSettledError(has_it)
        if listed is not None and job.processing_id != state.processing_id:
            by = StartedPath(**asdict(listed.asker.task), connection_id=listed.asker.connection_id, wants_archive=True)
            note_path(by, settled)
    said = "no job came of the request" if chosen is None else f"job {chosen} came of the request"
    log.info("%s: %s, says %s. The run goes on when its task is cleared.", state.request.path, said, run_label(context))
    return {"processing_id": chosen, "path": state.request.path, "phase": str(settled.phase)}


_OVERTAKEN = (
    "The path was taken up, or settled by somebody else, at the same moment. This choice does not count. Look at the "
    "run to see what it does."
)


def forget_doubt(name: object) -> JsonObject:
    """Take a doubt off the list for which nothing waits: its run was deleted, its task marked, or it is over.

    Where the run was deleted, so is the state of the path. Raises InvalidInputError and NotSettledError.
    """
    state_key, at = parse_name(name)
    store = PathStore(state_key)
    listed = _listed(store)
    if listed is None or listed.at != at:
        raise NotSettledError("It was forgotten already, or settled. Nothing was changed.")
    if _is_run_gone(listed):
        store.delete()
    elif _is_over(store.load(), at) or states_in_task(listed.asker.task) & MARKED_STATES:
        store.register.delete(doubt_key(store.key))
    else:
        raise NotSettledError("Its task has failed and waits for a choice. Nothing was changed.")
    return {"processing_id": None}


def _is_over(state: PathState | None, at: int) -> bool:
    """Whether the path is not in this doubt any more. A process that dies may leave it on the list."""
    return state is None or (state.intent_in_doubt(at) is None and state.settled_at != at)


def _listed(store: PathStore) -> Doubt | None:
    return Doubt.from_json(store.register.get(doubt_key(store.key)))


def _is_run_gone(listed: Doubt | None) -> bool:
    """Whether Airflow does not know the run any more whose path this is."""
    return listed is not None and run_state(listed.asker.task.dag_id, listed.asker.task.run_id) is None


def _save(store: PathStore, state: PathState) -> None:
    try:
        store.save(state)
    except NewerStateError as error:
        raise NotSettledError(_OVERTAKEN) from error


def _find(hook: AemGuidesHook, chosen: str) -> Job:
    """The job. Raises NotSettledError, and what a call raises."""
    job = hook.drive(find_job(hook.talk, chosen))
    if job is None:
        raise NotSettledError(
            f"processing_id: {chosen!r} is in neither the status nor the history of the instance, so that no run can "
            "follow it. Nothing was changed. Check the id."
        )
    return job


def _run_that_has(job: Job, state: PathState, listed: Doubt | None, in_ledger: InLedger) -> str | None:
    """Which other run has the job, or other path of the run, in a sentence; None where the ledger knows none."""
    if job.processing_id == state.processing_id:
        return None
    entry = in_ledger(str(state.instance), job.processing_id)
    if entry is None or entry.run is None:
        return None
    task = listed.asker.task if listed is not None else None
    if task is not None and (RunKey(task.dag_id, task.run_id), task.map_index) == (entry.run, entry.map_index):
        return None
    return (
        f"{state.request.path}: job {job.processing_id} cannot be chosen: run {entry.run.run_id} of "
        f"{entry.run.dag_id} has it already. Nothing was changed."
    )


def _was_lost(settled: PathState, found: PathState | None) -> bool:
    """Whether another has written over the choice. A try that went on from it has a newer state, or the same job."""
    if found is None or found.serial < settled.serial:
        return True
    same = (found.phase, found.processing_id) == (settled.phase, settled.processing_id)
    return found.serial == settled.serial and not same
