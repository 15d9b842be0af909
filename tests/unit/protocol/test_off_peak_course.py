"""A job over as many off-peak hours as it takes, against a model of the instance, with a crash at every point."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import formatdate

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from aem_guides.protocol.errors import AemGuidesError, JobFailedError
from aem_guides.protocol.hours import OffPeakHours, parse_only_between
from aem_guides.protocol.models import JsonObject, ProcessingRequest
from aem_guides.protocol.procedures.events import Notice
from aem_guides.protocol.procedures.follow import FollowEnd
from aem_guides.protocol.procedures.intent import Intent
from aem_guides.protocol.procedures.lifecycle import run_lifecycle
from aem_guides.protocol.procedures.path_state import PathState, Phase
from aem_guides.protocol.procedures.start import MustWait, Origin, StartPolicy, start_once
from aem_guides.protocol.procedures.take_up import LifecycleOptions
from aem_guides.protocol.states import Verdict
from aem_guides.protocol.steps import Emit, HttpRequest, Reply, Steps, TransportFailure, Turn
from aem_guides.runtime.path_store import decoded, encoded
from tests.unit.protocol.driving import World, reply

REQUEST = ProcessingRequest("/content/dam/a")
BEGAN = datetime(2026, 11, 24, 22, 30, tzinfo=UTC).timestamp()
HOUR = 3600.0
TRIES = 40


def night(at_end: str = "cancel") -> OffPeakHours:
    hours = parse_only_between(between(at_end))
    assert hours is not None
    return hours


def between(at_end: str = "cancel") -> JsonObject:
    return {"from": "22:00", "to": "02:00", "timezone": "UTC", "at_end": at_end}


def working(deadline_at: float = BEGAN + 24 * HOUR, origin: Origin = Origin.STARTED) -> PathState:
    """The state of the path whose job has just been started."""
    return PathState(REQUEST, Phase.FOLLOWING, processing_id="job-0", origin=origin, deadline_at=deadline_at)


class Crash(BaseException):
    """The triggerer dies."""


@dataclass
class Instance:
    """A model: one job that needs so many seconds of work, and can be cancelled and resumed.

    `work` is in seconds. `fates` are those of the POSTs in turn. `crashes` are after so many steps of the procedure
    each.
    """

    work: float
    keeps_id: bool = True
    fates: list[str] = field(default_factory=list)
    crashes: list[int] = field(default_factory=list)
    world: World = field(init=False)
    jobs: list[JsonObject] = field(default_factory=list)
    at_work_since: float | None = None
    done: float = 0.0
    resumed: int = 0
    worked: list[tuple[float, float]] = field(default_factory=list)
    stored: PathState = field(default_factory=working)
    steps: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.world = World(self.respond, clock=BEGAN)
        self.jobs.append({"processingId": "job-0", "path": REQUEST.path, "excludedPaths": [], "startedAt": self.now()})
        self.set("RUNNING")
        self.at_work_since = self.world.clock

    def now(self) -> int:
        return int(self.world.clock * 1000)

    def set(self, status: str, *, completed: bool = False, resumable: bool = False) -> None:
        self.jobs[-1].update(status=status, completedAt=self.now() if completed else 0, resumable=resumable)

    def tick(self) -> None:
        """Advance the work to the current time."""
        if self.at_work_since is not None and self.done + self.world.clock - self.at_work_since >= self.work:
            self.stop()
            self.set("SUCCESS", completed=True)

    def stop(self) -> None:
        assert self.at_work_since is not None
        until = min(self.world.clock, self.at_work_since + self.work - self.done)
        self.worked.append((self.at_work_since, until))
        self.done += until - self.at_work_since
        self.at_work_since = None

    def cancel(self) -> bool:
        if self.at_work_since is None:
            return False
        self.stop()
        self.set("CANCELLED", completed=True, resumable=True)
        return True

    def resume(self, wanted: object) -> str | None:
        job = self.jobs[-1]
        if self.at_work_since is not None or job["processingId"] != wanted or not job.get("resumable"):
            return None
        self.resumed += 1
        job["resumable"] = False
        if not self.keeps_id:
            number = f"job-{len(self.jobs)}"
            self.jobs.append({**job, "processingId": number, "startedAt": self.now()})
        self.set("RUNNING")
        self.at_work_since = self.world.clock
        return str(self.jobs[-1]["processingId"])

    def respond(self, request: HttpRequest) -> Reply | TransportFailure:
        self.tick()
        path = request.target.partition("?")[0].rpartition("/")[2]
        if path == "history":
            return self.answer({"executionHistory": [dict(job) for job in self.jobs[-5:]]})
        if path == "status":
            wanted = request.target.rpartition("=")[2]
            return next((self.answer(job) for job in self.jobs if job["processingId"] == wanted), reply(404))
        fate = self.fates.pop() if self.fates else "fine"
        if fate.endswith("before"):
            return self.fail(fate)
        wanted_id = json.loads(request.body or b"{}")["processingId"]
        accepted = self.cancel() if path == "cancel" else self.resume(wanted_id)
        if not accepted:
            return reply(400, {"message": "no"})
        return self.answer({"processingId": accepted}) if fate == "fine" else self.fail(fate)

    def fail(self, fate: str) -> Reply | TransportFailure:
        if fate.startswith("crash"):
            raise Crash
        return reply(503, b"<html>", content_type="text/html") if "503" in fate else TransportFailure("r", sent=True)

    def answer(self, body: object) -> Reply:
        return reply(200, body, date=formatdate(self.world.clock, usegmt=True))

    def crash_prone(self, steps: Steps[PathState]) -> Steps[PathState]:
        """The steps, with their emitted items stored before they continue, until the process dies."""
        left = self.crashes.pop() if self.crashes else None
        step = next(steps)
        while True:
            if left == 0:
                steps.close()
                raise Crash
            self.steps.append(self.world.clock)
            left = None if left is None else left - 1
            if isinstance(step, Emit) and isinstance(step.item, PathState):
                assert step.item.serial > self.stored.serial
                self.stored = stored_again(step.item)
            answer = yield step
            try:
                step = steps.send(answer)
            except StopIteration as end:
                return end.value  # type: ignore[no-any-return]  # what the generator returns

    def run(self, *, at_end: str = "cancel", pause: float = 20.0) -> PathState:
        """Triggerer after triggerer, until one comes to an end."""
        options = LifecycleOptions(run="run", stall_seconds=HOUR, longest_look=600.0, only_between=between(at_end))
        for _ in range(TRIES):
            steps = run_lifecycle(self.world.conversation(attempts=1), self.stored, options, Phase.ENDED)
            try:
                ended = self.world.run(self.crash_prone(steps))
            except Crash:
                self.world.clock += pause
                continue
            assert ended == self.stored
            return ended
        raise AssertionError("it never came to an end")

    def notices(self) -> str:
        return "\n".join(item.text for item in self.world.emitted if isinstance(item, Notice))


def stored_again(state: PathState) -> PathState:
    """The state as it is read back."""
    read = decoded(encoded(state))
    assert read is not None
    return read


def test_a_job_of_ten_hours_takes_three_nights_and_no_work_is_done_in_between() -> None:
    instance = Instance(work=10 * HOUR)
    followed = instance.run()
    assert followed.job is not None
    assert followed.job.verdict is Verdict.SUCCEEDED
    assert instance.resumed == 2
    assert [(round((b - BEGAN) / HOUR), round((e - b) / HOUR)) for b, e in instance.worked] == [
        (0, 4),
        (24, 4),
        (48, 3),
    ]
    assert sum(end - begin for begin, end in instance.worked) == pytest.approx(10 * HOUR)
    assert instance.stored.resumes == 2
    assert "held back until 2026-11-25 22:00 UTC, in 20 h" in instance.notices()


def test_a_job_that_goes_on_under_other_ids_is_followed_to_the_last() -> None:
    instance = Instance(work=10 * HOUR, keeps_id=False)
    followed = instance.run()
    assert followed.job is not None
    assert followed.job.processing_id == "job-2"
    assert (followed.processing_id, followed.earlier_ids) == ("job-2", ("job-0", "job-1"))


def test_a_job_that_is_left_or_adopted_runs_on_through_the_day() -> None:
    for origin, at_end in ((Origin.STARTED, "leave"), (Origin.ADOPTED, "cancel")):
        instance = Instance(work=10 * HOUR, stored=working(origin=origin))
        followed = instance.run(at_end=at_end)
        assert followed.end is FollowEnd.ENDED
        assert instance.resumed == 0
        assert len(instance.worked) == 1


def test_the_deadline_counts_no_time_for_which_the_job_was_held_back() -> None:
    in_time = Instance(work=10 * HOUR, stored=working(BEGAN + 10.5 * HOUR))
    assert in_time.run().end is FollowEnd.ENDED
    late = Instance(work=10 * HOUR, stored=working(BEGAN + 9 * HOUR))
    assert late.run().end is FollowEnd.DEADLINE


def test_a_persons_own_cancel_is_not_taken_for_ours() -> None:
    instance = Instance(work=10 * HOUR)
    respond = instance.world.responder

    def someone_cancels(request: HttpRequest) -> Reply | TransportFailure:
        if instance.world.clock > BEGAN + 25 * HOUR and instance.resumed == 1:
            instance.cancel()
        return respond(request)

    instance.world.responder = someone_cancels
    followed = instance.run()
    assert followed.job is not None
    assert followed.job.verdict is Verdict.CANCELLED
    assert instance.resumed == 1


def test_a_job_that_a_person_resumed_by_day_is_not_resumed_again() -> None:
    instance = Instance(work=5 * HOUR)
    respond = instance.world.responder

    def someone_resumes(request: HttpRequest) -> Reply | TransportFailure:
        if instance.world.clock > BEGAN + 20 * HOUR and instance.resumed == 0:
            instance.resume("job-0")
        return respond(request)

    instance.world.responder = someone_resumes
    followed = instance.run()
    assert followed.job is not None
    assert followed.job.verdict is Verdict.SUCCEEDED
    assert instance.resumed == 1


def test_a_resume_that_is_refused_for_good_is_the_end() -> None:
    instance = Instance(work=10 * HOUR)
    respond = instance.world.responder
    instance.world.responder = lambda request: (
        reply(400, {"message": "no"}) if request.target.endswith("/resume") else respond(request)
    )
    with pytest.raises(JobFailedError):
        instance.run()


FATES = st.sampled_from(
    ["fine", "fine", "lost before", "lost after", "503 before", "503 after", "crash before", "crash after"]
)


@settings(max_examples=100)
@given(
    work=st.sampled_from([2 * HOUR, 4 * HOUR, 10 * HOUR]),
    keeps_id=st.booleans(),
    fates=st.lists(FATES, max_size=8),
    crashes=st.lists(st.integers(0, 150), max_size=8),
    pause=st.sampled_from([5.0, 600.0, 5 * HOUR]),
)
@example(work=10 * HOUR, keeps_id=False, fates=["fine", "crash after", "crash after"], crashes=[], pause=5 * HOUR)
@example(work=10 * HOUR, keeps_id=True, fates=["crash after", "crash after"], crashes=[], pause=5.0)
def test_whatever_dies_the_job_is_resumed_once_a_night_and_brought_to_its_end(
    work: float, keeps_id: bool, fates: list[str], crashes: list[int], pause: float
) -> None:
    instance = Instance(work=work, keeps_id=keeps_id, fates=fates, crashes=crashes)
    followed = instance.run(pause=pause)
    assert followed.end is FollowEnd.ENDED
    assert followed.job is not None
    assert followed.job.verdict is Verdict.SUCCEEDED
    assert instance.done == pytest.approx(work)
    assert len(instance.jobs) == (1 if keeps_id else 1 + instance.resumed)
    assert instance.stored.processing_id == instance.jobs[-1]["processingId"]
    assert instance.stored.resumes == instance.resumed


@pytest.mark.parametrize("keeps_id", [True, False])
def test_a_crash_after_every_step_around_a_beginning_or_an_end_changes_nothing(keeps_id: bool) -> None:
    whole = Instance(work=4.5 * HOUR, keeps_id=keeps_id)
    whole.run()
    changes = [closes for _, closes in whole.worked] + [begins for begins, _ in whole.worked]
    points = [n for n, clock in enumerate(whole.steps) if any(abs(clock - change) < 60 for change in changes)]
    assert len(points) > 40
    for point in points[keeps_id::2]:
        instance = Instance(work=4.5 * HOUR, keeps_id=keeps_id, crashes=[point])
        assert instance.run().end is FollowEnd.ENDED
        assert instance.done == pytest.approx(4.5 * HOUR)
        assert (instance.resumed, instance.crashes) == (1, [])


def begin(instance: Instance, state: PathState, **changes: float) -> PathState:
    """Take the path to the start of its job."""
    options = LifecycleOptions(run="run", only_between=between(), **changes)  # type: ignore[arg-type]  # times
    talk = instance.world.conversation(attempts=1)
    return instance.world.run(run_lifecycle(talk, state, options, Phase.FOLLOWING))


def by_day() -> Instance:
    """An instance without jobs, ten hours after the night has begun. It accepts starts as "job-0"."""
    instance = Instance(work=HOUR)
    instance.world.clock += 10 * HOUR
    instance.tick()
    respond = instance.world.responder

    def accepts(request: HttpRequest) -> Reply | TransportFailure:
        return instance.answer({"processingId": "job-0"}) if request.method == "POST" else respond(request)

    instance.world.responder = accepts
    return instance


def test_a_start_is_held_back_until_the_hours_begin_and_nothing_is_asked_before() -> None:
    instance = by_day()
    talk = instance.world.conversation(attempts=1)
    outcome = instance.world.run(start_once(talk, REQUEST, policy=StartPolicy(hours=night()), run="run"))
    assert isinstance(outcome, MustWait)
    assert "held back until 2026-11-25 22:00 UTC" in outcome.why
    sent_at: list[float] = []
    respond = instance.world.responder

    def answers(request: HttpRequest) -> Reply | TransportFailure:
        sent_at.append(instance.world.clock)
        return respond(request)

    instance.world.responder = answers
    assert begin(instance, PathState(REQUEST)).phase is Phase.FOLLOWING
    assert sent_at[0] == pytest.approx(outcome.opens_at)
    assert "held back until 2026-11-25 22:00 UTC, in 13 h 30 min" in instance.notices()


def test_the_time_in_the_queue_begins_with_the_hours() -> None:
    instance = by_day()
    instance.world.turn = lambda _asked: Turn(granted=False)
    ended = begin(instance, PathState(REQUEST, queue_until=instance.world.clock + 60), queue_seconds=600.0)
    opens = datetime(2026, 11, 25, 22, 0, tzinfo=UTC).timestamp()
    assert ended.end is FollowEnd.NO_TURN
    assert instance.world.clock == pytest.approx(opens + 600)
    assert not [request for request in instance.world.sent if request.method == "POST"]


def test_a_turn_that_does_not_come_before_the_hours_are_over_is_waited_for_in_the_next() -> None:
    instance = by_day()
    second_night = datetime(2026, 11, 26, 22, 0, tzinfo=UTC).timestamp()
    instance.world.turn = lambda _asked: Turn(granted=instance.world.clock >= second_night)
    assert begin(instance, PathState(REQUEST)).phase is Phase.FOLLOWING
    assert instance.world.clock < second_night + 60


def test_a_worker_that_is_to_be_held_briefly_leaves_the_hours_to_the_triggerer() -> None:
    instance = by_day()
    options = LifecycleOptions(only_between=between(), is_brief=True)
    steps = run_lifecycle(instance.world.conversation(), PathState(REQUEST), options, Phase.FOLLOWING)
    assert instance.world.run(steps).phase is Phase.QUEUED
    assert (instance.world.sent, instance.world.waits) == ([], [])


def test_a_start_that_an_earlier_try_made_is_taken_up_at_any_time() -> None:
    instance = by_day()
    intent = Intent(REQUEST.fingerprint(), int(BEGAN * 1000), {}, "run")
    found = begin(instance, PathState(REQUEST, Phase.STARTING, intent=intent))
    assert (found.phase, found.processing_id, found.origin) == (Phase.FOLLOWING, "job-0", Origin.RECOVERED)
    assert [request.method for request in instance.world.sent] == ["GET"]


def test_trouble_of_the_instance_at_the_beginning_of_the_hours_is_borne() -> None:
    instance = Instance(work=5 * HOUR)
    respond = instance.world.responder

    def down(request: HttpRequest) -> Reply | TransportFailure:
        begins = datetime(2026, 11, 25, 22, 0, tzinfo=UTC).timestamp()
        if begins - 600 < instance.world.clock < begins + 1800:
            return reply(503)
        return respond(request)

    instance.world.responder = down
    try:
        followed = instance.run()
    except AemGuidesError as error:
        pytest.fail(str(error))
    assert followed.end is FollowEnd.ENDED
    assert instance.resumed == 1
