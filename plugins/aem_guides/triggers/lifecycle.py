"""The trigger that takes a path through its lifecycle: to the start of its job, or to its end."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from aem_guides.hooks.connection import require_instance
from aem_guides.hooks.hook import AemGuidesAsyncHook
from aem_guides.ledger.recorder import StartedPath, note_path
from aem_guides.protocol.admission import Place, Ticket
from aem_guides.protocol.conversation import IN_MID_RUN
from aem_guides.protocol.errors import AemGuidesError, JobError
from aem_guides.protocol.models import JsonObject
from aem_guides.protocol.procedures.lifecycle import run_lifecycle
from aem_guides.protocol.procedures.path_state import HAS_NO_JOB, PathState, Phase
from aem_guides.protocol.procedures.settle_kill import settle_kill
from aem_guides.protocol.procedures.take_up import LifecycleOptions
from aem_guides.protocol.steps import Turn, Window
from aem_guides.results.handed_on import results_of
from aem_guides.results.outcome import STARTER, WaitOutcome, conclude, ending_of
from aem_guides.runtime.doubts import Asker
from aem_guides.runtime.path_store import PathStore, UnreadableStateError
from aem_guides.runtime.records import Codec
from aem_guides.runtime.task_log import show_event
from aem_guides.runtime.task_states import KILLED_STATES, task_states
from aem_guides.triggers.admission import admission_for, let_others_have_it
from aem_guides.triggers.base import AemGuidesTrigger

KILL_CANCEL_SECONDS = 20.0

_OPTIONS, _STARTED_BY = Codec(LifecycleOptions), Codec(StartedPath)


class AemGuidesLifecycleTrigger(AemGuidesTrigger):
    """Take a path from its stored state to the phase `until`, and fire one event.

    :param aem_guides_conn_id: the Airflow connection.
    :param key: where the path's state is stored (`PathStore`).
    :param options: the fields of `LifecycleOptions`, as plain JSON.
    :param until: the `Phase` to reach: "following" or "ended".
    :param ends_task: end the task here if the job succeeded, without a worker. The task then has nothing to do but to
        return its results.
    :param started_by: what the ledger stores about a job that is started, as `StartedPath` in plain JSON; None:
        nothing.

    The event is `{"phase"}`, `{"error", "kind", "retry"}`, or with `ends_task` the success of the task. The reached
    state is in the store. A restarted triggerer continues from there.
    """

    def __init__(
        self,
        *,
        aem_guides_conn_id: str,
        key: str,
        options: Mapping[str, object],
        until: str,
        ends_task: bool = False,
        started_by: Mapping[str, object] | None = None,
    ) -> None:
        super().__init__(
            aem_guides_conn_id=aem_guides_conn_id,
            key=key,
            options=options,
            until=until,
            ends_task=ends_task,
            started_by=started_by,
        )
        self.aem_guides_conn_id = aem_guides_conn_id
        self.options = _OPTIONS.read(options)
        self.until = Phase(until)
        self.ends_task = ends_task
        self.store = PathStore(key)
        self._started_by = _STARTED_BY.read(started_by) if started_by is not None else None
        self._notes: set[asyncio.Task[None]] = set()
        self._reached: PathState | None = None

    async def outcome(self) -> JsonObject:
        """Continue until the phase is reached."""
        self._reached = await self.go_on()
        return {"phase": str(self._reached.phase)}

    async def results(self, payload: JsonObject) -> JsonObject | None:
        """With `ends_task`: what the task returns if the job succeeded. Its work on the path counts as finished.

        Raises NewerStateError if the next try works on the path already. Its state must stay as it is.
        """
        state = self._reached
        if not self.ends_task or state is None or payload != {"phase": str(Phase.ENDED)}:
            return None
        ending = ending_of(state, self.options, STARTER)
        try:
            said = conclude(ending)
        except JobError:
            return None
        await self.store.asave(state.stays(concluded=True))
        self.log.info(said)
        return results_of(state, self.store.key, WaitOutcome.of(ending))

    async def go_on(self) -> PathState:
        """Continue from the stored state, and return the state that was reached. Raises what `run_lifecycle` raises."""
        state = await self._stored()
        if (task := self._task_key()) is not None:
            self.store.asker = Asker(task, self.aem_guides_conn_id)
        began = state.processing_id is not None or state.intent is not None
        async with AemGuidesAsyncHook(self.aem_guides_conn_id, retries=IN_MID_RUN if began else None) as hook:
            require_instance((await hook.settings()).instance, state.instance)
            async with await admission_for(
                hook,
                self.store.register,
                self._ticket(state),
                self.log,
                longest_look=self.options.longest_look,
                is_brief=self.options.is_brief,
            ) as admission:
                admission.see(state)
                if state.log_offset:
                    said = "The log of job %s continues at line %s; the earlier lines were shown before."
                    self.log.info(said, state.processing_id, state.log_offset)
                in_ledger = None if state.phase in HAS_NO_JOB else state.processing_id

                async def take(item: object) -> Turn | Window | None:
                    nonlocal in_ledger
                    if not isinstance(item, PathState):
                        return await admission.answer(item)
                    await self.store.asave(item)
                    admission.see(item)
                    if item.processing_id not in (None, in_ledger):
                        in_ledger = item.processing_id
                        self.note(item)
                    return None

                steps = run_lifecycle(await hook.talk(), state, self.options, self.until, admission.find)
                try:
                    return await hook.drive(steps, take)
                finally:
                    await self._noted()

    async def settle_kill(self) -> None:
        """Cancel the job if the task was killed; leave it alone if the task was cleared or marked successful."""
        key = self._task_key()
        states = await task_states(key) if key is not None else frozenset()
        state = await self._stored()
        path = state.request.path
        if not states & KILLED_STATES:
            why = ", ".join(states) or "cleared"
            self.log.info("Job %s keeps running: the task was not killed (%s)", state.processing_id, why)
            return
        async with AemGuidesAsyncHook(self.aem_guides_conn_id) as hook:
            require_instance((await hook.settings()).instance, state.instance)

            async def take(item: object) -> None:
                if isinstance(item, PathState):
                    await self.store.asave(item)
                else:
                    show_event(self.log, item)

            steps = settle_kill(await hook.talk(), state, within_seconds=KILL_CANCEL_SECONDS)
            state, outcome = await hook.drive(steps, take)
        if outcome is not None:
            self.log.warning(outcome.in_words(state.processing_id or ""))
        elif state.processing_id is None or state.may_cancel:
            self.log.info("%s: there is no job to cancel", path)
        else:
            self.log.info("Job %s keeps running: it was adopted, and cancel_adopted is off", state.processing_id)

    async def _stored(self) -> PathState:
        state = await self.store.aload()
        if state is None:
            raise UnreadableStateError("The stored state of this path was deleted. Clear the task to start again.")
        return state

    def _ticket(self, state: PathState) -> Ticket:
        options = self.options
        place = Place(options.came_at, options.run_key, options.index)
        return Ticket(place, state.request.path, options.max_active_jobs)

    def note(self, state: PathState) -> None:
        """Start to store the job in the ledger, in the background."""
        if self._started_by is not None and state.processing_id is not None:
            noting = asyncio.create_task(asyncio.to_thread(note_path, self._started_by, state))
            self._notes.add(noting)

    async def _noted(self) -> None:
        """Finish the notes in the ledger if the lifecycle ends while they are written."""
        while self._notes:
            await asyncio.wait({self._notes.pop()})


class TaskKilledError(AemGuidesError):
    """The task was killed while it ran in a worker."""


class InLine:
    """Runs a trigger in a worker instead of the triggerer."""

    def __init__(self, trigger: AemGuidesLifecycleTrigger) -> None:
        self._trigger = trigger
        self._loop: asyncio.AbstractEventLoop | None = None
        self._work: asyncio.Task[PathState] | None = None
        self._killing: asyncio.Task[None] | None = None

    def run(self) -> PathState:
        """Continue until the phase is reached. Raises TaskKilledError, and what the trigger raises."""
        return asyncio.run(self._run())

    def kill(self) -> None:
        """Settle the kill of the task, from its signal handler, which must not wait."""
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._begin_kill)

    async def _run(self) -> PathState:
        self._loop = asyncio.get_running_loop()
        self._work = asyncio.create_task(self._trigger.go_on())
        try:
            await asyncio.wait({self._work})
            if self._killing is not None:
                await self._killing
                raise TaskKilledError("The task was killed.")
            return await self._work
        finally:
            self._loop = None
            await let_others_have_it()

    def _begin_kill(self) -> None:
        if self._work is not None and self._killing is None:
            self._work.cancel()
            self._killing = asyncio.create_task(self._trigger.on_kill())
