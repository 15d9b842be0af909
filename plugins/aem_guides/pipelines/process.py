"""The tasks of a processing run, for every DAG that has them.

`plan_requests` → `check_instance`, which does not wait for it → for each path `process_path` (`start_processing` →
`wait_for_processing` → `verify_assets` → `pull_logs`, `archive_logs`) → `report` → `confirm`, which gives the run its
state.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from itertools import chain
from typing import TYPE_CHECKING, cast

from airflow.sdk import Context, get_current_context, task, task_group

from aem_guides.assets import PROCESSED, announce
from aem_guides.hooks.hook import AemGuidesHook
from aem_guides.ledger.recorder import note_outcomes
from aem_guides.operators import (
    AemGuidesArchiveLogsOperator,
    AemGuidesPullLogsOperator,
    AemGuidesStartProcessingOperator,
    AemGuidesVerifyAssetsOperator,
)
from aem_guides.pipelines.check import CheckOperator
from aem_guides.pipelines.confirm import PROBLEMS_KEY, confirm
from aem_guides.pipelines.incremental import FilterEnd, with_interval
from aem_guides.protocol.asset_patterns import parse_patterns
from aem_guides.protocol.errors import AemGuidesError
from aem_guides.protocol.hours import parse_only_between
from aem_guides.protocol.models import JsonObject, JsonValue, ProcessingRequest
from aem_guides.protocol.procedures.follow import Followed, FollowEnd, find_job
from aem_guides.protocol.procedures.verify import FailureLimit
from aem_guides.protocol.requests import parse_requests
from aem_guides.protocol.wording import counted
from aem_guides.results.handed_on import OUTCOME_KEY, PROCESSING_ID_KEY, RETURN_KEY
from aem_guides.results.outcome import Ending, WaitOutcome, started_as
from aem_guides.results.rows import NOTHING_PLANNED, PathResults, build_row, problems_of, render_table
from aem_guides.runtime.labels import map_label
from aem_guides.runtime.path_store import PathStore
from aem_guides.runtime.retry_policy import AemGuidesRetryPolicy, first_retry_seconds
from aem_guides.runtime.task_states import NOT_RUN, LeftBehind, TaskKey, states_in_task
from aem_guides.sensors.wait import AemGuidesProcessingSensor
from aem_guides.triggers.kill import settle_left_behind

if TYPE_CHECKING:
    from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance

log = logging.getLogger(__name__)

GROUP = "process_path"
START, WAIT = f"{GROUP}.start_processing", f"{GROUP}.wait_for_processing"
PULL, ARCHIVE, VERIFY = f"{GROUP}.pull_logs", f"{GROUP}.archive_logs", f"{GROUP}.verify_assets"

LONGEST_IN_A_WORKER = timedelta(hours=6)
"""Fetching the largest log takes an hour. A longer task hangs, and the next try begins again."""


def _pulled_id(task_id: str) -> str:
    return f"ti.xcom_pull(task_ids='{task_id}', key='{PROCESSING_ID_KEY}', map_indexes=ti.map_index)"


CURRENT_ID = "{{ " + f"{_pulled_id(WAIT)} or {_pulled_id(START)} or ''" + " }}"
"""The current id of the path's job. Empty if no job was started."""

CONNECTION = "{{ params.connection_id }}"
ONLY_BETWEEN = "{{ params.only_between | tojson }}"
QUEUE_HOURS = "{{ [params.deadline_hours, 1] | max }}"
"""A path waits for its turn as long as its job may take, and at least an hour."""

PATH_LABEL = map_label("task.request['path']")


def default_args() -> dict[str, object]:
    """The arguments of every task: retries that depend on the failure, and a limit for its time in a worker.

    `retry_delay` is for a task whose process died.
    """
    return {
        "retries": 5,
        "execution_timeout": LONGEST_IN_A_WORKER,
        "retry_delay": timedelta(seconds=first_retry_seconds()),
        "retry_policy": AemGuidesRetryPolicy(),
    }


def planned_params(context: Context, filter_end: str | None) -> Mapping[str, JsonValue]:
    """The parameters of a run. With `filter_end` (a `FilterEnd`) they include the times of its data interval."""
    params = cast("Mapping[str, JsonValue]", context["params"])
    if filter_end is None:
        return params
    start, end = context.get("data_interval_start"), context.get("data_interval_end")
    params = with_interval(params, start, end, FilterEnd(filter_end))
    log.info("Only assets created from %s to %s", params["created_after"], params["created_before"])
    return params


