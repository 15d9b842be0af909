"""The lease between triggerers: at most one of them starts jobs, whatever the order of their steps."""

from __future__ import annotations

import asyncio
import time

import pytest
from airflow.sdk.exceptions import AirflowRuntimeError, ErrorType
from airflow.sdk.execution_time.comms import ErrorResponse

from aem_guides.protocol.admission import Turns
from aem_guides.protocol.earlier_end import EarlierEnd
from aem_guides.protocol.lease import TERM_SECONDS, Lease
from aem_guides.protocol.models import JsonObject, JsonValue
from aem_guides.protocol.pacing import Pacing
from aem_guides.triggers import start_lease as turns
from aem_guides.triggers.admission import Coordinator
from aem_guides.triggers.start_lease import StartLease
from tests.support.notes import KeptNotes

KEY = "starts:x"
END = EarlierEnd("y", "FAILED", 2_000, 1_750_000_000.5)


def lease_of(notes: KeptNotes) -> StartLease:
    return StartLease(notes, KEY, settle_seconds=0.2)


def test_of_many_that_want_it_at_the_same_time_one_has_it() -> None:
    notes = KeptNotes(writes_take=0.05)

    async def all_at_once() -> list[bool]:
        return list(await asyncio.gather(*(lease_of(notes).hold(Turns()) for _ in range(8))))

    assert asyncio.run(all_at_once()).count(True) == 1


def test_the_next_holder_gets_what_the_last_one_knew() -> None:
    notes, mine, others = KeptNotes(), Turns(), Turns()
    mine.note_active("x", "/content/dam/a")
    mine.note_active("y", None, END)

    async def hand_on() -> None:
        first, second = lease_of(notes), lease_of(notes)
        assert await first.hold(mine)
        assert not await second.hold(others)
        await first.release(mine)
        assert not await first.is_held()
        assert await second.hold(others)

    asyncio.run(hand_on())
    assert others.active == {"x": "/content/dam/a", "y": None}
    assert others.earlier_ends == {"y": END}


def test_a_holder_gives_way_to_a_waiting_triggerer_when_it_would_renew(monkeypatch: pytest.MonkeyPatch) -> None:
    notes = KeptNotes()
    monkeypatch.setattr(turns, "RENEW_SECONDS", TERM_SECONDS + 1)

    async def give_way() -> None:
        first, second = lease_of(notes), lease_of(notes)
        assert await first.hold(Turns())
        assert await first.hold(Turns()), "nobody else wants it"
        assert not await second.hold(Turns())
        assert not await first.hold(Turns())
        assert not await first.hold(Turns()), "it leaves the other time"
        assert await second.hold(Turns())

    asyncio.run(give_way())


def test_a_write_that_took_too_long_does_not_count() -> None:
    assert asyncio.run(lease_of(KeptNotes(writes_take=0.3)).hold(Turns())) is False


def test_a_turn_that_airflow_does_not_confirm_is_not_granted() -> None:
    class Silent(KeptNotes):
        async def aget(self, key: str) -> JsonValue:
            raise AirflowRuntimeError(ErrorResponse(error=ErrorType.API_SERVER_ERROR, detail={"key": key}))

    assert asyncio.run(Coordinator(lease_of(Silent()), Pacing()).confirm()) is False


@pytest.mark.parametrize(("until", "keeps_out"), [(-1.0, False), (TERM_SECONDS, True), (100 * TERM_SECONDS, False)])
def test_a_lease_of_another_keeps_out_while_it_lasts_and_not_for_ever(until: float, keeps_out: bool) -> None:
    now = time.time()
    assert Lease("another", now + until).keeps_out("me", now) is keeps_out


@pytest.mark.parametrize(
    "ends", [None, [], {"y": None}, {"y": {**END.to_json(), "resumed_at": "now"}}, {"y": {"status_word": "FAILED"}}]
)
def test_a_lease_without_readable_ends_still_counts(ends: JsonValue) -> None:
    stored: JsonObject = {"holder": "x", "until": 1, "active": {"y": None}, "earlier_ends": ends}
    assert Lease.from_json(stored) == Lease("x", 1.0, {"y": None})


@pytest.mark.parametrize("stored", [None, 1, {}, {"holder": "x", "until": "y", "active": {}}])
def test_an_invalid_lease_counts_as_free(stored: object) -> None:
    assert Lease.from_json(stored) is None  # type: ignore[arg-type]  # what a register may hold
