"""Cancelling a job: when the cancel is sent, when it is repeated, and the result."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from aem_guides.protocol.contract import read_job
from aem_guides.protocol.earlier_end import EarlierEnd
from aem_guides.protocol.procedures.cancel import CancelOutcome, CancelResult, cancel_and_confirm, may_cancel
from aem_guides.protocol.steps import HttpRequest, Reply, TransportFailure
from tests.unit.protocol.driving import World, reply

Answer = Reply | TransportFailure
RESET = TransportFailure("reset", sent=True)


class Instance:
    """Shows the status by the seconds that have passed, and answers the cancels in turn, the last ones with 200."""

    def __init__(self, status: Callable[[float], str | Answer], *answers: Answer) -> None:
        self.world = World(self.respond)
        self.began = self.world.clock
        self.asked_at: list[float] = []
        self._status = status
        self._answers = list(answers)

    def respond(self, request: HttpRequest) -> Answer:
        passed = self.world.clock - self.began
        if request.method == "POST":
            self.asked_at.append(passed)
            return self._answers.pop(0) if self._answers else reply(200)
        reported = self._status(passed)
        return reply(200, {"processingId": "p", "status": reported}) if isinstance(reported, str) else reported

    def cancel(self, within: float = 30, earlier_end: EarlierEnd | None = None) -> CancelOutcome:
        talk = self.world.conversation(attempts=1)
        return self.world.run(cancel_and_confirm(talk, "p", within_seconds=within, earlier_end=earlier_end))


def test_a_job_that_goes_on_is_asked_again_every_ten_seconds() -> None:
    instance = Instance(lambda _s: "RUNNING")
    assert instance.cancel().result is CancelResult.UNKNOWN
    assert instance.asked_at == [0, 10, 20, 30]
    assert instance.world.clock - instance.began == 30


def test_a_refused_cancel_is_asked_for_again_after_ten_seconds_too() -> None:
    instance = Instance(lambda s: "CANCELLED" if s > 12 else "RUNNING", reply(400, b"not now"))
    assert instance.cancel().result is CancelResult.CANCELLED
    assert instance.asked_at == [0, 10]


def test_a_cancel_that_got_no_answer_is_asked_for_at_the_next_look() -> None:
    instance = Instance(lambda s: "CANCELLED" if s > 2 else "RUNNING", RESET)
    assert instance.cancel().result is CancelResult.CANCELLED
    assert instance.asked_at == [0, 1]


@pytest.mark.parametrize("word", ["FAILED", "CANCELLED"])
def test_a_job_that_is_still_shown_as_it_was_before_its_resume_is_cancelled(word: str) -> None:
    instance = Instance(lambda s: word if s < 3 else "RUNNING" if s < 6 else "CANCELLED")
    outcome = instance.cancel(earlier_end=EarlierEnd("p", word, None, instance.began))
    assert instance.asked_at[0] == 0
    assert outcome.result is (CancelResult.CANCELLED if word == "FAILED" else CancelResult.UNKNOWN)


def test_a_job_that_was_cancelled_before_we_asked_is_not_our_doing() -> None:
    outcome = Instance(lambda _s: "CANCELLED").cancel()
    assert outcome.result is CancelResult.ALREADY_FINISHED
    assert outcome.in_words("p") == "Job p was not cancelled: it had already finished (CANCELLED)."


def test_an_unknown_outcome_shows_the_last_error_and_the_job_as_last_seen() -> None:
    outcome = Instance(lambda _s: "RUNNING").cancel()
    assert outcome.job is not None
    assert outcome.in_words("p").startswith(
        "It is not known whether job p was cancelled: it is still RUNNING. Check the job"
    )
    for instance in (
        Instance(lambda _s: "RUNNING", *[reply(400, b"never")] * 9),
        Instance(lambda _s: "RUNNING", *[RESET] * 99),
    ):
        trouble = instance.cancel()
        assert "cancel processing (POST /bin/guides/v1/assets/process/cancel): " in trouble.why
    unseen = Instance(lambda _s: reply(503, b"starting")).cancel()
    assert unseen.job is None
    assert "starting" in unseen.why


def test_the_time_is_kept_to_the_second() -> None:
    instance = Instance(lambda _s: "RUNNING")
    assert instance.cancel(within=2.5).result is CancelResult.UNKNOWN
    assert [wait.seconds for wait in instance.world.waits] == [1, 1, 0.5]


def test_an_outcome_is_shown_in_a_sentence() -> None:
    job = read_job({"processingId": "p", "status": "Completed"})
    assert CancelOutcome(CancelResult.CANCELLED, job).in_words("p") == "Job p was cancelled; the instance confirms it."
    finished = CancelOutcome(CancelResult.ALREADY_FINISHED)
    assert finished.in_words("p") == "Job p was not cancelled: it had already finished (an end)."


@pytest.mark.parametrize(
    ("origin", "cancel_adopted", "may"),
    [
        ("started", False, True),
        ("recovered", False, True),
        (None, False, True),
        ("adopted", False, False),
        ("adopted", True, True),
    ],
)
def test_an_adopted_job_is_cancelled_only_where_that_is_asked_for(
    origin: str | None, cancel_adopted: bool, may: bool
) -> None:
    assert may_cancel(origin, cancel_adopted=cancel_adopted) is may
