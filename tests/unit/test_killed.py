"""A task that was killed while no process could cancel its job: the later tasks cancel it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import cast

import pytest

from aem_guides.hooks.hook import AemGuidesHook
from aem_guides.protocol.conversation import Conversation
from aem_guides.protocol.errors import ConfigurationError
from aem_guides.protocol.models import ProcessingRequest
from aem_guides.protocol.procedures.cancel import CancelResult
from aem_guides.protocol.procedures.follow import FollowEnd
from aem_guides.protocol.procedures.intent import Intent
from aem_guides.protocol.procedures.path_state import PathState, Phase
from aem_guides.protocol.procedures.start import Origin
from aem_guides.protocol.steps import HttpRequest, Reply, Steps
from aem_guides.runtime.path_store import PathStore, encoded
from aem_guides.runtime.task_states import TaskKey
from aem_guides.triggers import kill
from aem_guides.triggers.kill import settle_left_behind
from tests.support.notes import KeptNotes
from tests.unit.protocol.driving import T, World, reply

REQUEST = ProcessingRequest("/content/dam/a")
TASKS = [TaskKey("dag", "run", "start", 0), TaskKey("dag", "run", "wait", 0)]
STARTED = PathState(REQUEST, Phase.FOLLOWING, 1, processing_id="job", origin=Origin.STARTED, instance="author")


@dataclass
class Hook:
    """A hook whose instance has one job. It runs until it is cancelled, or forever if it ignores cancels."""

    is_deaf: bool = False
    cancels: int = 0
    world: World = field(init=False)
    settings: SimpleNamespace = field(default_factory=lambda: SimpleNamespace(instance="author"))

    def __post_init__(self) -> None:
        self.world = World(self._respond)

    @property
    def talk(self) -> Conversation:
        return self.world.conversation(attempts=1)

    def drive(self, steps: Steps[T], take: Callable[[object], object]) -> T:
        result = self.world.run(steps)
        for item in self.world.emitted:
            take(item)
        self.world.emitted.clear()
        return result

    def _respond(self, request: HttpRequest) -> Reply:
        if request.method == "POST":
            self.cancels += 1
            return reply(200)
        word = "CANCELLED" if self.cancels and not self.is_deaf else "RUNNING"
        job = {
            "processingId": "job",
            "path": REQUEST.path,
            "excludedPaths": [],
            "status": word,
            "processingType": "ASSET_PROCESSING",
        }
        return reply(200, {"executionHistory": [job]} if "history" in request.target else job)


def settled(
    monkeypatch: pytest.MonkeyPatch,
    state: PathState,
    *task_states: str,
    hook: Hook | None = None,
) -> tuple[int, PathState]:
    """How often a cancel was sent, and what is stored, after tasks that ended in these states."""
    by_task = dict(zip(TASKS, task_states, strict=False))
    monkeypatch.setattr(kill, "states_in_task", lambda task: frozenset({by_task.get(task, "success")}))
    hook, notes = hook or Hook(), KeptNotes()
    notes.set("path", encoded(state))
    settle_left_behind(cast("AemGuidesHook", hook), PathStore("path", notes), TASKS)
    after = notes.state("path")
    assert after is not None
    return hook.cancels, after


@pytest.mark.parametrize("task_states", [("failed",), ("success", "failed")])
@pytest.mark.parametrize("origin", [Origin.STARTED, Origin.RECOVERED])
@pytest.mark.parametrize("cancel", [None, CancelResult.UNKNOWN])
def test_a_job_whose_task_was_killed_is_cancelled_and_that_is_kept(
    monkeypatch: pytest.MonkeyPatch, task_states: tuple[str, ...], origin: Origin, cancel: CancelResult | None
) -> None:
    left = STARTED.stays(origin=origin, cancel=cancel)
    cancels, after = settled(monkeypatch, left, *task_states)
    assert (cancels, after.phase, after.cancel) == (1, Phase.ENDED, CancelResult.CANCELLED)


@pytest.mark.parametrize(
    ("state", "task_state"),
    [
        (STARTED.stays(cancel=CancelResult.CANCELLED), "failed"),
        (STARTED.stays(cancel=CancelResult.ALREADY_FINISHED), "failed"),
        (STARTED.stays(origin=Origin.ADOPTED), "failed"),
        (STARTED.stays(concluded=True), "failed"),
        (STARTED.ended(FollowEnd.ENDED, None), "failed"),
        (PathState(REQUEST), "failed"),
        (STARTED, "success"),
        (STARTED, "queued"),
    ],
    ids=[
        "the trigger has cancelled it",
        "it had ended",
        "it was adopted",
        "the task failed by itself",
        "it has ended",
        "nothing was begun",
        "marked successful",
        "cleared",
    ],
)
def test_any_other_job_is_left_alone(monkeypatch: pytest.MonkeyPatch, state: PathState, task_state: str) -> None:
    assert settled(monkeypatch, state, task_state) == (0, state)


def test_an_adopted_job_is_cancelled_where_that_was_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    assert settled(monkeypatch, STARTED.stays(origin=Origin.ADOPTED, cancel_adopted=True), "failed")[0] == 1


def test_a_cancel_that_is_not_confirmed_is_left_to_the_next_task(monkeypatch: pytest.MonkeyPatch) -> None:
    hook = Hook(is_deaf=True)
    _, after = settled(monkeypatch, STARTED, "failed", hook=hook)
    assert (after.cancel, after.is_left_behind) == (CancelResult.UNKNOWN, True)
    hook.is_deaf = False
    assert settled(monkeypatch, after, "failed", hook=hook)[1].cancel in (
        CancelResult.CANCELLED,
        CancelResult.ALREADY_FINISHED,
    )


def test_nothing_is_sent_to_another_instance_than_the_job_was_started_on(monkeypatch: pytest.MonkeyPatch) -> None:
    hook = Hook(settings=SimpleNamespace(instance="other"))
    with pytest.raises(ConfigurationError, match="Nothing was sent there"):
        settled(monkeypatch, STARTED, "failed", hook=hook)
    assert hook.world.sent == []


def test_a_path_that_nothing_is_stored_of_has_nothing_left_behind() -> None:
    hook = Hook()
    assert settle_left_behind(cast("AemGuidesHook", hook), PathStore("path", KeptNotes()), TASKS) == (None, None)
    assert hook.world.sent == []


def test_a_process_that_settles_the_same_kill_at_the_same_time_stops_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    hook, notes = Hook(), KeptNotes()
    notes.set("path", encoded(STARTED))
    monkeypatch.setattr(kill, "states_in_task", lambda _task: frozenset({"failed"}))
    by_the_trigger = STARTED.to(Phase.ENDED, end=FollowEnd.ENDED, cancel=CancelResult.ALREADY_FINISHED)

    def respond(request: HttpRequest) -> Reply:
        notes.set("path", encoded(by_the_trigger))
        return hook._respond(request)

    hook.world = World(respond)
    state, outcome = settle_left_behind(cast("AemGuidesHook", hook), PathStore("path", notes), TASKS)
    assert (state, outcome) == (by_the_trigger, None)


def test_a_task_that_goes_on_beside_a_kill_that_is_being_settled_is_let_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    hook, notes = Hook(), KeptNotes()
    notes.set("path", encoded(STARTED))
    answers = iter(["failed", "running"])
    monkeypatch.setattr(kill, "states_in_task", lambda _task: frozenset({next(answers, "running")}))
    cleared = STARTED.stays(concluded=False, log_offset=1)

    def respond(request: HttpRequest) -> Reply:
        notes.set("path", encoded(cleared))
        return hook._respond(request)

    hook.world = World(respond)
    state, _ = settle_left_behind(cast("AemGuidesHook", hook), PathStore("path", notes), TASKS)
    assert (state, hook.cancels) == (cleared, 1)


def test_a_start_of_which_nothing_was_seen_yet_is_looked_for_and_its_job_cancelled(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    intent = Intent(REQUEST.fingerprint(), 1_749_999_940_000, {"other": None}, "run")
    pending = PathState(REQUEST, Phase.QUEUED, 3, intent=intent, instance="author")
    cancels, after = settled(monkeypatch, pending, "failed")
    assert (cancels, after.processing_id, after.cancel) == (1, "job", CancelResult.CANCELLED)
