"""The operator that starts a job, once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from airflow.sdk import BaseOperator, Context

from aem_guides.hooks.bodies import surroundings
from aem_guides.hooks.hook import DEFAULT_CONNECTION, AemGuidesHook
from aem_guides.ledger.recorder import note_start
from aem_guides.operators.base import told_by_the_wait
from aem_guides.operators.links import INSTANCE_LINKS
from aem_guides.protocol.conversation import IN_MID_RUN
from aem_guides.protocol.errors import (
    ActiveJobError,
    AemGuidesError,
    DeadlineExceededError,
    DoubtfulStartError,
    Retry,
    StartRefusedError,
    UnreachableError,
)
from aem_guides.protocol.hours import parse_only_between
from aem_guides.protocol.models import ASSET_PROCESSING, JsonObject, JsonValue, ProcessingRequest, strings
from aem_guides.protocol.pacing import Pacing
from aem_guides.protocol.procedures.follow import find_job_patiently
from aem_guides.protocol.procedures.intent import Intent
from aem_guides.protocol.procedures.start import (
    MustWait,
    OnActiveJob,
    Origin,
    Started,
    StartOutcome,
    StartPolicy,
    start_once,
)
from aem_guides.protocol.procedures.turn import wait_for_turn
from aem_guides.protocol.requests import parse_requests
from aem_guides.runtime import fields
from aem_guides.runtime.memory import StartMemory, run_label
from aem_guides.runtime.task_log import show_event
from aem_guides.triggers.job import EARLIER_IDS_KEY, PROCESSING_ID_KEY, AemGuidesTurnTrigger

IN_DOUBT_KEY = "aem_guides_in_doubt"
"""The XCom that tells the report that a start may have been sent, of which no more is known."""


class WaitingFailedError(AemGuidesError):
    """The trigger could not go on waiting for the request's turn; nothing was started."""

    def __init__(self, message: str, retry: Retry) -> None:
        super().__init__(message)
        self.retry = retry


