"""The rate limit of an instance, which is lowered when the instance asks for that."""

from __future__ import annotations

import contextlib
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aem_guides.protocol import contract
from aem_guides.protocol.conversation import Conversation, RetrySettings
from aem_guides.protocol.errors import AemGuidesError
from aem_guides.protocol.manners import Haste, Manners
from aem_guides.protocol.procedures.cancel import cancel_and_confirm
from aem_guides.protocol.steps import HttpRequest, Reply
from tests.unit.protocol.driving import World, reply


def sent_at(manners: Manners, count: int, now: float = 0.0, haste: Haste = Haste.LOOK) -> list[float]:
    """When so many requests are sent that are all wanted at once."""
    return [now + manners.pause(now, haste) for _ in range(count)]


def most_in_a_second(moments: list[float]) -> int:
    return max(sum(begin <= at < begin + 1 for at in moments) for begin in moments)


def test_a_handful_goes_at_once_and_what_comes_after_keeps_to_the_rate() -> None:
    moments = sent_at(Manners(2.0), 30)
    assert moments.count(0.0) == 10
    pauses = [after - before for before, after in itertools.pairwise(moments[9:])]
    assert pauses == pytest.approx([0.5] * 20)


def test_unused_requests_may_be_sent_later_but_never_more_than_a_handful() -> None:
    manners = Manners(2.0)
    sent_at(manners, 10)
    assert sent_at(manners, 4, now=1.0)[:3] == [1.0, 1.0, 1.5]
    assert sent_at(manners, 20, now=1000.0).count(1000.0) == 10


@given(rate=st.floats(0.1, 50), wanted=st.lists(st.floats(0, 5), min_size=1, max_size=200))
def test_the_rate_is_kept_whatever_asks_and_whenever(rate: float, wanted: list[float]) -> None:
    manners, now, moments = Manners(rate), 0.0, list[float]()
    for pause in wanted:
        now += pause
        moments.append(now + manners.pause(now, Haste.LOOK))
    assert moments == sorted(moments)
    for first, last in itertools.combinations(range(0, len(moments), 7), 2):
        assert last - first <= max(1, 5 * rate) + rate * (moments[last] - moments[first]) + 1


@pytest.mark.parametrize("haste", [Haste.WORK, Haste.URGENT])
def test_work_and_cancels_wait_behind_no_look_and_none_behind_them(haste: Haste) -> None:
    manners = Manners(2.0)
    sent_at(manners, 10_000)
    assert sent_at(manners, 200, haste=haste) == [0.0] * 200
    fresh = Manners(2.0)
    sent_at(fresh, 200, haste=haste)
    assert sent_at(fresh, 10) == [0.0] * 10


def test_a_refusal_halves_the_rate_for_work_too_and_it_recovers() -> None:
    manners = Manners(2.0)
    manners.refuse(0.0, None)
    assert manners.rate_at(0.0) == 1.0
    assert sent_at(manners, 3)[0] == 1.0
    assert most_in_a_second(sent_at(manners, 30, haste=Haste.WORK)[10:]) <= 1
    assert sent_at(manners, 3, haste=Haste.URGENT) == [0.0] * 3
    manners.refuse(10.0, None)
    assert manners.rate_at(10.0) == pytest.approx(0.5, rel=0.2)
    assert manners.rate_at(300.0) == 2.0
    assert sent_at(manners, 5, now=300.0, haste=Haste.WORK) == [300.0] * 5


def test_refusals_of_what_was_on_its_way_together_count_once() -> None:
    manners = Manners(2.0)
    for moment in (0.0, 0.1, 0.2, 0.9):
        manners.refuse(moment, None)
    assert manners.rate_at(1.0) == 1.0


def test_the_rate_never_falls_below_a_request_in_half_a_minute() -> None:
    manners = Manners(2.0)
    for moment in range(0, 100, 2):
        manners.refuse(float(moment), None)
    assert manners.rate_at(100.0) >= 1 / 31


@pytest.mark.parametrize("haste", [Haste.LOOK, Haste.WORK])
def test_a_retry_after_is_kept_by_all_but_cancels_and_by_no_more_than_two_minutes(haste: Haste) -> None:
    manners = Manners(2.0)
    manners.refuse(0.0, 40.0)
    assert sent_at(manners, 1, now=5.0, haste=haste) == [40.0]
    manners.refuse(50.0, 86_400.0)
    assert sent_at(manners, 1, now=60.0, haste=haste)[0] <= 170.0
    assert manners.pause(60.0, Haste.URGENT) == 0.0


