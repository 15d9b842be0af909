"""Verify every asset: only a real answer counts as one, whatever its words."""

from __future__ import annotations

import json

import pytest

from aem_guides.protocol.asset_verdict import AssetQuestion, Verification
from aem_guides.protocol.errors import AssetsAtWorkError, MalformedAnswerError, RejectedError, UnavailableError
from aem_guides.protocol.models import Job, JsonObject, JsonValue, ProcessingRequest
from aem_guides.protocol.pacing import Pacing
from aem_guides.protocol.procedures.events import Level, Notice
from aem_guides.protocol.procedures.verify import (
    FailureLimit,
    LookBegins,
    NotProcessed,
    Patience,
    Standing,
    verify_assets,
)
from aem_guides.protocol.states import JobState
from aem_guides.protocol.steps import HttpRequest, Reply, TransportFailure
from tests.unit.protocol.driving import World, reply

PATH = "/content/dam/x"
REQUEST = ProcessingRequest(PATH, (f"{PATH}/no",))
FILTERED = ProcessingRequest(PATH, file_types=("DITAMAP",))
HOUR = 3600.0


def answer(status: str, *assets: JsonValue) -> JsonObject:
    return {"jobId": "q", "status": status, "assets": list(assets)}


def asset(status: str, path: str | None = None, **more: JsonValue) -> JsonObject:
    """An answer's entry for an asset. Without a path, each entry is a separate asset."""
    return {"path": path, "status": status, **more}


def job_of(files: int | None, ended_ago: float = 0.0, **more: object) -> Job:
    ended = round((1_750_000_000.0 - ended_ago) * 1000)
    return Job("p", JobState.SUCCESS, "SUCCESS", PATH, total_files=files, completed_at=ended, **more)  # type: ignore[arg-type]  # fields of a job


def saying(*answers: JsonObject) -> World:
    """An instance with these answers in turn, the last one repeatedly."""
    left = list(answers)

    def respond(request: HttpRequest) -> Reply:
        if request.method == "POST":
            return reply(200, {"jobId": "q"})
        if "jobId" not in request.target:
            return reply(400, b"jobId is missing")
        return reply(200, left.pop(0) if len(left) > 1 else left[0])

    return World(respond)


def ask(
    world: World,
    job: Job | None = None,
    request: ProcessingRequest = REQUEST,
    within: float = HOUR,
    *,
    goes_on: bool = False,
) -> Verification:
    question = AssetQuestion(request, job)
    return world.run(verify_assets(world.conversation(), question, Patience(within, Pacing(), goes_on=goes_on)))


@pytest.mark.parametrize("word", ["WAITING", "PENDING", "RUNNING", "PROCESSING", "In progress", "IN_PROGRESS"])
def test_an_answer_that_is_still_being_made_is_awaited_with_or_without_assets_in_it(word: str) -> None:
    world = saying(answer(word), answer(word, asset("SUCCESS")), answer("SUCCESS", asset("SUCCESS"), asset("FAILURE")))
    found = ask(world)
    assert (found.total, found.succeeded, found.failed) == (2, 1, 1)
    with pytest.raises(AssetsAtWorkError, match=word):
        ask(saying(answer(word)))


@pytest.mark.parametrize("word", ["FAILED", "Failure", "ERROR", "Cancelled"])
def test_if_the_asset_status_fails_the_assets_are_unknown_and_the_likely_cause_is_shown(word: str) -> None:
    world = saying(answer(word))
    found = ask(world, job_of(7))
    assert (found.least, found.most, found.failed_of_job) == (0, 7, None)
    assert f"ended as '{word}'. AEM Guides before 2026.09 fails at a comma in the name" in found.unknown
    assert sum(request.method == "POST" for request in world.sent) == 3, "it is asked anew before it is believed"
    assert FailureLimit(7).standing(found) is Standing.UNDECIDED
    assert FailureLimit(8).standing(found) is Standing.WELL, "so many it did not even have"


def test_an_answer_that_the_instance_gives_at_a_second_try_counts() -> None:
    found = ask(saying(answer("FAILED"), answer("SUCCESS", asset("SUCCESS"))))
    assert (found.total, found.most) == (1, 0)


@pytest.mark.parametrize("word", ["FAILURE", "FAILED", "Failed", "ERROR", "UNPROCESSED", "Not processed", "Cancelled"])
def test_every_word_for_what_was_not_processed_counts_against_the_limit(word: str) -> None:
    found = ask(saying(answer("Completed", asset(word), asset("Success"))))
    assert [failed.status_word for failed in found.listed] == [word]
    assert FailureLimit(1).standing(found) is Standing.TOO_MANY