class AemGuidesStartProcessingOperator(BaseOperator):
    """Start processing of one path, once: whatever dies or is lost on the way, one job comes of it.

    :param path: the folder or asset; with `excluded_paths`, `file_types`, `created_after`, `created_before` (ISO
        8601 with offset) and `processing_type`. Or give `request`, as `ProcessingRequest.to_json` writes it.
    :param on_active_job: `adopt` a job that is active on the path and asks for the same, `queue` behind it, or `fail`.
    :param max_active_jobs: start only while fewer jobs are active on the instance; waits in the triggerer.
    :param queue_hours: how long to wait for one's turn at the most, over all tries until Clear; from the beginning of
        the off-peak hours on.
    :param only_between: start only in these off-peak hours, as `protocol.hours` has them; until then it waits in
        the triggerer.
    :param wait_task_id: the task that waits for the job, in a run that has one: it knows the ids that resumes gave it.

    Returns `{"processing_id", "path", "origin", "request", "instance"}`; `origin` is "started", "recovered" (an
    earlier try had started it) or "adopted". A retry after a crash finds the job that an earlier try started; Clear
    after the task had done its work starts anew, unless its job is still active. Raises InvalidInputError,
    ActiveJobError, DoubtfulStartError, StartRefusedError, and what a call raises.
    """

    template_fields: Sequence[str] = (
        "aem_guides_conn_id",
        "path",
        "excluded_paths",
        "file_types",
        "created_after",
        "created_before",
        "processing_type",
        "request",
        "on_active_job",
        "max_active_jobs",
        "queue_hours",
        "only_between",
    )
    operator_extra_links = INSTANCE_LINKS
    ui_color = "#e8f1fb"

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
        max_active_jobs: int | str = 4,
        queue_hours: float | str = 24,
        only_between: JsonValue = None,
        longest_look: float = 15.0,
        deferrable: bool = True,
        wait_task_id: str | None = None,
        **kwargs: object,
    ) -> None:
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
        self.longest_look = longest_look
        self.deferrable = deferrable
        self.wait_task_id = wait_task_id

    def execute(self, context: Context) -> JsonObject:
        """Start, or find what an earlier try started."""
        return self._start(context, may_defer=self.deferrable)

    def execute_after_wait(self, context: Context, event: Mapping[str, JsonValue] | None = None) -> JsonObject:
        """Go on once it is our turn. If another was faster, wait here: deferring twice would cut off the log.

        Only where the off-peak hours are over again it is deferred once more: a lost line is less than a worker that
        is held for a day.
        """
        match event:
            case {"error": str(error), "retry": str(retry)}:
                raise WaitingFailedError(error, Retry(retry))
        if not event or event.get("free") is not True:
            raise DeadlineExceededError(
                f"{self._request().path}: its turn did not come within {self.queue_hours} hours (queue_hours). Look in "
                "the Bulk Processor for what holds the instance up; clear this task to queue again."
            )
        return self._start(context, may_defer=False)

    def _start(self, context: Context, *, may_defer: bool) -> JsonObject:
        request, policy = self._request(), self._policy()
        memory = StartMemory.load(context)
        with AemGuidesHook(self.aem_guides_conn_id, retries=IN_MID_RUN if self.request is not None else None) as hook:
            if memory.was_cleared(context):
                self._forget_what_was_done(context, hook, memory)
            if memory.in_doubt:
                self._remember(context, memory)
            outcome = self._start_once(context, hook, request, policy, memory)
            while isinstance(outcome, MustWait):
                self.log.info("Waiting: %s", outcome.why)
                until = self._queue_until(context, memory, outcome)
                if may_defer or (self.deferrable and outcome.opens_at is not None):
                    self.defer(trigger=self._turn(request, outcome, policy, until), method_name="execute_after_wait")
                self._wait_here(hook, request, outcome, policy, until)
                outcome = self._start_once(context, hook, request, policy, memory)
            memory.done, memory.doubtful = True, False
            memory.save(context)
            self.log.info("%s: job %s (%s)", request.path, outcome.processing_id, outcome.origin)
            context["ti"].xcom_push("processing_id", outcome.processing_id)
            started: JsonObject = {
                "processing_id": outcome.processing_id,
                "path": request.path,
                "origin": str(outcome.origin),
                "request": request.to_json(),
                "instance": hook.settings.instance,
            }
        note_start(context, self.aem_guides_conn_id, started)
        return started

    def _start_once(
        self,
        context: Context,
        hook: AemGuidesHook,
        request: ProcessingRequest,
        policy: StartPolicy,
        memory: StartMemory,
    ) -> StartOutcome:
        def remember(item: object) -> None:
            if isinstance(item, Intent):
                memory.intent = item
                self._remember(context, memory)

        steps = start_once(hook.talk, request, policy=policy, run=run_label(context), intent=memory.intent)
        try:
            outcome = hook.drive(steps, remember)
        except DoubtfulStartError:
            memory.doubtful = True
            memory.save(context)
            raise
        except (StartRefusedError, ActiveJobError):
            memory.intent = None
            self._remember(context, memory)
            raise
        except UnreachableError as error:
            if not error.sent and not (memory.intent and memory.intent.processing_id):
                self.log.info("Nothing was sent to the instance.")
            raise
        if isinstance(outcome, MustWait) and memory.intent is not None:
            memory.intent = None
            self._remember(context, memory)
        if isinstance(outcome, Started) and memory.done and outcome.origin is Origin.RECOVERED:
            self.log.info("An earlier try had handed job %s on already.", outcome.processing_id)
        return outcome

    def _remember(self, context: Context, memory: StartMemory) -> None:
        memory.save(context)
        context["ti"].xcom_push(IN_DOUBT_KEY, memory.in_doubt)

    def _forget_what_was_done(self, context: Context, hook: AemGuidesHook, memory: StartMemory) -> None:
        """After Clear: a job that is still active is kept, one that ended is not; doubt was for a person to settle."""
        intent = memory.intent
        if memory.doubtful:
            memory.intent = None
        elif memory.done and intent is not None and (started := intent.processing_id) is not None:
            goes_on = any(self._is_active(hook, name) for name in self._ids_of(context, started))
            if not goes_on:
                self.log.info("The task was cleared after job %s: starting anew.", started)
            memory.intent = intent if goes_on else None
        memory.done = memory.doubtful = False
        memory.queue_until = None

    def _ids_of(self, context: Context, processing_id: str) -> Iterator[str]:
        """The id under which the job was started, and the one under which it goes on since it was resumed."""
        yield processing_id
        if self.wait_task_id is None:
            return
        if processing_id in strings(told_by_the_wait(context, self.wait_task_id, EARLIER_IDS_KEY)):
            yield str(told_by_the_wait(context, self.wait_task_id, PROCESSING_ID_KEY))

    @staticmethod
    def _is_active(hook: AemGuidesHook, processing_id: str) -> bool:
        job = hook.drive(find_job_patiently(hook.talk, processing_id))
        return job is not None and job.is_active

    def _request(self) -> ProcessingRequest:
        if self.request is not None:
            return ProcessingRequest.from_json(self.request)
        requests = parse_requests(
            [str(self.path)] if self.path is not None else [],
            excluded_paths=fields.texts("excluded_paths", self.excluded_paths),
            file_types=fields.texts("file_types", self.file_types),
            created_after=self.created_after,
            created_before=self.created_before,
            processing_type=self.processing_type,
        )
        return requests[0]

    def _policy(self) -> StartPolicy:
        return StartPolicy(
            on_active_job=fields.choice("on_active_job", self.on_active_job, OnActiveJob),
            max_active_jobs=fields.whole("max_active_jobs", self.max_active_jobs, least=1, most=1000),
            hours=parse_only_between(self.only_between),
        )

    def _queue_until(self, context: Context, memory: StartMemory, wait: MustWait) -> float:
        if memory.queue_until is None or wait.opens_at is not None:
            began = surroundings().now() if wait.opens_at is None else wait.opens_at
            memory.queue_until = began + fields.positive("queue_hours", self.queue_hours, most=24 * 365) * 3600
            memory.save(context)
        return memory.queue_until

    def _turn(
        self, request: ProcessingRequest, wait: MustWait, policy: StartPolicy, until: float
    ) -> AemGuidesTurnTrigger:
        return AemGuidesTurnTrigger(
            aem_guides_conn_id=self.aem_guides_conn_id,
            request=request.to_json(),
            blocking_id=wait.processing_id,
            max_active_jobs=policy.max_active_jobs,
            deadline_at=until,
            longest_look=self.longest_look,
            only_between=policy.hours.to_json() if policy.hours else None,
            queues=policy.on_active_job is OnActiveJob.QUEUE,
        )

    def _wait_here(
        self, hook: AemGuidesHook, request: ProcessingRequest, wait: MustWait, policy: StartPolicy, until: float
    ) -> None:
        steps = wait_for_turn(
            hook.talk,
            request,
            blocking_id=wait.processing_id,
            max_active_jobs=policy.max_active_jobs,
            deadline_at=until,
            pacing=Pacing(longest=self.longest_look),
            hours=policy.hours,
            queues=policy.on_active_job is OnActiveJob.QUEUE,
        )
        if not hook.drive(steps, lambda event: show_event(self.log, event)):
            raise DeadlineExceededError(f"{request.path}: its turn did not come within {self.queue_hours} hours.")
