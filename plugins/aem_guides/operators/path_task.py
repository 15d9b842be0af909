"""The base of the tasks that take a path through its lifecycle."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Protocol

import msgspec
from airflow.sdk import BaseOperator, Context

from aem_guides.hooks.bodies import surroundings
from aem_guides.hooks.connection import require_instance
from aem_guides.hooks.hook import AemGuidesHook
from aem_guides.ledger.recorder import StartedPath
from aem_guides.protocol.errors import AemGuidesError, Retry
from aem_guides.protocol.hours import parse_only_between
from aem_guides.protocol.models import JsonValue, ProcessingRequest
from aem_guides.protocol.procedures.follow import find_job_patiently
from aem_guides.protocol.procedures.lifecycle import is_reached
from aem_guides.protocol.procedures.path_state import PathState, Phase
from aem_guides.protocol.procedures.start import OnActiveJob
from aem_guides.protocol.procedures.take_up import LifecycleOptions, Part, take_up
from aem_guides.protocol.requests import parse_requests
from aem_guides.results.outcome import OnDeadline
from aem_guides.runtime import fields
from aem_guides.runtime.ends import needs_no_worker
from aem_guides.runtime.memory import clear_count, run_label
from aem_guides.runtime.path_store import NewerStateError, PathStore
from aem_guides.runtime.retry_policy import is_worth_a_retry
from aem_guides.runtime.task_states import TaskKey
from aem_guides.triggers.base import FollowingFailedError
from aem_guides.triggers.lifecycle import AemGuidesLifecycleTrigger, InLine, TaskKilledError

if TYPE_CHECKING:
    _Base = BaseOperator
else:
    _Base = object

REQUEST_FIELDS: Sequence[str] = (
    "aem_guides_conn_id",
    "path",
    "excluded_paths",
    "file_types",
    "created_after",
    "created_before",
    "processing_type",
    "request",
)

LIVE_LOG_LINES = 2000


def _seconds(unit: float, most: float) -> Callable[[str, object], object]:
    return lambda field, value: fields.positive(field, value, most=most) * unit


def _hours(field: str, value: object) -> object:
    hours = parse_only_between(value, field)
    return None if hours is None else hours.to_json()


_FIELDS: Mapping[str, tuple[str, Callable[[str, object], object]]] = {
    "on_active_job": ("on_active_job", lambda field, value: fields.choice(field, value, OnActiveJob)),
    "max_active_jobs": ("max_active_jobs", lambda field, value: fields.whole(field, value, least=1, most=1000)),
    "queue_seconds": ("queue_hours", _seconds(3600, 24 * 365)),
    "job_seconds": ("deadline_hours", _seconds(3600, 24 * 365)),
    "max_resumes": ("max_resumes", lambda field, value: fields.whole(field, value, least=0, most=100)),
    "cancel_on_deadline": (
        "on_deadline",
        lambda field, value: fields.choice(field, value, OnDeadline) is OnDeadline.CANCEL,
    ),
    "cancel_adopted": ("cancel_adopted", fields.flag),
    "stall_seconds": ("stall_minutes", _seconds(60, 60 * 24 * 7)),
    "log_lines": ("stream_logs", lambda field, value: LIVE_LOG_LINES if fields.flag(field, value) else 0),
    "lost_seconds": ("lost_minutes", _seconds(60, 60 * 24)),
    "only_between": ("only_between", _hours),
    "reprocess": ("reprocess", fields.flag),
}
"""The option for each field of a task, and how the field is read."""


def asked(task: RequestFields) -> ProcessingRequest:
    """The request from the fields of a task. Raises InvalidInputError."""
    if task.request is not None:
        return ProcessingRequest.from_json(task.request)
    return parse_requests(
        [str(task.path)] if task.path is not None else [],
        excluded_paths=fields.texts("excluded_paths", task.excluded_paths),
        file_types=fields.texts("file_types", task.file_types),
        created_after=task.created_after,
        created_before=task.created_before,
        processing_type=task.processing_type,
    )[0]


class RequestFields(Protocol):
    """The fields of a request: `request`, or the others."""

    path: str | None
    excluded_paths: Sequence[str] | str | None
    file_types: Sequence[str] | str | None
    created_after: str | None
    created_before: str | None
    processing_type: str
    request: Mapping[str, JsonValue] | None


class PathTask(_Base):
    """A task that takes a path to the phase `until`: in the triggerer, or in the worker if it is not `deferrable`.

    A field that a task does not have keeps the default of `LifecycleOptions`.
    """

    part: Part
    only_waits = False
    """Whether the task has nothing to do after its job succeeded."""
    aem_guides_conn_id: str
    deferrable: bool
    longest_look: float
    _in_line: InLine | None = None

    @property
    def until(self) -> Phase:
        """The phase in which this task's part ends."""
        return Phase.FOLLOWING if self.part is Part.START else Phase.ENDED

    def take_up(self, context: Context, hook: AemGuidesHook, store: PathStore, fresh: PathState) -> PathState:
        """The state from which this try continues. It is stored. Raises ConfigurationError, and what a call raises."""
        ti, options = context["ti"], self.options(context)
        state = self.stored(context, store, fresh)
        require_instance(hook.settings.instance, state.instance)
        job = hook.drive(find_job_patiently(hook.talk, state.processing_id)) if state.processing_id else None
        state = take_up(
            state,
            job,
            cleared=self.was_cleared(context, state),
            later_try=ti.try_number > 1,
            now=surroundings().now(),
            options=options,
        )
        state = replace(
            state,
            clear_counts={**state.clear_counts, ti.task_id: clear_count(context)},
            first_tries={ti.task_id: str(ti.id), **state.first_tries},
            instance=state.instance or hook.settings.instance,
            only_between=options.only_between,
        )
        store.save(state)
        return state

    def store(self, context: Context, request: ProcessingRequest) -> PathStore:
        """Where the state of a path is stored that this task begins."""
        ti = context["ti"]
        return PathStore.of_path(ti.dag_id, ti.run_id, ti.task_id, request.fingerprint())

    @staticmethod
    def was_cleared(context: Context, state: PathState) -> bool:
        """Whether a person has cleared this task since it last worked on the path."""
        count = clear_count(context)
        return state.clear_counts.get(context["ti"].task_id, count) != count

    def stored(self, context: Context, store: PathStore, fresh: PathState) -> PathState:
        """The stored state, or `fresh`. It is `fresh` also if the stored first try of this task is another one.

        Then the run was deleted and created again with the same id, and the state of the old run does not count.
        Airflow 3.3.2 may begin the same try twice, if a worker ends later than its trigger.
        """
        ti, state = context["ti"], store.load(fresh.request)
        if state is None:
            return fresh
        worked = ti.task_id in state.clear_counts
        if worked and ti.try_number == 1 and state.first_tries.get(ti.task_id) != str(ti.id):
            self.log.info("An earlier run with this id processed %s; starting again", state.request.path)
            return replace(fresh, serial=state.serial)
        return state

    def go_on(self, context: Context, store: PathStore) -> PathState:
        """The state once the phase is reached; or the task is deferred."""
        if self.part is Part.START or not self.deferrable:
            state = self._go_on_here(context, store)
            if is_reached(state, self.until):
                return state
        self.defer(trigger=self._trigger(context, store, self.options(context)), method_name="execute_complete")

    def came_back(self, store: PathStore, event: Mapping[str, JsonValue] | None) -> PathState:
        """The state that the trigger reached. Raises FollowingFailedError if the trigger failed, and
        NewerStateError."""
        match event:
            case {"error": str(error), "kind": NewerStateError.__name__}:
                raise NewerStateError(error)
            case {"error": str(error), "retry": str(retry)}:
                raise FollowingFailedError(error, Retry(retry))
        state = store.load()
        if state is None or not event or "phase" not in event:
            raise FollowingFailedError(f"Unexpected trigger event: {event!r}", Retry.USEFUL)
        return state

    @contextlib.contextmanager
    def concluding(self, context: Context, store: PathStore) -> Iterator[None]:
        """If the task fails for good, store that it finished its work on the path. So it does not count as killed."""
        try:
            yield
        except (TaskKilledError, NewerStateError):
            raise  # the tasks after a killed one must see the kill, and an overtaken task must not stop the newer one
        except Exception as error:
            ti = context["ti"]
            if ti.try_number > ti.max_tries or not is_worth_a_retry(error, ti.try_number):
                with contextlib.suppress(AemGuidesError):
                    self.conclude(store)
            raise

    def conclude(self, store: PathStore, **changes: object) -> None:
        """Store that the task finished its work on the path."""
        if (state := store.load()) is not None:
            store.save(state.stays(concluded=True, **changes))

    def on_kill(self) -> None:
        """Settle a kill if this task works in the worker. In the triggerer, its trigger does that."""
        if self._in_line is not None:
            self._in_line.kill()

    def options(self, context: Context) -> LifecycleOptions:
        """The task's fields, checked. Raises InvalidInputError."""
        ti, run = context["ti"], context.get("dag_run")
        came_at = run.run_after if run is not None else None
        given: dict[str, object] = {
            "part": self.part,
            "run": run_label(context),
            "came_at": came_at.timestamp() if came_at else surroundings().now(),
            "run_key": f"{ti.dag_id} / {ti.run_id}",
            "index": TaskKey.of(ti).map_index,
            "longest_look": self.longest_look,
        }
        for name, (field, read) in _FIELDS.items():
            if hasattr(self, field):
                given[name] = read(field, getattr(self, field))
        return LifecycleOptions(**given)  # type: ignore[arg-type]  # its own fields

    def _go_on_here(self, context: Context, store: PathStore) -> PathState:
        options = replace(self.options(context), is_brief=self.deferrable)
        trigger = self._trigger(context, store, options)
        trigger.task_instance = context["ti"]  # type: ignore[assignment]  # of which its key is read
        self._in_line = InLine(trigger)
        try:
            return self._in_line.run()
        finally:
            self._in_line = None

    def _trigger(self, context: Context, store: PathStore, options: LifecycleOptions) -> AemGuidesLifecycleTrigger:
        key = TaskKey.of(context["ti"])
        params: Mapping[str, object] = context.get("params") or {}
        wants_archive = bool(params.get("archive_logs", True))
        by = StartedPath(**asdict(key), connection_id=self.aem_guides_conn_id, wants_archive=wants_archive)
        return AemGuidesLifecycleTrigger(
            aem_guides_conn_id=self.aem_guides_conn_id,
            key=store.key,
            options=msgspec.to_builtins(options),
            until=str(self.until),
            ends_task=self.only_waits and needs_no_worker(self),
            started_by=None if self.part is Part.WAIT else asdict(by),
        )
