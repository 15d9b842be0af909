"""The queue of paths that wait to start, against a model of an instance that other users work on, too."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from aem_guides.protocol.admission import LOST_AFTER_SECONDS, Place, Ticket, Turns, ask_for_hidden, read_window
from aem_guides.protocol.conversation import Conversation
from aem_guides.protocol.earlier_end import EarlierEnd
from aem_guides.protocol.models import History, Job, JsonObject
from aem_guides.protocol.states import JobState
from aem_guides.protocol.steps import HttpRequest, Reply, TransportFailure
from tests.unit.protocol.driving import World, reply


def look(world: World, talk: Conversation, turns: Turns) -> None:
    """Read the window, and the jobs that it hides."""
    world.run(read_window(talk, turns))
    world.run(ask_for_hidden(talk, turns))


@dataclass
class Instance:
    """Jobs in the order of their start; a window of the last ones, which may lag behind."""

    world: World = field(init=False)
    window: int = 5
    lag: float = 0.0
    status_fails: bool = False
    jobs: dict[str, JsonObject] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.world = World(self.respond)

    def start(self, path: str) -> str:
        number = f"job-{len(self.jobs)}"
        self.jobs[number] = {
            "processingId": number,
            "path": path,
            "status": "RUNNING",
            "startedAt": int(self.world.clock * 1000),
        }
        return number

    def end(self, number: str) -> None:
        self.jobs[number] |= {"status": "SUCCESS", "completedAt": int(self.world.clock * 1000)}

    def active(self) -> set[str]:
        return {number for number, job in self.jobs.items() if job["status"] == "RUNNING"}

    def visible(self) -> list[JsonObject]:
        horizon = (self.world.clock - self.lag) * 1000
        return [job for job in self.jobs.values() if int(str(job["startedAt"])) <= horizon][-self.window :]

    def respond(self, request: HttpRequest) -> Reply | TransportFailure:
        path, _, query = request.target.partition("?")
        if path.endswith("history"):
            return reply(200, {"executionHistory": self.visible()})
        if self.status_fails:
            return reply(500, {})
        return reply(200, self.jobs[query.rpartition("=")[2]])


class TurnsMachine(RuleBasedStateMachine):
    """Triggers come, wait, start, follow and die in any order, and other users start jobs."""

    @initialize(limit=st.integers(1, 4), window=st.integers(5, 7), lag=st.sampled_from([0.0, 0.0, 5.0]))
    def begin(self, limit: int, window: int, lag: float) -> None:
        self.instance = Instance(window=window, lag=lag)
        self.talk = self.instance.world.conversation(attempts=1)
        self.turns = Turns()
        self.limit = limit
        self.came = 0
        self.tickets: list[Ticket] = []
        self.ours: set[str] = set()
        self.followed: set[str] = set()
        self.shown: set[str] = set()

    def now(self) -> float:
        return self.instance.world.clock

    def look(self) -> None:
        look(self.instance.world, self.talk, self.turns)
        self.shown |= {str(job["processingId"]) for job in self.instance.visible() if job["status"] == "RUNNING"}

    def known(self) -> set[str]:
        """The jobs that could be known as active: those that we started, and those that the instance ever showed as
        active."""
        return self.instance.active() & (self.ours | self.shown)

    def leave(self, ticket: Ticket) -> None:
        self.turns.leave(ticket)
        self.tickets.remove(ticket)

    @rule(came_at=st.integers(0, 3))
    def a_trigger_comes(self, came_at: int) -> None:
        ticket = Ticket(Place(came_at, "run", self.came), f"/content/dam/{self.came}", self.limit)
        self.came += 1
        self.tickets.append(ticket)
        self.turns.join(ticket)

    @rule(count=st.sampled_from([1, 1, 1, 6]))
    def strangers_start(self, count: int) -> None:
        for _ in range(count):
            self.instance.world.clock += 0.001
            self.instance.start(f"/content/dam/elsewhere/{len(self.instance.jobs)}")

    @precondition(lambda self: self.instance.active() - self.ours)
    @rule(data=st.data())
    def a_stranger_ends(self, data: st.DataObject) -> None:
        self.instance.end(data.draw(st.sampled_from(sorted(self.instance.active() - self.ours))))

    @rule(seconds=st.sampled_from([1.0, 10.0]), status_fails=st.booleans())
    def time_goes_on(self, seconds: float, status_fails: bool) -> None:
        self.instance.world.clock += seconds
        self.instance.status_fails = status_fails

    @rule()
    def someone_looks_and_the_turn_is_given(self) -> None:
        starting = self.turns.starting
        self.look()
        granted = self.turns.grant(self.now())
        if starting is not None:
            assert granted is None, "two start at a time"
            return
        ready = sorted((t for t in self.tickets if t.not_before <= self.now()), key=lambda t: t.place)
        if granted is not None:
            assert granted is ready[0], "not the first in the line"
            assert len(self.known()) < self.limit, "more than allowed"
        elif ready and not self.instance.status_fails:
            assert len(self.known()) >= self.limit, "room, and nobody may start"

    @precondition(lambda self: self.turns.starting is not None)
    @rule(fate=st.sampled_from(["fine", "fine", "fine", "answer lost", "put back"]))
    def the_start_comes_out(self, fate: str) -> None:
        ticket = self.turns.starting
        assert ticket is not None
        # A start reads the window itself: another user may have taken the room since the turn was given.
        if fate == "put back" or len(self.known()) >= self.limit:
            self.turns.put_back(ticket, not_before=self.now() + 5)
            return
        number = self.instance.start(ticket.path)
        if fate == "fine":
            self.ours.add(number)
            self.followed.add(number)
            self.turns.note_active(number, ticket.path)
            self.turns.follow(number)
        self.leave(ticket)

    @precondition(lambda self: self.followed & self.instance.active())
    @rule(data=st.data(), seen=st.booleans())
    def a_followed_job_ends(self, data: st.DataObject, seen: bool) -> None:
        number = data.draw(st.sampled_from(sorted(self.followed & self.instance.active())))
        self.instance.end(number)
        self.followed.remove(number)
        self.turns.unfollow(number, ended=seen)

    @precondition(lambda self: self.followed)
    @rule(data=st.data())
    def a_follower_dies(self, data: st.DataObject) -> None:
        number = data.draw(st.sampled_from(sorted(self.followed)))
        self.followed.remove(number)
        self.turns.unfollow(number, ended=False)

    @precondition(lambda self: self.tickets)
    @rule(data=st.data())
    def a_waiting_task_is_killed(self, data: st.DataObject) -> None:
        self.leave(data.draw(st.sampled_from(self.tickets)))

    @invariant()
    def what_could_be_known_is_known(self) -> None:
        assert self.known() <= set(self.turns.active)
        assert self.turns.waiting == len(self.tickets)


TurnsMachine.TestCase.settings = settings(max_examples=150, stateful_step_count=40)
test_never_more_than_allowed_and_always_in_order = TurnsMachine.TestCase


def job(number: str, state: JobState = JobState.RUNNING, **more: object) -> Job:
    return Job(number, state, state.value, **more)  # type: ignore[arg-type]  # fields of a job


def line(*tickets: Ticket) -> Turns:
    turns = Turns()
    for ticket in tickets:
        turns.join(ticket)
    return turns


def ticket(index: int, path: str = "", *, limit: int = 4, queues: bool = False) -> Ticket:
    return Ticket(Place(0.0, "run", index), path or f"/content/dam/{index}", limit, queues)


def test_a_ticket_behind_a_job_on_its_path_lets_the_next_go_first_and_keeps_its_place() -> None:
    first, second = ticket(0, "/content/dam/a", queues=True), ticket(1)
    turns = line(first, second)
    turns.see(History((job("x", path="/content/dam/a/"),)), 0)
    assert "job x is active on its path" in turns.why(first)
    assert turns.grant(0) is second
    turns.leave(second)
    turns.see(History((job("x", JobState.SUCCESS, path="/content/dam/a"),)), 1)
    assert turns.grant(1) is first


@pytest.mark.parametrize("limit", [1, 2])
def test_a_ticket_that_would_adopt_the_job_on_its_path_needs_no_room(limit: int) -> None:
    adopting = ticket(0, "/content/dam/a", limit=limit)
    turns = line(adopting)
    turns.see(History((job("x", path="/content/dam/a"), job("y", path="/content/dam/b"))), 0)
    assert turns.grant(0) is adopting


def test_a_ticket_that_was_put_back_waits_for_the_job_in_its_way() -> None:
    first, second = ticket(0), ticket(1)
    turns = line(first, second)
    turns.see(History((job("parent", path="/content/dam"),)), 0)
    assert turns.grant(0) is first
    turns.put_back(first, not_before=0, blocked_by="parent")
    assert turns.grant(1) is second


def test_a_resumed_job_counts_although_the_window_still_shows_its_old_end() -> None:
    turns = Turns()
    old_end = History((job("x", JobState.FAILED, completed_at=5),))
    turns.note_active("x", "/content/dam/a", EarlierEnd.of(old_end.jobs[0], 100))
    turns.see(old_end, 101)
    assert list(turns.active) == ["x"]
    turns.see(History((job("x", JobState.FAILED, completed_at=7),)), 102)
    assert not turns.active


def test_a_job_that_the_instance_forgot_counts_for_a_while() -> None:
    turns = Turns()
    turns.note_active("x", "/content/dam/a")
    turns.see_status("x", None, 100)
    turns.see_status("x", None, 99 + LOST_AFTER_SECONDS)
    assert turns.to_ask == ["x"]
    turns.see_status("x", None, 100 + LOST_AFTER_SECONDS)
    assert not turns.active


def test_it_says_how_many_wait_ahead() -> None:
    tickets = [ticket(index) for index in range(3)]
    turns = line(*reversed(tickets))
    turns.learn({f"job-{number}": None for number in range(4)}, {})
    assert turns.first is tickets[0]
    assert turns.why(tickets[2]) == (
        "4 jobs are active on the instance, 4 are allowed (max_active_jobs); 2 wait ahead of it"
    )


def test_a_followed_job_that_left_the_window_is_asked_for_only_where_it_keeps_others_waiting() -> None:
    turns = line(ticket(0, limit=2))
    turns.learn({"ours": "/content/dam/a"}, {})
    turns.follow("ours")
    assert turns.to_ask == []
    turns.note_active("theirs", None)
    assert turns.to_ask == ["ours", "theirs"]
    turns.see(History((job("theirs"),)), 0)
    assert (turns.to_ask, turns.hidden) == (["ours"], 1)
    assert turns.followed == {"ours": "/content/dam/a"}
    turns.unfollow("ours", ended=False)
    assert turns.active == {"ours": "/content/dam/a", "theirs": None}
    turns.unfollow("ours", ended=True)
    assert turns.active == {"theirs": None}


def test_a_look_asks_for_the_jobs_that_the_window_does_not_show() -> None:
    answers = {
        "history": reply(200, {"executionHistory": [{"processingId": "shown", "status": "RUNNING", "path": "/a"}]}),
        "ended": reply(200, {"processingId": "ended", "status": "SUCCESS"}),
        "goes-on": reply(200, {"processingId": "goes-on", "status": "RUNNING", "path": "/b"}),
        "forgotten": reply(404),
        "silent": reply(503),
    }
    world = World(lambda request: answers[request.target.rpartition("/")[2].rpartition("=")[2]])
    turns = Turns()
    turns.learn(dict.fromkeys(("ended", "goes-on", "forgotten", "silent")), {})
    talk = world.conversation(attempts=1)
    look(world, talk, turns)
    assert turns.active == {"goes-on": "/b", "forgotten": None, "silent": None, "shown": "/a"}
    world.clock += LOST_AFTER_SECONDS
    look(world, talk, turns)
    assert turns.active == {"goes-on": "/b", "silent": None, "shown": "/a"}


def test_a_resumed_job_s_old_end_is_borne_for_a_minute_only() -> None:
    turns = Turns()
    old_end = History((job("x", JobState.FAILED, completed_at=5),))
    turns.note_active("x", "/content/dam/a", EarlierEnd.of(old_end.jobs[0], 100))
    turns.see(old_end, 159)
    assert list(turns.active) == ["x"]
    turns.see(old_end, 160)
    assert not turns.active


def test_a_job_that_was_found_again_is_not_lost() -> None:
    turns = Turns()
    turns.note_active("x", None)
    turns.see_status("x", None, 100)
    turns.see_status("x", job("x", path="/a"), 200)
    turns.see_status("x", None, 101 + LOST_AFTER_SECONDS)
    assert turns.active == {"x": "/a"}


def test_a_ticket_that_is_to_try_later_is_passed_over_until_then() -> None:
    first, second = ticket(0), ticket(1)
    turns = line(first, second)
    assert turns.grant(5) is first
    assert turns.grant(5) is None
    turns.put_back(first, not_before=10)
    assert turns.grant(9) is second
    turns.put_back(second, not_before=20)
    assert turns.grant(10) is first
    turns.leave(first)
    assert (turns.starting, turns.waiting, turns.first) == (None, 1, second)


def test_a_queued_path_shows_which_job_is_in_its_way() -> None:
    queueing, other = ticket(0, "/content/dam/a", queues=True), ticket(1)
    turns = line(queueing, other)
    turns.learn({"x": "/content/dam/a/"}, {})
    turns.put_back(queueing, not_before=0, blocked_by="x")
    assert turns.why(queueing) == "job x is active on its path"
    assert turns.why(other) == "1 job is active on the instance, 4 are allowed (max_active_jobs); 1 waits ahead of it"
    turns.put_back(queueing, not_before=0, blocked_by="gone")
    turns.unfollow("x", ended=True)
    assert turns.why(queueing).startswith("there is room for it, but another process starts jobs now")


def test_hidden_jobs_whose_status_cannot_be_read_now_hold_nobody_back_beyond_one_request_each() -> None:
    world = World(lambda _request: reply(503, retry_after="120"))
    turns = Turns()
    for number in range(3):
        turns.note_active(f"hidden-{number}", "/content/dam/a")
    world.run(ask_for_hidden(world.conversation(), turns))
    assert (len(world.sent), world.waits) == (3, [])
    assert len(turns.active) == 3
