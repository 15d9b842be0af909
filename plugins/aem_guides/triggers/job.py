"""The triggers: what waits without a worker slot."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace

from airflow.sdk.bases.xcom import BaseXCom

from aem_guides.hooks.hook import AemGuidesAsyncHook
from aem_guides.protocol.errors import AemGuidesError
from aem_guides.protocol.hours import parse_only_between
from aem_guides.protocol.models import JsonObject, JsonValue, ProcessingRequest
from aem_guides.protocol.pacing import Pacing
from aem_guides.protocol.procedures.cancel import CancelOutcome, cancel_and_confirm
from aem_guides.protocol.procedures.events import LogLines
from aem_guides.protocol.procedures.follow import Followed, FollowEnd, FollowPlan, follow
from aem_guides.protocol.procedures.off_peak import OffPeakPhase, OffPeakState, follow_off_peak
from aem_guides.protocol.procedures.resume import EarlierEnd, settle_resume
from aem_guides.protocol.procedures.turn import wait_for_turn
from aem_guides.runtime.off_peak import OffPeakOrder
from aem_guides.runtime.task_log import show_event
from aem_guides.runtime.task_states import KILLED_STATES, TaskKey, task_states
from aem_guides.triggers.base import AemGuidesTrigger

LIVE_OFFSET_KEY = "aem_guides_live_offset"
CANCEL_KEY = "aem_guides_cancel"
PROCESSING_ID_KEY = "processing_id"
EARLIER_IDS_KEY = "earlier_processing_ids"
DEADLINE_CANCEL_SECONDS = 120.0
KILL_CANCEL_SECONDS = 20.0
FIRST_LOOK_SECONDS = 2.0
"""An event that comes sooner after deferring finds Airflow 3.3.2 not ready for it: the task counts as dead."""


class AemGuidesJobTrigger(AemGuidesTrigger):
    """Follow one job to its end and fire one event.

    :param aem_guides_conn_id: the Airflow connection.
    :param processing_id: the job.
    :param deadline_at: when its time is over, in seconds since the epoch.
    :param cancel_on_deadline: cancel it then, and confirm that.
    :param cancel_on_kill: cancel it when the waiting task is marked failed, or its run fails or times out.
    :param stall_seconds: warn after so long without progress.
    :param log_budget: show at most so many lines of the job's log as they come.
    :param longest_look: seconds between two looks at the most.
    :param lost_seconds: for how long a job is looked for that neither status nor history knows.
    :param off_peak: the off-peak hours and where the job is in them, as `off_peak.OffPeakOrder` writes it; None: the
        job may work at any time. `deadline_at` is then that of the state in it.

    The event is `{"end", "job", "log_lines", "cancel"}`, or `{"error", "retry"}` where following failed.
    """

    def __init__(
        self,
        *,
        aem_guides_conn_id: str,
        processing_id: str,
        deadline_at: float,
        cancel_on_deadline: bool,
        cancel_on_kill: bool,
        stall_seconds: float,
        log_budget: int,
        longest_look: float,
        lost_seconds: float = 300.0,
        off_peak: JsonObject | None = None,
        earlier_end: JsonObject | None = None,
    ) -> None:
        super().__init__(
            aem_guides_conn_id=aem_guides_conn_id,
            processing_id=processing_id,
            deadline_at=deadline_at,
            cancel_on_deadline=cancel_on_deadline,
            cancel_on_kill=cancel_on_kill,
            stall_seconds=stall_seconds,
            log_budget=log_budget,
            longest_look=longest_look,
            lost_seconds=lost_seconds,
            off_peak=off_peak,
            earlier_end=earlier_end,
        )
        self.aem_guides_conn_id = aem_guides_conn_id
        self.processing_id = processing_id
        self.deadline_at = deadline_at
        self.cancel_on_deadline = cancel_on_deadline
        self.cancel_on_kill = cancel_on_kill
        self.stall_seconds = stall_seconds
        self.log_budget = log_budget
        self.longest_look = longest_look
        self.lost_seconds = lost_seconds
        self._order = OffPeakOrder.from_json(off_peak) if off_peak is not None else None
        self._earlier_end = EarlierEnd.from_json(earlier_end) if earlier_end is not None else None

    async def outcome(self) -> JsonObject:
        """Follow the job; a restarted triggerer goes on where the log stood, and says so."""
        return await self._follow()

    async def settle_kill(self) -> None:
        """Cancel the job if the task was killed; leave it alone if the task was cleared or marked successful."""
        key = self._task_key()
        states = await task_states(key) if key is not None else frozenset()
        if not states & KILLED_STATES:
            self.log.info(
                "Job %s goes on: the task was not killed (%s)", self.processing_id, ", ".join(states) or "cleared"
            )
            return
        if not self.cancel_on_kill:
            self.log.info("Job %s goes on: it was adopted, and cancel_adopted is off", self.processing_id)
            return
        async with AemGuidesAsyncHook(self.aem_guides_conn_id) as hook:
            await self._settle_resume(hook)
            outcome = await self._cancel(hook, KILL_CANCEL_SECONDS)
        self.log.warning(outcome.in_words(self.processing_id))
        if key is not None:
            await self._remember(key, CANCEL_KEY, outcome.result.value)

    async def _follow(self) -> JsonObject:
        key = self._task_key()
        if self._order is not None:
            self._order = await self._order.with_kept_state(key)
            self.processing_id = self._order.state.processing_id
        offset = await self._live_offset(key)
        if offset:
            self.log.info(
                "The log of job %s goes on at line %s after a restart of the triggerer.", self.processing_id, offset
            )
        plan = FollowPlan(
            deadline_at=self.deadline_at,
            stall_seconds=self.stall_seconds,
            pacing=Pacing(longest=self.longest_look),
            log_budget=max(0, self.log_budget - offset),
            log_offset=offset,
            lost_patience=self.lost_seconds,
            earlier_end=self._earlier_end,
        )
        async with AemGuidesAsyncHook(self.aem_guides_conn_id) as hook:
            followed = await self._drive(hook, plan, key)
            cancel: str | None = None
            if followed.end is FollowEnd.DEADLINE and self.cancel_on_deadline:
                outcome = await self._cancel(hook, DEADLINE_CANCEL_SECONDS)
                self.log.warning(outcome.in_words(self.processing_id))
                cancel = outcome.result.value
        return {
            "end": followed.end.value,
            "job": followed.job.to_json() if followed.job else None,
            "log_lines": followed.log_lines,
            "cancel": cancel,
        }

    async def _drive(self, hook: AemGuidesAsyncHook, plan: FollowPlan, key: TaskKey | None) -> Followed:
        talk, show = await hook.talk(), self._consumer(key)
        if self._order is None:
            return await hook.drive(follow(talk, self.processing_id, plan), show)

        async def show_and_keep(event: object) -> None:
            await show(event)
            await self._keep(event, key)

        steps = follow_off_peak(talk, self._order.state, plan, self._order.course)
        followed, _ = await hook.drive(steps, show_and_keep)
        return followed

    async def _keep(self, event: object, key: TaskKey | None) -> None:
        """Keep where the job is in its off-peak hours, and tell the tasks after this one the id it goes on under."""
        state = self._order.state.noting(event) if self._order is not None else None
        if self._order is None or state is None:
            return
        renamed = state.processing_id != self.processing_id
        if key is not None:
            await self._order.keep(key, state)
            if renamed:
                await self._remember(key, EARLIER_IDS_KEY, list(state.earlier))
                await self._remember(key, PROCESSING_ID_KEY, state.processing_id)
                await self._remember(key, LIVE_OFFSET_KEY, 0)
        self._order, self.processing_id = replace(self._order, state=state), state.processing_id

    async def _settle_resume(self, hook: AemGuidesAsyncHook) -> None:
        """A kill may come between a resume and its answer: then look for the id that the job goes on under."""
        state: OffPeakState | None = self._order.state if self._order is not None else None
        if self._order is None or state is None or state.phase is not OffPeakPhase.RESUMING:
            return
        if state.job is None or state.intent is None:
            return
        steps = settle_resume(await hook.talk(), state.job, self._order.course.request, state.intent, (2.0,))
        try:
            found: str | None = await hook.drive(steps)
            self.processing_id = found or self.processing_id
        except AemGuidesError as error:
            self.log.warning("Whether job %s was resumed is not known: %s", self.processing_id, error)

    def _consumer(self, key: TaskKey | None) -> Callable[[object], Awaitable[None]]:
        async def consume(event: object) -> None:
            show_event(self.log, event)
            if isinstance(event, LogLines) and key is not None:
                await self._remember(key, LIVE_OFFSET_KEY, event.next_offset)

        return consume

    async def _live_offset(self, key: TaskKey | None) -> int:
        if key is None or self.log_budget <= 0:
            return 0
        kept = await BaseXCom.aget_one(
            key=LIVE_OFFSET_KEY, dag_id=key.dag_id, task_id=key.task_id, run_id=key.run_id, map_index=key.map_index
        )
        return kept if isinstance(kept, int) else 0

    async def _remember(self, key: TaskKey, name: str, value: int | str | list[str]) -> None:
        await BaseXCom.aset(
            name, value, dag_id=key.dag_id, task_id=key.task_id, run_id=key.run_id, map_index=key.map_index
        )

    async def _cancel(self, hook: AemGuidesAsyncHook, within: float) -> CancelOutcome:
        talk = await hook.talk()
        return await hook.drive(
            cancel_and_confirm(talk, self.processing_id, within_seconds=within, earlier_end=self._earlier_end)
        )


class AemGuidesTurnTrigger(AemGuidesTrigger):
    """Wait until nothing is in the way of a start, and fire `{"free": true}`; `{"free": false}` at the deadline.

    Where waiting failed, the event is `{"error", "retry"}`.

    :param request: the request that waits, as `ProcessingRequest.to_json` gives it.
    :param blocking_id: the job in the way, where it is known.
    :param max_active_jobs: how many jobs may be active on the instance (None: any number).
    :param deadline_at: when to stop waiting, in seconds since the epoch.
    :param only_between: the off-peak hours, as `protocol.hours` has them; None: at any time.
    :param queues: wait until no job is active on the path; without it, such a job ends the wait.
    """

    def __init__(
        self,
        *,
        aem_guides_conn_id: str,
        request: JsonObject,
        blocking_id: str | None,
        max_active_jobs: int | None,
        deadline_at: float,
        longest_look: float,
        only_between: JsonValue = None,
        queues: bool = True,
    ) -> None:
        super().__init__(
            aem_guides_conn_id=aem_guides_conn_id,
            request=request,
            blocking_id=blocking_id,
            max_active_jobs=max_active_jobs,
            deadline_at=deadline_at,
            longest_look=longest_look,
            only_between=only_between,
            queues=queues,
        )
        self.aem_guides_conn_id = aem_guides_conn_id
        self.request = request
        self.blocking_id = blocking_id
        self.max_active_jobs = max_active_jobs
        self.deadline_at = deadline_at
        self.longest_look = longest_look
        self.hours = parse_only_between(only_between)
        self.queues = queues

    async def outcome(self) -> JsonObject:
        """Look at the history until it is this request's turn."""
        return {"free": await self._wait()}

    async def _wait(self) -> bool:
        async with AemGuidesAsyncHook(self.aem_guides_conn_id) as hook:
            steps = wait_for_turn(
                await hook.talk(),
                ProcessingRequest.from_json(self.request),
                blocking_id=self.blocking_id,
                max_active_jobs=self.max_active_jobs,
                deadline_at=self.deadline_at,
                pacing=Pacing(longest=self.longest_look),
                first_look=FIRST_LOOK_SECONDS,
                hours=self.hours,
                queues=self.queues,
            )
            return await hook.drive(steps, lambda event: show_event(self.log, event))
