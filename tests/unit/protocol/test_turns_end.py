"""A path whose job runs again has no turn any more, however that was noticed."""

from __future__ import annotations

from aem_guides.protocol.models import Job, JsonObject, ProcessingRequest
from aem_guides.protocol.procedures.course import Course
from aem_guides.protocol.procedures.follow import find_job
from aem_guides.protocol.procedures.go_on import resuming
from aem_guides.protocol.procedures.intent import Intent
from aem_guides.protocol.procedures.path_state import PathState, Phase
from aem_guides.protocol.procedures.start import Origin
from aem_guides.protocol.procedures.take_up import LifecycleOptions
from aem_guides.protocol.states import JobState
from aem_guides.protocol.steps import EndTurn
from tests.unit.protocol.driving import World, reply

REQUEST = ProcessingRequest("/content/dam/a")


def test_a_resume_that_was_unanswered_and_is_seen_at_work_ends_the_turn_that_was_kept_for_it() -> None:
    job: JsonObject = {"processingId": "x", "path": REQUEST.path, "status": "RUNNING"}
    world = World(lambda request: reply(200, {"executionHistory": [job]} if "history" in request.target else job))
    failed = Job("x", JobState.FAILED, "FAILED", path=REQUEST.path, resumable=True)
    intent = Intent(REQUEST.fingerprint(), 1, {"x": 1}, "run", resumes=failed)
    state = PathState(
        REQUEST, Phase.RESUMING, processing_id="x", origin=Origin.STARTED, intent=intent, job=failed, queue_until=2e9
    )
    world.run(resuming(Course(world.conversation(), LifecycleOptions(), find_job), state))
    assert world.emitted[-1] == EndTurn()
