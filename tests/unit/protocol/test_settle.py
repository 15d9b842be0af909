"""A person settles a start or resume in doubt: the path goes on with that job, or starts one, and never both."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aem_guides.protocol.errors import DoubtfulStartError
from aem_guides.protocol.models import Job, JobFilter, JsonObject, ProcessingRequest
from aem_guides.protocol.procedures.intent import CLOCK_TOLERANCE_MS, Intent
from aem_guides.protocol.procedures.lifecycle import run_lifecycle
from aem_guides.protocol.procedures.path_state import PathState, Phase
from aem_guides.protocol.procedures.settle import AHEAD, NotSettledError, settle
from aem_guides.protocol.procedures.start import Origin
from aem_guides.protocol.procedures.take_up import LifecycleOptions, Part, take_up
from aem_guides.protocol.states import JobState
from aem_guides.runtime.path_store import NewerStateError, PathStore, encoded
from tests.support.notes import KeptNotes
from tests.unit.protocol.driving import World, reply

AT = 1_750_000_000_000
NOW = AT / 1000 + 600
REQUEST = ProcessingRequest("/content/dam/a", excluded_paths=("/content/dam/a/x",))
INTENT = Intent(REQUEST.fingerprint(), AT, {"old": AT - 9_000, "x": AT - 8_000}, "run")
DOUBTFUL = PathState(REQUEST, Phase.STARTING, serial=7, intent=INTENT, doubtful=True, clear_counts={"start": 3})
PENDING = replace(DOUBTFUL, phase=Phase.QUEUED)


def job(name: str = "it", state: JobState = JobState.RUNNING, **more: object) -> Job:
    told: dict[str, object] = {"path": REQUEST.path, "started_at": AT + 5_000, "resumable": True, **more}
    return Job(name, state, state.value, **told)  # type: ignore[arg-type]  # its own fields


FAILED = job("x", JobState.FAILED, completed_at=AT - 1_000)
RESUMED = (
    PathState(REQUEST, serial=3, resumes_left=0)
    .works("x", Origin.STARTED, "author")
    .stays(deadline_at=5.0)
    .resuming(FAILED)
    .stays(intent=replace(INTENT, resumes=FAILED), doubtful=True, queue_until=9.0)
)


def taken_up(state: PathState, seen: Job | None, part: Part, *, cleared: bool = True) -> PathState:
    return take_up(state, seen, cleared=cleared, later_try=True, now=NOW, options=LifecycleOptions(part))


@pytest.mark.parametrize("part", [Part.START, Part.ALL])
@pytest.mark.parametrize("doubt", [DOUBTFUL, PENDING], ids=["cut short", "seen late"])
@pytest.mark.parametrize(
    "seen",
    [
        job(),
        job(state=JobState.SUCCESS, completed_at=AT + 9_000),
        job(state=JobState.FAILED, resumable=False, completed_at=AT + 9_000),
        job(state=JobState.CANCELLED, completed_at=AT + 9_000),
        None,
    ],
    ids=["at work", "succeeded", "failed", "cancelled", "forgotten since"],
)
def test_a_job_that_a_person_chose_is_the_one_whatever_became_of_it_and_none_is_started(
    doubt: PathState, seen: Job | None, part: Part
) -> None:
    settled = settle(doubt, AT, job(), NOW)
    assert (settled.phase, settled.processing_id, settled.origin) == (Phase.FOLLOWING, "it", Origin.RECOVERED)
    assert not settled.doubtful
    after = taken_up(settled, seen, part)
    assert after.processing_id == "it"
    assert after.phase not in (Phase.QUEUED, Phase.STARTING)
    assert after.settled_at is None


@pytest.mark.parametrize("part", [Part.START, Part.ALL])
def test_none_of_them_starts_a_job_at_the_next_try_and_only_then(part: Part) -> None:
    settled = settle(DOUBTFUL, AT, None, NOW)
    after = taken_up(settled, None, part)
    assert (after.phase, after.intent, after.processing_id, after.doubtful) == (Phase.QUEUED, None, None, False)
    assert after.clear_counts == {"start": 3}


def test_a_clear_after_the_settled_try_is_a_clear_like_any_other() -> None:
    settled = taken_up(settle(DOUBTFUL, AT, job(), NOW), job(), Part.START)
    ended = job(state=JobState.SUCCESS, completed_at=AT + 9_000)
    assert taken_up(settled, ended, Part.START).phase is Phase.QUEUED


@pytest.mark.parametrize("goes_on_as", ["x", "y"])
def test_a_resume_goes_on_under_the_id_that_a_person_chose_and_has_new_time(goes_on_as: str) -> None:
    settled = settle(RESUMED, AT, job(goes_on_as), NOW)
    assert (settled.phase, settled.processing_id, settled.resumes) == (Phase.FOLLOWING, goes_on_as, 1)
    assert settled.earlier_ids == (() if goes_on_as == "x" else ("x",))
    after = taken_up(settled, job(goes_on_as), Part.WAIT)
    assert (after.phase, after.intent, after.deadline_at, after.queue_until) == (Phase.FOLLOWING, None, None, None)


def test_a_resume_that_never_was_is_sent_by_the_next_try() -> None:
    settled = settle(RESUMED, AT, None, NOW)
    after = taken_up(settled, FAILED, Part.WAIT)
    assert (after.phase, after.intent, after.doubtful, after.job) == (Phase.RESUMING, None, False, FAILED)


@pytest.mark.parametrize(
    ("state", "chosen", "why"),
    [
        (DOUBTFUL, job(path="/content/dam/b"), "on another path"),
        (DOUBTFUL, job(excluded_paths=("/content/dam/a/y",)), "asked to do something else"),
        (DOUBTFUL, job(job_filter=JobFilter(("DITAMAP",))), "asked to do something else"),
        (DOUBTFUL, job("old"), "was there before"),
        (DOUBTFUL, job(completed_at=AT - CLOCK_TOLERANCE_MS - 1), "had ended before"),
        (RESUMED, FAILED, "stands as it did before the resume"),
        (RESUMED, job("old"), "was there before"),
    ],
)
def test_what_cannot_have_come_of_the_request_cannot_be_chosen(state: PathState, chosen: Job, why: str) -> None:
    with pytest.raises(NotSettledError, match=f"{why}.*Nothing was changed"):
        settle(state, AT, chosen, NOW)


@pytest.mark.parametrize(
    "shown",
    [
        {"path": None},
        {"excluded_paths": None},
        {"started_at": None},
        {"started_at": AT - 3_600_000},
        {"completed_at": AT - 1_000},
    ],
)
def test_an_instance_that_shows_little_or_has_another_clock_leaves_the_choice_to_the_person(
    shown: dict[str, Any],
) -> None:
    assert settle(DOUBTFUL, AT, replace(job(), **shown), NOW).processing_id == "it"


def test_the_same_choice_again_changes_nothing_and_another_is_refused() -> None:
    for first, others in ((job(), (job("other"), None)), (None, (job(),))):
        settled = settle(DOUBTFUL, AT, first, NOW)
        assert settle(settled, AT, first, NOW + 9) is settled
        for other in others:
            with pytest.raises(NotSettledError, match="somebody has settled this already"):
                settle(settled, AT, other, NOW)
    resumed = settle(RESUMED, AT, None, NOW)
    assert settle(resumed, AT, None, NOW) is resumed
    with pytest.raises(NotSettledError, match="chose x"):
        settle(settle(RESUMED, AT, job("x"), NOW), AT, None, NOW)


@pytest.mark.parametrize(
    "over",
    [
        PathState(REQUEST),
        replace(DOUBTFUL, doubtful=False),
        replace(DOUBTFUL, intent=None),
        replace(DOUBTFUL, intent=replace(INTENT, at=AT + 1)),
        DOUBTFUL.works("by a try", Origin.RECOVERED),
        taken_up(settle(DOUBTFUL, AT, None, NOW), None, Part.START),
        taken_up(DOUBTFUL, None, Part.START),
    ],
    ids=["new", "certain", "no intent", "another start", "found meanwhile", "taken up", "cleared by hand"],
)
@pytest.mark.parametrize("chosen", [job(), None])
def test_a_doubt_that_is_over_cannot_be_settled_any_more(over: PathState, chosen: Job | None) -> None:
    with pytest.raises(NotSettledError, match="not in doubt any more"):
        settle(over, AT, chosen, NOW)


def test_a_try_that_takes_the_path_up_at_the_same_moment_stops_before_it_sends_anything() -> None:
    register = KeptNotes()
    register.set("path", encoded(DOUBTFUL))
    trying, settling = PathStore("path", register), PathStore("path", register)
    for store in (trying, settling):
        store.load()
    cleared = taken_up(DOUBTFUL, None, Part.START)
    trying.save(cleared)
    register.set("path", encoded(settle(DOUBTFUL, AT, job(), NOW)))  # it had looked before that try wrote
    with pytest.raises(NewerStateError):
        trying.save(cleared.to(Phase.STARTING, intent=INTENT))
    assert settle(DOUBTFUL, AT, job(), NOW).serial == DOUBTFUL.serial + AHEAD


def test_a_person_who_comes_after_a_try_is_refused_by_the_store() -> None:
    register = KeptNotes()
    register.set("path", encoded(DOUBTFUL))
    trying, settling = PathStore("path", register), PathStore("path", register)
    for store in (trying, settling):
        store.load()
    settling.save(settle(DOUBTFUL, AT, job(), NOW))
    with pytest.raises(NewerStateError):
        trying.save(taken_up(DOUBTFUL, None, Part.START))


@given(phase=st.sampled_from(list(Phase)), chosen=st.sampled_from([job(), None]), resumed=st.booleans())
def test_from_any_phase_it_is_settled_without_an_illegal_move(
    phase: Phase, chosen: Job | None, *, resumed: bool
) -> None:
    state = replace(RESUMED if resumed else DOUBTFUL, phase=phase)
    settled = settle(state, AT, chosen, NOW)
    assert settled.serial > state.serial
    assert settled.concluded
    assert not settled.is_left_behind, "nothing takes its task for killed, and cancels the job"


def test_time_alone_settles_no_doubt_and_starts_nothing() -> None:
    shown: JsonObject = {"processingId": "late", "path": REQUEST.path, "status": "SUCCESS", "startedAt": AT + 5_000}
    world = World(lambda _request: reply(200, {"executionHistory": [shown]}), clock=AT / 1000 + 7_200)
    with pytest.raises(DoubtfulStartError):
        world.run(run_lifecycle(world.conversation(), PENDING, LifecycleOptions(run="try"), Phase.FOLLOWING))
    assert {request.method for request in world.sent} == {"GET"}
