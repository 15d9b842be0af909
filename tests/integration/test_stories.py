"""Stories of a path's life, each through every way in which a path is run."""

from __future__ import annotations

import asyncio
import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from aem_guides.ledger.notes import Note
from aem_guides.protocol.errors import ConfigurationError
from aem_guides.protocol.procedures import begin as begin_procedure
from aem_guides.protocol.procedures import lifecycle as lifecycle_procedure
from aem_guides.protocol.procedures.start import start_once
from tests.support.batch import fail_job, start_as_stranger
from tests.support.deaths import WorkerKilledError, dies_after_its_post
from tests.support.emulator import EmulatorProcess
from tests.support.notes import KeptNotes
from tests.support.ways import Begin, PathRun, every_way


@every_way
def test_a_job_is_started_followed_and_archived(emulator: EmulatorProcess, begin: Begin, noted: list[Note]) -> None:
    run = begin()
    assert run.to_the_end()["state"] == "SUCCESS"
    (job,) = emulator.jobs(run.path)
    assert run.outcome["processing_id"] == job["processing_id"]
    assert [note.processing_id for note in noted] == [job["processing_id"]], "the ledger knows it from its start on"
    assert noted[0].run.run_id == "run"


@every_way
@pytest.mark.parametrize("word", ['"starting"', '"following"'])
def test_a_state_that_airflow_does_not_take_is_written_until_it_does(
    emulator: EmulatorProcess, begin: Begin, register: KeptNotes, word: str
) -> None:
    register.refuse(word, times=2)
    run = begin()
    assert run.to_the_end()["state"] == "SUCCESS"
    assert len(emulator.jobs(run.path)) == 1
    assert register.refusals_left == 0, "Airflow did refuse"


@every_way
@pytest.mark.parametrize("policy", ["adopt", "fail"])
def test_a_job_that_another_user_started_on_the_path_is_adopted_or_fails_the_start(
    emulator: EmulatorProcess, begin: Begin, policy: str
) -> None:
    run = begin(on_active_job=policy, files=400, rate=4)
    start_as_stranger(emulator, run.path)
    outcome = run.to_the_end()
    (job,) = emulator.jobs(run.path)
    if policy == "adopt":
        assert outcome["state"] == "SUCCESS"
        assert run.state is not None
        assert (run.state.processing_id, run.state.origin) == (job["processing_id"], "adopted")
    else:
        assert "is active on this path" in str(run.error)


@every_way
def test_a_start_whose_answer_is_lost_is_found_and_not_sent_again(emulator: EmulatorProcess, begin: Begin) -> None:
    emulator.fault("start", "reset_after")
    run = begin()
    assert run.to_the_end()["state"] == "SUCCESS"
    assert len(emulator.jobs(run.path)) == 1


@every_way
def test_a_refusal_is_not_believed_before_a_lagging_history_was_looked_at_again(
    emulator: EmulatorProcess, begin: Begin
) -> None:
    run = begin(files=400, rate=4)
    start_as_stranger(emulator, run.path)
    emulator.fault("history", "history_lag", seconds=3)
    assert run.to_the_end()["state"] == "SUCCESS"
    assert len(emulator.jobs(run.path)) == 1


@every_way
def test_a_job_that_fails_is_resumed_by_the_retry_and_no_asset_is_processed_twice(
    emulator: EmulatorProcess, begin: Begin
) -> None:
    run = begin()
    emulator.virtual_folder(run.path, 20, rate=20, fail_at=0.5)
    outcome = run.to_the_end()
    assert (outcome["state"], outcome["resumes"]) == ("SUCCESS", 1)
    (job,) = emulator.jobs(run.path)
    assert job["resumes"] == 1


