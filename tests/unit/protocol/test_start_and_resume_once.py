"""Start once and resume once against a model of the instance, under every interleaving of crash, loss and strangers."""

from __future__ import annotations

import json
from collections.abc import Generator
from dataclasses import dataclass, field
from email.utils import formatdate

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from aem_guides.protocol.contract import read_job
from aem_guides.protocol.errors import (
    ActiveJobError,
    DoubtfulStartError,
    JobFailedError,
    MalformedAnswerError,
    UnavailableError,
    UnreachableError,
)
from aem_guides.protocol.models import JsonObject, JsonValue, ProcessingRequest
from aem_guides.protocol.procedures.intent import Intent
from aem_guides.protocol.procedures.resume import resume_once
from aem_guides.protocol.procedures.start import MustWait, OnActiveJob, Origin, Started, StartPolicy
from aem_guides.protocol.steps import HttpRequest, Reply, TransportFailure
from tests.unit.protocol.driving import World, reply, start_again

REQUEST = ProcessingRequest("/content/dam/a", ("/content/dam/a/x",))
TRIES = 8

FATES = st.sampled_from(
    [
        "fine",
        "fine",
        "fine",
        "lost before",
        "lost after",
        "503 before",
        "503 after",
        "no id",
        "no csrf",
        "crash before",
        "crash after",
    ]
)
STRANGERS = st.sampled_from(
    ["none", "none", "none", "elsewhere", "flood", "ends", "ends in a flood", "same path", "same request"]
)


class Crash(BaseException):
    """The process of the try dies."""


@dataclass
class Instance:
    """What an instance does, as a model: jobs, a window, a history that lags, a lock on each path."""

    world: World = field(init=False)
    window: int = 5
    lag: float = 0.0
    keeps_id: bool = True
    fates: list[str] = field(default_factory=list)
    strangers: list[str] = field(default_factory=list)
    jobs: list[JsonObject] = field(default_factory=list)
    ours: list[str] = field(default_factory=list)
    resumed: int = 0

    def __post_init__(self) -> None:
        self.world = World(self.respond)

    def respond(self, request: HttpRequest) -> Reply | TransportFailure:
        self._strangers_act()
        path = request.target.partition("?")[0].rpartition("/")[2]
        if path == "history":
            return self._answer({"executionHistory": self._visible()})
        if path == "status":
            wanted = request.target.rpartition("=")[2]
            return next((self._answer(job) for job in self.jobs if job["processingId"] == wanted), reply(400))
        if path == "token.json":
            return reply(500)
        fate = self.fates.pop() if self.fates else "fine"
        if fate == "no csrf":
            return reply(403, b"a token is due")
        if fate in ("lost before", "503 before", "crash before"):
            return self._fail(fate)
        accepted = self._start(request, ours=True) if path == "process" else self._resume(request)
        if accepted is None:
            return reply(409, {"message": "active"})
        if fate == "no id":
            return self._answer({} if path == "process" else {"processingId": accepted})
        return self._answer({"processingId": accepted}) if fate == "fine" else self._fail(fate)

    def stranger(self, path: str, **told: JsonValue) -> str | None:
        if any(job["path"] == path and job["status"] == "RUNNING" for job in self.jobs):
            return None
        number = f"job-{len(self.jobs)}"
        self.jobs.append(
            {
                "processingId": number,
                "path": path,
                "excludedPaths": [],
                "status": "RUNNING",
                "startedAt": self._now(),
                **told,
            }
        )
        return number

    def _start(self, request: HttpRequest, *, ours: bool) -> str | None:
        body = json.loads(request.body or b"{}")
        excluded: list[JsonValue] = [str(path).lstrip("/") for path in body.get("excludedPaths", [])]
        number = self.stranger(str(body["path"]), excludedPaths=excluded)
        if number is not None and ours:
            self.ours.append(number)
        return number

    def _resume(self, request: HttpRequest) -> str | None:
        wanted = str(json.loads(request.body or b"{}")["processingId"])
        job = next(job for job in self.jobs if job["processingId"] == wanted)
        if job["status"] == "RUNNING" or not job.get("resumable"):
            return None
        self.resumed += 1
        job["resumable"] = False
        if not self.keeps_id:
            return self.stranger(str(job["path"]), excludedPaths=job["excludedPaths"])
        job["status"], job["completedAt"] = "RUNNING", 0
        return wanted

    def _strangers_act(self) -> None:
        match self.strangers.pop() if self.strangers else "none":
            case "elsewhere":
                self._elsewhere()
            case "flood":
                for _ in range(self.window + 1):
                    self._elsewhere()
            case "ends" | "ends in a flood" as act:
                for job in self.jobs:
                    if job["status"] == "RUNNING":
                        job["status"], job["completedAt"] = "SUCCESS", self._now()
                for _ in range(self.window + 1 if act == "ends in a flood" else 0):
                    self._elsewhere()
            case "same path":
                self.stranger(REQUEST.path, excludedPaths=["/content/dam/a/y"])
            case "same request":
                self.stranger(REQUEST.path, excludedPaths=list(REQUEST.excluded_paths))

    def _elsewhere(self) -> None:
        self.world.clock += 0.001
        self.stranger(f"/content/dam/other-{len(self.jobs)}", status="SUCCESS")

    def _visible(self) -> list[JsonObject]:
        seen = [job for job in self.jobs if int(str(job["startedAt"])) <= self._now() - self.lag * 1000]
        return [dict(job) for job in seen[-self.window :]]

    def _fail(self, fate: str) -> Reply | TransportFailure:
        if fate.startswith("crash"):
            raise Crash
        if fate.startswith("503"):
            return reply(503, b"<html>first byte timeout</html>", content_type="text/html")
        return TransportFailure("ConnectionResetError", sent=True)

    def _answer(self, body: object) -> Reply:
        return reply(200, body, date=formatdate(self.world.clock, usegmt=True))

    def _now(self) -> int:
        return int(self.world.clock * 1000)


