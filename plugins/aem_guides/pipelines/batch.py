"""The tasks of a batch, for every DAG that has them.

`plan_batch` → `check_instance`, which does not wait for it → `process_path` (one deferrable task a path) and
`batch_progress` → `report` → `confirm`, which gives the run its state.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import chain
from typing import TYPE_CHECKING, cast

from airflow.sdk import Context, get_current_context, task
from airflow.sdk.exceptions import AirflowSkipException
from airflow.sdk.execution_time.context import NEVER_EXPIRE

from aem_guides.assets import PROCESSED
from aem_guides.hooks.hook import AemGuidesHook
from aem_guides.ledger.recorder import note_outcomes
from aem_guides.operators.process import AemGuidesProcessAssetsOperator
from aem_guides.pipelines.batch_paths import PathList, read_paths
from aem_guides.pipelines.batch_plan import BLOCK, PLANNED_KEY, BatchPlan, block_key, check_size, cut, digest
from aem_guides.pipelines.batch_progress import AemGuidesBatchProgressOperator
from aem_guides.pipelines.check import CheckOperator
from aem_guides.pipelines.confirm import PROBLEMS_KEY, confirm
from aem_guides.pipelines.incremental import FilterEnd
from aem_guides.pipelines.process import CONNECTION, ONLY_BETWEEN, planned_params
from aem_guides.protocol.asset_patterns import parse_patterns
from aem_guides.protocol.errors import AemGuidesError, InvalidInputError
from aem_guides.protocol.hours import parse_only_between
from aem_guides.protocol.models import JsonObject, JsonValue, ProcessingRequest
from aem_guides.protocol.procedures.cancel import CancelResult
from aem_guides.protocol.procedures.path_state import PathState
from aem_guides.protocol.procedures.verify import FailureLimit
from aem_guides.protocol.requests import parse_requests
from aem_guides.protocol.states import JobState
from aem_guides.protocol.wording import counted
from aem_guides.results.batch_rows import ROW_KEY, done_before, store_outcome, summary
from aem_guides.results.rows import NOTHING_PLANNED, Row, problems, row_of
from aem_guides.runtime.labels import map_label
from aem_guides.runtime.memory import StateStore
from aem_guides.runtime.notes import NOTES
from aem_guides.runtime.path_store import PathStore
from aem_guides.runtime.task_states import NOT_RUN, TaskKey, states_in_task
from aem_guides.triggers.kill import settle_left_behind

if TYPE_CHECKING:
    from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance

log = logging.getLogger(__name__)

PLAN, PATHS = "plan_batch", "process_path"

IN_FLIGHT = 128
"""Paths of all runs of a DAG that are with the triggerer at the same time. More jobs than this are never active, and it
leaves room for other triggers (a triggerer holds 1,000)."""

_PLAN_MEMORY = "aem_guides_plan"


class _PlannedPathOperator(AemGuidesProcessAssetsOperator):
    """One path of a planned batch: the path at `position` in `block`."""

    def __init__(self, *, block: int, position: int, plan_task_id: str = PLAN, **kwargs: object) -> None:
        super().__init__(**kwargs)  # type: ignore[arg-type]  # the operator's own arguments
        self.block = block
        self.position = position
        self.plan_task_id = plan_task_id

    def asked(self, context: Context) -> ProcessingRequest:
        """The request at this place. Raises AirflowSkipException if the last block has no path there.

        Airflow does not log the exception's text, so this method logs it.
        """
        if self.request is None:
            pulled = context["ti"].xcom_pull(task_ids=self.plan_task_id, key=block_key(self.block), map_indexes=-1)
            requests = cast("Sequence[Mapping[str, JsonValue]]", pulled or [])
            if self.position >= len(requests):
                why = f"The batch has no path for this task: its last block has {counted(len(requests), 'path')}."
                self.log.info(why)
                raise AirflowSkipException(why)
            self.request = requests[self.position]
        return super().asked(context)


def build_batch_tasks(filter_end: FilterEnd | None = None, *, in_flight: int = IN_FLIGHT) -> None:
    """Put the tasks into the DAG that is being built. Its parameters are those of `process_batch_params`.

    :param filter_end: process only assets created in a run's data interval; the value is how the instance reads its
        end.
    :param in_flight: paths of all runs that are with the triggerer at the same time.
    """
    planned = _plan_task(filter_end)
    check = CheckOperator(
        task_id="check_instance",
        require=lambda context: _requests(planned_params(context, filter_end)),
        aem_guides_conn_id=CONNECTION,
    )
    paths = _PlannedPathOperator.partial(
        task_id=PATHS,
        aem_guides_conn_id=CONNECTION,
        on_active_job="{{ params.on_active_job }}",
        max_active_jobs="{{ params.max_active_jobs }}",
        queue_hours="{{ params.queue_hours }}",
        only_between=ONLY_BETWEEN,
        max_resumes="{{ params.max_resumes }}",
        deadline_hours="{{ params.deadline_hours }}",
        on_deadline="{{ params.on_deadline }}",
        cancel_adopted="{{ params.cancel_adopted }}",
        stall_minutes="{{ params.stall_minutes }}",
        archive_logs="{{ params.archive_logs }}",
        verify_assets="{{ params.verify_assets }}",
        fail_on_asset_failures="{{ params.fail_on_asset_failures or '' }}",
        verify_ignore="{{ params.verify_ignore | tojson }}",
        reprocess="{{ params.reprocess }}",
        inlets=[NOTES],
        outlets=[PROCESSED],
        retries=12,
        do_xcom_push=False,
        max_active_tis_per_dag=in_flight,
        map_index_template=map_label("task.request['path'] if task.request else ''"),
    ).expand(block=planned, position=list(range(BLOCK)))
    progress = AemGuidesBatchProgressOperator(
        task_id="batch_progress", plan_task_id=PLAN, path_task_id=PATHS, aem_guides_conn_id=CONNECTION
    )
    confirmed = confirm()
    planned >> check >> [paths, progress]
    planned >> progress >> confirmed
    paths >> report() >> confirmed


def _plan_task(filter_end: FilterEnd | None):  # type: ignore[no-untyped-def]  # an XComArg, as @task gives
    @task(task_id=PLAN)
    def plan_batch() -> list[int]:
        """Check all paths as a whole, leave out those that were processed before, and cut the rest into blocks."""
        context = get_current_context()
        params = planned_params(context, filter_end)
        requests = _requests(params)
        with AemGuidesHook(str(params["connection_id"])) as hook:
            instance = hook.settings.instance
        done = set() if params["reprocess"] else _done(context, params, instance, requests)
        left = [request for request in requests if request.fingerprint() not in done]
        check_size(left)
        name = str(params["batch_name"] or context["ti"].dag_id)
        pairs = tuple((request.path, request.fingerprint()) for request in left)
        plan = BatchPlan(instance, name, pairs, len(requests) - len(left))
        log.info(
            "%s to process; %s left out, because an earlier run processed them",
            counted(len(left), "path"),
            f"{plan.done_before:,}",
        )
        ti = cast("RuntimeTaskInstance", context["ti"])
        ti.xcom_push(PLANNED_KEY, plan.to_json())
        for number, block in enumerate(cut(left)):
            ti.xcom_push(block_key(number), block)
        return list(range(plan.blocks))

    return plan_batch()


def _requests(params: Mapping[str, JsonValue]) -> list[ProcessingRequest]:
    """One request for each path, from the parameter and the file. Raises InvalidInputError, before anything is sent."""
    FailureLimit.parse("fail_on_asset_failures", params.get("fail_on_asset_failures"))
    parse_only_between(params["only_between"])
    parse_patterns("verify_ignore", params.get("verify_ignore"))
    paths, file = cast("list[str]", params["paths"] or []), params["paths_file"]
    listed = read_paths(str(file)) if file else PathList(())
    if not paths and not listed.paths:
        raise InvalidInputError("paths", paths, "Give paths, or a file of paths (paths_file).")
    try:
        return parse_requests(
            [*paths, *listed.paths],
            excluded_paths=[*cast("list[str]", params["excluded_paths"] or []), *listed.excluded_paths],
            file_types=cast("list[str]", params["file_types"] or []),
            created_after=cast("str | None", params["created_after"]),
            created_before=cast("str | None", params["created_before"]),
            processing_type=cast("str", params["processing_type"]),
        )
    except InvalidInputError as error:
        raise listed.located(error) from None


def _done(
    context: Context, params: Mapping[str, JsonValue], instance: str, requests: Sequence[ProcessingRequest]
) -> set[str]:
    """The paths that earlier runs of this batch processed successfully. A cleared run keeps its first answer, so its
    paths keep their places."""
    name = params["batch_name"]
    if not name:
        return set()
    store, asked = cast("StateStore", context["task_state_store"]), digest(requests)
    match store.get(_PLAN_MEMORY):
        case {"digest": str(known), "done": list(indexes)} if known == asked:
            return {requests[int(str(index))].fingerprint() for index in indexes}
    found = done_before(str(name), instance, [request.fingerprint() for request in requests])
    indexes = [index for index, request in enumerate(requests) if request.fingerprint() in found]
    store.set(_PLAN_MEMORY, {"digest": asked, "done": cast("JsonValue", indexes)}, retention=NEVER_EXPIRE)
    return found


@task(trigger_rule="all_done")
def report() -> JsonObject | None:
    """Show the outcome and store it as CSV. Returns None for a batch that could not be planned."""
    context = get_current_context()
    params = cast("Mapping[str, JsonValue]", context["params"])
    ti = cast("RuntimeTaskInstance", context["ti"])
    plan = BatchPlan.from_json(ti.xcom_pull(task_ids=PLAN, key=PLANNED_KEY, map_indexes=-1))
    if not plan.instance:
        ti.xcom_push(PROBLEMS_KEY, [NOTHING_PLANNED])
        return None
    pulled = ti.xcom_pull(task_ids=[PATHS], key=ROW_KEY) or []
    found = [Row.from_json(row) for row in pulled if isinstance(row, dict)]
    rows = _complete(context, plan, {row.fingerprint: row for row in found})
    note_outcomes(
        context, str(params["connection_id"]), PATHS, _started(ti, plan, rows), [row.to_json() for row in rows]
    )
    archived = bool(params["archive_logs"])
    log.info("Left out, because an earlier run processed them: %s", counted(plan.done_before, "path"))
    log.info("%s", summary(rows, archived=archived))
    uri = store_outcome(plan.batch_name, ti.run_id, plan.instance, rows)
    log.info("All rows are in %s", uri)
    wrong = [its for row in rows if (its := problems(row, archive_logs=archived, pull_logs=False))]
    listed = list(chain.from_iterable(wrong))
    if not listed and NOT_RUN in states_in_task(TaskKey(ti.dag_id, ti.run_id, PATHS, -1)):
        listed = ["nothing was processed, because an earlier task failed: the outcome is the one from before the Clear"]
    ti.xcom_push(PROBLEMS_KEY, listed)
    return {
        "paths": len(rows),
        "succeeded": len(rows) - len(wrong),
        "failed": len(wrong),
        "done_before": plan.done_before,
        "outcome_uri": uri,
    }


def _started(ti: RuntimeTaskInstance, plan: BatchPlan, rows: Sequence[Row]) -> list[JsonObject | None]:
    """What the ledger stores about each start; None for a path that has no job."""
    return [
        {
            "processing_id": row.processing_id,
            "path": row.path,
            "origin": row.origin,
            "request": request,
            "instance": plan.instance,
        }
        if row.processing_id
        else None
        for row, request in zip(rows, _planned(ti, plan), strict=True)
    ]


def _planned(ti: RuntimeTaskInstance, plan: BatchPlan) -> list[JsonObject]:
    """The requests of all paths, in the order of the plan."""
    requests: list[JsonObject] = []
    for block in range(plan.blocks):
        requests.extend(ti.xcom_pull(task_ids=PLAN, key=block_key(block), map_indexes=-1) or [])
    return requests


def _complete(context: Context, plan: BatchPlan, rows: Mapping[str, Row]) -> list[Row]:
    """All rows, in the order of the plan. A path without a row gets one from its stored state."""
    if all(fingerprint in rows for _, fingerprint in plan.paths):
        return [rows[fingerprint] for _, fingerprint in plan.paths]
    params = cast("Mapping[str, JsonValue]", context["params"])
    planned = _planned(cast("RuntimeTaskInstance", context["ti"]), plan)
    with AemGuidesHook(str(params["connection_id"])) as hook:
        return [
            rows.get(fingerprint) or _killed_row(context, hook, index, ProcessingRequest.from_json(request))
            for index, ((_, fingerprint), request) in enumerate(zip(plan.paths, planned, strict=True))
        ]


def _killed_row(context: Context, hook: AemGuidesHook, index: int, request: ProcessingRequest) -> Row:
    """The row of a path whose task did not finish. If the task was killed, its job is cancelled now."""
    ti = context["ti"]
    store = PathStore.of_path(ti.dag_id, ti.run_id, PATHS, request.fingerprint())
    error, outcome = "The task was killed or died before it could report.", None
    try:
        _, outcome = settle_left_behind(hook, store, [TaskKey(ti.dag_id, ti.run_id, PATHS, index)])
    except AemGuidesError as trouble:
        error = f"{error} {trouble}"
    state = store.load(request) or PathState(request)
    if outcome is not None:
        error = f"{error} {outcome.in_words(state.processing_id or '')}"
    row = row_of(state, error=error)
    return replace(row, state=str(JobState.CANCELLED)) if state.cancel is CancelResult.CANCELLED else row
