"""What is awaited for a limited time can be cancelled at any moment, also when it has just come."""

from __future__ import annotations

import asyncio

import pytest

from aem_guides.hooks import bodies


async def _answer() -> str:
    await asyncio.sleep(0)
    return "the answer"


async def _cancelled_after(rounds: int) -> bool:
    waiting = asyncio.create_task(bodies.wait_for(_answer(), 60.0))
    for _ in range(rounds):
        await asyncio.sleep(0)
    if not waiting.cancel():
        return waiting.result() == "the answer"
    await asyncio.wait([waiting])
    return waiting.cancelled()


@pytest.mark.parametrize("rounds", range(1, 8))
def test_a_cancel_is_never_swallowed(rounds: int) -> None:
    assert asyncio.run(_cancelled_after(rounds))


def test_what_takes_too_long_times_out() -> None:
    with pytest.raises(TimeoutError):
        asyncio.run(bodies.wait_for(asyncio.sleep(60), 0.0))
