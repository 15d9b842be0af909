"""The task whose log shows the progress of a whole batch."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import cast

from airflow.sdk import BaseOperator, Context
from airflow.sdk.exceptions import AirflowRuntimeError
from airflow.sdk.execution_time import xcom

from aem_guides.hooks.bodies import surroundings
from aem_guides.hooks.hook import DEFAULT_CONNECTION, AemGuidesAsyncHook
from aem_guides.pipelines.batch_plan import PLANNED_KEY, BatchPlan
from aem_guides.protocol import contract
from aem_guides.protocol.batch import BatchCounts, BatchSpeed
from aem_guides.protocol.errors import AemGuidesError
from aem_guides.protocol.models import JsonObject, JsonValue, same_path
from aem_guides.protocol.pacing import Pacing
from aem_guides.results.handed_on import RETURN_KEY
from aem_guides.runtime.ends import needs_no_worker
from aem_guides.runtime.notes import NOTES, AirflowNotes
from aem_guides.runtime.task_states import TaskKey, count_instances
from aem_guides.triggers.admission import coordinator_for
from aem_guides.triggers.base import AemGuidesTrigger

_DONE, _FAILED, _OVER = ("success",), ("failed", "upstream_failed"), ("skipped", "removed")
_SHORTEST_LOOK_SECONDS = 3.0
_ENDS = Pacing(shortest=1.0, longest=2.5)
"""When to check whether the last path has ended: the run waits for this task, and a check is one small request to
Airflow."""
_LOG_EVERY_SECONDS = 30.0


class AemGuidesBatchProgressTrigger(AemGuidesTrigger):
    """Log the progress of a batch whenever it changes, until all of its paths have ended.

    :param plan_task_id: the task that planned the batch.
    :param path_task_id: the mapped task that processes its paths.
    :param look_every: the longest pause between two looks, in seconds.
    :param ends_task: end the task here, without a worker.

    The event is `{"text"}`, the last line of progress, or with `ends_task` the success of the task. A failed look is
    logged and has no other effect.
    """

    def __init__(
        self,
        *,
        aem_guides_conn_id: str,
        plan_task_id: str,
        path_task_id: str,
        look_every: float,
        ends_task: bool = False,
    ) -> None:
        super().__init__(
            aem_guides_conn_id=aem_guides_conn_id,
            plan_task_id=plan_task_id,
            path_task_id=path_task_id,
            look_every=look_every,
            ends_task=ends_task,
        )
        self.aem_guides_conn_id = aem_guides_conn_id
        self.plan_task_id = plan_task_id
        self.path_task_id = path_task_id
        self.look_every = look_every
        self.ends_task = ends_task

    async def results(self, payload: JsonObject) -> JsonObject | None:
        """With `ends_task`: what the task returns, unless the progress could not be shown to the end."""
        return {RETURN_KEY: _returned(payload)} if self.ends_task and "error" not in payload else None

    async def outcome(self) -> JsonObject:
        """Check, log, wait."""
        plan = await self._plan()
        speed, logged, logged_at = BatchSpeed(), "", -_LOG_EVERY_SECONDS
        began, pacing = surroundings().elapsed(), Pacing(shortest=_SHORTEST_LOOK_SECONDS, longest=self.look_every)
        async with AemGuidesAsyncHook(self.aem_guides_conn_id) as hook:
            while True:
                age = surroundings().elapsed() - began
                await self._pause(plan, pacing.next_look(age=age, random=0.5), _ENDS.next_look(age=age, random=0.5))
                try:
                    counts, over = await self._count(hook, plan)
                except AirflowRuntimeError as error:
                    self.log.warning("The progress could not be read; trying again: %s", error)
                    continue
                said = counts.in_words(speed.seconds_left(counts, surroundings().now()))
                now = surroundings().elapsed()
                if said != logged and (over or now - logged_at >= _LOG_EVERY_SECONDS):
                    logged, logged_at = said, now
                    self.log.info(said)
                if over:
                    break
        return {"text": logged}

    async def _pause(self, plan: BatchPlan, seconds: float, each: float) -> None:
        """Wait until the next look, or until all paths have ended, which is checked every `each` seconds."""
        key, until = self._task_key(), surroundings().elapsed() + seconds
        while until - surroundings().elapsed() > each:
            await surroundings().asleep(each)
            with contextlib.suppress(AirflowRuntimeError):  # the next look logs it
                if key is not None and await self._ended(key, (*_DONE, *_FAILED, *_OVER)) >= plan.tasks:
                    return
        await surroundings().asleep(max(0.0, until - surroundings().elapsed()))

    async def _ended(self, key: TaskKey, states: tuple[str, ...]) -> int:
        return await count_instances(key.dag_id, key.run_id, self.path_task_id, states)

    async def _plan(self) -> BatchPlan:
        key = self._task_key()
        stored = None
        if key is not None:
            stored = await xcom.XCom.aget_one(
                key=PLANNED_KEY, dag_id=key.dag_id, task_id=self.plan_task_id, run_id=key.run_id, map_index=-1
            )
        return BatchPlan.from_json(cast("JsonValue", stored))

    async def _count(self, hook: AemGuidesAsyncHook, plan: BatchPlan) -> tuple[BatchCounts, bool]:
        """The counts, and whether all paths have ended."""
        key = self._task_key()
        if key is None:
            return BatchCounts(len(plan.paths), 0, 0, None), True
        found = [await self._ended(key, states) for states in (_DONE, _FAILED, _OVER)]
        counts = BatchCounts(len(plan.paths), found[0], found[1], await self._running(hook, plan))
        return counts, sum(found) >= plan.tasks

    async def _running(self, hook: AemGuidesAsyncHook, plan: BatchPlan) -> int | None:
        """The running jobs on paths of the batch: those in the window, and followed ones outside of it."""
        try:
            coordinator = await coordinator_for(hook, AirflowNotes(), self.look_every)
            history = await hook.call(contract.history())
        except AemGuidesError:
            return None
        ended = {job.processing_id for job in history.jobs if not job.is_active}
        seen = {job.processing_id: job.path for job in history.jobs if job.is_active}
        active = {**coordinator.turns.followed, **seen}
        paths = {same_path(path) for path, _ in plan.paths}
        return sum(bool(path) and same_path(path or "") in paths for i, path in active.items() if i not in ended)


class AemGuidesBatchProgressOperator(BaseOperator):
    """Log the progress of a batch, from the triggerer, until all of its paths have ended.

    :param plan_task_id: the task that planned the batch.
    :param path_task_id: the mapped task that processes its paths.
    :param look_every: the longest pause between two looks, in seconds.

    Returns the last line of progress.
    """

    template_fields = ("aem_guides_conn_id",)
    ui_color = "#e8f1fb"

    def __init__(
        self,
        *,
        plan_task_id: str,
        path_task_id: str,
        aem_guides_conn_id: str = DEFAULT_CONNECTION,
        look_every: float = 30.0,
        **kwargs: object,
    ) -> None:
        kwargs.setdefault("inlets", [NOTES])
        super().__init__(**kwargs)  # type: ignore[arg-type]  # BaseOperator's own arguments
        self.plan_task_id = plan_task_id
        self.path_task_id = path_task_id
        self.aem_guides_conn_id = aem_guides_conn_id
        self.look_every = look_every

    def execute(self, context: Context) -> None:
        """Defer at once."""
        trigger = AemGuidesBatchProgressTrigger(
            aem_guides_conn_id=self.aem_guides_conn_id,
            plan_task_id=self.plan_task_id,
            path_task_id=self.path_task_id,
            look_every=self.look_every,
            ends_task=needs_no_worker(self),
        )
        self.defer(trigger=trigger, method_name="execute_complete")

    def execute_complete(self, context: Context, event: Mapping[str, JsonValue] | None = None) -> JsonObject:
        """All paths have ended, or their progress can no longer be read. The batch does not fail in either case."""
        answer = event or {}
        if "error" in answer:
            self.log.warning("The progress display stopped early: %s. The paths are not affected.", answer["error"])
        return _returned(answer)


def _returned(payload: Mapping[str, JsonValue]) -> JsonObject:
    return {"progress": payload.get("text")}
