"""A start whose answer shows less than its result: its job appears late, with other fields, or behind a page."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from email.utils import formatdate

import pytest

from aem_guides.protocol.errors import ActiveJobError, AuthenticationError, DoubtfulStartError, StartRefusedError
from aem_guides.protocol.models import JsonObject, JsonValue, ProcessingRequest
from aem_guides.protocol.procedures.intent import Intent
from aem_guides.protocol.procedures.start import OnActiveJob, Origin, Started, StartPolicy, start_once
from aem_guides.protocol.steps import HttpRequest, Reply
from tests.unit.protocol.driving import LOGIN, World, reply, start_again

PATH = "/content/dam/a"
REQUEST = ProcessingRequest(PATH, (f"{PATH}/x",), ("DITAMAP",), 5, 9)
ECHO: JsonObject = {
    "excludedPaths": [f"{PATH}/x"],
    "type": "ASSET_PROCESSING",
    "filter": {"fileTypes": ["DITAMAP"], "startTime": 5, "endTime": 9},
}
PAGE = reply(200, b"<html>Sign in</html>", content_type="text/html")


@dataclass
class Instance:
    """Accepts every start, and gives the first the scripted answer. The job appears in the history after `hidden`
    seconds."""

    answer: Reply
    hidden: float = 0.0
    echo: JsonObject = field(default_factory=lambda: dict(ECHO))
    status: str = "RUNNING"
    behind: float = 0.0
    history_trouble: Callable[[], Reply | None] = lambda: None
    jobs: list[JsonObject] = field(default_factory=list)
    accepted_at: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.world = World(self.respond, logins=[LOGIN, {"Authorization": "Bearer second"}])

    def respond(self, request: HttpRequest) -> Reply:
        if request.target.endswith("/history"):
            shown = [job for job, at in self._dated() if at + self.hidden <= self.world.clock]
            earlier: JsonObject = {
                "processingId": "earlier",
                "path": "/content/dam/b",
                "status": "SUCCESS",
                "startedAt": 7,
            }
            date = formatdate(self.world.clock - self.behind, usegmt=True)
            return self.history_trouble() or reply(200, {"executionHistory": [*shown[::-1], earlier]}, date=date)
        assert json.loads(request.body or b"{}")["path"] == PATH
        number = f"job-{len(self.jobs)}"
        at: JsonValue = round((self.world.clock - self.behind) * 1000)
        self.jobs.append({"processingId": number, "path": PATH, "status": self.status, "startedAt": at, **self.echo})
        self.accepted_at.append(self.world.clock)
        return self.answer if number == "job-0" else reply(200, {"processingId": number})

    def start(self, policy: StartPolicy | None = None, intent: Intent | None = None) -> object:
        talk = self.world.conversation()
        steps = start_again(talk, REQUEST, policy=policy or StartPolicy(), run="run", intent=intent)
        return self.world.run(steps)

    def _dated(self) -> list[tuple[JsonObject, float]]:
        return list(zip(self.jobs, self.accepted_at, strict=True))


def busy(seconds: int) -> Reply:
    return reply(503, b"first byte timeout", retry_after=str(seconds))


@pytest.mark.parametrize("policy", list(OnActiveJob))
@pytest.mark.parametrize("status", ["RUNNING", "SUCCESS"])
def test_a_job_that_shows_itself_while_the_next_start_is_put_off_is_known_as_ours(
    policy: OnActiveJob, status: str
) -> None:
    instance = Instance(busy(120), hidden=60, status=status)
    assert instance.start(StartPolicy(policy)) == Started("job-0", Origin.RECOVERED)
    assert len(instance.jobs) == 1


@pytest.mark.parametrize(
    "reported",
    [
        {"filter": {"fileTypes": ["ditamap"], "startTime": 5, "endTime": 9}},
        {"type": "Asset processing"},
    ],
)
def test_a_job_shown_in_another_spelling_is_recognised_as_ours(reported: JsonObject) -> None:
    instance = Instance(busy(1), echo={**ECHO, **reported}, status="SUCCESS")
    assert instance.start() == Started("job-0", Origin.RECOVERED)


@pytest.mark.parametrize(
    "reported",
    [
        {"filter": {}},
        {"filter": {"fileTypes": ["DITAMAP"], "startTime": 5}},
        {"excludedPaths": []},
        {"filter": None},
        {"path": None},
        {"path": 7},
    ],
)
def test_a_job_of_which_too_little_is_shown_leaves_a_doubt_and_makes_no_second(reported: JsonObject) -> None:
    instance = Instance(busy(1), echo={**ECHO, **reported}, status="SUCCESS")
    with pytest.raises(DoubtfulStartError, match=f"^{PATH}: a start was sent, .* job-0 may be the one"):
        instance.start()
    assert len(instance.jobs) == 1


def test_a_job_on_the_path_that_surely_asks_for_something_else_leaves_no_doubt() -> None:
    instance = Instance(busy(1), echo={**ECHO, "filter": {"fileTypes": ["DITATOPIC"]}}, status="SUCCESS")
    assert instance.start() == Started("job-1", Origin.STARTED)


def test_a_web_page_instead_of_an_answer_is_not_taken_for_a_refusal() -> None:
    instance = Instance(PAGE, status="SUCCESS")
    assert instance.start() == Started("job-0", Origin.RECOVERED)
    assert len(instance.jobs) == 1


@pytest.mark.parametrize("refusal", [reply(401), reply(302, location="/login")])
def test_a_refusal_at_the_door_is_mended_and_the_start_sent_again(refusal: Reply) -> None:
    instance = Instance(refusal)
    instance.jobs.clear()
    assert isinstance(instance.start(), Started)
    assert [request.headers["Authorization"] for request in instance.world.sent if request.method == "POST"] == [
        "Bearer first",
        "Bearer second",
    ]


def test_a_history_that_cannot_be_read_keeps_the_intent() -> None:
    """Only the answer to the start itself proves that the start was refused."""
    instance = Instance(busy(1))
    instance.history_trouble = lambda: reply(404, b"no resource") if instance.jobs else None
    with pytest.raises(Exception, match="404") as caught:
        instance.start()
    assert not isinstance(caught.value, StartRefusedError | ActiveJobError)
    kept = [item for item in instance.world.emitted if isinstance(item, Intent)][-1]
    instance.history_trouble = lambda: None
    assert instance.start(intent=kept) == Started("job-0", Origin.RECOVERED)


def test_a_start_that_is_refused_for_certain_says_so() -> None:
    world = World(lambda request: reply(200, {"executionHistory": []}) if request.method == "GET" else reply(400))
    with pytest.raises(StartRefusedError):
        world.run(start_once(world.conversation(), REQUEST, policy=StartPolicy(), run="run"))


def test_an_authentication_that_stays_refused_is_raised() -> None:
    world = World(lambda request: reply(200, {"executionHistory": []}) if request.method == "GET" else reply(401))
    with pytest.raises(AuthenticationError):
        world.run(start_once(world.conversation(), REQUEST, policy=StartPolicy(), run="run"))


class TestInterval:
    """Assets get their creation time from the clock of the instance, which may be behind."""

    def request(self, instance: Instance, seconds_ago: float) -> ProcessingRequest:
        return ProcessingRequest(
            PATH, created_after=5, created_before=round((instance.world.clock - seconds_ago) * 1000)
        )

    def test_an_interval_that_has_not_ended_there_is_waited_for(self) -> None:
        instance = Instance(reply(200, {"processingId": "job-0"}), behind=200)
        request = self.request(instance, 10)
        instance.world.run(start_once(instance.world.conversation(), request, policy=StartPolicy(), run="run"))
        assert request.created_before is not None
        assert int(str(instance.jobs[0]["startedAt"])) >= request.created_before

    def test_an_end_in_the_far_future_is_intended_and_not_waited_for(self) -> None:
        instance = Instance(reply(200, {"processingId": "job-0"}), behind=200)
        request = self.request(instance, -3600)
        instance.world.run(start_once(instance.world.conversation(), request, policy=StartPolicy(), run="run"))
        assert instance.world.waits == []

    def test_an_interval_that_has_ended_is_not_waited_for(self) -> None:
        instance = Instance(reply(200, {"processingId": "job-0"}), behind=200)
        request = self.request(instance, 3600)
        instance.world.run(start_once(instance.world.conversation(), request, policy=StartPolicy(), run="run"))
        assert instance.world.waits == []


def test_a_job_that_appears_late_and_shows_too_little_leaves_a_doubt_and_makes_no_second() -> None:
    instance = Instance(busy(120), hidden=60, echo={**ECHO, "filter": None}, status="SUCCESS")
    with pytest.raises(DoubtfulStartError, match=f"^{PATH}: a start was sent, .* job-0 may be the one"):
        instance.start()
    assert len(instance.jobs) == 1


@pytest.mark.parametrize(
    ("shown", "why"),
    [
        ({"path": "/x"}, "the history has an entry that cannot be read (entry 0: processingId is missing)"),
        (
            {"processingId": "new", "path": "/x", "status": "SUCCESS"},
            "the history no longer reaches back to the time of the start, so the job may be too old to be shown",
        ),
    ],
)
def test_a_history_that_proves_nothing_leaves_a_doubt(shown: JsonObject, why: str) -> None:
    instance = Instance(busy(1), hidden=9999)
    instance.history_trouble = lambda: reply(200, {"executionHistory": [shown]}) if instance.jobs else None
    with pytest.raises(DoubtfulStartError) as caught:
        instance.start()
    assert f"a start was sent, but no answer came, and {why}. No second start was sent." in str(caught.value)
