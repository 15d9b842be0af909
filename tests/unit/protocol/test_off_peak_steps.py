"""Off-peak hours, step by step: what is done from a stored state, what is shown, and what is stored next."""

from __future__ import annotations

from datetime import UTC, datetime
from urllib.parse import parse_qs

import pytest

from aem_guides.protocol.contract import read_job
from aem_guides.protocol.earlier_end import EarlierEnd
from aem_guides.protocol.models import JsonObject, ProcessingRequest
from aem_guides.protocol.procedures.events import Level, LogLines, Notice
from aem_guides.protocol.procedures.follow import FollowEnd
from aem_guides.protocol.procedures.intent import Intent
from aem_guides.protocol.procedures.lifecycle import run_lifecycle
from aem_guides.protocol.procedures.path_state import PathState, Phase
from aem_guides.protocol.procedures.start import Origin
from aem_guides.protocol.procedures.take_up import LifecycleOptions
from aem_guides.protocol.steps import EndTurn, HttpRequest, Reply
from tests.unit.protocol.driving import World, reply

NIGHT = datetime(2026, 11, 24, 23, 0, tzinfo=UTC).timestamp()
DAY = datetime(2026, 11, 24, 12, 0, tzinfo=UTC).timestamp()
HOUR = 3600.0
REQUEST = ProcessingRequest("/content/dam/a")
CANCELLED: JsonObject = {
    "processingId": "p",
    "path": "/content/dam/a",
    "excludedPaths": [],
    "status": "CANCELLED",
    "completedAt": 5,
    "resumable": True,
}
SUCCESS: JsonObject = {**CANCELLED, "status": "SUCCESS", "completedAt": 9}
JOB = read_job(CANCELLED)
LINES = [f"line {number}" for number in range(10)]


HOURS: JsonObject = {"from": "22:00", "to": "02:00", "timezone": "UTC", "at_end": "cancel"}


class Instance:
    """Shows its jobs as they are set. Answers the POSTs in turn as scripted, then with 200."""

    def __init__(self, at: float, *jobs: JsonObject) -> None:
        self.world = World(self.respond, clock=at)
        self.jobs = {str(job["processingId"]): job for job in jobs}
        self.answers: list[Reply] = []
        self.after_post: dict[str, JsonObject] = {}

    def respond(self, request: HttpRequest) -> Reply:
        path, _, query = request.target.partition("?")
        if path.endswith("/history"):
            return reply(200, {"executionHistory": list(self.jobs.values())})
        if path.endswith("/logs"):
            offset = int(parse_qs(query)["offset"][0])
            return reply(200, {"lines": LINES[offset:], "offset": offset, "hasMore": False})
        if request.method == "GET":
            job = self.jobs.get(query.rpartition("=")[2])
            return reply(404) if job is None else reply(200, job)
        if self.answers:
            return self.answers.pop(0)
        self.jobs |= self.after_post
        return reply(200, {"processingId": next(iter(self.after_post), "p")})

    def go_on(self, state: PathState, *, log_lines: int = 0) -> PathState:
        options = LifecycleOptions(
            run="run", only_between=HOURS, stall_seconds=HOUR, longest_look=600.0, log_lines=log_lines
        )
        return self.world.run(run_lifecycle(self.world.conversation(attempts=1), state, options, Phase.ENDED))

    @property
    def states(self) -> list[PathState]:
        return [item for item in self.world.emitted if isinstance(item, PathState)]

    @property
    def notices(self) -> list[tuple[Level, str]]:
        return [(item.level, item.text) for item in self.world.emitted if isinstance(item, Notice)]

    @property
    def shown(self) -> list[str]:
        return [line for item in self.world.emitted if isinstance(item, LogLines) for line in item.lines]


def at_phase(phase: Phase, **changes: object) -> PathState:
    values: dict[str, object] = {"processing_id": "p", "origin": Origin.STARTED, "deadline_at": DAY + 100 * HOUR}
    return PathState(REQUEST, phase, **{**values, **changes})  # type: ignore[arg-type]  # its own fields


def test_the_time_for_which_a_job_is_held_back_is_counted_from_its_first_moment() -> None:
    held = at_phase(Phase.FOLLOWING, deadline_at=100.0).held(JOB, 10.0).held(JOB, 20.0)
    assert held.held_since == 10.0
    gone_on = held.resuming(JOB).goes_on("q", 30.0)
    assert (gone_on.deadline_at, gone_on.held_since, gone_on.job, gone_on.resumes) == (120.0, None, None, 1)
    assert (gone_on.processing_id, gone_on.earlier_ids) == ("q", ("p",))
    assert gone_on.earlier_end == EarlierEnd.of(JOB, 30.0)
    assert held.goes_on("p", 5.0).deadline_at == 100.0


def test_a_job_that_succeeds_while_it_is_to_be_cancelled_is_followed_to_its_end() -> None:
    instance = Instance(DAY, SUCCESS)
    ended = instance.go_on(at_phase(Phase.CANCELLING))
    assert (ended.end, ended.job) == (FollowEnd.ENDED, read_job(SUCCESS))
    assert [state.phase for state in instance.states] == [Phase.FOLLOWING, Phase.ENDED]


def test_a_cancel_without_effect_is_reported_and_repeated_until_the_deadline() -> None:
    instance = Instance(DAY, {**CANCELLED, "status": "RUNNING", "completedAt": 0})
    state = at_phase(Phase.CANCELLING, deadline_at=DAY + 300)
    ended = instance.go_on(state)
    assert ended.end is FollowEnd.DEADLINE
    assert ended.job is not None
    assert instance.states == [ended]
    assert instance.notices == [
        (
            Level.WARNING,
            "It is not known whether job p was cancelled: it is still RUNNING. Check the job in the Bulk Processor.",
        )
    ] * len(instance.notices)
    assert len(instance.notices) == 2
    assert "cancelling job p failed; trying again" in {wait.why for wait in instance.world.waits}


