"""The assets of a job with a filter, asked for one by one: what the instance may make of such a question."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from aem_guides.protocol.asset_patterns import AssetPatterns, parse_patterns
from aem_guides.protocol.asset_verdict import AssetQuestion, Verification
from aem_guides.protocol.models import Job, JsonObject, ProcessingRequest
from aem_guides.protocol.pacing import Pacing
from aem_guides.protocol.procedures.verify import FailureLimit, Patience, Standing, verify_assets
from aem_guides.protocol.states import JobState
from aem_guides.protocol.steps import HttpRequest, Reply
from tests.unit.protocol.driving import World, reply

FOLDER = "/content/dam/x"
REQUEST = ProcessingRequest(FOLDER, created_after=1_700_000_000_000)
ENDED = 1_750_000_000_000 - 3_600_000
Answers = Callable[[list[str]], Reply | list[JsonObject]]
"""To the paths that are asked for: a refusal, or the assets of the answer."""


def asset(name: object, word: str = "SUCCESS") -> JsonObject:
    return {"path": f"{FOLDER}/{name}", "status": word}


def instance(own: list[str], answers: Answers, word: Callable[[list[str]], str] = lambda _paths: "SUCCESS") -> World:
    """An instance whose query builder lists these names."""
    asked = list[list[str]]()

    def respond(request: HttpRequest) -> Reply:
        if request.target.startswith("/bin/querybuilder.json"):
            return reply(200, {"hits": [{"jcr:path": f"{FOLDER}/{name}"} for name in own], "more": False})
        if request.method == "POST":
            paths = json.loads(request.body or b"")["paths"]
            refusal = answers(paths)
            if isinstance(refusal, Reply):
                return refusal
            asked.append(paths)
            return reply(200, {"jobId": "q"})
        if "jobId" not in request.target:
            return reply(400, b"jobId is missing")
        return reply(200, {"status": word(asked[-1]), "assets": answers(asked[-1])})

    return World(respond)


def verified(world: World, files: int | None, ignore: AssetPatterns | None = None) -> Verification:
    job = Job("p", JobState.SUCCESS, "SUCCESS", FOLDER, total_files=files, completed_at=ENDED)
    question = AssetQuestion(REQUEST, job, ignore or AssetPatterns())
    return world.run(verify_assets(world.conversation(), question, Patience(3600, Pacing())))


def questions(world: World) -> list[int]:
    """With how many paths each question was sent."""
    return [len(json.loads(request.body or b"")["paths"]) for request in world.sent if request.method == "POST"]


WHOLE = [asset(1), asset(2), asset(3, "FAILURE")]


@pytest.mark.parametrize("status", [400, 403, 404, 406, 413, 414, 500, 503])
def test_an_instance_that_takes_one_path_but_not_so_many_is_asked_for_all_below_the_path(status: int) -> None:
    world = instance(["1", "2"], lambda paths: reply(status) if len(paths) > 1 else WHOLE)
    found = verified(world, 2)
    assert (found.least, found.most, found.of_job) == (0, 1, False)
    assert questions(world)[-1] == 1


def test_an_instance_that_takes_no_question_at_all_is_waited_for_with_its_list() -> None:
    refusals = [reply(503)] * 6

    def answers(_paths: list[str]) -> Reply | list[JsonObject]:
        return refusals.pop() if refusals else [asset(1), asset(2)]

    world = instance(["1", "2"], answers)
    assert verified(world, 2).failed_of_job == 0
    assert questions(world)[-1] == 2


def test_an_instance_that_fails_over_single_assets_is_asked_for_all_below_the_path() -> None:
    """One of them may have been moved since it was listed."""
    world = instance(["1", "2"], lambda _paths: WHOLE, lambda paths: "FAILED" if len(paths) > 1 else "SUCCESS")
    found = verified(world, 2)
    assert (found.least, found.most) == (0, 1)
    assert questions(world) == [2, 2, 1]


def test_assets_that_were_not_asked_for_do_not_count_for_those_that_were() -> None:
    other = [asset("other", "FAILURE"), asset("more", "PENDING"), asset("1/subasset")]
    found = verified(instance(["1", "2"], lambda _paths: [asset(1), asset(2), *other]), 2)
    assert (found.total, found.failed_of_job, found.left_out, found.of_job) == (2, 0, 0, True)
    found = verified(instance(["1", "2"], lambda _paths: [asset(1), asset("other")]), 2)
    assert (found.least, found.most) == (0, 1), "the second one is missing"
    assert "has 1 assets, but the job had 2" in found.unknown


def test_an_asset_that_is_spelled_otherwise_is_the_same() -> None:
    other: list[JsonObject] = [
        {"path": f"{FOLDER}/u\u0308.dita", "status": "SUCCESS"},
        {"path": "content/dam/x/2", "status": "FAILURE"},
    ]
    found = verified(instance(["ü.dita", "2"], lambda _paths: other), 2)
    assert (found.total, found.failed_of_job) == (2, 1)


def test_while_ignored_assets_are_at_work_the_assets_are_not_all_done() -> None:
    ignore = parse_patterns("verify_ignore", ["*/fragments/*"])
    reported: list[JsonObject] = [asset(1), {"path": f"{FOLDER}/fragments/2", "status": "PROCESSING"}]
    found = verified(instance(["1", "fragments/2"], lambda _paths: reported), 2, ignore)
    assert (found.failed_of_job, found.ignored, found.all_done) == (0, 1, False)


def test_a_share_of_the_assets_of_a_job_is_not_one_of_those_that_do_not_count() -> None:
    """Of the job's hundred assets, fifty may be ignored ones. Then two failures are more than three percent."""
    ignore = parse_patterns("verify_ignore", ["*/fragments/*"])
    below = [*(asset(n) for n in range(148)), *(asset(f"fragments/{n}") for n in range(50))]
    failed = [asset("a", "FAILURE"), asset("b", "FAILURE")]
    found = verified(instance([], lambda _paths: [*below, *failed]), 100, ignore)
    assert (found.least, found.most) == (0, 2)
    assert FailureLimit(percent=3.0).standing(found) is Standing.UNDECIDED
    assert FailureLimit(percent=4.1).standing(found) is Standing.WELL


def test_a_share_of_the_assets_of_a_job_is_not_one_of_all_below_its_path() -> None:
    """Where it is not known how many assets the job had, it may have had those alone that failed."""
    found = verified(instance([], lambda _paths: [*(asset(n) for n in range(98)), asset("a", "FAILURE")]), None)
    assert FailureLimit(percent=3.0).standing(found) is Standing.UNDECIDED