@task
def plan_requests(filter_end: str | None = None) -> list[JsonObject]:
    """Check the parameters as a whole and make one request for each path. Raises InvalidInputError."""
    requests = _requests(planned_params(get_current_context(), filter_end))
    log.info("%s: %s", counted(len(requests), "path"), ", ".join(request.path for request in requests))
    return [request.to_json() for request in requests]


def _requests(params: Mapping[str, JsonValue]) -> list[ProcessingRequest]:
    """One request a path. Raises InvalidInputError, before anything is sent."""
    FailureLimit.parse("fail_on_asset_failures", params.get("fail_on_asset_failures"))
    parse_patterns("verify_ignore", params.get("verify_ignore"))
    parse_only_between(params["only_between"])
    return parse_requests(
        cast("list[str]", params["paths"]),
        excluded_paths=cast("list[str] | None", params["excluded_paths"]) or [],
        file_types=cast("list[str] | None", params["file_types"]) or [],
        created_after=cast("str | None", params["created_after"]),
        created_before=cast("str | None", params["created_before"]),
        processing_type=cast("str", params["processing_type"]),
    )


@task_group(group_id=GROUP)
def process_path(request: Mapping[str, JsonValue]) -> None:
    """All tasks of one path."""
    start = AemGuidesStartProcessingOperator(
        task_id="start_processing",
        on_active_job="{{ params.on_active_job }}",
        max_active_jobs="{{ params.max_active_jobs }}",
        queue_hours=QUEUE_HOURS,
        only_between=ONLY_BETWEEN,
        cancel_adopted="{{ params.cancel_adopted }}",
        execution_timeout=None,  # it may wait for its turn in a worker
        request=request,
        map_index_template=PATH_LABEL,
        aem_guides_conn_id=CONNECTION,
    )
    wait = AemGuidesProcessingSensor(
        task_id="wait_for_processing",
        job=cast("Mapping[str, JsonValue]", start.output),
        deadline_hours="{{ params.deadline_hours }}",
        on_deadline="{{ params.on_deadline }}",
        max_resumes="{{ params.max_resumes }}",
        max_active_jobs="{{ params.max_active_jobs }}",
        cancel_adopted="{{ params.cancel_adopted }}",
        stall_minutes="{{ params.stall_minutes }}",
        stream_logs="{{ params.stream_logs }}",
        only_between=ONLY_BETWEEN,
        retries=12,
        execution_timeout=None,  # it may wait for the job in a worker
        aem_guides_conn_id=CONNECTION,
        map_index_template=map_label("task.job['path']"),
    )
    pull = AemGuidesPullLogsOperator(
        task_id="pull_logs",
        processing_id=CURRENT_ID,
        max_log_lines="{{ params.max_log_lines }}",
        verify_task_id=VERIFY,
        trigger_rule="all_done",
        request=request,
        map_index_template=PATH_LABEL,
        aem_guides_conn_id=CONNECTION,
    )
    archive = AemGuidesArchiveLogsOperator(
        task_id="archive_logs",
        processing_id=CURRENT_ID,
        enabled="{{ params.archive_logs }}",
        verify_task_id=VERIFY,
        trigger_rule="all_done",
        request=request,
        map_index_template=PATH_LABEL,
        aem_guides_conn_id=CONNECTION,
    )
    verify = AemGuidesVerifyAssetsOperator(
        task_id="verify_assets",
        processing_id=CURRENT_ID,
        fail_on_asset_failures="{{ params.fail_on_asset_failures or '' }}",
        verify_ignore="{{ params.verify_ignore | tojson }}",
        enabled="{{ params.verify_assets }}",
        request=request,
        map_index_template=PATH_LABEL,
        aem_guides_conn_id=CONNECTION,
    )
    # Assets that are still at work write to the log, so the log is read after them.
    start >> wait >> verify >> [pull, archive]


