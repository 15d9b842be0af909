"""The base of all triggers: serialisation, exactly one event, and an event that Airflow can pass on."""

from __future__ import annotations

import asyncio
import contextlib
import json
from abc import abstractmethod
from collections.abc import AsyncIterator, Mapping
from typing import cast

import msgspec
from airflow.triggers.base import BaseTrigger, TaskSuccessEvent, TriggerEvent

from aem_guides.hooks.bodies import surroundings
from aem_guides.protocol.errors import AemGuidesError, Retry
from aem_guides.protocol.json import clean_text
from aem_guides.protocol.models import JsonObject, JsonValue
from aem_guides.runtime.task_states import Instance, TaskKey, push_xcoms
from aem_guides.triggers.log_channel import until_log_is_read

FIRST_EVENT_SECONDS = 2.0
"""If an event comes sooner after deferring, Airflow 3.3.2 is not ready for it, and the task counts as dead."""

LARGEST_EVENT_BYTES = 8 * 1024 * 1024
"""The limit of an event in bytes: it passes a pipe, Airflow's API and a row of its database."""


class AemGuidesTrigger(BaseTrigger):
    """A trigger that waits for one outcome and fires one event: the outcome, or `{"error", "kind", "retry"}`."""

    def __init__(self, **kwargs: object) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # BaseTrigger has no annotations
        self._kwargs = kwargs
        self._killing: asyncio.Task[None] | None = None

    def serialize(self) -> tuple[str, dict[str, object]]:
        """The class path and the keyword arguments that make the same trigger again."""
        return f"{type(self).__module__}.{type(self).__qualname__}", self._kwargs

    @abstractmethod
    async def outcome(self) -> JsonObject:
        """Wait, and return the payload of the event. An error becomes an event with that error."""

    def failed(self, error: JsonObject) -> JsonObject:
        """The payload if the wait failed."""
        return error

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Wait for the outcome and fire once, but not before Airflow is ready for it.

        A task that succeeds here is not scheduled again, so Airflow is always ready for that.

        If a trigger fails, or its event cannot be passed on, its task fails without our message, and could look like a
        killed task. And Airflow 3.3.2 ends the whole triggerer if it cannot encode an event.
        """
        ready_at = surroundings().elapsed() + FIRST_EVENT_SECONDS
        try:
            payload = await self.outcome()
        except AemGuidesError as error:
            payload = self.failed(_error(str(error), type(error).__name__, error.retry))
        except Exception as error:
            self.log.exception("%s failed unexpectedly", type(self).__name__)
            payload = self.failed(_error(f"{type(error).__name__}: {error}", type(error).__name__, Retry.USEFUL))
        if flaw := why_not_carried(payload):
            self.log.error("%s: Airflow cannot pass on its event: %s", type(self).__name__, flaw)
            payload = _error(
                f"Airflow cannot pass on the event of {type(self).__name__}: {flaw}", "EventError", Retry.USEFUL
            )
        if await self._has_succeeded(payload):
            yield TaskSuccessEvent()
            return
        if (left := ready_at - surroundings().elapsed()) > 0:
            await surroundings().asleep(left)
        yield event_of(payload)

    async def results(self, payload: JsonObject) -> JsonObject | None:
        """The XComs of the task if it succeeded with this outcome and no worker has to end it. Otherwise None."""
        del payload
        return None

    async def settle_kill(self) -> None:
        """What to do after the waiting task was killed, cleared or marked."""

    async def on_kill(self) -> None:
        """Settle the kill, and finish what was begun.

        Airflow 3.3.2 cancels this coroutine every second until it has ended. So the work is done by a separate task,
        which that cancellation does not reach. `cleanup` waits until it is done.
        """
        self._killing = asyncio.create_task(self._settle_kill())
        await asyncio.shield(self._killing)

    async def cleanup(self) -> None:
        """Wait until a kill is settled and the log is read. Lines after the end of the trigger would be in no task's
        log."""
        last = asyncio.create_task(self._last_steps())
        while not last.done():
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.wait({last})

    async def _has_succeeded(self, payload: JsonObject) -> bool:
        try:
            key, results = self._task_key(), await self.results(payload)
            if key is None or results is None:
                return False
            await push_xcoms(key, results)  # before the success, so that the tasks after it find them
        except AemGuidesError as error:
            self.log.warning("The task is not ended here: %s", error)
            return False
        except Exception:
            self.log.exception("The results could not be stored here. A worker stores them")
            return False
        return True

    async def _settle_kill(self) -> None:
        try:
            await self.settle_kill()
        except AemGuidesError as error:
            self.log.error("The job could not be cancelled after the kill: %s", error)
        except Exception:
            self.log.exception("The job could not be cancelled after the kill: unexpected error")

    async def _last_steps(self) -> None:
        if self._killing is not None:
            await asyncio.wait({self._killing})
        await until_log_is_read()

    def _task_key(self) -> TaskKey | None:
        ti = cast("Instance | None", self.task_instance)
        return None if ti is None else TaskKey.of(ti)


def why_not_carried(payload: Mapping[str, JsonValue]) -> str | None:
    """Why Airflow could not pass an event with this payload to its database and its task. None if it can."""
    try:
        encoded = msgspec.msgpack.encode(payload)
        shown = json.dumps(payload, allow_nan=False)
    except (TypeError, ValueError, OverflowError, RecursionError, msgspec.MsgspecError) as error:
        return clean_text(f"{type(error).__name__}: {error}", 500)
    if r"\u0000" in shown.replace("\\\\", ""):
        return "it has a NUL character, which PostgreSQL refuses"
    if len(encoded) > LARGEST_EVENT_BYTES:
        return f"it has {len(encoded)} bytes, but at most {LARGEST_EVENT_BYTES} are allowed"
    return None


def event_of(payload: JsonObject) -> TriggerEvent:
    """The event with this payload."""
    return TriggerEvent(payload)  # type: ignore[no-untyped-call]  # TriggerEvent has no annotations


def _error(text: str, kind: str, retry: Retry) -> JsonObject:
    return {"error": clean_text(text, 20_000), "kind": kind, "retry": retry.value}


class FollowingFailedError(AemGuidesError):
    """The trigger could not follow the job any longer. The job itself is not affected."""

    def __init__(self, message: str, retry: Retry) -> None:
        super().__init__(message)
        self.retry = retry
