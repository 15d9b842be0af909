"""What an instance says of itself just now: asked once for all who look, and not waited for long."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar, cast

from airflow.sdk.exceptions import AirflowException
from fastapi import Request

from aem_guides.hooks import bodies
from aem_guides.hooks.hook import AemGuidesAsyncHook
from aem_guides.protocol import contract
from aem_guides.protocol.conversation import RetrySettings
from aem_guides.protocol.errors import (
    AemGuidesError,
    AuthenticationError,
    ConfigurationError,
    RejectedError,
    UnreachableError,
)
from aem_guides.protocol.json import clean_text
from aem_guides.protocol.models import History, Job
from aem_guides.protocol.wording import describe_progress

T = TypeVar("T")

ANSWER_SECONDS = 4.0
MOST_LINES = 4
LONGEST_LINE = 300
LARGEST_ANSWER = 4 * 1024 * 1024
"""Bytes: some ten thousand jobs. The API server reads no more of an answer, whatever the instance sends."""
FRESH_SECONDS = 4.0
_SECOND = 1000


@dataclass(frozen=True)
class Health:
    """Whether an instance answers, in a sentence without any address; the jobs that it shows as active."""

    answers: bool
    said: str
    active: tuple[Job, ...] = ()
    read_at: int | None = None
    last_lines: Mapping[str, str] = field(default_factory=dict)
    """The last line of a job's log, by the job's id; of a few jobs only."""

    def progress(self, job: Job) -> str:
        """How far a job is, in words, with its rate since its start and what is left."""
        return describe_progress(job, self.rate(job))

    def rate(self, job: Job) -> float | None:
        """Assets a second since the start, None where that cannot be known."""
        if self.read_at is None or job.started_at is None or not job.triggered_count:
            return None
        return job.triggered_count * _SECOND / max(_SECOND, self.read_at - job.started_at)


@dataclass
class Watch:
    """Asks instances, each at most once in `FRESH_SECONDS`, however many look at the page."""

    _health: dict[str, tuple[float, asyncio.Task[Health]]] = field(default_factory=dict)
    _histories: dict[str, tuple[float, asyncio.Task[History | str]]] = field(default_factory=dict)

    async def look(self, connection_id: str) -> Health:
        """What the instance of this connection says. Raises nothing."""
        return await _shared(self._health, connection_id, ask)

    async def history(self, connection_id: str) -> History | str:
        """What `history_of` returns. Raises nothing."""
        return await _shared(self._histories, connection_id, history_of)


def watch_of(request: Request) -> Watch:
    """That of this application."""
    return cast("Watch", request.app.state.watch)


async def _shared(
    asked: dict[str, tuple[float, asyncio.Task[T]]], connection_id: str, ask: Callable[[str], Coroutine[None, None, T]]
) -> T:
    now = bodies.surroundings().elapsed()
    at, asking = asked.get(connection_id, (None, None))
    if asking is None or at is None or (asking.done() and now - at > FRESH_SECONDS):
        asking = asyncio.create_task(ask(connection_id))
        asked[connection_id] = (now, asking)
    return await asyncio.shield(asking)


async def history_of(connection_id: str) -> History | str:
    """The history, asked for once and for a few seconds only; a sentence without any address where it is not had."""
    try:
        async with hook_for_a_look(connection_id) as hook:
            return await _history(hook)
    except (AemGuidesError, AirflowException, TimeoutError) as error:
        return why(error)


def hook_for_a_look(connection_id: str) -> AemGuidesAsyncHook:
    """The hook of one look, which sends each request once."""
    return AemGuidesAsyncHook(connection_id, retries=RetrySettings(attempts=1))


async def _history(hook: AemGuidesAsyncHook) -> History:
    return await _in_time(hook.call(_bounded(contract.history())))


async def _last_lines(hook: AemGuidesAsyncHook, active: Sequence[Job]) -> dict[str, str]:
    """The last line of the log of the first few jobs, as far as they all come within a few seconds."""
    found: dict[str, str] = {}
    with contextlib.suppress(AemGuidesError, AirflowException, TimeoutError):
        await _in_time(_read_last_lines(hook, active[:MOST_LINES], found))
    return found


async def _read_last_lines(hook: AemGuidesAsyncHook, jobs: Sequence[Job], found: dict[str, str]) -> None:
    for job in jobs:
        with contextlib.suppress(RejectedError):  # there is none yet
            lines = (await hook.call(_bounded(contract.logs(job.processing_id, tail=1)))).lines
            if lines:
                found[job.processing_id] = clean_text(lines[-1], LONGEST_LINE)


def _bounded(call: contract.Call[T]) -> contract.Call[T]:
    return replace(call, request=replace(call.request, largest_answer=LARGEST_ANSWER))


async def _in_time(asking: Awaitable[T]) -> T:
    return cast("T", await bodies.surroundings().wait_for(asking, ANSWER_SECONDS))


async def ask(connection_id: str) -> Health:
    """What the instance says of itself, from one look at its history, and the last lines of some of its jobs."""
    try:
        async with hook_for_a_look(connection_id) as hook:
            history = await _history(hook)
            now = int(bodies.surroundings().now() * _SECOND)
            active = tuple(job for job in history.jobs if job.is_active)
            return Health(True, "Answers", active, history.read_at or now, await _last_lines(hook, active))
    except (AemGuidesError, AirflowException, TimeoutError) as error:
        return Health(False, why(error))


def why(error: Exception) -> str:
    """What is wrong, without the address and what was sent: a viewer may not know these."""
    if isinstance(error, TimeoutError):
        return f"Gives no answer within {ANSWER_SECONDS:.0f} s"
    if isinstance(error, AuthenticationError):
        return "Refuses the login of its connection"
    if isinstance(error, UnreachableError):
        return "Cannot be reached"
    if isinstance(error, (ConfigurationError, AirflowException)):
        return "Its connection cannot be used: press its Test button in Admin, Connections"
    return "Gives no answer that can be read"
