"""Stories of one path, second by second: waiting for a turn, late starts, kills, old ends."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from aem_guides.protocol.contract import read_job
from aem_guides.protocol.errors import ActiveJobError, AuthenticationError, Retry
from aem_guides.protocol.models import JsonObject, JsonValue, ProcessingRequest
from aem_guides.protocol.procedures.cancel import CancelOutcome, CancelResult, cancel_and_confirm
from aem_guides.protocol.procedures.events import Notice
from aem_guides.protocol.procedures.follow import FollowEnd
from aem_guides.protocol.procedures.intent import Intent
from aem_guides.protocol.procedures.lifecycle import run_lifecycle
from aem_guides.protocol.procedures.path_state import PathState, Phase
from aem_guides.protocol.procedures.settle_kill import settle_kill
from aem_guides.protocol.procedures.start import OnActiveJob, Origin
from aem_guides.protocol.procedures.take_up import LifecycleOptions
from aem_guides.protocol.steps import ConfirmTurn, EndTurn, HttpRequest, Reply, TakeTurn, TransportFailure, Turn
from tests.unit.protocol.driving import World, reply

PATH = "/content/dam/a"
REQUEST = ProcessingRequest(PATH)
BEGAN = 1_750_000_000.0
EARLIER: JsonObject = {"processingId": "earlier", "path": "/content/dam/b", "status": "SUCCESS", "startedAt": 7}
BUSY = reply(503, b"first byte timeout", retry_after="120")
OPTIONS = LifecycleOptions(run="run", queue_seconds=7200.0, job_seconds=7200.0)


def a_job(number: str, status: str = "RUNNING", path: str = PATH, **more: JsonValue) -> JsonObject:
    return {"processingId": number, "path": path, "excludedPaths": [], "status": status, **more}


class Instance:
    """Shows its jobs by the seconds that have passed, and answers the POSTs in turn, the last ones with 200 and
    "job"."""

    def __init__(self, jobs: Callable[[float], list[JsonObject]], *answers: Reply | TransportFailure) -> None:
        self.world = World(self.respond, clock=BEGAN)
        self.posts: list[tuple[float, str]] = []
        self.status: Reply | None = None
        self._jobs = jobs
        self._answers = list(answers)

    @property
    def passed(self) -> float:
        return self.world.clock - BEGAN

    def respond(self, request: HttpRequest) -> Reply | TransportFailure:
        path, _, query = request.target.partition("?")
        jobs = self._jobs(self.passed)
        if request.method == "POST":
            self.posts.append((self.passed, path.rpartition("/")[2]))
            return self._answers.pop(0) if self._answers else reply(200, {"processingId": "job"})
        if path.endswith("/history"):
            return reply(200, {"executionHistory": [*jobs, EARLIER]})
        if self.status is not None:
            return self.status
        wanted = query.rpartition("=")[2]
        return next((reply(200, job) for job in jobs if job["processingId"] == wanted), reply(404))

    def go_on(self, state: PathState, until: Phase = Phase.ENDED, **changes: object) -> PathState:
        wanted = replace(OPTIONS, **changes)  # type: ignore[arg-type]  # its own fields
        return self.world.run(run_lifecycle(self.world.conversation(attempts=1), state, wanted, until))

    def start(self, **changes: object) -> PathState:
        return self.go_on(PathState(REQUEST), Phase.FOLLOWING, **changes)

    def kill(self, state: PathState, within: float = 20.0) -> tuple[PathState, CancelOutcome | None]:
        return self.world.run(settle_kill(self.world.conversation(), state, within_seconds=within))

    @property
    def reported(self) -> list[str]:
        return [item.text for item in self.world.emitted if isinstance(item, Notice)]


def following(processing_id: str = "job", **changes: object) -> PathState:
    values: dict[str, object] = {"processing_id": processing_id, "origin": Origin.STARTED, "deadline_at": BEGAN + 7200}
    return PathState(REQUEST, Phase.FOLLOWING, **{**values, **changes})  # type: ignore[arg-type]  # its own fields


def intent(*window: str, at: float = BEGAN) -> Intent:
    return Intent(REQUEST.fingerprint(), int(at * 1000), dict.fromkeys((*window, "earlier")), "run")


def test_a_free_path_is_not_waited_for_and_its_state_is_kept_before_the_start_is_sent() -> None:
    instance = Instance(lambda _s: [])
    state = instance.start()
    assert (state.processing_id, state.origin, instance.posts) == ("job", Origin.STARTED, [(0, "process")])
    phases = [item.phase for item in instance.world.emitted if isinstance(item, PathState)]
    assert phases == [Phase.QUEUED, Phase.STARTING, Phase.FOLLOWING]
    assert [item for item in instance.world.emitted if isinstance(item, EndTurn)] == [EndTurn()]


def test_a_job_on_the_path_is_waited_for_and_named() -> None:
    instance = Instance(lambda s: [a_job("1")] if s < 600 else [])
    assert instance.start(on_active_job=OnActiveJob.QUEUE).origin is Origin.STARTED
    assert 600 <= instance.passed < 620
    assert instance.reported[0] == f"Waiting: {PATH}: job 1 is active on {PATH}"
    put_off = [item for item in instance.world.emitted if isinstance(item, EndTurn) and item.again_in]
    assert {(item.blocked_by, item.holds_all) for item in put_off} == {("1", False)}
    assert {item.queues for item in instance.world.emitted if isinstance(item, TakeTurn)} == {True}


def test_room_on_the_instance_is_waited_for_and_holds_all_others() -> None:
    others = [a_job(str(number), path=f"/content/dam/{number}") for number in range(2)]
    instance = Instance(lambda s: others if s < 600 else others[1:])
    assert instance.start(max_active_jobs=2).origin is Origin.STARTED
    assert 600 <= instance.passed < 620
    put_off = [item for item in instance.world.emitted if isinstance(item, EndTurn) and item.again_in]
    assert all(item.holds_all for item in put_off)
    assert len(instance.posts) == 1


def test_a_start_that_may_have_been_sent_stays_known_when_the_turn_is_lost_before_the_next_try() -> None:
    instance = Instance(lambda s: [a_job("late", startedAt=int((BEGAN + 90) * 1000))] if s >= 90 else [], BUSY)
    confirmed: list[float] = []

    def turn(asked: TakeTurn | ConfirmTurn) -> Turn:
        if isinstance(asked, ConfirmTurn):
            confirmed.append(instance.passed)
            return Turn(granted=len(confirmed) != 2)
        return Turn(granted=True)

    instance.world.turn = turn
    found = instance.start()
    assert (found.processing_id, found.origin) == ("late", Origin.RECOVERED)
    assert len(instance.posts) == 1


def test_a_turn_that_does_not_come_ends_the_path_to_the_second_with_nothing_sent() -> None:
    instance = Instance(lambda _s: [])
    instance.world.turn = lambda _asked: Turn(granted=False)
    ended = instance.start(queue_seconds=1000.0)
    assert (ended.phase, ended.end) == (Phase.ENDED, FollowEnd.NO_TURN)
    assert 1000 <= instance.passed < 1001
    assert instance.posts == []


@pytest.mark.parametrize("trouble", [reply(503), TransportFailure("reset", sent=True), reply(200, b"{")])
def test_an_instance_that_cannot_be_asked_for_a_while_is_borne(trouble: Reply | TransportFailure) -> None:
    instance = Instance(lambda _s: [])
    respond = instance.world.responder
    instance.world.responder = lambda request: trouble if instance.passed < 600 else respond(request)
    assert instance.start().origin is Origin.STARTED
    assert 600 <= instance.passed < 720


def test_a_login_that_is_refused_is_worth_a_retry_only_where_it_was_accepted_before() -> None:
    refused = Instance(lambda _s: [])
    refused.world.responder = lambda _request: reply(401)
    with pytest.raises(AuthenticationError) as first:
        refused.start()
    instance = Instance(lambda _s: [a_job("1")])
    respond = instance.world.responder
    instance.world.responder = lambda request: reply(401) if instance.passed > 30 else respond(request)
    with pytest.raises(AuthenticationError) as later:
        instance.start(on_active_job=OnActiveJob.QUEUE)
    assert (first.value.retry, later.value.retry) == (Retry.POINTLESS, Retry.USEFUL)
    assert [what for _, what in instance.posts] == []


def test_a_turn_that_is_lost_right_before_the_request_sends_nothing_and_is_taken_again() -> None:
    instance = Instance(lambda _s: [])
    instance.world.turn = lambda asked: Turn(granted=not isinstance(asked, ConfirmTurn) or instance.passed > 60)
    state = instance.start()
    assert state.origin is Origin.STARTED
    assert len(instance.posts) == 1
    assert instance.posts[0][0] > 60


def test_a_start_that_turns_out_accepted_when_the_instance_has_filled_up_is_found_and_not_sent_again() -> None:
    others = [a_job(str(number), path=f"/content/dam/{number}", startedAt=int(BEGAN * 1000)) for number in range(4)]

    def jobs(seconds: float) -> list[JsonObject]:
        if not instance.posts:
            return []
        late = [a_job("late", startedAt=int(BEGAN * 1000))] if seconds >= 90 else []
        return late + (others if seconds < 300 else [])

    instance = Instance(jobs, BUSY)
    state = instance.start(max_active_jobs=4)
    assert (state.processing_id, state.origin) == ("late", Origin.RECOVERED)
    assert [what for _, what in instance.posts] == ["process"]
    waited = [item for item in instance.world.emitted if isinstance(item, PathState) and item.phase is Phase.QUEUED]
    assert waited[-1].intent is not None, "what was sent is kept while it waits for room"


def test_the_job_of_another_run_that_the_window_hides_is_adopted_and_not_taken_for_ours() -> None:
    def jobs(_seconds: float) -> list[JsonObject]:
        return [a_job("theirs")] if instance.posts else []

    for on_active_job in (OnActiveJob.ADOPT, OnActiveJob.FAIL):
        instance = Instance(jobs, reply(500, b"a job is active"))
        instance.world.turn = lambda _asked: Turn(granted=True, active=frozenset({"theirs"}))
        if on_active_job is OnActiveJob.FAIL:
            with pytest.raises(ActiveJobError):
                instance.start(on_active_job=on_active_job)
        else:
            state = instance.start(on_active_job=on_active_job)
            assert (state.processing_id, state.origin) == ("theirs", Origin.ADOPTED)
            assert not state.may_cancel
        assert len(instance.posts) == 1


def test_a_start_that_was_killed_in_the_middle_of_its_request_is_settled_and_its_job_cancelled() -> None:
    ours = a_job("ours", startedAt=int(BEGAN * 1000))
    instance = Instance(lambda _s: [{**ours, "status": "CANCELLED"} if instance.posts else ours])
    state, outcome = instance.kill(PathState(REQUEST, Phase.STARTING, intent=intent()))
    assert outcome is not None
    assert outcome.result is CancelResult.CANCELLED
    assert (state.phase, state.processing_id, state.cancel) == (Phase.ENDED, "ours", CancelResult.CANCELLED)
    assert [what for _, what in instance.posts] == ["cancel"]
    phases = [item.phase for item in instance.world.emitted if isinstance(item, PathState)]
    assert phases == [Phase.FOLLOWING, Phase.ENDED]


def test_a_start_that_was_killed_before_its_request_leaves_nothing_to_cancel() -> None:
    instance = Instance(lambda _s: [])
    state, outcome = instance.kill(PathState(REQUEST, Phase.STARTING, intent=intent()))
    assert (state.phase, outcome, instance.posts) == (Phase.QUEUED, None, [])


def test_a_kill_whose_cancel_is_not_confirmed_is_settled_by_a_later_task() -> None:
    instance = Instance(lambda s: [a_job("job", "RUNNING" if s < 100 else "CANCELLED")])
    state, outcome = instance.kill(following())
    assert outcome is not None
    assert outcome.result is CancelResult.UNKNOWN
    assert (state.phase, state.cancel, state.is_left_behind) == (Phase.FOLLOWING, CancelResult.UNKNOWN, True)
    state, outcome = instance.kill(state, within=120.0)
    assert (state.phase, state.is_left_behind) == (Phase.ENDED, False)
    posts = len(instance.posts)
    assert instance.kill(state) == (state, None)
    assert len(instance.posts) == posts


@pytest.mark.parametrize(
    "state",
    [
        following(concluded=True),
        following(cancel=CancelResult.CANCELLED),
        following(cancel=CancelResult.ALREADY_FINISHED),
        following(origin=Origin.ADOPTED),
        following().ended(FollowEnd.ENDED, None),
        PathState(REQUEST),
    ],
    ids=["dealt with", "cancelled", "had ended", "adopted", "ended", "not begun"],
)
def test_a_kill_leaves_alone_what_is_not_left_behind_or_not_ours(state: PathState) -> None:
    instance = Instance(lambda _s: [a_job("job")])
    assert instance.kill(state) == (state, None)
    assert instance.world.sent == []


def test_a_kill_in_the_middle_of_a_resume_cancels_the_job_under_its_new_id() -> None:
    failed = read_job(a_job("job", "FAILED", completedAt=5, resumable=True))
    goes_on = a_job("new", startedAt=int(BEGAN * 1000))
    old = a_job("job", "FAILED", completedAt=5)
    instance = Instance(lambda _s: [{**goes_on, "status": "CANCELLED"} if instance.posts else goes_on, old])
    asked = replace(following().resuming(failed), intent=replace(intent("job"), resumes=failed))
    state, outcome = instance.kill(asked)
    assert outcome is not None
    assert outcome.result is CancelResult.CANCELLED
    assert (state.processing_id, state.earlier_ids) == ("new", ("job",))
    assert [what for _, what in instance.posts] == ["cancel"]


def test_a_job_that_was_seen_is_asked_to_be_cancelled_before_anything_else_and_behind_no_retry_after() -> None:
    instance = Instance(lambda _s: [], BUSY, BUSY)
    instance.status = BUSY
    seen = read_job(a_job("job"))
    steps = cancel_and_confirm(instance.world.conversation(), "job", within_seconds=5, seen=seen)
    assert instance.world.run(steps).result is CancelResult.UNKNOWN
    assert instance.world.sent[0].target.endswith("/cancel")
    assert [at for at, _ in instance.posts][:3] == [0, 0, 1], "once, and once a look until it is heard"
    assert instance.passed == 5


def test_the_deadline_of_a_job_is_kept_though_the_instance_asks_for_two_minutes() -> None:
    instance = Instance(lambda s: [a_job("job", "RUNNING" if s < 620 else "CANCELLED")], BUSY)
    instance.status = None
    respond = instance.world.responder

    def busy(request: HttpRequest) -> Reply | TransportFailure:
        is_status = request.method == "GET" and 590 <= instance.passed < 620
        return BUSY if is_status else respond(request)

    instance.world.responder = busy
    ended = instance.go_on(following(deadline_at=BEGAN + 600))
    assert (ended.end, ended.cancel) == (FollowEnd.DEADLINE, CancelResult.CANCELLED)
    assert instance.posts[0][0] == pytest.approx(600, abs=1)
    assert instance.passed < 630


def test_the_end_from_before_a_resume_is_neither_believed_nor_a_reason_for_another_nor_to_send_no_cancel() -> None:
    before = a_job("job", "FAILED", completedAt=5, resumable=True)

    def jobs(seconds: float) -> list[JsonObject]:
        if seconds < 30:
            return [before]
        return [a_job("job", "RUNNING" if seconds < 100 else "SUCCESS", completedAt=0 if seconds < 100 else 9)]

    instance = Instance(jobs)
    ended = instance.go_on(following().resuming(read_job(before)))
    assert ended.job is not None
    assert (ended.end, ended.job.status_word, ended.resumes) == (FollowEnd.ENDED, "SUCCESS", 1)
    assert [what for _, what in instance.posts] == ["resume"]
    killed = Instance(lambda s: [before] if s < 3 else [a_job("job", "RUNNING" if s < 5 else "CANCELLED")])
    _, outcome = killed.kill(following().resuming(read_job(before)).goes_on("job", BEGAN))
    assert outcome is not None
    assert outcome.result is CancelResult.CANCELLED
    assert killed.posts[0] == (0, "cancel")


def test_a_resume_waits_for_its_turn_as_a_start_does() -> None:
    before = a_job("job", "FAILED", completedAt=5, resumable=True)
    instance = Instance(lambda _s: [before])
    instance.world.turn = lambda _asked: Turn(granted=False)
    ended = instance.go_on(following().resuming(read_job(before)), queue_seconds=600.0)
    assert (ended.end, instance.posts) == (FollowEnd.NO_TURN, [])
    assert [item.queues for item in instance.world.emitted if isinstance(item, TakeTurn)] == [True]
    lost = Instance(lambda _s: [{**before, "status": "SUCCESS", "completedAt": 9} if lost.posts else before])
    lost.world.turn = lambda asked: Turn(granted=not isinstance(asked, ConfirmTurn) or lost.passed > 60)
    assert lost.go_on(following().resuming(read_job(before))).end is FollowEnd.ENDED
    assert [what for _, what in lost.posts] == ["resume"]
    assert lost.posts[0][0] > 60
