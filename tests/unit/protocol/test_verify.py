"""Asking what became of every asset: nothing is taken for an answer that is none, whatever the words."""

from __future__ import annotations

import json

import pytest

from aem_guides.protocol.errors import AssetsAtWorkError, RejectedError, VerificationError
from aem_guides.protocol.models import AssetState, AssetStatus, JsonObject, JsonValue, ProcessingRequest
from aem_guides.protocol.pacing import Pacing
from aem_guides.protocol.procedures.events import Level, Notice
from aem_guides.protocol.procedures.verify import FailureLimit, Verification, verify_assets
from aem_guides.protocol.steps import HttpRequest, Reply
from tests.unit.protocol.driving import World, reply


def answer(status: str, *assets: JsonValue) -> JsonObject:
    return {"jobId": "q", "status": status, "assets": list(assets)}


def asset(status: str, path: str = "/content/dam/x/a") -> JsonObject:
    return {"path": path, "status": status}


def verified(*answers: JsonObject) -> Verification:
    """What is found where the instance answers so in turn, the last time and again."""
    left = list(answers)

    def respond(request: HttpRequest) -> Reply:
        if request.method == "POST":
            return reply(200, {"jobId": "q"})
        return reply(200, left.pop(0) if len(left) > 1 else left[0])

    world = World(respond)
    request = ProcessingRequest("/content/dam/x")
    found = world.run(verify_assets(world.conversation(), request, within_seconds=60, pacing=Pacing()))
    assert found is not None
    return found


@pytest.mark.parametrize("word", ["WAITING", "PENDING", "RUNNING", "PROCESSING", "In progress", "IN_PROGRESS"])
def test_an_answer_that_is_still_being_made_is_awaited_with_or_without_assets_in_it(word: str) -> None:
    found = verified(
        answer(word), answer(word, asset("SUCCESS")), answer("SUCCESS", asset("SUCCESS"), asset("FAILURE"))
    )
    assert (found.total, found.succeeded, len(found.failed)) == (2, 1, 1)
    with pytest.raises(AssetsAtWorkError, match=word):
        verified(answer(word))


@pytest.mark.parametrize("word", ["FAILED", "Failure", "ERROR", "Cancelled"])
def test_an_answer_that_the_instance_failed_to_make_verifies_nothing(word: str) -> None:
    with pytest.raises(VerificationError, match=word):
        verified(answer(word))


@pytest.mark.parametrize("word", ["FAILURE", "FAILED", "Failed", "ERROR"])
def test_every_word_for_failure_counts_against_the_limit(word: str) -> None:
    found = verified(answer("Completed", asset(word), asset("Success")))
    assert [failed.state for failed in found.failed] == [AssetState.FAILURE]
    assert FailureLimit(1).is_reached(len(found.failed), found.total)


@pytest.mark.parametrize("word", ["PROCESSING", "IN_PROGRESS", "In progress", "PENDING", "QUEUED"])
def test_an_asset_at_work_is_awaited_in_any_spelling(word: str) -> None:
    assert verified(answer("SUCCESS", asset(word)), answer("SUCCESS", asset("SUCCESS"))).succeeded == 1


@pytest.mark.parametrize("word", ["SHELVED", "Cancelled", ""])
def test_an_asset_with_a_word_that_says_neither_is_no_success(word: str) -> None:
    found = verified(answer("SUCCESS", asset(word)))
    assert (found.succeeded, found.failed, found.unclear) == (0, (), 1)


@pytest.mark.parametrize("entry", ["x", 3, None, ["a"]])
def test_an_entry_that_is_no_asset_costs_itself_alone_and_is_no_success(entry: JsonValue) -> None:
    found = verified(answer("SUCCESS", asset("SUCCESS"), entry))
    assert (found.succeeded, found.failed, found.unclear) == (1, (), 1)


REQUEST = ProcessingRequest("/content/dam/x", ("/content/dam/x/no",))


def forgetful(times: int) -> World:
    """An instance that forgets so many questions."""
    asked: list[str] = []

    def respond(request: HttpRequest) -> Reply:
        if request.method == "POST":
            asked.append(f"q{len(asked)}")
            return reply(200, {"jobId": asked[-1]})
        if "jobId" not in request.target:
            return reply(400, b"jobId is missing")
        assert request.target.endswith(f"jobId={asked[-1]}")
        return reply(400, b"no such") if len(asked) <= times else reply(200, answer("SUCCESS", asset("SUCCESS")))

    return World(respond)


def test_a_question_that_was_forgotten_is_asked_anew_and_told() -> None:
    world = forgetful(2)
    found = world.run(verify_assets(world.conversation(), REQUEST, within_seconds=60, pacing=Pacing()))
    assert found == Verification(1, 1, (), 0)
    told = [item for item in world.emitted if isinstance(item, Notice)]
    assert [item.level for item in told] == [Level.WARNING] * 2
    assert "is forgotten, asking anew. asset status (GET /bin/guides/v1/assets/status): HTTP 400" in told[0].text
    assert [json.loads(request.body or b"") for request in world.sent if request.method == "POST"] == [
        {"paths": ["/content/dam/x"], "excludedPaths": ["/content/dam/x/no"]}
    ] * 3


def test_a_question_that_is_always_forgotten_is_asked_three_times() -> None:
    world = forgetful(99)
    with pytest.raises(RejectedError, match="no such"):
        world.run(verify_assets(world.conversation(), REQUEST, within_seconds=60, pacing=Pacing()))
    assert len([request for request in world.sent if request.method == "POST"]) == 3


def test_an_instance_that_cannot_be_asked_verifies_nothing() -> None:
    history = reply(200, {"executionHistory": []})
    world = World(lambda request: history if request.target.endswith("/history") else reply(404))
    assert world.run(verify_assets(world.conversation(), REQUEST, within_seconds=60, pacing=Pacing())) is None


def test_of_a_request_with_a_filter_pending_assets_are_not_awaited() -> None:
    told = answer("SUCCESS", asset("PENDING"), asset("SUCCESS"))
    world = World(lambda request: reply(200, {"jobId": "q"} if request.method == "POST" else told))
    filtered = ProcessingRequest("/content/dam/x", file_types=("DITAMAP",))
    found = world.run(verify_assets(world.conversation(), filtered, within_seconds=60, pacing=Pacing()))
    assert found == Verification(2, 1, (), 1)
    assert world.waits == []


def test_what_is_still_at_work_is_told_until_the_time_is_over() -> None:
    told = answer("SUCCESS", asset("PENDING"), asset("SUCCESS"))
    world = World(lambda request: reply(200, {"jobId": "q"} if request.method == "POST" else told))
    with pytest.raises(AssetsAtWorkError, match=r"^After 1 min: 1 assets below /content/dam/x still at work\. Clear"):
        world.run(verify_assets(world.conversation(), REQUEST, within_seconds=60, pacing=Pacing()))
    assert world.clock == 1_750_000_060
    assert Notice(Level.INFO, "1 of 2 assets below /content/dam/x are still at work") in world.emitted


@pytest.mark.parametrize(("of_job", "failed", "told"), [(True, 1, 1), (True, 0, 0), (False, 0, 0), (False, 1, None)])
def test_failures_that_may_be_another_job_s_are_not_told_as_the_job_s(
    of_job: bool, failed: int, told: int | None
) -> None:
    assets = (AssetStatus("/a", AssetState.FAILURE, "FAILED", None, None, None),) * failed
    assert Verification(9, 9 - failed, assets, 0, of_job).failed_of_job == told
