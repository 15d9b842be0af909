"""The resume of a job that no lifecycle follows: it waits for its turn, and sends nothing without it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from aem_guides.protocol.contract import read_job
from aem_guides.protocol.errors import JobFailedError, JobLostError, Retry, UnavailableError
from aem_guides.protocol.models import JsonObject, ProcessingRequest
from aem_guides.protocol.procedures.course import NoTurnError, TurnLostError
from aem_guides.protocol.procedures.intent import Intent
from aem_guides.protocol.procedures.resume_in_turn import PATIENCE_SECONDS, WorksAgain, resume_in_turn
from aem_guides.protocol.steps import ConfirmTurn, EndTurn, HttpRequest, Reply, TakeTurn, TransportFailure, Turn
from tests.unit.protocol.driving import World, reply

REQUEST = ProcessingRequest("/content/dam/a")
FAILED: JsonObject = {
    "processingId": "p",
    "path": "/content/dam/a",
    "status": "FAILED",
    "startedAt": 1_000,
    "completedAt": 2_000,
    "resumable": True,
}
RUNNING: JsonObject = {**FAILED, "status": "RUNNING", "completedAt": None}
FULL = "4 jobs are active on the instance, 4 are allowed (max_active_jobs)"


@dataclass
class Instance:
    """One job, `p`. A resume is accepted under the id `answer` names."""

    answer: Reply | TransportFailure = field(default_factory=lambda: reply(200, {"processingId": "q"}))
    turn: Callable[[TakeTurn | ConfirmTurn], Turn] = lambda _asked: Turn(granted=True)
    job: JsonObject | None = field(default_factory=lambda: FAILED)
    on_turn: Callable[[], object] = lambda: None
    resumes: int = 0

    def __post_init__(self) -> None:
        self.world = World(self.respond, turn=self.give)

    def give(self, asked: TakeTurn | ConfirmTurn) -> Turn:
        if isinstance(asked, TakeTurn):
            self.on_turn()
        return self.turn(asked)

    def respond(self, request: HttpRequest) -> Reply | TransportFailure:
        if request.target.endswith("/resume"):
            self.resumes += 1
            return self.answer
        if request.target.endswith("/history"):
            return reply(200, {"executionHistory": [self.job] if self.job else []})
        return reply(200, self.job) if self.job else reply(404)

    def resume(self, intent: Intent | None = None) -> str | None:
        job = read_job(self.job or FAILED)
        talk = self.world.conversation(attempts=1)
        return self.world.run(resume_in_turn(talk, job, REQUEST, run="run", intent=intent))

    def emitted(self, *kinds: type) -> list[str]:
        return [type(item).__name__ for item in self.world.emitted if isinstance(item, kinds)]


def test_the_turn_is_taken_confirmed_before_the_intent_and_ended() -> None:
    instance = Instance()
    assert instance.resume() == "q"
    steps = instance.emitted(TakeTurn, ConfirmTurn, Intent, WorksAgain, EndTurn)
    assert steps == ["TakeTurn", "ConfirmTurn", "Intent", "WorksAgain", "Intent", "EndTurn"]
    (asked,) = (item for item in instance.world.emitted if isinstance(item, TakeTurn))
    assert asked.queues, "a job that is active on the path is in its way"


def test_the_resumed_job_counts_as_active_under_its_new_id_with_its_end_from_before() -> None:
    instance = Instance()
    instance.resume()
    (works,) = (item for item in instance.world.emitted if isinstance(item, WorksAgain))
    assert (works.processing_id, works.path) == ("q", "/content/dam/a")
    assert works.earlier_end.is_shown_by(read_job(FAILED), instance.world.clock)


def test_without_a_turn_nothing_is_sent_and_the_error_says_why_and_what_to_do() -> None:
    instance = Instance(turn=lambda _asked: Turn(granted=False, why=FULL))
    began = instance.world.clock
    with pytest.raises(NoTurnError) as caught:
        instance.resume()
    assert str(caught.value) == (
        f"Job p was not resumed: its turn did not come in 1 min: {FULL}. Nothing was sent. Try again when a job has "
        "ended, or allow more active jobs."
    )
    assert caught.value.retry is Retry.USEFUL
    assert instance.world.clock - began == PATIENCE_SECONDS
    assert (instance.world.sent, instance.emitted(Intent)) == ([], [])


def test_a_turn_that_is_lost_right_before_the_resume_sends_nothing() -> None:
    instance = Instance(turn=lambda asked: Turn(granted=isinstance(asked, TakeTurn)))
    with pytest.raises(TurnLostError):
        instance.resume()
    assert (instance.resumes, instance.emitted(Intent)) == (0, [])


def test_a_resume_that_an_earlier_try_sent_is_found_without_a_turn() -> None:
    first = Instance()
    first.resume()
    stored = next(item for item in first.world.emitted if isinstance(item, Intent))
    second = Instance(job=RUNNING, turn=lambda _asked: Turn(granted=False))
    assert second.resume(stored) == "p"
    assert (second.resumes, second.emitted(TakeTurn)) == (0, [])


def test_an_earlier_try_of_which_nothing_is_seen_is_looked_for_again_when_the_turn_has_come() -> None:
    first = Instance()
    first.resume()
    stored = next(item for item in first.world.emitted if isinstance(item, Intent))
    second = Instance()
    second.on_turn = lambda: setattr(second, "job", RUNNING)
    assert second.resume(stored) == "p"
    assert second.resumes == 0


@pytest.mark.parametrize("keeps_id", [True, False])
def test_a_retry_right_after_a_death_waits_for_an_instance_that_still_shows_the_end_from_before(keeps_id: bool) -> None:
    first = Instance()
    first.resume()
    stored = next(item for item in first.world.emitted if isinstance(item, Intent))
    second = Instance()
    name, at = ("p", 1_000) if keeps_id else ("q", int(second.world.clock * 1000))
    appears_at = second.world.clock + 8.0

    def appear() -> None:
        if second.world.clock >= appears_at:
            second.job = {**RUNNING, "processingId": name, "startedAt": at}

    second.world.after_wait = appear
    assert second.resume(stored) == name
    assert (second.resumes, second.emitted(TakeTurn)) == (0, [])


def test_a_turn_that_is_lost_between_two_attempts_does_not_hide_why_the_first_one_failed() -> None:
    asked: list[object] = []

    def turn(one: TakeTurn | ConfirmTurn) -> Turn:
        asked.append(one)
        return Turn(granted=len(asked) <= 2)  # taken, confirmed once

    instance = Instance(answer=reply(503, b"starting"), turn=turn)
    with pytest.raises(UnavailableError, match="503"):
        instance.resume()
    assert instance.resumes == 1


def test_a_job_that_runs_already_is_not_resumed_and_takes_no_turn() -> None:
    instance = Instance(job=RUNNING)
    assert instance.resume() is None
    assert (instance.world.sent, instance.emitted(TakeTurn)) == ([], [])


def test_a_job_that_another_user_resumed_while_it_waited_is_not_resumed() -> None:
    instance = Instance()
    instance.on_turn = lambda: setattr(instance, "job", RUNNING)
    assert instance.resume() is None
    assert (instance.resumes, instance.emitted(EndTurn)) == (0, ["EndTurn"])


@pytest.mark.parametrize("word", ["COMPLETED", "CANCELLED", "FAILED"])
def test_a_job_that_another_user_resumed_and_that_has_ended_again_meanwhile_is_left_as_it_is(word: str) -> None:
    instance = Instance()
    later = {**FAILED, "status": word, "completedAt": 3_000}
    instance.on_turn = lambda: setattr(instance, "job", later)
    assert instance.resume() is None
    assert (instance.resumes, instance.emitted(EndTurn)) == (0, ["EndTurn"])


def test_a_job_that_the_instance_forgot_while_it_waited_is_lost() -> None:
    instance = Instance()
    instance.on_turn = lambda: setattr(instance, "job", None)
    with pytest.raises(JobLostError, match="no longer knows it"):
        instance.resume()
    assert instance.resumes == 0


def test_a_refused_resume_is_a_failed_job_as_without_a_turn() -> None:
    instance = Instance(answer=reply(400, b"no checkpoint"))
    with pytest.raises(JobFailedError, match=r"^Job p cannot be resumed\."):
        instance.resume()
