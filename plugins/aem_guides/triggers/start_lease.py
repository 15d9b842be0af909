"""This process's part in the lease to start jobs on an instance (`protocol.lease`)."""

from __future__ import annotations

import contextlib
import uuid

from airflow.sdk.exceptions import AirflowRuntimeError

from aem_guides.hooks.bodies import surroundings
from aem_guides.protocol.admission import Turns
from aem_guides.protocol.lease import RENEW_SECONDS, SETTLE_SECONDS, TERM_SECONDS, YIELD_SECONDS, Lease
from aem_guides.runtime.notes import Notes


class StartLease:
    """This process's part in the lease to start jobs on one instance.

    `settle_seconds`: how long a new holder waits. It must be longer than any write to the register takes.
    """

    def __init__(self, notes: Notes, key: str, *, settle_seconds: float = SETTLE_SECONDS) -> None:
        self._notes = notes
        self._key = key
        self._settle = settle_seconds
        self._me = uuid.uuid4().hex
        self._until = 0.0
        self._give_way_until = 0.0

    async def hold(self, turns: Turns) -> bool:
        """Take or keep the lease, and take over what its last holder knew. False if another process holds it."""
        now = surroundings().now()
        if self._until - now >= RENEW_SECONDS:
            return True
        if now < self._give_way_until:
            return False
        began = surroundings().elapsed()
        held = Lease.from_json(await self._notes.aget(self._key))
        if held is not None and held.keeps_out(self._me, now):
            await self._notes.aset(f"{self._key}:wanted", {"by": self._me, "at": now})
            return False
        mine = held is not None and held.is_mine(self._me, now)
        if mine and await self._is_wanted(now):
            await self._write(0.0, turns)
            self._give_way_until = now + YIELD_SECONDS
            return False
        if held is not None and not mine:
            turns.learn(held.active, held.earlier_ends)
        await self._write(now + TERM_SECONDS, turns)
        if surroundings().elapsed() - began >= self._settle:
            return False
        if not mine:
            await surroundings().asleep(self._settle)
        return await self.is_held()

    async def is_held(self) -> bool:
        """Whether the register shows this process as the holder."""
        held = Lease.from_json(await self._notes.aget(self._key))
        mine = held is not None and held.is_mine(self._me, surroundings().now())
        self._until = held.until if held is not None and mine else 0.0
        return mine

    async def release(self, turns: Turns) -> None:
        """Release the lease at once. If that fails, the lease expires by itself."""
        if self._until > surroundings().now():
            self._until = 0.0
            with contextlib.suppress(AirflowRuntimeError):
                await self._write(0.0, turns)

    async def _write(self, until: float, turns: Turns) -> None:
        if not until:
            self._until = 0.0
        await self._notes.aset(self._key, Lease(self._me, until, turns.active, turns.earlier_ends).to_json())

    async def _is_wanted(self, now: float) -> bool:
        match await self._notes.aget(f"{self._key}:wanted"):
            case {"by": str(who), "at": int(at) | float(at)}:
                return who != self._me and now - at < TERM_SECONDS
        return False
