"""The sensor that waits for a job to end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from airflow.sdk import BaseSensorOperator, Context

from aem_guides.hooks.bodies import surroundings
from aem_guides.hooks.hook import DEFAULT_CONNECTION, AemGuidesHook
from aem_guides.ledger.records import request_of
from aem_guides.operators.links import INSTANCE_LINKS
from aem_guides.protocol.errors import DoubtfulStartError, Retry
from aem_guides.protocol.hours import OffPeakHours, parse_only_between
from aem_guides.protocol.models import Job, JsonObject, JsonValue, ProcessingRequest
from aem_guides.protocol.pacing import Pacing
from aem_guides.protocol.procedures.cancel import CancelOutcome, cancel_and_confirm, may_cancel
from aem_guides.protocol.procedures.follow import Followed, FollowEnd, FollowPlan, find_job, follow
from aem_guides.protocol.procedures.intent import Intent
from aem_guides.protocol.procedures.off_peak import (
    OffPeakCourse,
    OffPeakPhase,
    OffPeakState,
    follow_off_peak,
)
from aem_guides.protocol.procedures.resume import EarlierEnd, resume_once
from aem_guides.protocol.procedures.start import Origin
from aem_guides.protocol.states import Verdict
from aem_guides.results.outcome import Ending, OnDeadline, WaitOutcome, conclude
from aem_guides.runtime import fields
from aem_guides.runtime.memory import WaitMemory, generation, run_label
from aem_guides.runtime.off_peak import OffPeakOrder, kept_state, newest
from aem_guides.runtime.task_log import show_event
from aem_guides.runtime.task_states import KILLED_STATES, TaskKey, task_states_within
from aem_guides.triggers.base import FollowingFailedError
from aem_guides.triggers.job import (
    DEADLINE_CANCEL_SECONDS,
    EARLIER_IDS_KEY,
    KILL_CANCEL_SECONDS,
    LIVE_OFFSET_KEY,
    AemGuidesJobTrigger,
)
from aem_guides.triggers.job import PROCESSING_ID_KEY as PROCESSING_ID_KEY
from aem_guides.triggers.kill import STAGE_KEY, Stage

LIVE_LOG_LINES = 2000
OUTCOME_KEY = "outcome"


class AemGuidesProcessingSensor(BaseSensorOperator):
    """Wait until a job has ended; succeed only if it ended well.

    :param job: what `AemGuidesStartProcessingOperator` returned; or give `processing_id` alone.
    :param deadline_hours: the job's time, from the first try on; kept over retries and restarts.
    :param on_deadline: `cancel` the job then, or `leave` it; one that was adopted as `cancel_adopted` says.
    :param max_resumes: how often a job that failed, and that this run started, is resumed by a next try. Clear gives
        as many anew, and one at the least.
    :param cancel_adopted: cancel also a job that was adopted, not started.
    :param stall_minutes: warn after so long without progress.
    :param stream_logs: show the job's log lines as they come (the first 2,000; pull_logs has all).
    :param only_between: the off-peak hours in which the job may work, as `protocol.hours` has them. It is resumed in
        them alone; with `at_end` = `cancel` it is cancelled at their end and resumed at the next beginning, which
        `max_resumes` does not count, nor `deadline_hours` the time between.
    :param start_task_id: the task that started the job, with the same map index: where the job is in its off-peak hours
        is kept as an XCom of it, since Airflow wipes those of the waiting task when it is cleared.
    :param longest_look: seconds between two looks at the most.
    :param lost_minutes: for how long a job is looked for that neither status nor history knows, as while the instance
        starts up; then it is lost.
    :param deferrable: wait in the triggerer, which costs no worker slot.

    Returns the outcome as `outcome.WaitOutcome.to_json`. The XCom `processing_id` is the id under which the job goes
    on, `earlier_processing_ids` those it had before, `outcome` its outcome also where the task fails. Raises
    JobFailedError, JobCancelledError, JobLostError, JobOutcomeUnknownError, DeadlineExceededError.
    """

    template_fields: Sequence[str] = (
        "aem_guides_conn_id",
        "job",
        "processing_id",
        "deadline_hours",
        "on_deadline",
        "max_resumes",
        "cancel_adopted",
        "stall_minutes",
        "stream_logs",
        "only_between",
    )
    operator_extra_links = INSTANCE_LINKS
    ui_color = "#e8f1fb"

    def __init__(
        self,
        *,
        job: Mapping[str, JsonValue] | None = None,
        processing_id: str | None = None,
        aem_guides_conn_id: str = DEFAULT_CONNECTION,
        deadline_hours: float | str = 24,
        on_deadline: str = OnDeadline.CANCEL,
        max_resumes: int | str = 2,
        cancel_adopted: bool | str = False,
        stall_minutes: float | str = 30,
        stream_logs: bool | str = True,
        only_between: JsonValue = None,
        start_task_id: str | None = None,
        longest_look: float = 15.0,
        lost_minutes: float = 5.0,
        deferrable: bool = True,
        **kwargs: object,
    ) -> None:
        super().__init__(**kwargs)  # type: ignore[arg-type]  # BaseOperator's own arguments
        self.job = job
        self.processing_id = processing_id
        self.aem_guides_conn_id = aem_guides_conn_id
        self.deadline_hours = deadline_hours
        self.on_deadline = on_deadline
        self.max_resumes = max_resumes
        self.cancel_adopted = cancel_adopted
        self.stall_minutes = stall_minutes
        self.stream_logs = stream_logs
        self.only_between = only_between
        self.start_task_id = start_task_id
        self.longest_look = longest_look
        self.lost_minutes = lost_minutes
        self.deferrable = deferrable
        self._waiting_for: tuple[TaskKey, str] | None = None
        self._earlier_end: EarlierEnd | None = None

    def poke(self, context: Context) -> bool:
        """Look once: whether the job has ended."""
        with AemGuidesHook(self.aem_guides_conn_id) as hook:
            return not hook.get_status(self._started()[PROCESSING_ID_KEY]).is_active

    def execute(self, context: Context) -> JsonObject:
        """Look once, resume where a try is to resume, then wait."""
        started = self._started()
        context["ti"].xcom_push(STAGE_KEY, Stage.BEGUN.value)
        memory = self._memory(context, started[PROCESSING_ID_KEY])
        self._waiting_for = (self._key(context), memory.processing_id)
        with AemGuidesHook(self.aem_guides_conn_id) as hook:
            seen = job = hook.drive(find_job(hook.talk, memory.processing_id))
            held = job is not None and self._hold_back(context, memory, job)
            if job is not None and not held and self._shall_resume(context, memory, job):
                self._resume(context, hook, memory, job)
                job = None
            order = self._order(context, memory, seen)
            memory.generation = generation(context)
            memory.save(context)
            self._tell_id(context, memory)
            if job is not None and not held and job.verdict not in (Verdict.ACTIVE, Verdict.ENDED_UNCLEAR):
                return self._finish(context, memory, Followed(FollowEnd.ENDED, job, 0), None)
            if self.deferrable:
                stage = Stage.DEFERRED if self._cancels() else Stage.DEFERRED_KEEP
                context["ti"].xcom_push(LIVE_OFFSET_KEY, 0)
                context["ti"].xcom_push(STAGE_KEY, stage.value)
                self.defer(trigger=self._trigger(memory, order), method_name="execute_complete")
            return self._wait_here(context, hook, memory, order)

    def execute_complete(self, context: Context, event: Mapping[str, JsonValue] | None = None) -> JsonObject:
        """Judge what the trigger saw. Whatever is not plainly a success is none."""
        context["ti"].xcom_push(STAGE_KEY, Stage.CAME_BACK.value)
        memory = self._memory(context, self._started()[PROCESSING_ID_KEY])
        memory.save(context)
        self._tell_id(context, memory)
        match event:
            case {"error": str(error), "retry": str(retry)}:
                raise FollowingFailedError(error, Retry(retry))
            case {"end": str(end), "job": dict(job)}:
                followed = Followed(FollowEnd(end), Job.from_json(job), 0)
            case {"end": str(end), "job": None}:
                followed = Followed(FollowEnd(end), None, 0)
            case _:
                raise FollowingFailedError(f"The trigger fired what cannot be read: {event!r}", Retry.USEFUL)
        cancel = (event or {}).get("cancel")
        return self._finish(context, memory, followed, cancel if isinstance(cancel, str) else None)

    def on_kill(self) -> None:
        """Cancel the job if this task was killed while it ran in a worker; not if the worker goes down."""
        if self._waiting_for is None or not self._cancels():
            return
        key, processing_id = self._waiting_for
        if not task_states_within(key, 10.0) & KILLED_STATES:
            return
        with AemGuidesHook(self.aem_guides_conn_id) as hook:
            self.log.warning(self._cancel(hook, processing_id, KILL_CANCEL_SECONDS).in_words(processing_id))

    @staticmethod
    def _key(context: Context) -> TaskKey:
        ti = context["ti"]
        return TaskKey(ti.dag_id, ti.run_id, ti.task_id, -1 if ti.map_index is None else ti.map_index)

    def _started(self) -> dict[str, str]:
        """The job's id, path and origin as texts."""
        job = self.job or {}
        processing_id = fields.identifier("processing_id", job.get(PROCESSING_ID_KEY) or self.processing_id)
        return {
            PROCESSING_ID_KEY: processing_id,
            "origin": str(job.get("origin") or Origin.STARTED),
        }

    def _memory(self, context: Context, origin_id: str) -> WaitMemory:
        hours = fields.positive("deadline_hours", self.deadline_hours, most=24 * 365)
        resumes = fields.whole("max_resumes", self.max_resumes, least=0, most=100)
        now = surroundings().now()
        memory = WaitMemory.load(context, origin_id)
        if memory is None:
            memory = WaitMemory(origin_id, origin_id, generation(context), now + hours * 3600, resumes)
        off_peak = self._off_peak_state(context, memory)
        cleared = memory.generation != generation(context)
        if cleared:
            memory.deadline_at = now + hours * 3600
            memory.resumes_left = max(1, resumes)  # who clears the task asks for one
            if memory.doubtful:  # and has looked what became of the last one
                memory.resume_intent, memory.doubtful = None, False
        if off_peak is not None:
            memory.off_peak = off_peak.restarted(memory.deadline_at, now) if cleared else off_peak
            memory.processing_id, memory.earlier = off_peak.processing_id, off_peak.earlier
            memory.deadline_at = memory.off_peak.deadline_at
        return memory

    def _hours(self) -> OffPeakHours | None:
        return parse_only_between(self.only_between)

    def _off_peak_state(self, context: Context, memory: WaitMemory) -> OffPeakState | None:
        """Where the job is in its off-peak hours, as far as any try or trigger has come."""
        if self._hours() is None:
            return None
        first = OffPeakState(memory.origin_id, memory.processing_id, memory.deadline_at, earlier=memory.earlier)
        return newest(memory.off_peak or first, kept_state(context, self.start_task_id, memory.origin_id))

    def _hold_back(self, context: Context, memory: WaitMemory, job: Job) -> bool:
        """Whether the job's next step has to wait for off-peak hours, or was begun in earlier ones."""
        hours, state, now = self._hours(), memory.off_peak, surroundings().now()
        if hours is None or state is None:
            return False
        if state.phase is not OffPeakPhase.FOLLOWING:
            return True
        if hours.is_open(now) or not self._shall_resume(context, memory, job):
            return False
        if memory.resume_intent is not None:
            memory.off_peak = state.moved(OffPeakPhase.RESUMING, job=job, intent=memory.resume_intent, held_since=now)
            memory.resume_intent = None
        else:
            memory.off_peak = state.held(job, now)
        memory.resumes_left -= 1
        return True

    def _shall_resume(self, context: Context, memory: WaitMemory, job: Job) -> bool:
        """A try after a failure resumes a failed job; only a person's Clear resumes a cancelled one."""
        if memory.resume_intent is not None:
            return True
        if self._started()["origin"] == Origin.ADOPTED or not job.resumable or memory.resumes_left <= 0:
            return False
        cleared = memory.generation != generation(context)
        if job.verdict is Verdict.FAILED:
            return cleared or context["ti"].try_number > 1
        return job.verdict is Verdict.CANCELLED and cleared

    def _resume(self, context: Context, hook: AemGuidesHook, memory: WaitMemory, job: Job) -> None:
        def remember(item: object) -> None:
            if isinstance(item, Intent):
                memory.resume_intent = item
                memory.save(context)

        request = self._request(job)
        self.log.info("Resuming job %s from its checkpoint (%s resumes left)", job.processing_id, memory.resumes_left)
        steps = resume_once(hook.talk, job, request, run=run_label(context), intent=memory.resume_intent)
        try:
            memory.goes_on_as(hook.drive(steps, remember))
        except DoubtfulStartError:
            memory.doubtful = True
            memory.save(context)
            raise
        self._earlier_end = EarlierEnd.before(memory.resume_intent, surroundings().now())
        memory.resumes += 1
        memory.resumes_left -= 1
        memory.resume_intent = None
        if memory.off_peak is not None:
            memory.off_peak = memory.off_peak.moved(OffPeakPhase.FOLLOWING, processing_id=memory.processing_id)
        self.log.info("The job goes on as %s", memory.processing_id)

    def _request(self, job: Job | None) -> ProcessingRequest:
        stored = (self.job or {}).get("request")
        if isinstance(stored, dict):
            return ProcessingRequest.from_json(stored)
        return (request_of(job) if job is not None else None) or ProcessingRequest(path="/")

    def _order(self, context: Context, memory: WaitMemory, job: Job | None) -> OffPeakOrder | None:
        hours, state = self._hours(), memory.off_peak
        if hours is None or state is None:
            return None
        request = self._request(state.job or job)
        course = OffPeakCourse(hours, may_cancel=self._cancels(), request=request, run=run_label(context))
        return OffPeakOrder(course, state, self.start_task_id)

    def _trigger(self, memory: WaitMemory, order: OffPeakOrder | None) -> AemGuidesJobTrigger:
        plan = self._plan(memory)
        return AemGuidesJobTrigger(
            aem_guides_conn_id=self.aem_guides_conn_id,
            processing_id=memory.processing_id,
            deadline_at=memory.deadline_at,
            cancel_on_deadline=self._cancels_at_deadline(),
            cancel_on_kill=self._cancels(),
            stall_seconds=plan.stall_seconds,
            log_budget=plan.log_budget,
            longest_look=self.longest_look,
            lost_seconds=plan.lost_patience,
            off_peak=order.to_json() if order is not None else None,
            earlier_end=self._earlier_end.to_json() if self._earlier_end is not None else None,
        )

    def _wait_here(
        self, context: Context, hook: AemGuidesHook, memory: WaitMemory, order: OffPeakOrder | None
    ) -> JsonObject:
        key = self._key(context)
        self._waiting_for = (key, memory.processing_id)

        def show_and_keep(event: object) -> None:
            show_event(self.log, event)
            state = memory.off_peak.noting(event) if memory.off_peak is not None else None
            if state is not None:
                memory.off_peak, memory.processing_id, memory.earlier = state, state.processing_id, state.earlier
                memory.save(context)
                self._waiting_for = (key, memory.processing_id)
                self._tell_id(context, memory)

        if order is None:
            followed = hook.drive(follow(hook.talk, memory.processing_id, self._plan(memory)), show_and_keep)
        else:
            steps = follow_off_peak(hook.talk, order.state, self._plan(memory), order.course)
            followed, _ = hook.drive(steps, show_and_keep)
        cancel: str | None = None
        if followed.end is FollowEnd.DEADLINE and self._cancels_at_deadline():
            outcome = self._cancel(hook, memory.processing_id, DEADLINE_CANCEL_SECONDS)
            self.log.warning(outcome.in_words(memory.processing_id))
            cancel = outcome.result.value
        self._waiting_for = None
        return self._finish(context, memory, followed, cancel)

    def _cancel(self, hook: AemGuidesHook, processing_id: str, within: float) -> CancelOutcome:
        steps = cancel_and_confirm(hook.talk, processing_id, within_seconds=within, earlier_end=self._earlier_end)
        return hook.drive(steps)

    def _plan(self, memory: WaitMemory) -> FollowPlan:
        minutes = fields.positive("stall_minutes", self.stall_minutes, most=60 * 24 * 7)
        return FollowPlan(
            deadline_at=memory.deadline_at,
            stall_seconds=minutes * 60,
            pacing=Pacing(longest=self.longest_look),
            log_budget=LIVE_LOG_LINES if fields.flag("stream_logs", self.stream_logs) else 0,
            lost_patience=fields.positive("lost_minutes", self.lost_minutes, most=60 * 24) * 60,
            earlier_end=self._earlier_end,
        )

    def _finish(self, context: Context, memory: WaitMemory, followed: Followed, cancel: str | None) -> JsonObject:
        ending = Ending(
            followed=followed,
            cancel=cancel,
            processing_id=memory.processing_id,
            resumes=memory.resumes + (memory.off_peak.resumes if memory.off_peak is not None else 0),
            resumes_left=memory.resumes_left,
            adopted=self._started()["origin"] == Origin.ADOPTED,
            hours=fields.positive("deadline_hours", self.deadline_hours, most=24 * 365),
            spared=self._on_deadline() is OnDeadline.CANCEL and not self._cancels(),
        )
        outcome = WaitOutcome.of(ending).to_json()
        context["ti"].xcom_push(OUTCOME_KEY, outcome)
        self.log.info(conclude(ending))
        return outcome

    def _tell_id(self, context: Context, memory: WaitMemory) -> None:
        context["ti"].xcom_push(PROCESSING_ID_KEY, memory.processing_id)
        context["ti"].xcom_push(EARLIER_IDS_KEY, list(memory.earlier))

    def _cancels(self) -> bool:
        cancel_adopted = fields.flag("cancel_adopted", self.cancel_adopted)
        return may_cancel(self._started()["origin"], cancel_adopted=cancel_adopted)

    def _cancels_at_deadline(self) -> bool:
        return self._on_deadline() is OnDeadline.CANCEL and self._cancels()

    def _on_deadline(self) -> OnDeadline:
        return fields.choice("on_deadline", self.on_deadline, OnDeadline)
