"""The trigger of one path of a batch: it waits for its turn, starts the job and follows it."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, replace

from airflow.sdk.bases.xcom import BaseXCom
from airflow.sdk.exceptions import AirflowRuntimeError

from aem_guides.hooks.bodies import surroundings
from aem_guides.hooks.hook import AemGuidesAsyncHook
from aem_guides.protocol.admission import Place, Ticket
from aem_guides.protocol.batch import PathNote
from aem_guides.protocol.errors import (
    ActiveJobError,
    DoubtfulStartError,
    JobFailedError,
    JobLostError,
    MalformedAnswerError,
    StartRefusedError,
    UnavailableError,
    UnreachableError,
)
from aem_guides.protocol.models import JsonObject, ProcessingRequest
from aem_guides.protocol.pacing import Pacing
from aem_guides.protocol.procedures.cancel import CancelOutcome, CancelResult, cancel_and_confirm, may_cancel
from aem_guides.protocol.procedures.follow import Followed, FollowEnd, FollowPlan, find_job, follow
from aem_guides.protocol.procedures.intent import Intent
from aem_guides.protocol.procedures.resume import EarlierEnd, resume_once
from aem_guides.protocol.procedures.start import (
    MustWait,
    OnActiveJob,
    StartPolicy,
    await_interval,
    find_started,
    start_once,
)
from aem_guides.protocol.states import JobState
from aem_guides.results.batch_rows import ROW_KEY, row_of
from aem_guides.runtime.notes import AirflowNotes, Notes
from aem_guides.runtime.task_log import show_event
from aem_guides.runtime.task_states import KILLED_STATES, task_states
from aem_guides.triggers.admission import Coordinator, LeaseLostError, coordinator_for
from aem_guides.triggers.base import AemGuidesTrigger
from aem_guides.triggers.job import DEADLINE_CANCEL_SECONDS, KILL_CANCEL_SECONDS

_NOT_OF_THE_PATH = (UnreachableError, LeaseLostError, AirflowRuntimeError)
_MENDED_BY_TIME = (*_NOT_OF_THE_PATH, UnavailableError, MalformedAnswerError)


@dataclass(frozen=True)
class PathPlan:
    """What a trigger is to do for one path; plain values, since Airflow stores it.

    `note` is a `PathNote` and `request` a `ProcessingRequest` as their `to_json` gives them; `note_key` is where the
    note is written. `came_at`, `run` and `index` are the place in the line. Times are in seconds: `queue_until`
    since the epoch, `job_seconds` from the start of the job on.
    """

    request: JsonObject
    note: JsonObject
    note_key: str
    label: str
    came_at: float
    run: str
    index: int
    on_active_job: str
    max_active_jobs: int
    queue_until: float
    job_seconds: float
    cancel_on_deadline: bool
    cancel_adopted: bool
    stall_seconds: float
    longest_look: float


class AemGuidesPathTrigger(AemGuidesTrigger):
    """Bring one path of a batch from its place in the line to the end of its job, and fire one event.

    :param aem_guides_conn_id: the Airflow connection.
    :param plan: what to do, as keywords of `PathPlan`.

    The event is `{"note", "end", "job", "cancel"}`, `end` being a `FollowEnd` or "no turn"; or `{"note", "error",
    "retry"}` where it failed. A restarted triggerer goes on from the note.
    """

    def __init__(self, *, aem_guides_conn_id: str, plan: dict[str, object]) -> None:
        super().__init__(aem_guides_conn_id=aem_guides_conn_id, plan=plan)
        self.aem_guides_conn_id = aem_guides_conn_id
        self.plan = PathPlan(**plan)  # type: ignore[arg-type]  # what `asdict` of a PathPlan gave
        self.request = ProcessingRequest.from_json(self.plan.request)
        self.notes: Notes = AirflowNotes()
        self._note = PathNote.from_json(self.plan.note)
        self._earlier_end: EarlierEnd | None = None

    async def outcome(self) -> JsonObject:
        """Wait, start, follow."""
        return await self._process()

    def failed(self, error: JsonObject) -> JsonObject:
        """What went wrong, and the note: whoever comes back goes on from it."""
        return {"note": self._note.to_json(), **error}

    async def _process(self) -> JsonObject:
        self._note = PathNote.read(await self._noted(), self.request) or self._note
        async with AemGuidesAsyncHook(self.aem_guides_conn_id) as hook:
            coordinator = await coordinator_for(hook, self.notes, self.plan.longest_look)
            if self._note.unsettled and not self._note.doubtful:
                await self._settle(hook)
            if (self._note.processing_id is None or self._note.resume_from) and not await self._begin(
                hook, coordinator
            ):
                return {"note": self._note.to_json(), "end": "no turn", "job": None, "cancel": None}
            return await self._follow(hook, coordinator)

    async def _noted(self) -> JsonObject | None:
        stored = await self.notes.aget(self.plan.note_key)
        return stored if isinstance(stored, dict) else None

    async def _settle(self, hook: AemGuidesAsyncHook) -> None:
        """What an earlier try was about to start is found before anything else: it may leave the window soon."""
        intent = self._note.start
        if intent is None:
            return
        steps = find_started(await hook.talk(), self.request, intent, self._policy(None, frozenset()))
        try:
            started = await hook.drive(steps)
        except DoubtfulStartError:
            await self._write(replace(self._note, doubtful=True))
            raise
        if started is None:
            await self._write(replace(self._note, start=None))
            return
        self.log.info("%s: job %s was started by an earlier try", self.request.path, started.processing_id)
        await self._keep(self._note.started(started.processing_id, started.origin, self._deadline()))

    async def _begin(self, hook: AemGuidesAsyncHook, coordinator: Coordinator) -> bool:
        """Wait for the turn and make the job run; False where the turn did not come in time."""
        plan = self.plan
        ticket = Ticket(
            Place(plan.came_at, plan.run, plan.index),
            self.request.path,
            plan.max_active_jobs,
            queues=plan.on_active_job == OnActiveJob.QUEUE or self._note.resume_from is not None,
        )
        if self._note.start is None and self._note.resume_from is None:
            # Others start meanwhile: whoever waits for a clock has no turn yet. The start itself looks at it again.
            with contextlib.suppress(*_MENDED_BY_TIME):
                steps = await_interval(await hook.talk(), self.request)
                await hook.drive(steps, lambda event: show_event(self.log, event))
        failures = 0
        async with coordinator.line(ticket):
            while await coordinator.wait(ticket, hook, plan.queue_until, self.log.info):
                try:
                    wait = await self._act(hook, coordinator, ticket)
                except _MENDED_BY_TIME as error:
                    failures += 1
                    self.log.warning("Not started yet, trying again: %s", error)
                    pause = Pacing(longest=60.0).after_failures(failures, random=0.5)
                    if isinstance(error, _NOT_OF_THE_PATH):
                        coordinator.hold_all(ticket, pause)
                    else:
                        coordinator.put_back(ticket, pause)
                    continue
                if wait is None:
                    return True
                self.log.info("Waiting: %s", wait.why)
                if wait.lacks_room:
                    coordinator.hold_all(ticket, Pacing().shortest / 2)
                else:
                    coordinator.put_back(ticket, Pacing().shortest, wait.processing_id)
        return False

    async def _act(self, hook: AemGuidesAsyncHook, coordinator: Coordinator, ticket: Ticket) -> MustWait | None:
        """Start, or resume; None once the job runs and is noted."""
        if self._note.resume_from is not None:
            await self._resume(hook, coordinator, self._note.resume_from)
            return None
        talk = await hook.talk()
        policy = self._policy(ticket.limit, frozenset(coordinator.turns.active))

        async def before(item: object) -> None:
            if isinstance(item, Intent) and item.processing_id is None:
                await coordinator.confirm()
                await self._write(replace(self._note, start=item, doubtful=False))

        intent = self._note.start if self._note.unsettled else None
        steps = start_once(talk, self.request, policy=policy, run=self.plan.label, intent=intent)
        try:
            outcome = await hook.drive(steps, before)
        except DoubtfulStartError:
            await self._write(replace(self._note, doubtful=True))
            raise
        except (StartRefusedError, ActiveJobError):
            await self._write(replace(self._note, start=None))
            raise
        if isinstance(outcome, MustWait):
            if self._note.start is not None:
                await self._write(replace(self._note, start=None))
            return outcome
        coordinator.turns.note_active(outcome.processing_id, self.request.path)
        await self._keep(self._note.started(outcome.processing_id, outcome.origin, self._deadline()))
        self.log.info("%s: job %s (%s)", self.request.path, outcome.processing_id, outcome.origin)
        return None

    async def _resume(self, hook: AemGuidesAsyncHook, coordinator: Coordinator, processing_id: str) -> None:
        talk = await hook.talk()
        job = await hook.drive(find_job(talk, processing_id))
        if job is None:
            await self._write(replace(self._note, resume_from=None, resume=None))
            raise JobLostError(f"Job {processing_id} was to be resumed, and the instance does not know it any more.")

        async def before(item: object) -> None:
            if isinstance(item, Intent):
                self._earlier_end = EarlierEnd.before(item, surroundings().now())
            if isinstance(item, Intent) and item.processing_id is None:
                await coordinator.confirm()
                await self._write(replace(self._note, resume=item))

        self.log.info("Resuming job %s from its checkpoint", processing_id)
        steps = resume_once(talk, job, self.request, run=self.plan.label, intent=self._note.resume)
        try:
            goes_on_as = await hook.drive(steps, before)
        except JobFailedError:
            await self._write(replace(self._note, resume_from=None, resume=None))
            raise
        except DoubtfulStartError:
            await self._write(replace(self._note, doubtful=True))
            raise
        coordinator.turns.note_active(
            goes_on_as, self.request.path, now=surroundings().now(), resumed_from_end=job.completed_at
        )
        await self._keep(self._note.resumed(goes_on_as, self._deadline()))
        self.log.info("The job goes on as %s", goes_on_as)

    async def _follow(self, hook: AemGuidesAsyncHook, coordinator: Coordinator) -> JsonObject:
        if self._note.deadline_at is None:
            await self._write(replace(self._note, deadline_at=self._deadline()))
        processing_id, deadline = self._note.processing_id or "", self._note.deadline_at or 0.0
        pacing = Pacing(longest=self.plan.longest_look)
        plan = FollowPlan(deadline, self.plan.stall_seconds, pacing, earlier_end=self._earlier_end)
        cancel: str | None = None
        with coordinator.following(processing_id, self.request.path) as following:
            steps = follow(await hook.talk(), processing_id, plan, coordinator.find)
            followed = await hook.drive(steps, lambda event: show_event(self.log, event))
            if followed.end is FollowEnd.DEADLINE and self.plan.cancel_on_deadline and self._may_cancel():
                outcome = await self._cancel(hook, processing_id, DEADLINE_CANCEL_SECONDS)
                cancel = outcome.result.value
            following.ended = followed.end is not FollowEnd.DEADLINE or cancel in (
                CancelResult.CANCELLED,
                CancelResult.ALREADY_FINISHED,
            )
        return self._event(followed, cancel)

    def _event(self, followed: Followed, cancel: str | None) -> JsonObject:
        return {
            "note": self._note.to_json(),
            "end": followed.end.value,
            "job": followed.job.to_json() if followed.job else None,
            "cancel": cancel,
        }

    async def settle_kill(self) -> None:
        """Cancel the job if the task was killed, as `AemGuidesJobTrigger` does and for its reasons."""
        key = self._task_key()
        states = await task_states(key) if key is not None else frozenset()
        if not states & KILLED_STATES:
            self.log.info("%s: nothing is cancelled, since the task was not killed", self.request.path)
            return
        self._note = PathNote.read(await self._noted(), self.request) or self._note
        async with AemGuidesAsyncHook(self.aem_guides_conn_id) as hook:
            if self._note.unsettled and not self._note.doubtful:
                await self._settle(hook)
            note = self._note
            row = row_of(self.request, note, error="Its task was killed.")
            if note.processing_id is None or not self._may_cancel():
                self.log.info("%s: there is no job to cancel", self.request.path)
            else:
                outcome = await self._cancel(hook, note.processing_id, KILL_CANCEL_SECONDS)
                state = JobState.CANCELLED if outcome.result is CancelResult.CANCELLED else JobState.UNKNOWN
                row = replace(row, state=str(state), error=outcome.in_words(note.processing_id))
        if key is not None:
            await BaseXCom.aset(
                ROW_KEY,
                row.to_json(),
                dag_id=key.dag_id,
                task_id=key.task_id,
                run_id=key.run_id,
                map_index=key.map_index,
            )

    def _may_cancel(self) -> bool:
        return may_cancel(self._note.origin, cancel_adopted=self.plan.cancel_adopted)

    async def _cancel(self, hook: AemGuidesAsyncHook, processing_id: str, within: float) -> CancelOutcome:
        talk = await hook.talk()
        outcome = await hook.drive(
            cancel_and_confirm(talk, processing_id, within_seconds=within, earlier_end=self._earlier_end)
        )
        self.log.warning(outcome.in_words(processing_id))
        return outcome

    async def _write(self, note: PathNote) -> None:
        self._note = note
        await self.notes.aset(self.plan.note_key, note.to_json())

    async def _keep(self, note: PathNote) -> None:
        """Write what the instance has done, until Airflow has taken it: nothing is asked for anew over that."""
        failures = 0
        while True:
            try:
                return await self._write(note)
            except AirflowRuntimeError as error:
                failures += 1
                self.log.warning("%s: Airflow did not take the state, trying again: %s", self.request.path, error)
                await surroundings().asleep(Pacing().after_failures(failures, random=0.5))

    def _policy(self, limit: int | None, known_active: frozenset[str]) -> StartPolicy:
        return StartPolicy(OnActiveJob(self.plan.on_active_job), limit, known_active=known_active)

    def _deadline(self) -> float:
        return surroundings().now() + self.plan.job_seconds
