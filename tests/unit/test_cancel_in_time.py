"""A wait with a time limit can be cancelled at any moment, even when its result has just come."""

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


def test_a_wait_that_takes_too_long_times_out() -> None:
    with pytest.raises(TimeoutError):
        asyncio.run(bodies.wait_for(asyncio.sleep(60), 0.0))


def test_a_cancel_waits_for_the_answer_of_airflow() -> None:
    async def play() -> list[str]:
        seen: list[str] = []
        let = asyncio.Event()

        async def ask() -> str:
            await let.wait()
            seen.append("answered")
            return "answer"

        async def work() -> None:
            try:
                await bodies.whole(ask())
            finally:
                seen.append("cancelled")

        working = asyncio.create_task(work())
        await asyncio.sleep(0)
        working.cancel()
        await asyncio.sleep(0)
        working.cancel()
        await asyncio.sleep(0)
        assert seen == []
        let.set()
        with pytest.raises(asyncio.CancelledError):
            await working
        return seen

    assert asyncio.run(play()) == ["answered", "cancelled"]


def test_a_refusal_of_airflow_during_a_cancel_is_only_the_cancel() -> None:
    async def play() -> None:
        async def ask() -> None:
            await asyncio.sleep(0)
            raise ValueError("refused")

        working = asyncio.create_task(bodies.whole(ask()))
        await asyncio.sleep(0)
        working.cancel()
        await working

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(play())
