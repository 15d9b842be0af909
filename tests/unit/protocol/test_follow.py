"""Following a job, second by second: what is shown, what is tolerated, and when it ends."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from aem_guides.protocol.conversation import Conversation
from aem_guides.protocol.earlier_end import EarlierEnd
from aem_guides.protocol.errors import AuthenticationError, ConfigurationError
from aem_guides.protocol.models import Job, JsonObject, JsonValue
from aem_guides.protocol.pacing import Pacing
from aem_guides.protocol.procedures.cancel import CancelResult, cancel_and_confirm
from aem_guides.protocol.procedures.events import Level, LogLines, Notice, Progress
from aem_guides.protocol.procedures.follow import Followed, FollowEnd, FollowPlan, follow
from aem_guides.protocol.steps import HttpRequest, Reply, Steps, TransportFailure
from tests.unit.protocol.driving import World, reply

BEGAN = 1_750_000_000.0
Answers = Callable[[float], Reply | TransportFailure]


def a_job(status: str = "RUNNING", done: int = 0, **reported: JsonValue) -> JsonObject:
    return {
        "processingId": "p",
        "status": status,
        "triggeredCount": done,
        "migrationSet": {"totalFiles": 100},
        **reported,
    }


class Instance:
    """Answers the status by the seconds that have passed, and logs and history as they are set."""

    def __init__(self, status: Answers, *, log: Answers | None = None, history: list[JsonValue] | None = None) -> None:
        self.world = World(self.respond)
        self._status = status
        self._log = log
        self._history = history or []

    def respond(self, request: HttpRequest) -> Reply | TransportFailure:
        path = request.target.partition("?")[0].rpartition("/")[2]
        passed = self.world.clock - BEGAN
        if path == "logs" and self._log is not None:
            return self._log(passed)
        return reply(200, {"executionHistory": self._history}) if path == "history" else self._status(passed)

    def follow(
        self, *, attempts: int = 1, earlier_end: EarlierEnd | None = None, longest: float = 15, **plan: float
    ) -> Followed:
        settings: dict[str, float] = {"deadline_at": BEGAN + 86_400, "stall_seconds": 600} | plan
        wanted = FollowPlan(pacing=Pacing(longest=longest), earlier_end=earlier_end, **settings)  # type: ignore[arg-type]  # numbers all
        return self.world.run(follow(self.world.conversation(attempts=attempts), "p", wanted))

    def notices(self, level: Level) -> list[str]:
        return [item.text for item in self.world.emitted if isinstance(item, Notice) and item.level is level]


def test_progress_is_shown_when_it_changes_and_the_end_is_seen() -> None:
    instance = Instance(lambda s: reply(200, a_job(done=int(s))) if s < 100 else reply(200, a_job("Completed", 100)))
    followed = instance.follow()
    assert followed.end is FollowEnd.ENDED
    assert instance.world.clock - BEGAN < 120
    reported = [item.text for item in instance.world.emitted if isinstance(item, Progress)]
    assert len(reported) == len(set(reported))
    assert reported[-1] == "100 of 100 assets (100.0 %)"


def test_no_progress_is_a_warning_once_and_the_job_is_waited_for() -> None:
    instance = Instance(lambda s: reply(200, a_job(done=40)) if s < 5000 else reply(200, a_job("SUCCESS", 100)))
    assert instance.follow(stall_seconds=1800).end is FollowEnd.ENDED
    (warning,) = instance.notices(Level.WARNING)
    assert warning.startswith("No progress for 30 min")
    assert "40 of 100 assets" in warning


def test_the_deadline_is_absolute_and_kept_to_the_second() -> None:
    instance = Instance(lambda _s: reply(200, a_job()))
    assert instance.follow(deadline_at=BEGAN + 1000).end is FollowEnd.DEADLINE
    assert 1000 <= instance.world.clock - BEGAN < 1001


@pytest.mark.parametrize("trouble", [reply(503), reply(500), TransportFailure("reset", sent=True), reply(200, b"{")])
def test_failed_looks_are_no_failed_job(trouble: Reply | TransportFailure) -> None:
    instance = Instance(lambda s: trouble if 10 < s < 7200 else reply(200, a_job("SUCCESS" if s > 10 else "RUNNING")))
    assert instance.follow().end is FollowEnd.ENDED
    assert instance.notices(Level.WARNING)
    assert len(instance.notices(Level.WARNING)) < 200


@pytest.mark.parametrize("word", ["FAILED", "CANCELLED"])
def test_the_end_from_which_a_job_was_resumed_does_not_count_for_a_minute(word: str) -> None:
    def status(passed: float) -> Reply:
        lags = int(passed) % 2 == 0  # every second call reaches a pod that lags
        if passed < 50 and lags:
            return reply(200, a_job(word, 40, completedAt=17))
        return reply(200, a_job("SUCCESS", 100, completedAt=99) if passed > 100 else a_job("RUNNING", 50))

    resumed = EarlierEnd("p", word, 17, BEGAN)
    followed = Instance(status).follow(earlier_end=resumed)
    assert followed.job is not None
    assert followed.job.completed_at == 99
    stays = Instance(lambda _s: reply(200, a_job(word, 40, completedAt=17)))
    followed = stays.follow(earlier_end=resumed)
    assert followed.end is FollowEnd.ENDED
    assert 60 <= stays.world.clock - BEGAN < 90
    anew = Instance(lambda _s: reply(200, a_job(word, 40, completedAt=18)))
    anew.follow(earlier_end=resumed)
    assert anew.world.clock - BEGAN < 5, "another end counts at once"


def test_the_end_of_another_job_is_not_taken_for_that_of_this_one() -> None:
    other: JsonObject = {**a_job("SUCCESS"), "processingId": "q"}
    shown = Instance(lambda _s: reply(200, other), history=[a_job("RUNNING"), other])
    assert shown.follow(deadline_at=BEGAN + 1000).end is FollowEnd.DEADLINE
    hidden = Instance(lambda _s: reply(200, other))
    assert hidden.follow(deadline_at=BEGAN + 1000).end is FollowEnd.DEADLINE
    assert "The answer is about job q, but job p was asked for" in hidden.notices(Level.WARNING)[0]


def test_an_unknown_state_is_logged_once_and_polled_on() -> None:
    instance = Instance(lambda s: reply(200, a_job("REINDEXING", int(s))) if s < 300 else reply(200, a_job("SUCCESS")))
    assert instance.follow().end is FollowEnd.ENDED
    assert len([text for text in instance.notices(Level.WARNING) if "REINDEXING" in text]) == 1


def test_an_end_in_an_unknown_state_is_tolerated_for_a_while_and_is_no_success() -> None:
    instance = Instance(lambda _s: reply(200, a_job("ODD", completedAt=5)))
    assert instance.follow(unclear_patience=600).end is FollowEnd.UNCLEAR
    assert instance.world.clock - BEGAN >= 600


def test_a_job_that_status_forgets_is_found_in_the_history() -> None:
    instance = Instance(lambda _s: reply(400), history=[a_job("SUCCESS", 100)])
    assert instance.follow().end is FollowEnd.ENDED


def test_an_unknown_job_is_lost_after_patience_and_not_before() -> None:
    back = Instance(lambda s: reply(404) if 10 < s < 250 else reply(200, a_job("SUCCESS" if s > 250 else "RUNNING")))
    assert back.follow(lost_patience=300).end is FollowEnd.ENDED
    gone = Instance(lambda s: reply(404) if s > 10 else reply(200, a_job()))
    assert gone.follow(lost_patience=300).end is FollowEnd.LOST
    assert 300 <= gone.world.clock - BEGAN < 360


REFUSED = TransportFailure("connection refused", sent=False)


@pytest.mark.parametrize("down", [REFUSED, reply(503), reply(401)])
def test_a_job_is_not_lost_while_its_instance_is_down(down: Reply | TransportFailure) -> None:
    def restarts_twice(seconds: float) -> Reply | TransportFailure:
        if 10 < seconds < 30 or 700 < seconds < 720:
            return reply(404)
        return down if 30 <= seconds <= 700 else reply(200, a_job("SUCCESS" if seconds > 720 else "RUNNING"))

    instance = Instance(restarts_twice)
    assert instance.follow(lost_patience=300).end is FollowEnd.ENDED


def test_refusals_of_two_restarts_are_not_taken_for_one_long_refusal() -> None:
    def starts_up_twice(seconds: float) -> Reply | TransportFailure:
        if 10 < seconds < 60 or 900 < seconds < 960:
            return reply(401)
        return REFUSED if 60 <= seconds <= 900 else reply(200, a_job("SUCCESS" if seconds > 960 else "RUNNING"))

    assert Instance(starts_up_twice).follow(login_patience=600).end is FollowEnd.ENDED


def test_a_login_page_is_borne_while_an_instance_starts_and_not_for_ever() -> None:
    back = Instance(lambda s: reply(401) if 10 < s < 800 else reply(200, a_job("SUCCESS" if s > 10 else "RUNNING")))
    assert back.follow(login_patience=900).end is FollowEnd.ENDED
    gone = Instance(lambda _s: reply(401))
    with pytest.raises(AuthenticationError):
        gone.follow(login_patience=900)
    assert gone.world.clock - BEGAN >= 900


def test_a_certificate_that_has_ended_is_borne_as_long_as_a_refused_login() -> None:
    def ended(_talk: Conversation, _processing_id: str) -> Steps[Job | None]:
        raise ConfigurationError("The certificate ended.")
        yield  # a generator, as every way to look is

    world = World(lambda _request: reply(500))
    plan = FollowPlan(deadline_at=BEGAN + 86_400, pacing=Pacing(longest=15), stall_seconds=600, login_patience=900)
    with pytest.raises(ConfigurationError):
        world.run(follow(world.conversation(), "p", plan, ended))
    assert 900 <= world.clock - BEGAN < 1800


@pytest.mark.parametrize(
    "trouble",
    [
        reply(500),
        reply(503, retry_after="100"),
        TransportFailure("reset", sent=True),
        reply(400),
        reply(200, b"no"),
        reply(200, {"lines": [], "hasMore": True}),
    ],
)
def test_a_log_that_cannot_be_read_neither_fails_nor_holds_up_the_wait(trouble: Reply | TransportFailure) -> None:
    instance = Instance(lambda s: reply(200, a_job("SUCCESS" if s > 60 else "RUNNING")), log=lambda _s: trouble)
    assert instance.follow(attempts=5, log_budget=1000).end is FollowEnd.ENDED
    assert instance.world.clock - BEGAN < 80
    assert len(instance.notices(Level.WARNING)) <= 1


def test_a_page_that_is_repeated_for_ever_is_shown_once() -> None:
    page = reply(200, {"lines": ["a", "b"], "hasMore": True})
    instance = Instance(lambda s: reply(200, a_job("SUCCESS" if s > 60 else "RUNNING")), log=lambda _s: page)
    assert instance.follow(log_budget=1000).end is FollowEnd.ENDED
    shown = [line for item in instance.world.emitted if isinstance(item, LogLines) for line in item.lines]
    assert shown == ["a", "b"]


def test_the_log_budget_is_kept_and_reported() -> None:
    offset = [0]

    def log(_seconds: float) -> Reply:
        offset[0] += 10
        return reply(200, {"lines": [f"{offset[0]}-{n}" for n in range(10)], "offset": offset[0] - 10, "hasMore": True})

    instance = Instance(lambda s: reply(200, a_job("SUCCESS" if s > 600 else "RUNNING", int(s))), log=log)
    followed = instance.follow(log_budget=50)
    assert followed.log_lines == 50
    assert [text for text in instance.notices(Level.INFO) if "pull_logs" in text]


def cancel(status: Answers, answers: Callable[[int], Reply | TransportFailure] = lambda _n: reply(200)) -> CancelResult:
    asked = [0]

    def respond(request: HttpRequest) -> Reply | TransportFailure:
        if request.method == "POST":
            asked[0] += 1
            return answers(asked[0])
        return status(world.clock - BEGAN)

    world = World(respond)
    steps = cancel_and_confirm(world.conversation(attempts=1), "p", within_seconds=60)
    result = world.run(steps).result
    assert world.clock - BEGAN <= 61
    return result


def test_a_cancel_is_confirmed_repeated_if_it_may_be_lost_and_reported_truly() -> None:
    assert cancel(lambda s: reply(200, a_job("Cancelled" if s > 3 else "RUNNING"))) is CancelResult.CANCELLED
    assert cancel(lambda _s: reply(200, a_job("SUCCESS"))) is CancelResult.ALREADY_FINISHED
    assert cancel(lambda _s: reply(200, a_job())) is CancelResult.UNKNOWN
    assert cancel(lambda _s: reply(503)) is CancelResult.UNKNOWN
    lost_once = lambda n: TransportFailure("reset", sent=True) if n == 1 else reply(200)  # noqa: E731  # a table entry
    assert cancel(lambda s: reply(200, a_job("CANCELED" if s > 20 else "RUNNING")), lost_once) is CancelResult.CANCELLED


@pytest.mark.parametrize("status", ["RUNNING", "REINDEXING"])
def test_the_deadline_and_the_end_of_the_hours_are_kept_to_the_fraction_of_a_second(status: str) -> None:
    instance = Instance(lambda _s: reply(200, a_job(status)))
    assert instance.follow(deadline_at=BEGAN + 1000.25).end is FollowEnd.DEADLINE
    assert instance.world.clock == BEGAN + 1000.25
    instance = Instance(lambda _s: reply(200, a_job(status)))
    assert instance.follow(hand_back_at=BEGAN + 500.25).end is FollowEnd.HANDED_BACK
    assert instance.world.clock == BEGAN + 500.25


def test_progress_after_a_stall_can_stall_again() -> None:
    def done(seconds: float) -> int:
        return 40 if seconds < 3000 else 50

    instance = Instance(lambda s: reply(200, a_job("RUNNING" if s < 8000 else "SUCCESS", done(s))))
    instance.follow(stall_seconds=1800)
    assert ["40 of 100" in text for text in instance.notices(Level.WARNING)] == [True, False]


def test_a_job_that_is_seen_again_is_reported_with_the_number_of_failed_looks() -> None:
    instance = Instance(lambda s: reply(503) if 10 < s < 60 else reply(200, a_job("SUCCESS" if s > 60 else "RUNNING")))
    instance.follow()
    failed = instance.notices(Level.WARNING)
    assert failed[0].startswith(
        "A check failed (1 in a row). The job is not affected; checking again. processing status"
    )
    (again,) = instance.notices(Level.INFO)
    assert again.startswith("Job p is shown again after ")


@pytest.mark.parametrize("stall_seconds", [600.0, 7000.25])
def test_a_standstill_is_reported_on_time_and_an_instance_that_comes_back_is_seen_soon_though_looks_are_rare(
    stall_seconds: float,
) -> None:
    reported_at = list[tuple[float, int]]()

    def status(passed: float) -> Reply:
        if 20_000 < passed < 24_000:
            return reply(503)
        return reply(200, a_job("RUNNING" if passed < 24_100 else "SUCCESS", 9))

    def note() -> None:
        reported_at.append((instance.world.clock - BEGAN, len(instance.notices(Level.WARNING))))

    instance = Instance(status)
    instance.world.after_wait = note
    instance.follow(stall_seconds=stall_seconds, longest=900.0)
    first_seen = 2.0
    assert next(at for at, notices in reported_at if at >= first_seen + stall_seconds) == first_seen + stall_seconds
    assert instance.notices(Level.WARNING)[0].startswith("No progress for")
    again = next(at for at, _ in reported_at if at >= 24_000)
    assert again < 24_016


def test_the_log_is_read_on_where_the_job_moved_and_at_its_end() -> None:
    pages = list[float]()

    def log(passed: float) -> Reply:
        pages.append(passed)
        return reply(200, {"lines": [], "hasMore": False})

    instance = Instance(lambda s: reply(200, a_job("RUNNING" if s < 5000 else "SUCCESS", min(int(s), 1000))), log=log)
    instance.follow(log_budget=100)
    assert len([at for at in pages if at < 1000]) > 30
    assert len([at for at in pages if 1020 < at < 5000]) == 0
    assert pages[-1] >= 5000


def test_a_page_that_failed_is_asked_for_again_though_the_job_did_not_move() -> None:
    pages = list[float]()

    def log(passed: float) -> Reply:
        pages.append(passed)
        return reply(503) if passed < 100 else reply(200, {"lines": ["a"], "offset": 0, "hasMore": False})

    instance = Instance(lambda s: reply(200, a_job("RUNNING" if s < 500 else "SUCCESS", 7)), log=log)
    assert instance.follow(log_budget=100).log_lines == 1
    assert len([at for at in pages if at < 130]) > 3
    assert len([at for at in pages if 130 < at < 500]) == 0


def test_a_deadline_less_than_a_second_away_is_kept_too() -> None:
    instance = Instance(lambda _s: reply(200, a_job()))
    assert instance.follow(deadline_at=BEGAN + 2.25).end is FollowEnd.DEADLINE
    assert instance.world.clock == BEGAN + 2.25


def test_near_the_end_that_the_instance_expects_it_is_looked_at_more_often() -> None:
    instance = Instance(lambda s: reply(200, a_job("RUNNING" if s < 150 else "SUCCESS", eta={"value": 8})))
    instance.follow()
    assert {wait.seconds for wait in instance.world.waits[8:28]} == {1.5}
    assert instance.world.waits[-1].seconds < 5


def test_looks_that_fail_for_long_are_logged_at_the_first_and_then_now_and_again() -> None:
    instance = Instance(lambda s: reply(503) if s < 3600 else reply(200, a_job("SUCCESS")))
    instance.follow()
    reported = [int(text.split("(")[1].split()[0]) for text in instance.notices(Level.WARNING)]
    assert reported[:4] == [1, 10, 20, 30]
