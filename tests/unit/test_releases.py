"""A worker waits only for the leases that its own event loop releases. It would not notice the end of another's."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

from aem_guides.protocol.admission import Place, Ticket, Turns
from aem_guides.protocol.pacing import Pacing
from aem_guides.triggers.admission import Coordinator, let_others_have_it
from aem_guides.triggers.start_lease import StartLease
from tests.support.notes import KeptNotes


class SlowLease(StartLease):
    """A lease whose release takes until it may end."""

    def __init__(self) -> None:
        super().__init__(KeptNotes(), "lease")
        self.begun, self.may_end, self.released = threading.Event(), threading.Event(), False

    async def release(self, turns: Turns) -> None:
        self.begun.set()
        await asyncio.to_thread(self.may_end.wait)
        self.released = True


async def stand_in_line_once(lease: SlowLease) -> bool:
    """Leave the queue, wait for the release as a worker does, and return whether it was done then."""
    ticket = Ticket(Place(0.0, "run", 0), "/content/dam/x", 1)
    async with Coordinator(lease, Pacing()).line(ticket):
        pass
    await asyncio.to_thread(lease.may_end.wait)
    await let_others_have_it()
    return lease.released


def test_a_loop_waits_for_its_own_release_and_not_for_that_of_another_loop() -> None:
    lease = SlowLease()
    with ThreadPoolExecutor(1) as other:
        released = other.submit(asyncio.run, stand_in_line_once(lease))
        try:
            assert lease.begun.wait(10)
            asyncio.run(asyncio.wait_for(let_others_have_it(), 10))
            assert not lease.released
        finally:
            lease.may_end.set()
        assert released.result(10)
