"""The operator that starts a job, once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from airflow.sdk import BaseOperator, Context

from aem_guides.hooks.hook import DEFAULT_CONNECTION, AemGuidesHook
from aem_guides.operators.links import INSTANCE_LINKS
from aem_guides.operators.path_task import REQUEST_FIELDS, PathTask, asked
from aem_guides.protocol.admission import MAX_ACTIVE_JOBS
from aem_guides.protocol.conversation import IN_MID_RUN
from aem_guides.protocol.errors import DeadlineExceededError
from aem_guides.protocol.models import ASSET_PROCESSING, JsonObject, JsonValue
from aem_guides.protocol.pacing import LONGEST_LOOK
from aem_guides.protocol.procedures.path_state import HAS_NO_JOB, PathState
from aem_guides.protocol.procedures.start import OnActiveJob
from aem_guides.protocol.procedures.take_up import Part
from aem_guides.results.outcome import started_as
from aem_guides.runtime.notes import NOTES
from aem_guides.runtime.path_store import PathStore


class AemGuidesStartProcessingOperator(PathTask, BaseOperator):
    """Start the processing of one path, once: whatever fails on the way, one job is started.

    :param path: the folder or asset; with `excluded_paths`, `file_types`, `created_after`, `created_before` (ISO 8601
        with offset) and `processing_type`. Or give `request`, as `ProcessingRequest.to_json` writes it.
    :param on_active_job: `adopt` an active job on the path that has the same request, `queue` behind it, or `fail`.
    :param max_active_jobs: start only while fewer jobs are active on the instance. The wait is in the triggerer.
    :param queue_hours: the longest wait for the turn, over all tries until Clear, from the beginning of the off-peak
        hours on.
    :param only_between: start only in these off-peak hours, in the form of `protocol.hours`. The wait for them is in
        the triggerer.
    :param cancel_adopted: if this task is killed, cancel also a job that it has adopted.
    :param deferrable: wait in the triggerer, without a worker slot.

    Returns `{"processing_id", "path", "origin", "request", "instance", "state_key"}`. `origin` is "started",
    "recovered" (found in the history, because the start was not answered) or "adopted". A retry after a crash finds the
    job that an earlier try started. Clear after a success starts a new job, unless the old one is still active. Raises
    InvalidInputError, ActiveJobError, DoubtfulStartError, StartRefusedError, and what a call raises.
    """

    template_fields: Sequence[str] = (
        *REQUEST_FIELDS,
        "on_active_job",
        "max_active_jobs",
        "queue_hours",
        "only_between",
        "cancel_adopted",
    )
    operator_extra_links = INSTANCE_LINKS
    ui_color = "#e8f1fb"
    part = Part.START

    def __init__(
        self,
        *,
        path: str | None = None,
        excluded_paths: Sequence[str] | str | None = None,
        file_types: Sequence[str] | str | None = None,
        created_after: str | None = None,
        created_before: str | None = None,
        processing_type: str = ASSET_PROCESSING,
        request: Mapping[str, JsonValue] | None = None,
        aem_guides_conn_id: str = DEFAULT_CONNECTION,
        on_active_job: str = OnActiveJob.ADOPT,
        max_active_jobs: int | str = MAX_ACTIVE_JOBS,
        queue_hours: float | str = 24,
        only_between: JsonValue = None,
        cancel_adopted: bool | str = False,
        longest_look: float = LONGEST_LOOK,
        deferrable: bool = True,
        **kwargs: object,
    ) -> None:
        kwargs.setdefault("inlets", [NOTES])
        super().__init__(**kwargs)  # type: ignore[arg-type]  # BaseOperator's own arguments
        self.path = path
        self.excluded_paths = excluded_paths
        self.file_types = file_types
        self.created_after = created_after
        self.created_before = created_before
        self.processing_type = processing_type
        self.request = request
        self.aem_guides_conn_id = aem_guides_conn_id
        self.on_active_job = on_active_job
        self.max_active_jobs = max_active_jobs
        self.queue_hours = queue_hours
        self.only_between = only_between
        self.cancel_adopted = cancel_adopted
        self.longest_look = longest_look
        self.deferrable = deferrable

    def execute(self, context: Context) -> JsonObject:
        """Start the job, or find the job that an earlier try started."""
        request = asked(self)
        store = self.store(context, request)
        with self.concluding(context, store):
            retries = IN_MID_RUN if self.request is not None else None
            with AemGuidesHook(self.aem_guides_conn_id, retries=retries) as hook:
                state = self.take_up(context, hook, store, PathState(request))
            if state.phase in HAS_NO_JOB:
                state = self.go_on(context, store)
            return self._started(context, store, state)

    def execute_complete(self, context: Context, event: Mapping[str, JsonValue] | None = None) -> JsonObject:
        """The trigger has started the job, or the turn did not come in time."""
        store = self.store(context, asked(self))
        with self.concluding(context, store):
            return self._started(context, store, self.came_back(store, event))

    def execute_after_wait(self, context: Context, event: Mapping[str, JsonValue] | None = None) -> JsonObject:
        """A task that an earlier version deferred continues with this method."""
        return self.execute_complete(context, event)

    def _started(self, context: Context, store: PathStore, state: PathState) -> JsonObject:
        if state.processing_id is None:
            raise DeadlineExceededError(
                f"{state.request.path}: no turn came within {self.queue_hours} hours (queue_hours). Check in the Bulk "
                "Processor which jobs are active, then clear this task to queue again."
            )
        self.log.info("%s: job %s (%s)", state.request.path, state.processing_id, state.origin)
        context["ti"].xcom_push("processing_id", state.processing_id)
        return {**started_as(state), "state_key": store.key}
