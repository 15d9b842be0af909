"""The bases of the operators that call an instance once."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import replace
from logging import WARNING

from airflow.sdk import BaseOperator, Context
from airflow.sdk.exceptions import AirflowSkipException

from aem_guides.archive.job import FirstSeen
from aem_guides.hooks.bodies import surroundings
from aem_guides.hooks.connection import require_instance
from aem_guides.hooks.hook import DEFAULT_CONNECTION, AemGuidesHook
from aem_guides.operators.links import INSTANCE_LINKS
from aem_guides.operators.path_task import PathTask
from aem_guides.protocol.conversation import IN_MID_RUN
from aem_guides.protocol.errors import JobLostError, Retry
from aem_guides.protocol.models import Job, JsonValue, ProcessingRequest
from aem_guides.protocol.procedures.follow import find_job_patiently
from aem_guides.protocol.procedures.path_state import PathState
from aem_guides.runtime import fields
from aem_guides.runtime.memory import first_time
from aem_guides.runtime.path_store import PathStore
from aem_guides.runtime.task_log import TaskLog
from aem_guides.runtime.task_states import TaskKey
from aem_guides.triggers.kill import settle_left_behind


class InstanceOperator(BaseOperator):
    """Base of operators that call the instance once.

    `enabled` false skips the task; it may be a template. `request` is the request of the run, as
    `ProcessingRequest.to_json` gives it, if the task is part of such a run: an earlier task's login was accepted then,
    so a refused login is waited out.
    """

    template_fields: Sequence[str] = ("aem_guides_conn_id", "enabled", "request")
    operator_extra_links = INSTANCE_LINKS
    ui_color = "#e8f1fb"

    def __init__(
        self,
        *,
        aem_guides_conn_id: str = DEFAULT_CONNECTION,
        enabled: bool | str = True,
        request: Mapping[str, JsonValue] | None = None,
        **kwargs: object,
    ) -> None:
        super().__init__(**kwargs)  # type: ignore[arg-type]  # BaseOperator's own arguments
        self.aem_guides_conn_id = aem_guides_conn_id
        self.enabled = enabled
        self.request = request

    def execute(self, context: Context) -> JsonValue:
        """Run `act` with one hook, and close the hook afterwards."""
        if not fields.flag("enabled", self.enabled):
            raise self.skipped("Switched off for this run.")
        with AemGuidesHook(self.aem_guides_conn_id, retries=IN_MID_RUN if self.request is not None else None) as hook:
            self.require_instance_of_path(hook, context)
            return self.act(hook, context)

    def require_instance_of_path(self, hook: AemGuidesHook, context: Context) -> None:
        """Raise ConfigurationError if the connection leads to another instance than when work on this task's path
        began."""
        store = self._path_store(context)
        if store is not None and (state := store.load()) is not None:
            require_instance(hook.settings.instance, state.instance)

    def _path_store(self, context: Context) -> PathStore | None:
        """The stored state of the path to whose task group this task belongs. None outside of such a group."""
        if self.request is None or "." not in self.task_id:
            return None
        ti, fingerprint = context["ti"], ProcessingRequest.from_json(self.request).fingerprint()
        return PathStore.of_path(ti.dag_id, ti.run_id, self.task_id, fingerprint)

    def skipped(self, why: str) -> AirflowSkipException:
        """The exception that skips the task. Airflow does not log its text, so this method logs it."""
        self.log.warning(why)
        return AirflowSkipException(why)

    @abstractmethod
    def act(self, hook: AemGuidesHook, context: Context) -> JsonValue:
        """The action of this operator."""


def first_seen_by(context: Context, job: Job) -> FirstSeen:
    """When the task first worked on the job. The value is the same for every try."""
    return lambda: first_time(context, job.processing_id, surroundings().now())


def still_known(hook: AemGuidesHook, processing_ids: Sequence[str], log: TaskLog) -> list[Job]:
    """The jobs with these ids. A job that the instance has forgotten is logged and left out."""
    found: list[Job] = []
    for processing_id in processing_ids:
        job = hook.drive(find_job_patiently(hook.talk, processing_id))
        if job is not None:
            found.append(job)
            continue
        log.log(WARNING, "The instance no longer knows job %s, which was resumed: its log is lost.", processing_id)
    return found


class JobOperator(InstanceOperator):
    """Base of operators that act on one job, by its id. Without an id, in a run whose job never started, the task is
    skipped.

    In the task group of a path (if `request` is given), or with `wait_task_id`, the task that waited for the job, the
    operator knows the stored state of the path: the current id of the job, its earlier ids, and whether a task of the
    path was killed.
    """

    template_fields: Sequence[str] = (*InstanceOperator.template_fields, "processing_id")

    def __init__(self, *, processing_id: str, wait_task_id: str | None = None, **kwargs: object) -> None:
        super().__init__(**kwargs)  # type: ignore[arg-type]  # BaseOperator's own arguments
        self.processing_id = processing_id
        self.wait_task_id = wait_task_id
        self._state: PathState | None = None

    def execute(self, context: Context) -> JsonValue:
        """Settle what a killed task left behind, and skip the task if there is no job."""
        if not fields.flag("enabled", self.enabled):
            raise self.skipped("Switched off for this run.")
        store = self._path_store(context)
        self._state = store.load() if store is not None else None
        if store is not None and self._state is not None:
            if self._state.is_left_behind:
                with AemGuidesHook(self.aem_guides_conn_id, retries=IN_MID_RUN) as hook:
                    self._state, _ = settle_left_behind(hook, store, self._tasks_before(context))
            self.processing_id = (self._state.processing_id if self._state is not None else None) or ""
        if self.processing_id == "":
            raise self.skipped("This path has no job: none was started.")
        fields.identifier("processing_id", self.processing_id)
        return super().execute(context)

    def jobs_before(self, hook: AemGuidesHook) -> list[Job]:
        """The job under each id that it had before a resume changed it. Each of them has a log of its own."""
        return still_known(hook, self._state.earlier_ids, self.log) if self._state is not None else []

    def find(self, hook: AemGuidesHook) -> Job:
        """The job. Raises JobLostError."""
        job = hook.drive(find_job_patiently(hook.talk, self.processing_id))
        if job is None:
            lost = JobLostError(
                f"processing_id: {self.processing_id!r} is in neither the status nor the history. Check the id. The "
                "history shows only the last few jobs."
            )
            lost.retry = Retry.BRIEFLY
            raise lost
        return job

    def _path_store(self, context: Context) -> PathStore | None:
        store = super()._path_store(context)
        if store is not None or self.wait_task_id is None:
            return store
        ti = context["ti"]
        key = ti.xcom_pull(task_ids=self.wait_task_id, key="state_key", map_indexes=TaskKey.of(ti).map_index)
        return PathStore(key) if isinstance(key, str) else None

    def _tasks_before(self, context: Context) -> list[TaskKey]:
        """The tasks before this one that took the path through its lifecycle: those of its group, or the named task.

        A failure of another task, such as one that verifies assets or one of a user's own, is not a reason to cancel a
        job.
        """
        own = TaskKey.of(context["ti"])
        group = self.task_id.rpartition(".")[0]
        before = {task.task_id: task for task in self.get_flat_relatives(upstream=True)}
        return [
            replace(own, task_id=task_id)
            for task_id in sorted(before)
            if task_id == self.wait_task_id
            or (group and task_id.startswith(f"{group}.") and _takes_a_path(before[task_id]))
        ]


def _takes_a_path(task: object) -> bool:
    """Whether a task takes a path through its lifecycle. The task may be mapped."""
    return issubclass(getattr(task, "operator_class", type(task)), PathTask)
