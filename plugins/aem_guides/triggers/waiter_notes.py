"""Store who waits on an instance, for people: the line is in the memory of a process, which the console cannot read."""

from __future__ import annotations

import asyncio
import logging
import uuid
import weakref
from typing import TYPE_CHECKING

from airflow.sdk.exceptions import AirflowRuntimeError

from aem_guides.hooks.bodies import surroundings
from aem_guides.protocol.admission import Ticket, Turns
from aem_guides.protocol.procedures.events import HeldUntil
from aem_guides.protocol.procedures.path_state import PathState
from aem_guides.protocol.waiters import Waiter, Waiters, waiter
from aem_guides.runtime.notes import Register, waiters_key
from aem_guides.runtime.waiters import decoded, encoded

if TYPE_CHECKING:
    from aem_guides.triggers.admission import Coordinator

FIRST_SECONDS = 5.0
"""Who waits no longer than this is not worth a write."""
EVERY_SECONDS = 10.0
PLACES = 20
"""So many processes can store their waiters of one instance. Places are used again: Airflow never cleans them up."""

log = logging.getLogger(__name__)

_OF: weakref.WeakKeyDictionary[Coordinator, WaiterNotes] = weakref.WeakKeyDictionary()


class WaiterNotes:
    """The waiters of this process on one instance, stored now and then while there are any."""

    def __init__(self, register: Register, base_url: str, instance: str, turns: Turns) -> None:
        self._register = register
        self._base_url = base_url
        self._instance = instance
        self._turns = turns
        self._me = uuid.uuid4().hex
        self._place = 0
        self._held: dict[Ticket, Waiter] = {}
        self._keeping: asyncio.Task[None] | None = None

    def stir(self) -> None:
        """Somebody waits now."""
        if self._keeping is None or self._keeping.done():
            self._keeping = asyncio.create_task(self._keep())

    def hold(self, ticket: Ticket, state: PathState, event: HeldUntil) -> None:
        """A path waits for the off-peak hours, or does so no more."""
        if event.at is None:
            self._held.pop(ticket, None)
            return
        since = state.held_since or surroundings().now()
        self._held[ticket] = waiter(ticket, state.request.path, since, event.why, event.at, state.processing_id)
        self.stir()

    def leave(self, ticket: Ticket) -> None:
        """A path waits no more, whatever it waited for."""
        self._held.pop(ticket, None)

    async def _keep(self) -> None:
        is_stored = False
        await surroundings().asleep(FIRST_SECONDS)
        while is_stored or self._turns.waiting or self._held:
            try:
                is_stored = await self._write()
            except AirflowRuntimeError as error:  # the next time will do
                log.debug("Who waits on %s could not be stored: %s", self._instance, error)
            await surroundings().asleep(EVERY_SECONDS)

    async def _write(self) -> bool:
        """Store them at a place that no other process uses, and keep it. Returns whether any are stored now."""
        now = surroundings().now()
        value = Waiters.of(self._me, self._instance, now, self._turns, self._held.values())
        for _ in range(PLACES):
            key = waiters_key(self._base_url, self._place)
            found = decoded(await self._register.aget(key))
            if found is None or found.by == self._me or not found.is_current(now):
                if value.queued or value.held_back:
                    await self._register.aset(key, encoded(value))
                    return True
                await self._register.adelete(key)
                return False
            self._place = (self._place + 1) % PLACES
        return False


def waiters_of(coordinator: Coordinator, register: Register, base_url: str, instance: str) -> WaiterNotes:
    """The one place in this process where the waiters of a line are kept."""
    if coordinator not in _OF:
        _OF[coordinator] = WaiterNotes(register, base_url, instance, coordinator.turns)
    return _OF[coordinator]
