"""Asking what became of every asset: nothing is taken for an answer that is none, whatever the words."""

from __future__ import annotations

import pytest

from aem_guides.protocol.errors import AssetsAtWorkError, MalformedAnswerError, VerificationError
from aem_guides.protocol.models import AssetState, JsonObject, JsonValue, ProcessingRequest
from aem_guides.protocol.pacing import Pacing
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
def test_a_list_of_what_are_no_assets_is_no_answer(entry: JsonValue) -> None:
    with pytest.raises(MalformedAnswerError, match="an asset is not a JSON object"):
        verified(answer("SUCCESS", asset("SUCCESS"), entry))
