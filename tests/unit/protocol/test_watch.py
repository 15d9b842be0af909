"""Which jobs have ended since the last look."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aem_guides.protocol.contract import read_job
from aem_guides.protocol.models import Job, JsonValue
from aem_guides.protocol.procedures.watch import Seen, concerns, look_for_ends
from aem_guides.protocol.steps import HttpRequest, Reply
from tests.unit.protocol.driving import World, in_turn, reply


def job(path: str, *excluded: str) -> Job:
    return read_job({"processingId": "p", "status": "SUCCESS", "path": path, "excludedPaths": list(excluded)})


@pytest.mark.parametrize(
    ("path", "below_it", "above_it"),
    [
        ("/content/dam/a", True, True),
        ("/content/dam/a/b", True, True),
        ("/content/dam", False, True),
        ("/content/dam/ab", False, False),
        ("/content/dam/b", False, False),
    ],
)
def test_a_job_concerns_its_own_path_what_is_below_and_if_asked_what_is_above(
    path: str, below_it: bool, above_it: bool
) -> None:
    assert concerns(job(path), "/content/dam/a", with_parents=False) is below_it
    assert concerns(job(path), "/content/dam/a", with_parents=True) is above_it


def test_a_job_above_that_excluded_the_path_does_not_concern_it() -> None:
    assert not concerns(job("/content/dam", "content/dam/a"), "/content/dam/a/b", with_parents=True)
    assert concerns(job("/content/dam", "/content/dam/a/b"), "/content/dam/a", with_parents=True)


def ends_seen(*looks: tuple[str, int]) -> list[int]:
    """How many ends each look finds; a look shows one job, by its state and the time of its end."""
    found, seen = [], Seen()
    for status, completed_at in looks:
        entry: JsonValue = {"processingId": "p", "status": status, "completedAt": completed_at}
        world = World(in_turn([reply(200, {"executionHistory": [entry]})]))
        jobs, seen = world.run(look_for_ends(world.conversation(), seen))
        found.append(len(jobs))
    return found


def test_an_end_whose_time_is_shown_later_is_one_end() -> None:
    assert ends_seen(("RUNNING", 0), ("SUCCESS", 0), ("SUCCESS", 9), ("SUCCESS", 9)) == [0, 1, 0, 0]


def test_a_job_that_was_resumed_ends_a_second_time() -> None:
    assert ends_seen(("FAILED", 5), ("SUCCESS", 9)) == [1, 1]
    assert ends_seen(("FAILED", 0), ("RUNNING", 0), ("SUCCESS", 9)) == [1, 0, 1]


@given(st.frozensets(st.text()), st.dictionaries(st.text(), st.none() | st.integers(1, 2**47)))
def test_seen_jobs_are_read_back_unchanged(active: frozenset[str], ended: dict[str, int | None]) -> None:
    seen = Seen(active - {""}, ended)
    assert Seen.from_json(json.loads(json.dumps(seen.to_json()))) == seen


@pytest.mark.parametrize("stored", [None, [], "x", {}, {"active": []}])
def test_an_unreadable_memory_is_none(stored: object) -> None:
    assert Seen.from_json(stored) is None  # type: ignore[arg-type]


def test_a_job_that_left_the_window_is_asked_for_by_its_id_and_its_end_is_news() -> None:
    def answer(request: HttpRequest) -> Reply:
        if request.target.endswith("/history"):
            return reply(200, {"executionHistory": [{"processingId": "c", "status": "RUNNING"}]})
        name = request.target.rpartition("=")[2]
        return reply(404) if name == "b" else reply(200, {"processingId": name, "status": "SUCCESS", "completedAt": 7})

    world = World(answer)
    jobs, seen = world.run(look_for_ends(world.conversation(), Seen(frozenset("abc"), {"z": 3})))
    assert [job.processing_id for job in jobs] == ["a"]
    assert seen == Seen(frozenset("c"), {"z": 3, "a": 7})


def test_the_first_look_finds_no_news_and_remembers_what_it_saw() -> None:
    shown = [{"processingId": "a", "status": "SUCCESS", "completedAt": 5}, {"processingId": "b", "status": "RUNNING"}]
    world = World(in_turn([reply(200, {"executionHistory": shown})]))
    assert world.run(look_for_ends(world.conversation(), None)) == ((), Seen(frozenset("b"), {"a": 5}))


def test_ends_are_reported_in_their_order() -> None:
    shown = [
        {"processingId": name, "status": "FAILED", "completedAt": at} for name, at in (("c", 7), ("b", 5), ("a", 7))
    ]
    world = World(in_turn([reply(200, {"executionHistory": shown})]))
    jobs, _ = world.run(look_for_ends(world.conversation(), Seen()))
    assert [job.processing_id for job in jobs] == ["b", "a", "c"]
