"""Resuming a job: what is stored, what is sent, and how a failed resume is interpreted."""

from __future__ import annotations

import pytest

from aem_guides.protocol.contract import read_job
from aem_guides.protocol.errors import AuthenticationError, DoubtfulStartError, JobFailedError, UnavailableError
from aem_guides.protocol.models import JsonObject, ProcessingRequest
from aem_guides.protocol.procedures.intent import Intent
from aem_guides.protocol.procedures.resume import resume_once
from aem_guides.protocol.steps import HttpRequest, Reply, TransportFailure
from tests.unit.protocol.driving import World, reply

REQUEST = ProcessingRequest("/content/dam/a", ("/content/dam/a/x",))
FAILED: JsonObject = {
    "processingId": "p",
    "path": "/content/dam/a",
    "excludedPaths": ["/content/dam/a/x"],
    "status": "FAILED",
    "startedAt": 1_000,
    "completedAt": 2_000,
    "resumable": True,
}
JOB = read_job(FAILED)


class Instance:
    """Answers the resumes in turn, the last one repeatedly.

    `after` has the jobs after the first resume, `history` those that the history shows then, if they are others.
    """

    def __init__(
        self,
        *answers: Reply | TransportFailure,
        after: list[JsonObject] | None = None,
        history: list[JsonObject] | None = None,
    ) -> None:
        self.world = World(self.respond)
        self.resumes = 0
        self._answers = answers
        self._after = [FAILED] if after is None else after
        self._history = self._after if history is None else history

    def respond(self, request: HttpRequest) -> Reply | TransportFailure:
        if request.target.endswith("/resume"):
            self.resumes += 1
            return self._answers[min(self.resumes, len(self._answers)) - 1]
        jobs = self._after if self.resumes else [FAILED]
        if request.target.endswith("/history"):
            return reply(200, {"executionHistory": self._history if self.resumes else jobs})
        return next((reply(200, job) for job in jobs if request.target.endswith(f"={job['processingId']}")), reply(404))

    def resume(self, intent: Intent | None = None) -> str:
        steps = resume_once(self.world.conversation(attempts=1), JOB, REQUEST, run="run", intent=intent)
        return self.world.run(steps)

    @property
    def intents(self) -> list[Intent]:
        return [item for item in self.world.emitted if isinstance(item, Intent)]


def test_a_resume_is_written_down_before_it_is_sent_and_again_with_its_id() -> None:
    instance = Instance(reply(200, {"processingId": "q"}))
    assert instance.resume() == "q"
    before, after = instance.intents
    assert (before.processing_id, before.resumes, before.run) == (None, JOB, "run")
    assert (before.fingerprint, before.window) == (REQUEST.fingerprint(), {"p": 1_000})
    assert after == before.settled("q")


def test_a_resume_that_an_earlier_try_brought_to_its_end_is_not_sent_again() -> None:
    instance = Instance(reply(200, {"processingId": "q"}))
    instance.resume()
    assert instance.resume(instance.intents[-1]) == "q"
    assert instance.resumes == 1


def test_a_refused_resume_is_a_failed_job_that_cannot_be_resumed() -> None:
    instance = Instance(reply(400, b"no checkpoint"))
    with pytest.raises(JobFailedError, match=r"^Job p cannot be resumed\. .*no checkpoint") as caught:
        instance.resume()
    assert (caught.value.job, caught.value.resumable) == (JOB, False)
    assert instance.resumes == 1


@pytest.mark.parametrize("changes", [{"status": "RUNNING"}, {"completedAt": 3_000}, {"status": "CANCELLED"}])
def test_a_refusal_of_a_job_that_went_on_already_is_none(changes: JsonObject) -> None:
    instance = Instance(reply(400, b"it runs"), after=[{**FAILED, **changes}])
    assert instance.resume() == "p"
    assert instance.intents[-1].processing_id == "p"


@pytest.mark.parametrize("doubt", [reply(503), TransportFailure("reset", sent=True), reply(200, b"<html>")])
def test_a_resume_without_an_answer_is_settled_by_what_the_instance_shows(doubt: Reply | TransportFailure) -> None:
    went_on = {**FAILED, "processingId": "q", "status": "RUNNING", "startedAt": 1_750_000_000_000, "completedAt": 0}
    instance = Instance(doubt, after=[FAILED, went_on])
    assert instance.resume() == "q"
    assert instance.resumes == 1


def test_a_job_of_which_too_little_is_shown_leaves_a_doubt_and_nothing_is_sent_again() -> None:
    other: JsonObject = {**FAILED, "processingId": "q", "status": "RUNNING", "excludedPaths": None}
    instance = Instance(reply(503), after=[FAILED, other])
    with pytest.raises(DoubtfulStartError, match=r"^A resume of job p was sent. Job q may be its result"):
        instance.resume()
    assert instance.resumes == 1


@pytest.mark.parametrize("shown", [[FAILED], []])
def test_a_resume_whose_job_may_have_left_the_history_leaves_a_doubt_and_nothing_is_sent_again(
    shown: list[JsonObject],
) -> None:
    newer: list[JsonObject] = [{**FAILED, "processingId": f"n{n}", "path": f"/content/dam/n{n}"} for n in range(5)]
    instance = Instance(reply(503), after=shown, history=newer)
    with pytest.raises(DoubtfulStartError, match=r"^A resume of job p was sent\. No answer is known, and the history"):
        instance.resume()
    assert instance.resumes == 1


def test_a_refused_login_is_raised_at_once() -> None:
    instance = Instance(reply(401))
    with pytest.raises(AuthenticationError):
        instance.resume()
    assert instance.resumes == 1


def test_a_resume_that_was_surely_not_had_is_sent_again_and_not_for_ever() -> None:
    instance = Instance(reply(503, b"starting"), reply(503, b"starting"), reply(200, {"processingId": "p"}))
    assert instance.resume() == "p"
    assert instance.resumes == 3
    assert any(wait.why.startswith("not resumed yet: resume processing") for wait in instance.world.waits)
    for_ever = Instance(reply(503, b"starting"))
    with pytest.raises(UnavailableError, match="starting"):
        for_ever.resume()
    assert 3 <= for_ever.resumes < 10