instances = st.builds(
    Instance,
    window=st.integers(5, 8),
    lag=st.sampled_from([0.0, 0.0, 3.0, 15.0]),
    keeps_id=st.booleans(),
    fates=st.lists(FATES, max_size=8),
    strangers=st.lists(STRANGERS, max_size=30),
)


def stored_intent(instance: Instance) -> Intent | None:
    """What the state store has: the last intent emitted, through its JSON."""
    kept = [item for item in instance.world.emitted if isinstance(item, Intent)]
    return Intent.from_json(json.loads(json.dumps(kept[-1].to_json()))) if kept else None


def tries(instance: Instance) -> Generator[Intent | None, None, None]:
    """One after the other, as Airflow makes them."""
    for _ in range(TRIES):
        instance.world.clock += 30
        yield stored_intent(instance)


def start_until_settled(instance: Instance, policy: StartPolicy) -> Started | MustWait | Exception | None:
    for intent in tries(instance):
        talk = instance.world.conversation(attempts=2)
        try:
            return instance.world.run(start_again(talk, REQUEST, policy=policy, run="try", intent=intent))
        except (Crash, UnavailableError, UnreachableError, MalformedAnswerError):
            continue
        except (DoubtfulStartError, ActiveJobError) as error:
            return error
    return None


def rolled_over_after_loss() -> Instance:
    """The job of an unanswered start ends and leaves the window before anybody looks."""
    instance = Instance(fates=["lost after"], strangers=["ends in a flood", "none", "none"])
    for _ in range(instance.window):
        instance.stranger(f"/content/dam/earlier-{len(instance.jobs)}", status="SUCCESS")
    return instance


@settings(max_examples=600)
@given(instance=instances, on_active_job=st.sampled_from(list(OnActiveJob)))
@example(instance=Instance(fates=["crash after"], strangers=["flood"] * 3), on_active_job=OnActiveJob.ADOPT)
@example(instance=Instance(fates=["lost after"], strangers=["none", "ends", "none"]), on_active_job=OnActiveJob.QUEUE)
@example(instance=rolled_over_after_loss(), on_active_job=OnActiveJob.ADOPT)
def test_one_request_never_makes_two_jobs_and_never_loses_one(instance: Instance, on_active_job: OnActiveJob) -> None:
    outcome = start_until_settled(instance, StartPolicy(on_active_job=on_active_job))
    assert len(instance.ours) <= 1, "a duplicate"
    if isinstance(outcome, Started):
        job = read_job(next(job for job in instance.jobs if job["processingId"] == outcome.processing_id))
        assert job.on_path(REQUEST.path)
        assert job.match(REQUEST).value == "same"
        if instance.ours and outcome.origin is not Origin.ADOPTED:
            strangers_alike = [
                j for j in instance.jobs if j["path"] == REQUEST.path and j["processingId"] not in instance.ours
            ]
            assert outcome.processing_id in instance.ours or strangers_alike