@pytest.mark.parametrize("word", ["PROCESSING", "IN_PROGRESS", "In progress", "PENDING", "QUEUED"])
def test_an_asset_at_work_is_awaited_in_any_spelling(word: str) -> None:
    assert ask(saying(answer("SUCCESS", asset(word)), answer("SUCCESS", asset("SUCCESS")))).succeeded == 1


@pytest.mark.parametrize("word", ["SHELVED", "FAILED_TO_PROCESS"])
def test_a_word_that_is_not_known_counts_as_not_processed_once_nothing_changes(word: str) -> None:
    world = saying(answer("SUCCESS", asset(word)))
    found = ask(world)
    assert (found.succeeded, found.failed, found.unknown) == (0, 1, "")
    assert 300 <= world.clock - 1_750_000_000 <= 400
    assert FailureLimit(1).standing(found) is Standing.TOO_MANY


def test_a_word_that_is_not_known_counts_at_once_where_the_job_has_long_ended() -> None:
    world = saying(answer("SUCCESS", asset("SHELVED")))
    assert ask(world, job_of(1, ended_ago=301)).failed == 1
    assert world.waits == []


def test_a_word_that_is_not_known_may_become_one_that_is() -> None:
    found = ask(saying(answer("SUCCESS", asset("REINDEXING")), answer("SUCCESS", asset("SUCCESS"))), job_of(1))
    assert (found.succeeded, found.failed) == (1, 0)


@pytest.mark.parametrize("entry", ["x", 3, None, ["a"], {}, {"path": "/a"}, {"path": "/a", "status": None}])
def test_an_entry_that_says_nothing_costs_itself_alone_and_is_not_known(entry: JsonValue) -> None:
    found = ask(saying(answer("SUCCESS", asset("SUCCESS"), entry)))
    assert (found.total, found.succeeded, found.failed, found.least, found.most) == (2, 1, 0, 0, 1)
    assert "Of 1 assets the answer of the instance does not show" in found.unknown


@pytest.mark.parametrize("reported", [(), (asset("SUCCESS"),)], ids=["empty", "partial"])
def test_an_answer_that_does_not_cover_the_job_is_not_taken_for_no_failures(reported: tuple[JsonValue, ...]) -> None:
    found = ask(saying(answer("SUCCESS", *reported)), job_of(50_000, ended_ago=HOUR))
    assert (found.least, found.most, found.failed_of_job) == (0, 50_000 - len(reported), None)
    assert f"has {len(reported)} assets, but the job had 50,000." in found.unknown
    assert FailureLimit(1).standing(found) is Standing.UNDECIDED


@pytest.mark.parametrize("job", [None, job_of(None, HOUR)], ids=["no job", "a job that does not say"])
def test_an_empty_answer_with_nothing_to_hold_it_against_is_not_taken_for_no_failures(job: Job | None) -> None:
    found = ask(saying(answer("SUCCESS")), job)
    assert (found.asked, found.least, found.most) == (True, 0, None)
    assert "has no assets" in found.unknown
    assert FailureLimit(1).standing(found) is Standing.UNDECIDED


def test_an_asset_that_is_listed_several_times_counts_once_by_its_worst_state() -> None:
    names = [f"{PATH}/{number}" for number in range(5)]
    twice = [asset("SUCCESS", name) for name in (*names, *names)]
    found = ask(saying(answer("SUCCESS", *twice)), job_of(10, HOUR))
    assert (found.total, found.succeeded, found.least, found.most) == (10, 5, 0, 5)
    assert "has 5 assets, but the job had 10." in found.unknown
    reported = [asset("FAILURE", names[0]), *twice, asset("UNPROCESSED", names[0]), asset("FAILURE", names[1])]
    found = ask(saying(answer("SUCCESS", *reported)), job_of(5, HOUR))
    assert (found.total, found.succeeded, found.failed, found.unknown) == (5, 3, 2, "")
    found = ask(saying(answer("SUCCESS", *twice[:5])), job_of(5, HOUR), FILTERED)
    assert found.of_job is True


@pytest.mark.parametrize("reported", [b"null", b'{"/a": {"status": "FAILURE"}}', b"3"])
def test_a_finished_answer_without_a_list_shows_nothing(reported: bytes) -> None:
    body = b'{"status": "SUCCESS", "assets": ' + reported + b"}"

    def respond(request: HttpRequest) -> Reply:
        return reply(200, {"jobId": "q"}) if request.method == "POST" else reply(200, body)

    found = ask(World(respond), job_of(7, HOUR))
    assert (found.least, found.most) == (0, 7)
    assert "has 0 assets, but the job had 7." in found.unknown


def test_a_job_had_at_the_least_what_it_handed_over() -> None:
    found = ask(saying(answer("SUCCESS", asset("SUCCESS"))), job_of(0, HOUR, triggered_count=3))
    assert (found.succeeded, found.most) == (1, 2)


