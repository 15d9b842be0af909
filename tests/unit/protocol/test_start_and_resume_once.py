"""Start once and resume once against a model of the instance, with every combination of crashes, losses and other
users."""

from __future__ import annotations

import json
from collections.abc import Generator

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
from aem_guides.protocol.procedures.intent import Intent
from aem_guides.protocol.procedures.resume import resume_once
from aem_guides.protocol.procedures.start import MustWait, OnActiveJob, Origin, Started, StartPolicy
from tests.unit.protocol.driving import start_again
from tests.unit.protocol.modelled import FATES, REQUEST, Crash, Instance, instances

TRIES = 8


def stored_intent(instance: Instance) -> Intent | None:
    """The content of the state store: the last emitted intent, through its JSON."""
    kept = [item for item in instance.world.emitted if isinstance(item, Intent)]
    return Intent.from_json(json.loads(json.dumps(kept[-1].to_json()))) if kept else None


def tries(instance: Instance) -> Generator[Intent | None, None, None]:
    """The tries one after the other, as Airflow makes them."""
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
    """The job of an unanswered start ends and leaves the window before anyone looks."""
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
def test_without_other_users_there_is_always_a_job_in_the_end(fates: list[str], lag: float) -> None:
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
def test_without_other_users_the_job_always_runs_again_in_the_end(fates: list[str], keeps_id: bool) -> None:
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