@task(trigger_rule="all_done", outlets=[PROCESSED])
def report() -> list[JsonObject]:
    """Show the outcome of every path, store it in the ledger, and update the assets of the successful paths."""
    context = get_current_context()
    ti, params = cast("RuntimeTaskInstance", context["ti"]), context["params"]
    planned = cast("list[JsonObject] | None", ti.xcom_pull(task_ids="plan_requests")) or []
    left = LeftBehind(ti)
    results = [_results(ti, left, index, request) for index, request in enumerate(planned)]
    rows = [build_row(result) for result in _with_what_is_seen(context, results, str(params["connection_id"]))]
    log.info("Outcome:\n%s", render_table(rows))
    asked = {"archive_logs": bool(params["archive_logs"]), "verify_assets": bool(params["verify_assets"])}
    asked["limited"] = bool(params.get("fail_on_asset_failures"))
    wrong = [problems_of(row, result, **asked) for row, result in zip(rows, results, strict=True)]
    if _was_not_run(ti, -1):  # checked for all paths at once, because it is rare
        wrong = [its or _not_done(ti, index, rows[index].path) for index, its in enumerate(wrong)]
    found = [row.reported() for row in rows]
    note_outcomes(context, str(params["connection_id"]), START, [r.started for r in results], found)
    for result, row, its_problems in zip(results, found, wrong, strict=True):
        if result.started is not None and not its_problems:
            announce(context, str(result.started["instance"]), row, f"{ti.dag_id} / {ti.run_id}")
    ti.xcom_push(PROBLEMS_KEY, list(chain.from_iterable(wrong)) if rows else [NOTHING_PLANNED])
    return found


def _not_done(ti: RuntimeTaskInstance, index: int, path: str) -> list[str]:
    """That the path was not processed, if an earlier task failed. Its results are from before a Clear then."""
    return [f"{path}: not processed, because an earlier task failed"] if _was_not_run(ti, index) else []


def _was_not_run(ti: RuntimeTaskInstance, index: int) -> bool:
    return NOT_RUN in states_in_task(TaskKey(ti.dag_id, ti.run_id, WAIT, index))


def _with_what_is_seen(context: Context, results: list[PathResults], connection_id: str) -> list[PathResults]:
    """For paths whose task was killed and left no outcome: cancel their job, and read its current state."""
    if all(result.outcome is not None for result in results):
        return results
    try:
        with AemGuidesHook(connection_id) as hook:
            return [_seen(context, hook, index, result) for index, result in enumerate(results)]
    except AemGuidesError as error:
        log.warning("The final state of the jobs could not be read from the instance: %s", error)
        return results


def _seen(context: Context, hook: AemGuidesHook, index: int, result: PathResults) -> PathResults:
    if result.outcome is not None:
        return result
    ti = cast("RuntimeTaskInstance", context["ti"])
    tasks = [TaskKey(ti.dag_id, ti.run_id, task_id, index) for task_id in (START, WAIT)]
    try:
        state, _ = settle_left_behind(hook, _store(ti, result.request), tasks)
        job = hook.drive(find_job(hook.talk, state.processing_id)) if state and state.processing_id else None
    except AemGuidesError as error:
        log.warning("%s: the final state of its job could not be read: %s", result.request.get("path"), error)
        return result
    if state is None or job is None:
        return result
    ending = Ending(Followed(FollowEnd.ENDED, job, 0), state.cancel, job.processing_id, state.resumes, 0, hours=0)
    return replace(result, outcome=WaitOutcome.of(ending).to_json())


def _store(ti: RuntimeTaskInstance, request: Mapping[str, JsonValue]) -> PathStore:
    fingerprint = ProcessingRequest.from_json(request).fingerprint()
    return PathStore.of_path(ti.dag_id, ti.run_id, START, fingerprint)


def build_process_tasks(filter_end: FilterEnd | None = None) -> None:
    """Put the tasks into the DAG that is being built.

    With `filter_end` only assets created in a run's data interval are processed. The value is how the instance reads
    the end.
    """
    planned = plan_requests() if filter_end is None else plan_requests(filter_end=str(filter_end))
    check = CheckOperator(
        task_id="check_instance",
        require=lambda context: _requests(planned_params(context, filter_end and str(filter_end))),
        aem_guides_conn_id=CONNECTION,
    )
    paths = process_path.expand(request=planned)
    planned >> check >> paths >> report() >> confirm()


def _results(ti: RuntimeTaskInstance, left: LeftBehind, index: int, request: JsonObject) -> PathResults:
    def pulled(task_id: str, key: str = RETURN_KEY) -> Mapping[str, JsonValue] | None:
        value = left.by(task_id, key, index)
        return value if isinstance(value, Mapping) else None

    started, outcome = pulled(START), pulled(WAIT, OUTCOME_KEY)
    state = _store(ti, request).load() if outcome is None else None
    return PathResults(
        request=request,
        started=started or (started_as(state) if state is not None and state.processing_id is not None else None),
        in_doubt=state is not None and state.in_doubt,
        outcome=outcome,
        cancel=str(state.cancel) if state is not None and state.cancel is not None else None,
        logs=pulled(PULL),
        archive=pulled(ARCHIVE),
        verification=pulled(VERIFY),
    )