def test_an_answer_that_lags_behind_the_job_is_asked_for_again() -> None:
    found = ask(
        saying(answer("SUCCESS", asset("SUCCESS")), answer("SUCCESS", asset("SUCCESS"), asset("SUCCESS"))), job_of(2)
    )
    assert (found.total, found.unknown) == (2, "")


def test_the_size_of_an_uncounted_job_is_at_least_what_it_handed_over() -> None:
    found = ask(saying(answer("SUCCESS")), job_of(None, HOUR, triggered_count=3))
    assert found.most == 3


def test_assets_that_stay_pending_while_nothing_changes_are_left_out_and_named() -> None:
    pending = [asset("PENDING", f"{PATH}/{number}") for number in range(3)]
    world = saying(answer("SUCCESS", asset("SUCCESS"), *pending))
    found = ask(world, job_of(4))
    assert 300 <= world.clock - 1_750_000_000 <= 400
    assert (found.total, found.left_out, found.most, found.unknown) == (1, 3, 0, "")
    assert [left.path for left in found.listed_left_out] == [f"{PATH}/{number}" for number in range(3)]


def test_assets_that_are_no_longer_there_are_left_out_at_once() -> None:
    world = saying(answer("SUCCESS", asset("SUCCESS"), asset("PENDING", "/b", exists=False)))
    found = ask(world, job_of(2))
    assert (found.left_out, found.most, [left.path for left in found.listed_left_out]) == (1, 0, ["/b"])
    assert world.waits == []


def test_whatever_changes_keeps_what_is_pending_awaited() -> None:
    looks = [answer("SUCCESS", *[asset("SUCCESS")] * done, *[asset("PENDING")] * (60 - done)) for done in range(61)]
    world = saying(*looks)
    found = ask(world, job_of(60))
    assert (found.succeeded, found.left_out) == (60, 0)
    assert world.clock - 1_750_000_000 > 600


def test_if_no_asset_was_processed_none_count_as_left_out() -> None:
    found = ask(saying(answer("SUCCESS", asset("PENDING"), asset("PENDING"))), job_of(2))
    assert (found.left_out, found.least, found.most) == (0, 0, 2)
    assert "No asset was processed" in found.unknown


def test_an_asset_that_is_being_processed_is_never_left_out() -> None:
    with pytest.raises(AssetsAtWorkError, match="1 assets below /content/dam/x still at work"):
        ask(saying(answer("SUCCESS", asset("PROCESSING"), asset("SUCCESS"))))


def test_of_a_job_with_a_filter_pending_assets_are_awaited_until_nothing_changes() -> None:
    world = saying(answer("SUCCESS", asset("PENDING"), asset("SUCCESS")))
    found = ask(world, job_of(1), FILTERED)
    assert (found.of_job, found.left_out, found.failed_of_job) == (False, 1, 0)
    assert world.clock - 1_750_000_000 >= 300


@pytest.mark.parametrize(
    ("files", "processed", "failed", "least", "most"),
    [(1, 9, 0, 0, 0), (1, 9, 1, 0, 1), (5, 9, 3, 0, 3), (3, 2, 9, 1, 3), (12, 9, 3, 3, 3), (None, 9, 3, 0, 3)],
)
def test_of_a_job_with_a_filter_the_failures_lie_between_what_can_be_and_what_must_be(
    files: int | None, processed: int, failed: int, least: int, most: int
) -> None:
    reported = [*[asset("SUCCESS")] * processed, *[asset("FAILURE")] * failed]
    found = ask(saying(answer("SUCCESS", *reported)), job_of(files), FILTERED)
    assert (found.least, found.most) == (least, most)
    assert found.of_job is (files == 12)
    assert bool(found.unknown) is (least != most)


def test_a_job_that_had_no_assets_is_not_asked_about() -> None:
    world = saying(answer("SUCCESS"))
    assert ask(world, job_of(0)) == Verification(0, 0, 0, 0, 0)
    assert world.sent == []


@pytest.mark.parametrize("block", [1, 7, 64 * 1024])
def test_an_answer_is_read_as_it_comes_and_its_failures_are_handed_on(block: int) -> None:
    failed = [asset("FAILURE", f"{PATH}/{number}", reason="why") for number in range(150)]
    world = saying(answer("SUCCESS", asset("PROCESSING"), *failed), answer("SUCCESS", asset("SUCCESS"), *failed))
    world.block = block
    found = ask(world)
    assert (found.succeeded, found.failed, len(found.listed)) == (1, 150, 100)
    last = max(number for number, event in enumerate(world.emitted) if isinstance(event, LookBegins))
    handed = [event for event in world.emitted[last:] if isinstance(event, NotProcessed)]
    assert [each.path for event in handed for each in event.assets] == [f"{PATH}/{number}" for number in range(150)]