def test_a_resume_for_which_the_hours_are_over_again_holds_the_job_back_from_now_on() -> None:
    instance = Instance(DAY, CANCELLED)
    instance.after_post = {"p": SUCCESS}
    instance.go_on(at_phase(Phase.RESUMING, job=JOB))
    held = instance.states[0]
    assert (held.phase, held.held_since, held.job) == (Phase.HELD_BACK, DAY, JOB)
    assert instance.notices[0] == (
        Level.INFO,
        "Job p is held back until 2026-11-24 22:00 UTC, in 10 h. Then it is resumed from its checkpoint.",
    )
    assert instance.states[-1].deadline_at == pytest.approx(DAY + 110 * HOUR, abs=5)


@pytest.mark.parametrize("word", ["SUCCESS", "CANCELLED"])
def test_a_job_that_a_person_resumed_and_that_ended_again_before_its_turn_is_not_resumed(word: str) -> None:
    ended_at = JOB.completed_at or 0
    instance = Instance(NIGHT, {**CANCELLED, "status": word, "completedAt": ended_at + 60_000})
    state = instance.go_on(at_phase(Phase.RESUMING, job=JOB))
    assert (state.end, state.resumes) == (FollowEnd.ENDED, 0)
    assert [request.method for request in instance.world.sent if request.method == "POST"] == []


def test_a_resume_without_its_job_follows_what_there_is() -> None:
    instance = Instance(NIGHT, SUCCESS)
    assert instance.go_on(at_phase(Phase.RESUMING)).end is FollowEnd.ENDED
    assert [state.phase for state in instance.states] == [Phase.FOLLOWING, Phase.ENDED]


@pytest.mark.parametrize(
    ("goes_on_as", "shown", "reported"),
    [
        ("q", LINES, "Job p was resumed from its checkpoint; its id is now q."),
        ("p", LINES[4:], "Job p was resumed from its checkpoint."),
    ],
)
def test_under_another_id_a_job_writes_another_log(goes_on_as: str, shown: list[str], reported: str) -> None:
    instance = Instance(NIGHT, CANCELLED)
    instance.after_post = {goes_on_as: {**SUCCESS, "processingId": goes_on_as}}
    state = instance.go_on(at_phase(Phase.RESUMING, job=JOB, log_offset=4), log_lines=100)
    assert (Level.INFO, reported) in instance.notices
    assert (instance.shown, state.log_offset) == (shown, len(LINES))
    assert (state.processing_id, state.resumes) == (goes_on_as, 1)


def test_a_resume_that_is_not_possible_yet_is_reported_with_its_reason_and_tried_again() -> None:
    instance = Instance(NIGHT, CANCELLED)
    instance.answers = [reply(503, b"starting")] * 9
    instance.after_post = {"p": SUCCESS}
    assert instance.go_on(at_phase(Phase.RESUMING, job=JOB)).end is FollowEnd.ENDED
    reported = next(text for level, text in instance.notices if level is Level.WARNING)
    assert reported.startswith("Job p is not resumed yet; trying again. resume processing (POST ")
    assert "starting" in reported
    put_off = [item for item in instance.world.emitted if isinstance(item, EndTurn) and item.again_in]
    assert len(put_off) == 2, "each time, others may go first"


def test_a_resume_that_was_cut_short_and_did_nothing_holds_the_job_back_again() -> None:
    instance = Instance(DAY, CANCELLED)
    instance.after_post = {"p": SUCCESS}
    intent = Intent(REQUEST.fingerprint(), int(DAY * 1000), {"p": None}, "run", resumes=JOB)
    instance.go_on(at_phase(Phase.RESUMING, job=JOB, intent=intent))
    held = next(state for state in instance.states if state.phase is Phase.HELD_BACK)
    assert (held.intent, held.job) == (None, JOB)
    assert held.held_since is not None
    assert DAY < held.held_since < DAY + 60


def test_a_job_that_works_already_when_the_hours_begin_is_not_resumed_by_us() -> None:
    instance = Instance(NIGHT, {**CANCELLED, "status": "RUNNING", "completedAt": 0})
    state = at_phase(Phase.HELD_BACK, job=JOB, held_since=NIGHT - HOUR, deadline_at=NIGHT + 10)
    after = instance.go_on(state)
    assert after.end is FollowEnd.DEADLINE
    assert (Level.INFO, "Job p is running already: somebody else resumed it.") in instance.notices
    assert (after.resumes, after.held_since) == (0, None)
    assert after.deadline_at == pytest.approx(NIGHT + 10 + HOUR, abs=5)
    assert not [request for request in instance.world.sent if request.target.endswith("/resume")]


def test_the_hours_that_are_over_are_reported_before_a_job_is_cancelled() -> None:
    instance = Instance(DAY - 10 * HOUR - 60, {**CANCELLED, "status": "RUNNING", "completedAt": 0})
    instance.after_post = {"p": SUCCESS}
    instance.go_on(at_phase(Phase.FOLLOWING))
    assert instance.notices[0] == (
        Level.INFO,
        "The off-peak hours (22:00 to 02:00 UTC) are over: cancelling job p; it is resumed when they begin again.",
    )
    assert instance.states[0].phase is Phase.CANCELLING