@every_way
def test_a_job_whose_time_is_over_is_cancelled_though_the_instance_wants_to_be_asked_later(
    emulator: EmulatorProcess, begin: Begin
) -> None:
    run = begin(files=10_000, rate=1, deadline_hours=20 / 3600)
    emulator.fault("cancel", "status", status=503, headers={"Retry-After": "120"}, count=3)
    run.to_the_end()
    assert "(deadline_hours)" in str(run.error)
    assert "It was cancelled" in str(run.error)
    (job,) = emulator.jobs(run.path)
    assert job["state"] == "CANCELLED"
    assert (job["completed"] - job["started"]) / 1000 < 90, "no Retry-After of 120 s was waited for"


@every_way
def test_clear_after_a_cancelled_job_goes_on_from_its_checkpoint(emulator: EmulatorProcess, begin: Begin) -> None:
    run = begin(files=400, rate=4, deadline_hours=8 / 3600)
    run.to_the_end()
    assert run.state is not None
    assert run.state.end == "deadline"
    emulator.virtual_folder(run.path, 400, rate=1000)
    run.clear(run.waits)
    assert run.play(run.waits)
    assert (run.outcome["state"], run.outcome["resumes"]) == ("SUCCESS", 1)
    assert len(emulator.jobs(run.path)) == 1


@every_way
def test_clear_of_the_start_knows_a_job_that_goes_on_under_another_id(emulator: EmulatorProcess, begin: Begin) -> None:
    emulator.settings(resume_keeps_id=False)
    try:
        run = begin(on_active_job="fail", files=20)
        emulator.virtual_folder(run.path, 20, rate=20, fail_at=0.5)
        run.to_the_end()
        assert run.state is not None
        assert len(run.state.earlier_ids) == 1
        assert run.outcome["processing_id"] == run.state.processing_id
        jobs = len(emulator.jobs(run.path))
        if run.way.five_tasks:
            run.clear("pull")
            assert run.play("pull"), "its log is pulled under both ids"
        assert len(emulator.jobs(run.path)) == jobs
    finally:
        emulator.settings(resume_keeps_id=True)


