"""One path of a batch from try to try, and progress in words."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aem_guides.protocol.batch import Act, BatchCounts, BatchSpeed, PathNote, next_act
from aem_guides.protocol.models import Job, ProcessingRequest
from aem_guides.protocol.procedures.intent import Intent
from aem_guides.protocol.procedures.start import Origin
from aem_guides.protocol.states import JobState

REQUEST = ProcessingRequest("/content/dam/a")
STARTED = PathNote(REQUEST.fingerprint()).started("x", Origin.STARTED, 5.0)
intents = st.none() | st.builds(
    Intent,
    fingerprint=st.just("f"),
    at=st.integers(0),
    window=st.dictionaries(st.text(), st.none() | st.integers(0), max_size=2),
    run=st.text(),
    processing_id=st.none() | st.text(min_size=1),
    adopted=st.booleans(),
)


def job(state: JobState, *, resumable: bool | None = None) -> Job:
    return Job("x", state, state.value, path=REQUEST.path, resumable=resumable)


@given(
    note=st.builds(
        PathNote,
        fingerprint=st.just(REQUEST.fingerprint()),
        start=intents,
        processing_id=st.none() | st.text(min_size=1),
        origin=st.none() | st.sampled_from(list(Origin)),
        resume_from=st.none() | st.text(min_size=1),
        resume=intents,
        resumes=st.integers(0, 9),
        deadline_at=st.none() | st.floats(0, 1e10),
        doubtful=st.booleans(),
        earlier=st.lists(st.text(), max_size=2).map(tuple),
    )
)
def test_a_note_is_read_as_it_was_written(note: PathNote) -> None:
    assert PathNote.read(json.loads(json.dumps(note.to_json())), REQUEST) == note


def test_a_note_keeps_every_id_that_a_resume_replaced() -> None:
    note = replace(STARTED, resume_from="x").resumed("x", 5.0)
    assert (note.processing_id, note.earlier) == ("x", ())
    note = replace(note, resume_from="x").resumed("y", 5.0)
    note = replace(note, resume_from="y").resumed("z", 5.0)
    assert (note.processing_id, note.earlier, note.resumes) == ("z", ("x", "y"), 3)


def test_what_a_person_has_looked_at_is_in_doubt_no_more() -> None:
    intent = Intent("f", 1, {}, "run")
    assert replace(STARTED, processing_id=None, start=intent, doubtful=True).settled_by_a_person() == PathNote(
        REQUEST.fingerprint()
    )
    resuming = replace(STARTED, resume_from="x", resume=intent, doubtful=True)
    assert resuming.settled_by_a_person() == replace(STARTED, resume_from="x")


def test_a_note_of_another_request_is_none() -> None:
    assert PathNote.read(STARTED.to_json(), ProcessingRequest("/content/dam/b")) is None
    assert PathNote.read(None, REQUEST) is None
    with pytest.raises(ValueError, match="not the note of a path"):
        PathNote.from_json({})


FAILED, CANCELLED = job(JobState.FAILED, resumable=True), job(JobState.CANCELLED, resumable=True)
LOST_CAUSE = job(JobState.FAILED, resumable=False)
RETRY, CLEAR = (False, True), (True, False)


@pytest.mark.parametrize(
    ("seen", "tried", "act"),
    [
        (job(JobState.RUNNING), RETRY, Act.FOLLOW),
        (job(JobState.RUNNING), CLEAR, Act.FOLLOW),
        (job(JobState.SUCCESS), CLEAR, Act.FOLLOW),
        (FAILED, RETRY, Act.RESUME),
        (FAILED, CLEAR, Act.RESUME),
        (CANCELLED, RETRY, Act.FOLLOW),
        (CANCELLED, CLEAR, Act.RESUME),
        (LOST_CAUSE, RETRY, Act.FOLLOW),
        (LOST_CAUSE, CLEAR, Act.START),
        (None, RETRY, Act.FOLLOW),
        (None, CLEAR, Act.START),
    ],
)
def test_what_the_next_try_does(seen: Job | None, tried: tuple[bool, bool], act: Act) -> None:
    cleared, later_try = tried
    assert next_act(STARTED, seen, cleared=cleared, later_try=later_try, resumes_left=2) is act


def test_an_adopted_job_is_never_resumed_and_none_beyond_the_limit_but_by_a_person() -> None:
    adopted = PathNote(REQUEST.fingerprint()).started("x", Origin.ADOPTED, 5.0)
    assert next_act(adopted, FAILED, cleared=False, later_try=True, resumes_left=2) is Act.FOLLOW
    assert next_act(adopted, FAILED, cleared=True, later_try=False, resumes_left=2) is Act.START
    assert next_act(STARTED, FAILED, cleared=False, later_try=True, resumes_left=0) is Act.FOLLOW
    assert next_act(STARTED, FAILED, cleared=True, later_try=False, resumes_left=0) is Act.RESUME


def test_a_first_try_starts_and_an_interrupted_resume_is_taken_up() -> None:
    fresh = PathNote(REQUEST.fingerprint())
    assert next_act(fresh, None, cleared=False, later_try=False, resumes_left=2) is Act.START
    resuming = PathNote(REQUEST.fingerprint(), processing_id="x", resume_from="x")
    assert next_act(resuming, FAILED, cleared=False, later_try=True, resumes_left=0) is Act.RESUME


def test_progress_is_told_in_words() -> None:
    counts = BatchCounts(total=2000, done=309, failed=3, running=4)
    assert counts.in_words(5 * 3600) == "312 of 2,000 paths, 4 running, 3 failed, about 5 h left"
    assert counts.in_words(None) == "312 of 2,000 paths, 4 running, 3 failed"
    assert BatchCounts(2, 2, 0, None).in_words(60) == "2 of 2 paths, 0 failed"


def test_what_remains_is_told_by_the_pace_since_the_first_look() -> None:
    speed = BatchSpeed()
    assert speed.seconds_left(BatchCounts(100, 10, 0, 1), 1000) is None
    assert speed.seconds_left(BatchCounts(100, 10, 0, 1), 1010) is None
    assert speed.seconds_left(BatchCounts(100, 19, 1, 1), 1010) == 80
