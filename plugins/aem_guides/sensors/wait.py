"""The sensor that waits for a job to end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from airflow.sdk import BaseSensorOperator, Context

from aem_guides.hooks.hook import DEFAULT_CONNECTION, AemGuidesHook
from aem_guides.ledger.records import request_of
from aem_guides.operators.links import INSTANCE_LINKS
from aem_guides.operators.path_task import PathTask
from aem_guides.protocol.admission import MAX_ACTIVE_JOBS
from aem_guides.protocol.conversation import IN_MID_RUN
from aem_guides.protocol.models import JsonObject, JsonValue, ProcessingRequest
from aem_guides.protocol.pacing import LONGEST_LOOK
from aem_guides.protocol.procedures.follow import find_job_patiently
from aem_guides.protocol.procedures.path_state import PathState, Phase
from aem_guides.protocol.procedures.start import Origin
from aem_guides.protocol.procedures.take_up import Part
from aem_guides.results.handed_on import OUTCOME_KEY, PROCESSING_ID_KEY, STATE_KEY, ids_of
from aem_guides.results.outcome import STARTER, OnDeadline, WaitOutcome, conclude, ending_of
from aem_guides.runtime import fields
from aem_guides.runtime.notes import NOTES, path_key
from aem_guides.runtime.path_store import PathStore


class AemGuidesProcessingSensor(PathTask, BaseSensorOperator):
    """Wait until a job has ended. The sensor succeeds only if the job succeeded.

    :param job: what `AemGuidesStartProcessingOperator` returned; or give `processing_id` alone.
    :param deadline_hours: the job's time, from the first try on. Retries and restarts do not extend it.
    :param on_deadline: `cancel` the job at its deadline, or `leave` it. For an adopted job, `cancel_adopted` decides.
    :param max_resumes: how often a later try resumes a failed job that this run started. Clear allows as many again,
        and at least one.
    :param max_active_jobs: resume the job only while fewer jobs are active on the instance.
    :param cancel_adopted: cancel also a job that was adopted, not started.
    :param stall_minutes: warn after so long without progress.
    :param stream_logs: show the job's log lines as they come (the first 2,000; pull_logs has all).
    :param only_between: the off-peak hours in which the job may run, in the form of `protocol.hours`. It is resumed
        only in them. With `at_end` = `cancel` it is cancelled at their end and resumed when the next hours begin. Such
        a resume does not count for `max_resumes`, and the time between does not count for `deadline_hours`.
    :param longest_look: the longest pause between two looks, in seconds. It applies only to jobs that take hours. Looks
        come more often near the end of a job, and for jobs that take minutes.
    :param lost_minutes: how long a job that neither status nor history knows is looked for, because an instance that
        starts up gives the same answers. After that the job is lost.
    :param deferrable: wait in the triggerer, without a worker slot.

    Returns the outcome as `outcome.WaitOutcome.to_json`. The XCom `processing_id` is the current id of the job,
    `earlier_processing_ids` are its earlier ids, `state_key` is where its state is stored, and `outcome` is its
    outcome, also if the task fails. Raises JobFailedError, JobCancelledError, JobLostError, JobOutcomeUnknownError,
    DeadlineExceededError.
    """

    template_fields: Sequence[str] = (
        "aem_guides_conn_id",
        "job",
        "processing_id",
        "deadline_hours",
        "on_deadline",
        "max_resumes",
        "max_active_jobs",
        "cancel_adopted",
        "stall_minutes",
        "stream_logs",
        "only_between",
    )
    operator_extra_links = INSTANCE_LINKS
    ui_color = "#e8f1fb"
    part = Part.WAIT
    only_waits = True

    def __init__(
        self,
        *,
        job: Mapping[str, JsonValue] | None = None,
        processing_id: str | None = None,
        aem_guides_conn_id: str = DEFAULT_CONNECTION,
        deadline_hours: float | str = 24,
        on_deadline: str = OnDeadline.CANCEL,
        max_resumes: int | str = 2,
        max_active_jobs: int | str = MAX_ACTIVE_JOBS,
        cancel_adopted: bool | str = False,
        stall_minutes: float | str = 30,
        stream_logs: bool | str = True,
        only_between: JsonValue = None,
        longest_look: float = LONGEST_LOOK,
        lost_minutes: float = 5.0,
        deferrable: bool = True,
        **kwargs: object,
    ) -> None:
        kwargs.setdefault("inlets", [NOTES])
        super().__init__(**kwargs)  # type: ignore[arg-type]  # BaseOperator's own arguments
        self.job = job
        self.processing_id = processing_id
        self.aem_guides_conn_id = aem_guides_conn_id
        self.deadline_hours = deadline_hours
        self.on_deadline = on_deadline
        self.max_resumes = max_resumes
        self.max_active_jobs = max_active_jobs
        self.cancel_adopted = cancel_adopted
        self.stall_minutes = stall_minutes
        self.stream_logs = stream_logs
        self.only_between = only_between
        self.longest_look = longest_look
        self.lost_minutes = lost_minutes
        self.deferrable = deferrable

    def execute(self, context: Context) -> JsonObject:
        """Check once, decide what this try does, then wait."""
        fresh = self._fresh()
        store = self._store(context, fresh)
        with self.concluding(context, store):
            retries = IN_MID_RUN if self.job is not None else None
            with AemGuidesHook(self.aem_guides_conn_id, retries=retries) as hook:
                state = self.take_up(context, hook, store, self._with_request(hook, store, fresh))
            self._push_ids(context, store, state)
            if state.phase is not Phase.ENDED:
                state = self.go_on(context, store)
            return self._finish(context, store, state)

    def execute_complete(self, context: Context, event: Mapping[str, JsonValue] | None = None) -> JsonObject:
        """Evaluate the event of the trigger. Only a clear success counts as one."""
        store = self._store(context, self._fresh())
        with self.concluding(context, store):
            return self._finish(context, store, self.came_back(store, event))

    def _fresh(self) -> PathState:
        """The first state of a job of which only the id is known."""
        job = self.job or {}
        request, instance, origin = job.get("request"), job.get("instance"), str(job.get("origin") or Origin.STARTED)
        return PathState(
            ProcessingRequest.from_json(request) if isinstance(request, dict) else ProcessingRequest(path="/"),
            Phase.FOLLOWING,
            processing_id=fields.identifier("processing_id", job.get(PROCESSING_ID_KEY) or self.processing_id),
            origin=fields.choice("origin", origin, Origin),
            instance=instance if isinstance(instance, str) else None,
        )

    def _with_request(self, hook: AemGuidesHook, store: PathStore, fresh: PathState) -> PathState:
        """The state with the job's request. The request identifies the job if its id changes."""
        if isinstance((self.job or {}).get("request"), dict):
            return fresh
        stored = store.load()
        if stored is not None:
            return replace(fresh, request=stored.request)
        job = hook.drive(find_job_patiently(hook.talk, str(fresh.processing_id)))
        return replace(fresh, request=(request_of(job) if job is not None else None) or fresh.request)

    def _store(self, context: Context, fresh: PathState) -> PathStore:
        key = (self.job or {}).get(STATE_KEY)
        ti = context["ti"]
        return PathStore(
            key if isinstance(key, str) else path_key(ti.dag_id, ti.run_id, ti.task_id, str(fresh.processing_id))
        )

    def _finish(self, context: Context, store: PathStore, state: PathState) -> JsonObject:
        self._push_ids(context, store, state)
        ending = ending_of(state, self.options(context), STARTER)
        outcome = WaitOutcome.of(ending).to_json()
        context["ti"].xcom_push(OUTCOME_KEY, outcome)
        self.log.info(conclude(ending))
        self.conclude(store)
        return outcome

    def _push_ids(self, context: Context, store: PathStore, state: PathState) -> None:
        for key, value in ids_of(state, store.key).items():
            context["ti"].xcom_push(key, value)
