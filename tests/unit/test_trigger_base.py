"""Every trigger ends with one event that Airflow can carry, whatever its result or error."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator

import msgspec
import pytest
from airflow.triggers.base import TriggerEvent
from hypothesis import given
from hypothesis import strategies as st

from aem_guides.pipelines.batch_progress import AemGuidesBatchProgressTrigger
from aem_guides.protocol.errors import JobLostError, Retry
from aem_guides.protocol.models import JsonObject
from aem_guides.triggers.assets import AemGuidesAssetsTrigger
from aem_guides.triggers.base import LARGEST_EVENT_BYTES, AemGuidesTrigger, why_not_carried
from aem_guides.triggers.earlier import AemGuidesJobTrigger, AemGuidesPathTrigger, AemGuidesTurnTrigger
from aem_guides.triggers.lifecycle import AemGuidesLifecycleTrigger
from tests.support.clocks import sleep_not_at_all


@pytest.fixture(scope="module", autouse=True)
def _no_time_passes() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        sleep_not_at_all(patch)
        yield


class Ends(AemGuidesTrigger):
    """A trigger with a given result."""

    def __init__(self, outcome: Callable[[], JsonObject]) -> None:
        super().__init__()
        self._outcome = outcome

    async def outcome(self) -> JsonObject:
        return self._outcome()


def fired(outcome: Callable[[], JsonObject]) -> JsonObject:
    """The payload of the one event."""

    async def run() -> list[TriggerEvent]:
        return [event async for event in Ends(outcome).run()]

    (event,) = asyncio.run(run())
    payload: JsonObject = event.payload
    return payload


def raising(error: Exception) -> Callable[[], JsonObject]:
    def outcome() -> JsonObject:
        raise error

    return outcome


def nested(depth: int) -> JsonObject:
    value: JsonObject = {}
    for _ in range(depth):
        value = {"a": value}
    return value


@pytest.mark.parametrize(
    "trigger",
    [
        AemGuidesLifecycleTrigger,
        AemGuidesJobTrigger,
        AemGuidesTurnTrigger,
        AemGuidesPathTrigger,
        AemGuidesAssetsTrigger,
        AemGuidesBatchProgressTrigger,
    ],
)
def test_every_trigger_ends_in_the_base(trigger: type[AemGuidesTrigger]) -> None:
    assert trigger.run is AemGuidesTrigger.run


def test_an_outcome_that_can_be_carried_is_the_event() -> None:
    assert fired(lambda: {"end": "ended", "job": {"path": "/content/dam/é \U0001f600"}}) == {
        "end": "ended",
        "job": {"path": "/content/dam/é \U0001f600"},
    }


@pytest.mark.parametrize(
    ("payload", "why"),
    [
        ({"text": "half an emoji \ud83d"}, "surrogates not allowed"),
        ({"text": "a \x00"}, "NUL"),
        ({"a\x00": 1}, "NUL"),
        ({"number": 2**64}, "OverflowError"),
        ({"number": float("nan")}, "ValueError"),
        (nested(5_000), "Recursion"),
        ({"text": "a" * (LARGEST_EVENT_BYTES + 1)}, f"at most {LARGEST_EVENT_BYTES} are allowed"),
        ({"thing": object()}, "TypeError"),
    ],
)
def test_an_outcome_that_cannot_be_carried_becomes_an_error_that_can(payload: JsonObject, why: str) -> None:
    event = fired(lambda: payload)
    assert event["retry"] == Retry.USEFUL.value
    assert str(event["error"]).startswith("Airflow cannot pass on the event of Ends: ")
    assert why in str(event["error"])
    assert why_not_carried(event) is None


def test_an_error_of_ours_says_whether_a_retry_is_useful() -> None:
    error = JobLostError("job \ud83d is lost\x00")
    event = fired(raising(error))
    assert event == {"error": "job � is lost�", "kind": "JobLostError", "retry": error.retry.value}


def test_an_unexpected_error_ends_the_wait_with_an_event_too() -> None:
    event = fired(raising(ZeroDivisionError("division by zero")))
    assert event == {"error": "ZeroDivisionError: division by zero", "kind": "ZeroDivisionError", "retry": "useful"}


def test_a_backslash_before_the_letters_of_a_nul_is_none() -> None:
    assert why_not_carried({"text": r"C:\u0000 is a folder"}) is None


@given(
    st.dictionaries(
        st.text(max_size=5),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(), max_size=10),
            lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
            max_leaves=10,
        ),
        max_size=5,
    )
)
def test_whatever_the_outcome_the_event_can_be_encoded_and_stored(payload: JsonObject) -> None:
    event = fired(lambda: payload)
    msgspec.msgpack.encode(event)
    assert not any("\x00" in found for found in texts(json.loads(json.dumps(event, allow_nan=False))))


def texts(value: object) -> list[str]:
    """All texts in a value, as they are."""
    if isinstance(value, dict):
        return [found for item in value.items() for part in item for found in texts(part)]
    if isinstance(value, list):
        return [found for item in value for found in texts(item)]
    return [value] if isinstance(value, str) else []
