"""The effect of Clear on a path in the middle of a step, or beside a running task."""

from __future__ import annotations

from dataclasses import replace

import pytest

from aem_guides.protocol.models import Job, ProcessingRequest
from aem_guides.protocol.procedures.follow import FollowEnd
from aem_guides.protocol.procedures.intent import Intent
from aem_guides.protocol.procedures.path_state import PathState, Phase
from aem_guides.protocol.procedures.start import Origin
from aem_guides.protocol.procedures.take_up import LifecycleOptions, Part, take_up
from aem_guides.protocol.states import JobState
from aem_guides.runtime.path_store import PathStore, encoded
from tests.support.notes import KeptNotes

REQUEST = ProcessingRequest("/content/dam/a")
STARTED = PathState(REQUEST, serial=4, resumes_left=2).works("x", Origin.STARTED, "author")


def job(state: JobState) -> Job:
    return Job("x", state, state.value, path=REQUEST.path, resumable=True)


def cleared(state: PathState, seen: Job | None, part: Part = Part.WAIT, *, now: float = 50.0) -> PathState:
    return take_up(state, seen, cleared=True, later_try=True, now=now, options=LifecycleOptions(part))


@pytest.mark.parametrize("part", [Part.WAIT, Part.ALL])
@pytest.mark.parametrize(
    ("seen", "phase"), [(JobState.RUNNING, Phase.FOLLOWING), (JobState.CANCELLED, Phase.RESUMING)], ids=str
)
def test_a_job_that_is_being_cancelled_at_its_deadline_has_new_time_after_clear(
    part: Part, seen: JobState, phase: Phase
) -> None:
    cancelling = STARTED.to(Phase.CANCELLING, job=job(JobState.RUNNING), end=FollowEnd.DEADLINE)
    after = cleared(cancelling, job(seen), part)
    assert (after.phase, after.end, after.deadline_at) == (phase, None, None)


def test_clear_of_the_start_alone_does_not_stop_the_task_that_waits_for_the_job() -> None:
    register = KeptNotes()
    register.set("path", encoded(STARTED))
    waiting, clearing = PathStore("path", register), PathStore("path", register)
    for store in (waiting, clearing):
        store.load()
    clearing.save(cleared(STARTED, job(JobState.RUNNING), Part.START))
    waiting.save(STARTED.stays(log_offset=9))


def test_just_after_a_resume_the_start_is_not_done_again_for_an_end_from_before() -> None:
    ended = job(JobState.FAILED)
    resumed = STARTED.resuming(ended).goes_on("x", 30.0)
    assert cleared(resumed, ended, Part.START).processing_id == "x"
    assert cleared(resumed, ended, Part.START, now=99.0).phase is Phase.QUEUED


def test_a_start_that_may_have_been_sent_stays_known_where_its_turn_did_not_come_again() -> None:
    intent = Intent(REQUEST.fingerprint(), 1, {}, "run")
    late = PathState(REQUEST, intent=intent).ended(FollowEnd.NO_TURN, None)
    for part in (Part.START, Part.ALL):
        after = cleared(late, None, part)
        assert (after.phase, after.intent) == (Phase.QUEUED, intent)
    assert cleared(replace(late, doubtful=True), None, Part.START).intent is None, "a person has looked"


@pytest.mark.parametrize("state", [JobState.SUCCESS, JobState.WITH_ERRORS])
@pytest.mark.parametrize("by_clear", [True, False])
def test_a_job_that_ended_well_and_was_forgotten_since_is_neither_started_anew_nor_lost(
    state: JobState, by_clear: bool
) -> None:
    ended = STARTED.ended(FollowEnd.ENDED, job(state))
    options = LifecycleOptions(Part.ALL, reprocess=True)
    after = take_up(ended, None, cleared=by_clear, later_try=True, now=50.0, options=options)
    assert (after.phase, after.end, after.job) == (Phase.ENDED, FollowEnd.ENDED, job(state))