def test_an_answer_that_cannot_be_read_is_asked_for_again_and_then_said_to_be_so() -> None:
    bodies = [b'{"status": "SUCCESS", "assets": [', json.dumps(answer("SUCCESS", asset("SUCCESS"))).encode()]

    def respond(request: HttpRequest) -> Reply:
        if request.method == "POST":
            return reply(200, {"jobId": "q"})
        return reply(200, (bodies.pop(0) if len(bodies) > 1 else bodies[0]) if "jobId" in request.target else {})

    assert ask(World(respond)).succeeded == 1
    bodies[:] = [b'{"status": "SUCCESS", "assets": [']
    with pytest.raises(
        MalformedAnswerError, match=r"after 5 attempts\. The answer cannot be read: .* ends where an entry is"
    ):
        ask(World(respond))


def forgetful(times: int) -> World:
    """An instance that forgets this many questions."""
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


def test_a_question_that_was_forgotten_is_asked_anew_and_reported() -> None:
    world = forgetful(2)
    assert ask(world) == Verification(1, 1, 0, 0, 0)
    reported = [item for item in world.emitted if isinstance(item, Notice)]
    assert [item.level for item in reported] == [Level.WARNING] * 2
    assert "sending it again. asset status (GET /bin/guides/v1/assets/status): HTTP 400" in reported[0].text
    assert [json.loads(request.body or b"") for request in world.sent if request.method == "POST"] == [
        {"paths": ["/content/dam/x"], "excludedPaths": ["/content/dam/x/no"]}
    ] * 3


def test_a_question_that_is_always_forgotten_is_asked_three_times() -> None:
    world = forgetful(99)
    with pytest.raises(RejectedError, match="no such"):
        ask(world)
    assert len([request for request in world.sent if request.method == "POST"]) == 3


def test_an_instance_that_cannot_be_asked_leaves_everything_unknown() -> None:
    history = reply(200, {"executionHistory": []})
    world = World(lambda request: history if request.target.endswith("/history") else reply(404))
    found = ask(world)
    assert (found.asked, found.least, found.most) == (False, 0, None)
    assert "has no asset status" in found.unknown
    assert FailureLimit(10**9).standing(found) is Standing.UNDECIDED


def test_assets_at_work_are_shown_until_the_time_is_over() -> None:
    world = saying(answer("SUCCESS", asset("PENDING"), asset("SUCCESS")))
    with pytest.raises(AssetsAtWorkError, match=r"^After 1 min: 1 assets below /content/dam/x still at work\. Clear"):
        ask(world, within=60)
    assert world.clock == 1_750_000_060
    assert Notice(Level.INFO, "1 of 2 assets below /content/dam/x are still at work") in world.emitted


def refusing(left: list[Reply], *assets: JsonValue) -> World:
    """An instance that first gives these answers to any request, and works afterwards."""
    world = saying(answer("SUCCESS", *assets))
    well = world.responder
    world.responder = lambda request: left.pop(0) if left else well(request)
    return world


def test_one_look_is_all_where_something_else_waits_on() -> None:
    world = saying(answer("SUCCESS", asset("PENDING"), asset("SUCCESS")))
    with pytest.raises(AssetsAtWorkError, match=r"^1 assets below /content/dam/x still at work\.$"):
        ask(world, job_of(2), goes_on=True)
    assert world.waits == []
    assert ask(saying(answer("SUCCESS", asset("SUCCESS"))), job_of(1), goes_on=True).succeeded == 1


@pytest.mark.parametrize("status", [429, 503, 404])
def test_an_instance_that_is_busy_or_restarts_in_mid_wait_is_waited_out(status: int) -> None:
    left: list[Reply] = []
    world = refusing(left, asset("SUCCESS"))
    pending, well = answer("SUCCESS", asset("PENDING")), world.responder

    def respond(request: HttpRequest) -> Reply | TransportFailure:
        if request.target.endswith("jobId=q") and not world.waits:
            left.extend([reply(status)] * 20)
            return reply(200, pending)
        return well(request)

    world.responder = respond
    assert ask(world, job_of(1)).succeeded == 1
    assert any("Reading the state of the assets failed; trying again." in str(item) for item in world.emitted)


def test_an_instance_that_stays_busy_is_said_to_be_so_when_the_time_is_over() -> None:
    world = refusing([reply(503)] * 10_000)
    with pytest.raises(UnavailableError, match="HTTP 503"):
        ask(world, job_of(1))
    assert HOUR <= world.clock - 1_750_000_000 <= HOUR + 300


def test_a_look_that_fails_is_left_to_what_waits_on() -> None:
    with pytest.raises(AssetsAtWorkError, match=r"could not be read.*HTTP 503"):
        ask(refusing([reply(503)] * 100), job_of(1), within=10, goes_on=True)
