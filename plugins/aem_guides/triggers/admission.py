"""What all paths of a process share on an instance: looks at the window, and one start at a time.

All triggers of a process share a `Coordinator` for each instance, which reads the window once for all of them. Of the
paths that wait to start a job, the first looks for all; the others sleep until they are woken. The triggerers share a
lease (`protocol.lease`), so that only one of them starts jobs on an instance at a time.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import weakref
from collections.abc import AsyncIterator, Callable
from typing import cast

from airflow.sdk.exceptions import AirflowRuntimeError

from aem_guides.hooks.bodies import surroundings
from aem_guides.hooks.hook import AemGuidesAsyncHook
from aem_guides.protocol.admission import Ticket, Turns, ask_for_hidden, read_window
from aem_guides.protocol.errors import AemGuidesError, AuthenticationError, ConfigurationError
from aem_guides.protocol.manners import Haste
from aem_guides.protocol.pacing import Pacing
from aem_guides.protocol.procedures.cancel import SETTLED
from aem_guides.protocol.procedures.events import HeldUntil
from aem_guides.protocol.procedures.follow import FollowEnd
from aem_guides.protocol.procedures.path_state import PathState, Phase
from aem_guides.protocol.procedures.resume_in_turn import WorksAgain
from aem_guides.protocol.procedures.shared_look import SharedLook
from aem_guides.protocol.steps import ConfirmTurn, EndTurn, SeeWindow, TakeTurn, Turn, Window
from aem_guides.runtime.notes import Notes, Register, lease_key
from aem_guides.runtime.task_log import TaskLog, show_event
from aem_guides.triggers.start_lease import StartLease
from aem_guides.triggers.waiter_notes import WaiterNotes, waiters_of

LOG_EVERY_SECONDS = 600.0
LOGIN_PATIENCE_SECONDS = 900.0
LONGEST_LOOK_OF_A_LINE = 15.0
"""The longest pause in seconds between two looks while paths wait to start a job. One look serves all of them."""
LONGEST_READ_SECONDS = 300.0  # a complete answer takes no longer
BRIEF_SECONDS = 3.0
"""Seconds that a worker waits for a turn. Then the triggerer waits."""

Report = Callable[[str], None]
_COORDINATORS: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str, Coordinator]] = (
    weakref.WeakKeyDictionary()
)
_RELEASES: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, set[asyncio.Task[None]]] = weakref.WeakKeyDictionary()
"""What releases a lease now, by event loop. A loop does not notice when a task of another loop ends."""


class Coordinator:
    """The paths of one process that wait on one instance, for the end of a job or for their turn to start one."""

    def __init__(self, lease: StartLease, pacing: Pacing) -> None:
        self.turns = Turns()
        self.looks = 0
        self._lease = lease
        self._pacing = pacing
        self._wake: dict[Ticket, asyncio.Event] = {}
        self._stirred = asyncio.Event()
        self._looker: Ticket | None = None
        self._quiet_since = surroundings().now()
        self._held_until = 0.0
        self._failures = 0
        self._refused_since: float | None = None
        self._shown: Window | AemGuidesError | None = None
        self._read_at = -math.inf
        self._reading: asyncio.Event | None = None
        self._asked_at = -math.inf

    @contextlib.asynccontextmanager
    async def line(self, ticket: Ticket) -> AsyncIterator[None]:
        """Stand in the queue for as long as the context lasts."""
        self.turns.join(ticket)
        self._wake[ticket] = asyncio.Event()
        self._stirred.set()
        try:
            yield
        finally:
            self.turns.leave(ticket)
            del self._wake[ticket]
            self._hand_on(ticket)
            if self.turns.first is None:
                release = asyncio.create_task(self._lease.release(self.turns))
                releases = _RELEASES.setdefault(asyncio.get_running_loop(), set())
                releases.add(release)
                release.add_done_callback(releases.discard)

    async def wait(self, ticket: Ticket, hook: AemGuidesAsyncHook, deadline_at: float, report: Report) -> bool:
        """Wait for the turn of a ticket in the queue. False if `deadline_at` (epoch seconds) came first.

        Raises AuthenticationError or ConfigurationError after 15 minutes of such answers.
        """
        ticket.is_away = False
        if self._looker not in (None, ticket):
            self._stirred.set()
        try:
            return await self._wait(ticket, hook, deadline_at, report)
        finally:
            ticket.is_away = True
            self._hand_on(ticket)

    async def _wait(self, ticket: Ticket, hook: AemGuidesAsyncHook, deadline_at: float, report: Report) -> bool:
        reported_at = 0.0
        while self.turns.starting is not ticket:
            now = surroundings().now()
            if now >= deadline_at:
                return False
            if self.looks and now - reported_at >= LOG_EVERY_SECONDS:
                reported_at = now
                report(f"{ticket.path} waits: {self.turns.why(ticket)}")
            if self._looker in (None, ticket):
                self._looker = ticket
                pause, wake = await self._look(hook, report), self._stirred
                if self.turns.starting is ticket:
                    break
            else:
                pause, wake = LOG_EVERY_SECONDS, self._wake[ticket]
            with contextlib.suppress(TimeoutError):
                await surroundings().wait_for(wake.wait(), max(0.01, min(pause, deadline_at - surroundings().now())))
            wake.clear()
        return True

    async def confirm(self) -> bool:
        """Whether, right before a request that makes a job active, no other process may send one.

        False if Airflow does not say so.
        """
        with contextlib.suppress(AirflowRuntimeError):
            return await self._lease.is_held()
        return False

    def put_back(self, ticket: Ticket, seconds: float, blocked_by: str | None = None) -> None:
        """A start was not possible. Try again after so many seconds, and let others go first until then."""
        self.turns.put_back(ticket, not_before=surroundings().now() + seconds, blocked_by=blocked_by)
        self._stirred.set()

    def hold_all(self, ticket: Ticket, seconds: float) -> None:
        """A start was not possible, for a reason that concerns all paths. No path starts for so many seconds."""
        self.turns.put_back(ticket, not_before=0.0)
        self._held_until = surroundings().now() + seconds
        self._stirred.set()

    def follow(self, state: PathState) -> None:
        """Count the job of a path as active from its start or resume on, before the window shows it."""
        end = state.earlier_end
        if state.processing_id not in self.turns.active or end is not None:
            self.turns.note_active(state.processing_id or "", state.request.path, end)
        self.turns.follow(state.processing_id or "")
        self._stir()

    def unfollow(self, processing_id: str, *, ended: bool) -> None:
        """A job is no longer followed here. Unless it has ended, it counts as active until it is seen to have ended."""
        self.turns.unfollow(processing_id, ended=ended)
        self._stir()

    async def window(self, hook: AemGuidesAsyncHook, until: float) -> Window | None:
        """The current window, read once for all callers. None if reading fails, or takes until `until`."""
        left = min(LONGEST_READ_SECONDS, max(0.0, until - surroundings().now()))
        with contextlib.suppress(AemGuidesError, TimeoutError):
            return cast("Window", await surroundings().wait_for(self._window(hook), left))
        return None

    async def _window(self, hook: AemGuidesAsyncHook) -> Window:
        """The current window. Raises what reading it raises, for all callers."""
        while self._shown is None or surroundings().now() - self._read_at >= self._pacing.shortest / 2:
            if self._reading is None:
                await self._read(hook)
            else:
                await self._reading.wait()
        if isinstance(self._shown, AemGuidesError):
            raise self._shown
        return self._shown

    async def _read(self, hook: AemGuidesAsyncHook) -> None:
        """Read the window for all. If the reading path is cancelled, another one reads."""
        self._reading = asyncio.Event()
        try:
            talk = await hook.talk()
            self.looks += 1
            # It is read for all paths, so it does not wait for any of them.
            at_once = talk.without_retries().in_haste(Haste.WORK)
            self._shown = await hook.drive(read_window(at_once, self.turns))
            self._read_at = talk.now()
        except AemGuidesError as error:
            self._shown, self._read_at = error, surroundings().now()
        finally:
            self._reading.set()
            self._reading = None

    async def _look(self, hook: AemGuidesAsyncHook, report: Report) -> float:
        """Look for all paths, and give the turn to the next one. Returns the seconds until the next look."""
        if self.turns.starting is not None:
            return self._pacing.longest
        talk = await hook.talk()
        random = talk.surroundings.random()
        if (left := self._held_until - talk.now()) > 0:
            return left
        try:
            if not await self._lease.hold(self.turns):
                return self._pacing.shortest * (0.9 + 0.2 * random)
            await self._window(hook)
            if talk.now() - self._asked_at >= self._pacing.shortest / 2:
                await hook.drive(ask_for_hidden(talk, self.turns))
                self._asked_at = talk.now()
        except (AemGuidesError, AirflowRuntimeError) as error:
            return self._after_failure(error, random, report)
        self._failures, self._refused_since = 0, None
        granted = self.turns.grant(talk.now())
        if granted is not None:
            self._quiet_since = talk.now()
            self._wake[granted].set()
            return self._pacing.longest
        return self._pacing.next_look(age=talk.now() - self._quiet_since, random=random)

    def _after_failure(self, error: Exception, random: float, report: Report) -> float:
        now = surroundings().now()
        if isinstance(error, AuthenticationError | ConfigurationError):
            self._refused_since = self._refused_since or now
            if now - self._refused_since >= LOGIN_PATIENCE_SECONDS:
                raise error
        self._failures += 1
        if self._failures == 1 or self._failures % 10 == 0:
            report(f"A check failed ({self._failures} in a row); checking again. {error}")
        return self._pacing.after_failures(self._failures, random)

    def _hand_on(self, ticket: Ticket) -> None:
        """If the looking path stops waiting, wake the next path, which then looks."""
        if self._looker is ticket:
            self._looker = None
            heir = next((other for other in self._wake if not other.is_away), None)
            if heir is not None:
                self._wake[heir].set()
        self._stir()

    def _stir(self) -> None:
        """Something has changed: look now."""
        self._quiet_since = surroundings().now()
        self._stirred.set()


class Admission:
    """One path's part in the coordinator of its process: its turns, and the job that is followed for it.

    It answers what procedures emit about turns and the window. In a worker (`is_brief`) it waits only briefly for its
    turn.
    """

    def __init__(
        self,
        coordinator: Coordinator,
        waiters: WaiterNotes,
        hook: AemGuidesAsyncHook,
        ticket: Ticket,
        log: TaskLog,
        *,
        is_brief: bool,
    ) -> None:
        self._coordinator = coordinator
        self._waiters = waiters
        self._hook = hook
        self._ticket = ticket
        self._log = log
        self._is_brief = is_brief
        self._line = contextlib.AsyncExitStack()
        self._in_line = False
        self._followed: str | None = None
        self._state: PathState | None = None
        self.find = SharedLook().find

    async def __aenter__(self) -> Admission:
        return self

    async def __aexit__(self, *_exception: object) -> None:
        self._waiters.leave(self._ticket)
        await self._leave()
        if self._followed is not None:
            self._coordinator.unfollow(self._followed, ended=False)

    async def answer(self, item: object) -> Turn | Window | None:
        """The answer to what a procedure emits. What is not for the coordinator is logged."""
        match item:
            case TakeTurn():
                return await self._take(item)
            case ConfirmTurn():
                return Turn(await self._coordinator.confirm())
            case SeeWindow(until):
                return await self._coordinator.window(self._hook, until)
            case EndTurn():
                await self._end(item)
            case WorksAgain(processing_id, path, earlier_end):
                self._coordinator.turns.note_active(processing_id, path, earlier_end)
            case HeldUntil() if self._state is not None:
                self._waiters.hold(self._ticket, self._state, item)
            case _:
                show_event(self._log, item)
        return None

    async def _take(self, wanted: TakeTurn) -> Turn:
        """Wait for the turn. It is not granted if the time is over first."""
        self._waiters.stir()
        self._ticket.queues = wanted.queues
        if not self._in_line:
            await self._line.enter_async_context(self._coordinator.line(self._ticket))
            self._in_line = True
        until = min(wanted.until, surroundings().now() + BRIEF_SECONDS) if self._is_brief else wanted.until
        granted = await self._coordinator.wait(self._ticket, self._hook, until, self._report)
        if not granted:
            await self._leave()
        turns = self._coordinator.turns
        return Turn(granted, frozenset(turns.active), "" if granted else turns.why(self._ticket))

    async def _end(self, turn: EndTurn) -> None:
        """Leave the queue, or keep the place in it for another try."""
        if turn.again_in is None:
            await self._leave()
        elif turn.holds_all:
            self._coordinator.hold_all(self._ticket, turn.again_in)
        else:
            self._coordinator.put_back(self._ticket, turn.again_in, turn.blocked_by)

    def see(self, state: PathState) -> None:
        """Update from the state of the path: while its job may be active, it counts."""
        works = state.processing_id if state.phase in _WORKS else None
        if self._followed is not None and works != self._followed:
            self._coordinator.unfollow(self._followed, ended=_has_ended(state))
        if works is not None and works != self._followed:
            self._coordinator.follow(state)
        self._followed, self._state = works, state

    async def _leave(self) -> None:
        self._in_line = False
        await self._line.aclose()

    def _report(self, text: str) -> None:
        self._log.log(logging.INFO, "%s", text)


_WORKS = frozenset({Phase.FOLLOWING, Phase.CANCELLING})


def _has_ended(state: PathState) -> bool:
    if state.phase is Phase.ENDED and state.end is FollowEnd.DEADLINE:
        return state.cancel in SETTLED
    return state.phase in (Phase.ENDED, Phase.HELD_BACK)


async def let_others_have_it() -> None:
    """Wait until this event loop has released its leases, because it ends."""
    if releases := _RELEASES.get(asyncio.get_running_loop()):
        await asyncio.wait(set(releases))


async def admission_for(
    hook: AemGuidesAsyncHook,
    register: Register,
    ticket: Ticket,
    log: TaskLog,
    *,
    longest_look: float = LONGEST_LOOK_OF_A_LINE,
    is_brief: bool = False,
) -> Admission:
    """The part of a ticket in the coordinator of this event loop for the hook's instance. Use it as a context."""
    settings, coordinator = await hook.settings(), await coordinator_for(hook, register, longest_look)
    waiters = waiters_of(coordinator, register, settings.base_url, settings.instance)
    return Admission(coordinator, waiters, hook, ticket, log, is_brief=is_brief)


async def coordinator_for(hook: AemGuidesAsyncHook, notes: Notes, longest_look: float) -> Coordinator:
    """The one coordinator of this event loop for the hook's instance."""
    base_url = (await hook.settings()).base_url
    of_loop = _COORDINATORS.setdefault(asyncio.get_running_loop(), {})
    if base_url not in of_loop:
        pacing = Pacing(longest=min(longest_look, LONGEST_LOOK_OF_A_LINE))
        of_loop[base_url] = Coordinator(StartLease(notes, lease_key(base_url)), pacing)
    return of_loop[base_url]
