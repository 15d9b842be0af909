"""A path in the queue that does not wait just now delays no other: the turn goes to the next path."""

from __future__ import annotations

import asyncio
import time
from typing import cast

from aem_guides.hooks.hook import AemGuidesAsyncHook
from aem_guides.protocol.admission import Place, Ticket
from aem_guides.protocol.conversation import Conversation
from aem_guides.protocol.pacing import Pacing
from aem_guides.protocol.steps import Steps, T
from aem_guides.triggers.admission import Coordinator
from aem_guides.triggers.start_lease import StartLease
from tests.support.notes import KeptNotes
from tests.unit.protocol.driving import World, reply


class Hook:
    """Reads an instance without jobs."""

    def __init__(self) -> None:
        self.world = World(lambda _request: reply(200, {"executionHistory": []}))

    async def talk(self) -> Conversation:
        self.world.clock = time.time()
        return self.world.conversation()

    async def drive(self, steps: Steps[T]) -> T:
        return self.world.run(steps)


def ticket(index: int) -> Ticket:
    return Ticket(Place(0, "run", index), f"/content/{index}", limit=4)


def coordinator() -> Coordinator:
    return Coordinator(StartLease(KeptNotes(), "lease", settle_seconds=0.01), Pacing(shortest=0.05))


async def wait(line: Coordinator, who: Ticket, seconds: float) -> bool:
    hook = cast("AemGuidesAsyncHook", Hook())
    return await line.wait(who, hook, time.time() + seconds, lambda _text: None)


def test_a_path_whose_hours_are_over_holds_up_no_other() -> None:
    async def both() -> bool:
        line, early, late = coordinator(), ticket(0), ticket(1)
        async with line.line(early), line.line(late):
            assert not await wait(line, early, 0)
            return await wait(line, late, 2)

    assert asyncio.run(both())


def test_a_path_that_looks_what_came_of_its_request_before_it_takes_another_turn_holds_up_no_other() -> None:
    async def three() -> bool:
        line, first, second, third = coordinator(), ticket(0), ticket(1), ticket(2)
        async with line.line(first), line.line(third):
            assert await wait(line, first, 2)
            async with line.line(second):
                waiting = [asyncio.create_task(wait(line, who, 2)) for who in (second, third)]
                await asyncio.sleep(0)
                line.put_back(first, 0)
                assert await waiting[0]
            return await waiting[1]

    assert asyncio.run(three())