def talking(world: World, manners: Manners, attempts: int = 5) -> Conversation:
    """A conversation with this rate limit."""
    surroundings = world.conversation().surroundings
    return Conversation(surroundings, retries=RetrySettings(attempts=attempts), manners=manners)


def ask(world: World, talk: Conversation) -> float:
    """Read the history. Returns the seconds that it took."""
    began = world.clock
    with contextlib.suppress(AemGuidesError):
        world.run(talk.call(contract.history()))
    return world.clock - began


HISTORY: dict[str, object] = {"executionHistory": []}


def test_all_conversations_of_a_process_share_the_limit() -> None:
    world, manners = World(lambda _request: reply(200, HISTORY)), Manners(2.0)
    talks = [talking(world, manners) for _ in range(4)]
    assert sum(ask(world, talk) for talk in talks for _ in range(5)) == pytest.approx(5.0)
    assert {wait.why for wait in world.waits} == {"processing history: not to ask the instance too often"}


@pytest.mark.parametrize(
    "refusal", [reply(429), reply(406), reply(503, retry_after="7"), reply(429, retry_after="7")], ids=str
)
def test_an_answer_that_wants_less_slows_all_down(refusal: Reply) -> None:
    answers = [refusal]
    world, manners = World(lambda _request: answers.pop() if answers else reply(200, HISTORY)), Manners(2.0)
    ask(world, talking(world, manners, attempts=1))
    assert manners.rate_at(world.clock) == 1.0
    waited = ask(world, talking(world, manners))
    assert waited == pytest.approx(7.0 if "retry-after" in refusal.headers else 1.0)


@pytest.mark.parametrize("answer", [reply(200, HISTORY), reply(503), reply(404), reply(500)], ids=str)
def test_other_answers_do_not_lower_the_limit(answer: Reply) -> None:
    world, manners = World(lambda _request: answer), Manners(2.0)
    ask(world, talking(world, manners, attempts=1))
    assert manners.rate_at(world.clock) == 2.0


def test_a_cancel_and_its_confirmation_wait_for_nothing() -> None:
    def respond(request: HttpRequest) -> Reply:
        return reply(200, {"processingId": "p", "status": "CANCELLED" if posted(request) else "RUNNING"})

    def posted(_request: HttpRequest) -> bool:
        return any(request.method == "POST" for request in world.sent)

    world, manners = World(respond), Manners(2.0)
    manners.refuse(world.clock, 100.0)
    sent_at(manners, 1000, now=world.clock)
    began = world.clock
    world.run(cancel_and_confirm(talking(world, manners), "p", within_seconds=20))
    assert world.clock - began < 2


def test_a_moment_that_is_due_does_not_wait_for_the_limit() -> None:
    world, manners = World(lambda _request: reply(200, HISTORY)), Manners(2.0)
    sent_at(manners, 10_000, now=world.clock)
    due = world.clock + 30
    assert ask(world, talking(world, manners).giving_up_at(due + 60, waiting_until=due)) == 30
    assert ask(world, talking(world, manners).giving_up_at(due)) == 0


def test_a_token_service_is_not_an_instance() -> None:
    manners = Manners(2.0)
    sent_at(manners, 100)
    world = World(lambda _request: reply(429, retry_after="60"))
    call = contract.history()
    elsewhere = contract.Call("token", HttpRequest("GET", "https://ims.example.com/token"), call.read)
    with pytest.raises(AemGuidesError):
        world.run(talking(world, manners, attempts=1).call(elsewhere))
    assert not world.waits
    assert manners.rate_at(world.clock) == 2.0


def test_the_parts_of_a_log_do_not_count() -> None:
    parts = {contract.logs("p", offset=0).haste, contract.download("p").haste, contract.log_file("/a").haste}
    looks = {contract.status("p").haste, contract.history().haste, contract.asset_status("q").haste}
    assert parts == {Haste.WORK}
    assert looks == {Haste.LOOK}
    assert contract.resume("p").haste is Haste.WORK
    assert contract.cancel("p").haste is Haste.URGENT