@every_way
def test_a_start_that_was_killed_in_the_middle_is_settled_and_its_job_cancelled(
    emulator: EmulatorProcess, begin: Begin, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = begin(files=10_000, rate=1)
    with monkeypatch.context() as patch:
        patch.setattr(begin_procedure, "start_once", dies_after_its_post(start_once))
        with pytest.raises(WorkerKilledError):
            run.attempt(run.begins)
    run.states[run.begins] = "failed"
    run.afterwards()
    (job,) = emulator.jobs(run.path)
    assert job["state"] == "CANCELLED"
    assert run.state is not None
    assert run.state.cancel == "cancelled"


@every_way
def test_a_kill_whose_cancel_is_not_confirmed_is_made_good_by_what_comes_after(
    emulator: EmulatorProcess, begin: Begin
) -> None:
    run = begin(files=10_000, rate=1)
    with pytest.raises(WorkerKilledError):
        die_while_following(run)
    run.states[run.waits] = "failed"
    emulator.fault("cancel", "status", status=503, count=None)
    for trigger in run.triggers[-1:]:
        asyncio.run(trigger.settle_kill())
    assert emulator.jobs(run.path)[0]["state"] != "CANCELLED"
    emulator.delete("/emulator/faults")
    run.afterwards()
    assert emulator.jobs(run.path)[0]["state"] == "CANCELLED"


@every_way
def test_a_connection_that_leads_elsewhere_in_mid_run_sends_nothing_there(
    emulator: EmulatorProcess, begin: Begin, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = begin(files=10_000, rate=1)
    with pytest.raises(WorkerKilledError):
        die_while_following(run)
    asked = len(emulator.requests())
    other = emulator.connection(read_timeout=5).replace("127.0.0.1", "localhost")
    monkeypatch.setenv("AIRFLOW_CONN_AEM_GUIDES_DEFAULT", other)
    with pytest.raises(ConfigurationError, match=r"the connection led to 127\.0\.0\.1"):
        run.attempt(run.waits)
    assert len(emulator.requests()) == asked


@every_way
def test_no_more_jobs_are_active_than_allowed_though_many_runs_begin_at_once(
    emulator: EmulatorProcess, begin: Begin
) -> None:
    runs = [begin(files=60, rate=4, run_id=f"run {number}", max_active_jobs=2) for number in range(6)]
    before = len(emulator.jobs())
    with ThreadPoolExecutor(len(runs)) as pool:
        outcomes = list(pool.map(PathRun.to_the_end, runs))
    assert [outcome["state"] for outcome in outcomes] == ["SUCCESS"] * len(runs)
    jobs = [job for run in runs for job in emulator.jobs(run.path)]
    assert len(jobs) == len(runs) == len(emulator.jobs()) - before
    assert most_at_once(jobs) <= 2


def most_at_once(jobs: list[dict[str, Any]]) -> int:
    """The highest number of these jobs that were active at the same time."""
    spans = [(int(job["started"]), int(job["completed"])) for job in jobs]
    return max(sum(begin <= at < end for begin, end in spans) for at, _ in spans)


def die_while_following(run: PathRun) -> None:
    """The process of the waiting task dies while the job works."""

    def dies(*_: object) -> None:
        raise WorkerKilledError

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lifecycle_procedure, "follow", dies)
        follow_until_killed(run)


def follow_until_killed(run: PathRun) -> None:
    if run.way.five_tasks:
        run.attempt("start")
    run.attempt(run.waits)


@every_way
def test_a_job_that_shows_that_it_has_no_log_fails_no_task(emulator: EmulatorProcess, begin: Begin) -> None:
    for endpoint in ("status", "history"):
        emulator.fault(endpoint, "odd_fields", count=None, body=json.dumps({"hasLogs": False}))
    emulator.fault("download", "status", count=None, status=404)
    run = begin()
    assert run.to_the_end()["state"] == "SUCCESS"
    assert run.problems() == []


@every_way
@pytest.mark.parametrize("policy", ["adopt", "queue"])
def test_two_runs_that_wait_for_room_on_one_path_share_a_job_or_follow_one_another(
    emulator: EmulatorProcess, begin: Begin, policy: str
) -> None:
    """A path that waits for room was free when it was seen. When there is room, it is checked again."""
    others = [begin(files=100_000, rate=0.1).path for _ in range(2)]
    for path in others:
        start_as_stranger(emulator, path)
    first = begin(files=40, rate=4, run_id="one", max_active_jobs=2, on_active_job=policy)
    second = begin(first.path, run_id="two", max_active_jobs=2, on_active_job=policy)
    with ThreadPoolExecutor(2) as pool:
        ends = [pool.submit(run.to_the_end) for run in (first, second)]
        emulator.wait_until(lambda: first.waits_for_its_turn and second.waits_for_its_turn, "both in the line")
        for path in others:
            fail_job(emulator, path)
        assert [end.result()["state"] for end in ends] == ["SUCCESS"] * 2
    jobs = emulator.jobs(first.path)
    assert most_at_once(jobs) == 1
    assert len(jobs) == (1 if policy == "adopt" else 2)


@every_way
def test_clear_after_an_adopted_job_that_failed_starts_a_job_of_its_own_as_the_message_says(
    emulator: EmulatorProcess, begin: Begin
) -> None:
    run = begin(files=40, rate=4)
    emulator.virtual_folder(run.path, 40, rate=4, fail_at=0.5)
    start_as_stranger(emulator, run.path)
    assert run.to_the_end()["state"] == "FAILED"
    assert "This run adopted the job" in str(run.error)
    assert "to start a new job" in str(run.error)
    emulator.virtual_folder(run.path, 40, rate=40)
    run.clear(*dict.fromkeys((run.begins, run.waits)))
    assert run.to_the_end()["state"] == "SUCCESS"
    assert [job["state"] for job in emulator.jobs(run.path)] == ["FAILED", "SUCCESS"]
    assert run.state is not None
    assert run.state.origin == "started"
