"""A start that is refused while another job comes and goes on its path."""

from __future__ import annotations

import json
import traceback
from dataclasses import dataclass, field

import pytest

from aem_guides.protocol.errors import ActiveJobError, RejectedError, StartRefusedError
from aem_guides.protocol.models import JsonObject, ProcessingRequest
from aem_guides.protocol.procedures.intent import Intent
from aem_guides.protocol.procedures.start import MustWait, OnActiveJob, Origin, Started, StartPolicy, start_once
from aem_guides.protocol.steps import HttpRequest, Reply
from tests.unit.protocol.driving import World, reply

REQUEST = ProcessingRequest("/content/dam/a")


@dataclass
class Instance:
    """Refuses a given number of starts, each because of a job on `path` that has ended when the history is read
    next."""

    refusals: int
    path: str = "/content/dam/a"
    jobs: list[JsonObject] = field(default_factory=list)

    def respond(self, request: HttpRequest) -> Reply:
        if request.target.endswith("/history"):
            return reply(200, {"executionHistory": [*self.jobs[::-1]]})
        number = f"job-{len(self.jobs)}"
        reported: JsonObject = {"processingId": number, "path": self.path, "status": "SUCCESS", "completedAt": 1}
        if self.refusals:
            self.refusals -= 1
            self.jobs.append(reported)
            return reply(400, {"message": "a job is active"})
        self.jobs.append({**reported, "path": json.loads(request.body or b"{}")["path"], "status": "RUNNING"})
        return reply(200, {"processingId": number})


@pytest.mark.parametrize("path", ["/content/dam/a", "/content/dam", "/content/dam/a/b"])
@pytest.mark.parametrize("policy", [OnActiveJob.ADOPT, OnActiveJob.FAIL])
def test_it_is_sent_again_when_that_job_has_ended(policy: OnActiveJob, path: str) -> None:
    instance = Instance(refusals=2, path=path)
    world = World(instance.respond)
    outcome = world.run(start_once(world.conversation(), REQUEST, policy=StartPolicy(policy), run="run"))
    assert isinstance(outcome, Started)
    assert outcome.processing_id == "job-2"
    assert world.waits


def test_one_that_queues_goes_on_queueing() -> None:
    world = World(Instance(refusals=1).respond)
    outcome = world.run(start_once(world.conversation(), REQUEST, policy=StartPolicy(OnActiveJob.QUEUE), run="run"))
    assert isinstance(outcome, MustWait)
    assert (outcome.processing_id, outcome.lacks_room) == ("job-0", False)


@pytest.mark.parametrize("policy", list(OnActiveJob))
def test_a_job_elsewhere_is_not_taken_for_the_reason(policy: OnActiveJob) -> None:
    world = World(Instance(refusals=1, path="/content/dam/another").respond)
    with pytest.raises(RejectedError, match="Check that it exists") as caught:
        world.run(start_once(world.conversation(), REQUEST, policy=StartPolicy(policy), run="run"))
    shown = "".join(traceback.format_exception(caught.value))
    assert shown.count("HTTP ") == 1, "the refusal is shown once, with its remedy"


def test_it_is_not_sent_for_ever() -> None:
    instance = Instance(refusals=99)
    world = World(instance.respond)
    policy = StartPolicy(attempts=3)
    with pytest.raises(RejectedError):
        world.run(start_once(world.conversation(), REQUEST, policy=policy, run="run"))
    assert len(instance.jobs) == 3


def test_one_that_queues_says_for_which_job() -> None:
    world = World(Instance(refusals=1).respond)
    outcome = world.run(start_once(world.conversation(), REQUEST, policy=StartPolicy(OnActiveJob.QUEUE), run="run"))
    assert outcome == MustWait("/content/dam/a: job job-0 was active on /content/dam/a a moment ago", "job-0")


def beside(*jobs: JsonObject, status: int = 400, body: object = b"no") -> World:
    """An instance that refuses every start and shows these jobs."""
    return World(
        lambda request: reply(200, {"executionHistory": list(jobs)}) if request.method == "GET" else reply(status, body)
    )


def test_a_refusal_is_reported_in_the_words_of_the_instance() -> None:
    world = beside(status=422, body=b"what?")
    with pytest.raises(StartRefusedError) as caught:
        world.run(start_once(world.conversation(), REQUEST, policy=StartPolicy(), run="run"))
    error = caught.value
    assert error.request == "start processing (POST /bin/guides/v1/assets/process)"
    assert (error.status, error.excerpt, error.attempts) == (422, "what?", 1)
    assert "paths: the instance does not accept '/content/dam/a'. Check that it exists" in str(error)


def test_a_refused_filter_is_reported_as_one_but_a_path_with_that_name_is_not() -> None:
    def reported(path: str, body: bytes) -> str:
        world = beside(body=body)
        request = ProcessingRequest(path, file_types=("DITAMAP",))
        with pytest.raises(StartRefusedError) as caught:
            world.run(start_once(world.conversation(), request, policy=StartPolicy(), run="run"))
        return str(caught.value)

    assert "This instance does not support filters" in reported("/content/a", b"unknown field Filter")
    other = reported("/content/filters", b"no /content/filters")
    assert "does not accept '/content/filters'" in other
    assert "AEM Guides before 2026.01 does not support file_types" in other


