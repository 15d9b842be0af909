"""A start that is refused while another job comes and goes on its path."""

from __future__ import annotations

import json
import traceback
from dataclasses import dataclass, field

import pytest

from aem_guides.protocol.errors import RejectedError
from aem_guides.protocol.models import JsonObject, ProcessingRequest
from aem_guides.protocol.procedures.start import MustWait, OnActiveJob, Started, StartPolicy, start_once
from aem_guides.protocol.steps import HttpRequest, Reply
from tests.unit.protocol.driving import World, reply

REQUEST = ProcessingRequest("/content/dam/a")


@dataclass
class Instance:
    """Refuses as many starts as are told, each for a job on `path` that has ended when the history is read next."""

    refusals: int
    path: str = "/content/dam/a"
    jobs: list[JsonObject] = field(default_factory=list)

    def respond(self, request: HttpRequest) -> Reply:
        if request.target.endswith("/history"):
            return reply(200, {"executionHistory": [*self.jobs[::-1]]})
        number = f"job-{len(self.jobs)}"
        told: JsonObject = {"processingId": number, "path": self.path, "status": "SUCCESS", "completedAt": 1}
        if self.refusals:
            self.refusals -= 1
            self.jobs.append(told)
            return reply(400, {"message": "a job is active"})
        self.jobs.append({**told, "path": json.loads(request.body or b"{}")["path"], "status": "RUNNING"})
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
