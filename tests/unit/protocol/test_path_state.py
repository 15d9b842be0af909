"""The state of a path: how it is stored, which phase may follow which, and how a try takes it up."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aem_guides.protocol.earlier_end import EarlierEnd
from aem_guides.protocol.models import Job, JsonObject, ProcessingRequest
from aem_guides.protocol.procedures.cancel import CancelResult
from aem_guides.protocol.procedures.follow import FollowEnd
from aem_guides.protocol.procedures.intent import Intent
from aem_guides.protocol.procedures.path_state import HAS_NO_JOB, MOVES, IllegalMoveError, PathState, Phase
from aem_guides.protocol.procedures.start import Origin
from aem_guides.protocol.procedures.take_up import LifecycleOptions, Part, take_up
from aem_guides.protocol.states import JobState
from aem_guides.runtime.path_store import UnreadableStateError, decoded, encoded

REQUEST = ProcessingRequest("/content/dam/a")
STARTED = PathState(REQUEST, serial=4, resumes_left=2).works("x", Origin.STARTED, "author")
INTENT = Intent(REQUEST.fingerprint(), 1, {}, "run")


def job(state: JobState, *, resumable: bool | None = None) -> Job:
    return Job("x", state, state.value, path=REQUEST.path, resumable=resumable)


times = st.none() | st.floats(0, 1e10)
names = st.text(min_size=1, max_size=5)
jobs = st.builds(
    Job,
    processing_id=names,
    state=st.sampled_from(list(JobState)),
    status_word=names,
    path=st.none() | names,
    completed_at=st.none() | st.integers(0, 2**62),
    resumable=st.none() | st.booleans(),
)
intents = st.builds(
    Intent,
    fingerprint=st.just("f"),
    at=st.integers(0, 2**62),
    window=st.dictionaries(names, st.none() | st.integers(0, 2**62), max_size=2),
    run=names,
    processing_id=st.none() | names,
    adopted=st.booleans(),
    resumes=st.none() | jobs,
)
requests = st.builds(
    ProcessingRequest, path=st.sampled_from(["/content/dam/a", "/content/dam/\u00e9"]), excluded_paths=st.just(("/x",))
)
states = st.builds(
    PathState,
    request=requests,
    phase=st.sampled_from(list(Phase)),
    serial=st.integers(0, 10**9),
    clear_counts=st.dictionaries(names, st.integers(0, 99), max_size=2),
    first_tries=st.dictionaries(names, names, max_size=2),
    intent=st.none() | intents,
    processing_id=st.none() | names,
    origin=st.none() | st.sampled_from(list(Origin)),
    earlier_ids=st.lists(names, max_size=2).map(tuple),
    resumes=st.integers(0, 9),
    resumes_left=st.integers(0, 9),
    queue_until=times,
    deadline_at=times,
    held_since=times,
    doubtful=st.booleans(),
    settled_at=st.none() | st.integers(0, 2**62),
    log_offset=st.integers(0, 10**9),
    cancel=st.none() | st.sampled_from(list(CancelResult)),
    cancel_adopted=st.booleans(),
    job=st.none() | jobs,
    end=st.none() | st.sampled_from(list(FollowEnd)),
    earlier_end=st.none() | st.builds(EarlierEnd, names, names, st.none() | st.integers(0, 2**62), st.floats(0, 1e10)),
    concluded=st.booleans(),
    instance=st.none() | names,
    result=st.none() | st.dictionaries(names, st.none() | names | st.integers(0, 9), max_size=2),
)


@given(state=states)
def test_a_state_is_read_as_it_was_written(state: PathState) -> None:
    assert decoded(encoded(state), state.request) == state


def test_what_is_not_a_state_is_said_to_be_none() -> None:
    assert decoded(None) is None
    with pytest.raises(UnreadableStateError, match="Check in the Bulk Processor"):
        decoded({"phase": "asleep"})


def test_a_note_of_an_earlier_version_gives_the_job_and_as_many_resumes_as_a_new_path_has() -> None:
    note: JsonObject = {
        "fingerprint": REQUEST.fingerprint(),
        "processing_id": "x",
        "origin": "started",
        "earlier": ["w"],
    }
    state = decoded(note, REQUEST)
    assert state is not None
    assert (state.phase, state.processing_id, state.earlier_ids) == (Phase.FOLLOWING, "x", ("w",))
    failed = job(JobState.FAILED, resumable=True)
    assert took_up(state, failed, later_try=True).phase is Phase.RESUMING
    assert decoded(note, ProcessingRequest("/content/dam/b")) is None
    starting = decoded({"fingerprint": REQUEST.fingerprint(), "start": INTENT.to_json()}, REQUEST)
    assert starting == PathState(REQUEST, Phase.STARTING, intent=INTENT)


@pytest.mark.parametrize("phase", Phase)
@pytest.mark.parametrize("follows", Phase)
def test_only_what_is_listed_may_follow_and_every_step_has_the_next_number(phase: Phase, follows: Phase) -> None:
    state = PathState(REQUEST, phase, serial=7)
    if follows is phase or follows in MOVES[phase]:
        assert (state.to(follows).phase, state.to(follows).serial) == (follows, 8)
    else:
        with pytest.raises(IllegalMoveError, match="cannot follow"):
            state.to(follows)


def test_a_state_keeps_every_id_that_a_resume_replaced_and_the_end_it_was_resumed_from() -> None:
    failed = job(JobState.FAILED, resumable=True)
    state = STARTED.resuming(failed).goes_on("x", 5.0)
    assert (state.processing_id, state.earlier_ids) == ("x", ())
    state = state.resuming(failed).goes_on("y", 5.0).resuming(failed).goes_on("z", 5.0)
    assert (state.processing_id, state.earlier_ids, state.resumes) == ("z", ("x", "y"), 3)
    asked = STARTED.resuming(replace(failed, completed_at=9)).stays(intent=replace(INTENT, resumes=failed))
    assert asked.goes_on("y", 6.0).earlier_end == EarlierEnd.of(failed, 6.0)


def test_a_path_that_begins_anew_keeps_whose_it_is_and_nothing_of_its_job() -> None:
    state = STARTED.stays(deadline_at=5.0, resumes=3, log_offset=9, clear_counts={"t": 2}, result={"a": 1})
    kept = PathState(REQUEST, serial=state.serial + 1, clear_counts={"t": 2}, resumes_left=2, instance="author")
    assert state.anew() == kept


def took_up(
    state: PathState,
    seen: Job | None,
    *,
    cleared: bool = False,
    later_try: bool = False,
    now: float = 100.0,
    part: Part = Part.ALL,
    **options: object,
) -> PathState:
    wanted = LifecycleOptions(part=part, **options)  # type: ignore[arg-type]  # its own fields
    return take_up(state, seen, cleared=cleared, later_try=later_try, now=now, options=wanted)


FAILED, CANCELLED = job(JobState.FAILED, resumable=True), job(JobState.CANCELLED, resumable=True)
LOST_CAUSE = job(JobState.FAILED, resumable=False)
RETRY, CLEAR = (False, True), (True, False)


@pytest.mark.parametrize(
    ("seen", "tried", "phase"),
    [
        (job(JobState.RUNNING), RETRY, Phase.FOLLOWING),
        (job(JobState.RUNNING), CLEAR, Phase.FOLLOWING),
        (job(JobState.SUCCESS), CLEAR, Phase.ENDED),
        (FAILED, RETRY, Phase.RESUMING),
        (FAILED, (False, False), Phase.ENDED),
        (FAILED, CLEAR, Phase.RESUMING),
        (CANCELLED, RETRY, Phase.ENDED),
        (CANCELLED, CLEAR, Phase.RESUMING),
        (LOST_CAUSE, RETRY, Phase.ENDED),
        (LOST_CAUSE, CLEAR, Phase.QUEUED),
        (None, RETRY, Phase.FOLLOWING),
        (None, CLEAR, Phase.QUEUED),
    ],
)
@pytest.mark.parametrize("had_ended", [False, True])
def test_what_the_next_try_does(seen: Job | None, tried: tuple[bool, bool], phase: Phase, *, had_ended: bool) -> None:
    cleared, later_try = tried
    state = STARTED.ended(FollowEnd.ENDED, seen) if had_ended else STARTED
    after = took_up(state, seen, cleared=cleared, later_try=later_try)
    assert after.phase is phase
    assert after.serial > state.serial


def test_the_waiting_task_alone_begins_nothing_anew() -> None:
    for seen in (None, LOST_CAUSE):
        after = took_up(STARTED, seen, cleared=True, part=Part.WAIT)
        assert after.processing_id == "x"
        assert after.phase not in HAS_NO_JOB


def test_an_adopted_job_is_never_resumed_and_none_beyond_the_limit_but_by_a_person() -> None:
    adopted = replace(STARTED, origin=Origin.ADOPTED)
    assert took_up(adopted, FAILED, later_try=True).phase is Phase.ENDED
    assert took_up(adopted, FAILED, cleared=True).phase is Phase.QUEUED
    spent = replace(STARTED, resumes_left=0)
    assert took_up(spent, FAILED, later_try=True).phase is Phase.ENDED
    again = took_up(spent, FAILED, cleared=True, max_resumes=0)
    assert (again.phase, again.resumes_left) == (Phase.RESUMING, 0)


def test_the_deadline_and_the_resumes_are_kept_over_retries_and_new_after_clear() -> None:
    first = took_up(PathState(REQUEST), None, max_resumes=3)
    assert first.resumes_left == 3
    state = first.works("x", Origin.STARTED).stays(deadline_at=4600.0, resumes_left=1)
    retried = took_up(state, job(JobState.RUNNING), later_try=True, max_resumes=3)
    assert (retried.deadline_at, retried.resumes_left) == (4600.0, 1)
    cleared = took_up(retried, job(JobState.RUNNING), cleared=True, max_resumes=3)
    assert (cleared.deadline_at, cleared.resumes_left) == (None, 3)


def test_a_deadline_that_is_counted_anew_forgets_how_long_the_job_was_held_back_before() -> None:
    held = STARTED.stays(deadline_at=5.0).held(CANCELLED, 7.0)
    again = took_up(held, CANCELLED, cleared=True, now=50.0)
    assert (again.phase, again.deadline_at, again.held_since) == (Phase.HELD_BACK, None, 50.0)


def test_a_first_try_starts_and_an_interrupted_step_is_taken_up_where_it_was() -> None:
    assert took_up(PathState(REQUEST), None).phase is Phase.QUEUED
    for phase in (Phase.STARTING, Phase.CANCELLING, Phase.HELD_BACK, Phase.RESUMING):
        state = replace(STARTED, phase=phase, resumes_left=0)
        for seen in (FAILED, None, job(JobState.RUNNING)):
            assert took_up(state, seen, later_try=True).phase is phase


def test_a_clear_ends_a_doubt_because_a_person_has_looked() -> None:
    starting = PathState(REQUEST, Phase.STARTING, intent=INTENT, doubtful=True, serial=2)
    assert took_up(starting, None, later_try=True).intent == INTENT
    anew = took_up(starting, None, cleared=True)
    assert (anew.phase, anew.intent, anew.doubtful) == (Phase.QUEUED, None, False)
    resuming = STARTED.resuming(FAILED).stays(intent=INTENT, doubtful=True)
    again = took_up(resuming, FAILED, cleared=True)
    assert (again.phase, again.intent, again.doubtful, again.processing_id) == (Phase.RESUMING, None, False, "x")


def test_clear_of_the_start_of_a_job_that_goes_on_under_another_id_leaves_it_at_work() -> None:
    renamed = STARTED.resuming(FAILED).goes_on("y", 5.0)
    working = replace(job(JobState.RUNNING), processing_id="y")
    after = took_up(renamed, working, cleared=True, part=Part.START)
    assert (after.phase, after.processing_id, after.earlier_ids) == (Phase.FOLLOWING, "y", ("x",))
    assert took_up(renamed, replace(FAILED, processing_id="y"), cleared=True, part=Part.START).phase is Phase.QUEUED


def test_just_after_a_resume_the_end_from_before_spends_no_resume() -> None:
    resumed = STARTED.resuming(FAILED).goes_on("x", 100.0).stays(resumes_left=1)
    after = took_up(resumed, FAILED, later_try=True, now=130.0)
    assert (after.phase, after.resumes_left) == (Phase.FOLLOWING, 1)
    assert took_up(resumed, FAILED, later_try=True, now=160.0).phase is Phase.RESUMING


@given(
    state=states,
    seen=st.none() | jobs,
    cleared=st.booleans(),
    later_try=st.booleans(),
    part=st.sampled_from(list(Part)),
)
def test_whatever_is_found_is_taken_up_without_an_illegal_move(
    state: PathState, seen: Job | None, part: Part, *, cleared: bool, later_try: bool
) -> None:
    after = took_up(state, seen, cleared=cleared, later_try=later_try, part=part)
    assert after.serial > state.serial or part is Part.START
    assert not after.concluded