def test_a_conflict_that_the_history_does_not_show_is_waited_for_or_reported() -> None:
    world = beside(status=409)
    outcome = world.run(start_once(world.conversation(), REQUEST, policy=StartPolicy(OnActiveJob.QUEUE), run="run"))
    assert outcome == MustWait(
        "/content/dam/a: the instance says that a job is active on the path, but the history does not show it"
    )
    for policy in (OnActiveJob.FAIL, OnActiveJob.ADOPT):
        world = beside(status=409)
        with pytest.raises(ActiveJobError, match="/content/dam/a"):
            world.run(start_once(world.conversation(), REQUEST, policy=StartPolicy(policy), run="run"))


@pytest.mark.parametrize("status", [400, 409, 422])
@pytest.mark.parametrize("policy", list(OnActiveJob))
def test_a_job_that_the_history_shows_some_seconds_later_is_seen_before_a_refusal_is_believed(
    status: int, policy: OnActiveJob
) -> None:
    shown: list[JsonObject] = []
    world = World(
        lambda request: reply(200, {"executionHistory": shown}) if request.method == "GET" else reply(status, b"no")
    )
    began = world.clock
    world.after_wait = lambda: shown.append(_of_another_run()) if not shown and world.clock - began >= 3 else None
    steps = start_once(world.conversation(), REQUEST, policy=StartPolicy(policy), run="run")
    if policy is OnActiveJob.FAIL:
        with pytest.raises(ActiveJobError, match="late"):
            world.run(steps)
        return
    outcome = world.run(steps)
    if policy is OnActiveJob.ADOPT:
        assert outcome == Started("late", Origin.ADOPTED)
    else:
        assert outcome == MustWait("/content/dam/a: job late is active on /content/dam/a", "late")


def _of_another_run() -> JsonObject:
    return {**REQUEST.to_json(), "processingId": "late", "path": REQUEST.path, "status": "RUNNING", "excludedPaths": []}


def test_a_refusal_that_nothing_explains_is_final_within_seconds() -> None:
    world = beside()
    began = world.clock
    with pytest.raises(StartRefusedError):
        world.run(start_once(world.conversation(), REQUEST, policy=StartPolicy(), run="run"))
    assert world.clock - began <= 5.0


ACTIVE: JsonObject = {"processingId": "x", "path": "/content/dam/a/", "status": "RUNNING", "excludedPaths": []}


def test_a_job_on_the_path_is_queued_behind_by_its_id() -> None:
    world = beside(ACTIVE)
    outcome = world.run(start_once(world.conversation(), REQUEST, policy=StartPolicy(OnActiveJob.QUEUE), run="run"))
    assert outcome == MustWait("/content/dam/a: job x is active on /content/dam/a/", "x")


@pytest.mark.parametrize(
    ("policy", "reported", "words"),
    [
        (OnActiveJob.FAIL, {}, "Wait until that job has ended"),
        (OnActiveJob.ADOPT, {"filter": {"fileTypes": ["DITAMAP"]}}, "It has another request, so it is not adopted"),
        (OnActiveJob.ADOPT, {}, "It may have another request, so it is not adopted"),
    ],
)
def test_a_job_on_the_path_that_is_not_adopted_is_reported(
    policy: OnActiveJob, reported: JsonObject, words: str
) -> None:
    world = beside({**ACTIVE, **reported})
    request = ProcessingRequest("/content/dam/a", ("/content/dam/a/no",))
    with pytest.raises(ActiveJobError, match=words) as caught:
        world.run(start_once(world.conversation(), request, policy=StartPolicy(policy), run="run"))
    assert "x" in str(caught.value)


def test_a_job_on_the_path_that_asks_for_the_same_is_adopted_and_written_down() -> None:
    world = beside(ACTIVE)
    outcome = world.run(start_once(world.conversation(), REQUEST, policy=StartPolicy(OnActiveJob.ADOPT), run="run"))
    assert outcome == Started("x", Origin.ADOPTED)
    intents = [item for item in world.emitted if isinstance(item, Intent)]
    assert (intents[-1].processing_id, intents[-1].adopted) == ("x", True)


def test_a_start_that_was_accepted_is_written_down_with_its_id() -> None:
    world = World(Instance(refusals=0).respond)
    world.run(start_once(world.conversation(), REQUEST, policy=StartPolicy(), run="run"))
    before, after = [item for item in world.emitted if isinstance(item, Intent)]
    assert (before.processing_id, after.processing_id, after.adopted) == (None, "job-0", False)


@pytest.mark.parametrize(
    ("limit", "known", "waits"), [(2, set(), False), (1, set(), True), (2, {"y"}, True), (2, {"x"}, False)]
)
def test_as_many_jobs_as_allowed_are_no_room(limit: int, known: set[str], waits: bool) -> None:
    world = World(Instance(refusals=0, jobs=[{**ACTIVE, "path": "/content/dam/b"}]).respond)
    policy = StartPolicy(max_active_jobs=limit, known_active=frozenset(known))
    outcome = world.run(start_once(world.conversation(), REQUEST, policy=policy, run="run"))
    assert isinstance(outcome, MustWait) is waits
    if isinstance(outcome, MustWait):
        assert outcome.lacks_room
        assert outcome.why.endswith("(max_active_jobs)")