@settings(max_examples=300)
@given(fates=st.lists(FATES, max_size=6), lag=st.sampled_from([0.0, 3.0, 15.0]))
def test_without_strangers_the_job_is_always_had_in_the_end(fates: list[str], lag: float) -> None:
    instance = Instance(fates=fates, lag=lag)
    outcome = start_until_settled(instance, StartPolicy())
    assert isinstance(outcome, Started)
    assert instance.ours == [outcome.processing_id]


@settings(max_examples=400)
@given(instance=instances)
def test_a_job_is_resumed_once_and_followed_under_its_id(instance: Instance) -> None:
    instance.strangers = [act for act in instance.strangers if act in ("none", "elsewhere", "flood")]
    number = instance.stranger(REQUEST.path, excludedPaths=list(REQUEST.excluded_paths), status="FAILED", completedAt=1)
    assert number is not None
    instance.jobs[-1]["resumable"] = True
    for intent in tries(instance):
        talk = instance.world.conversation(attempts=2)
        job = read_job(dict(instance.jobs[0]))
        try:
            goes_on_as = instance.world.run(resume_once(talk, job, REQUEST, run="try", intent=intent))
        except (Crash, UnavailableError, UnreachableError, MalformedAnswerError):
            continue
        except (DoubtfulStartError, JobFailedError):
            break
        found = next(job for job in instance.jobs if job["processingId"] == goes_on_as)
        assert found["path"] == REQUEST.path
        assert found["status"] == "RUNNING"
        break
    assert instance.resumed <= 1


@settings(max_examples=200)
@given(fates=st.lists(FATES, max_size=5), keeps_id=st.booleans())
def test_without_strangers_the_job_always_goes_on_in_the_end(fates: list[str], keeps_id: bool) -> None:
    instance = Instance(fates=fates, keeps_id=keeps_id)
    instance.stranger(REQUEST.path, excludedPaths=list(REQUEST.excluded_paths), status="FAILED", completedAt=1)
    instance.jobs[0]["resumable"] = True
    goes_on_as: str | None = None
    for intent in tries(instance):
        talk = instance.world.conversation(attempts=2)
        try:
            goes_on_as = instance.world.run(
                resume_once(talk, read_job(dict(instance.jobs[0])), REQUEST, run="try", intent=intent)
            )
        except (Crash, UnavailableError, UnreachableError, MalformedAnswerError):
            continue
        break
    assert instance.resumed == 1
    assert goes_on_as == ("job-0" if keeps_id else "job-1")


@pytest.mark.parametrize("keeps_id", [True, False])
@pytest.mark.parametrize(
    ("ended_as", "end"), [("CANCELLED", 2), ("CANCELLED", 1), ("FAILED", 2)], ids=["cancelled", "no new time", "failed"]
)
def test_a_resume_that_was_cut_short_and_whose_job_has_ended_since_is_not_sent_again(
    ended_as: str, end: int, keeps_id: bool
) -> None:
    instance = Instance(fates=["crash after"], keeps_id=keeps_id)
    instance.stranger(REQUEST.path, excludedPaths=list(REQUEST.excluded_paths), status="FAILED", completedAt=1)
    instance.jobs[0]["resumable"] = True

    def resume(intent: Intent | None) -> str:
        job = read_job(dict(instance.jobs[0]))
        steps = resume_once(instance.world.conversation(), job, REQUEST, run="try", intent=intent)
        return instance.world.run(steps)

    with pytest.raises(Crash):
        resume(None)
    instance.jobs[-1].update(status=ended_as, completedAt=end, resumable=True)
    assert resume(stored_intent(instance)) == instance.jobs[-1]["processingId"]
    assert instance.resumed == 1
