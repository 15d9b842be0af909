"""User actions on a run while it waits, and their effect on the job on the instance."""

from __future__ import annotations

from tests.support.airflow_stack import DAG, START, VERIFY, WAIT
from tests.support.instances import FAST
from tests.support.runs import FILES, Run
from tests.support.together import Played, Scenario, Stage, lasting, scenarios

TIMED = "timed_run"


@lasting
def marking_the_waiting_task_failed_cancels_the_job_and_clear_resumes_it(stage: Stage) -> None:
    run = Run.begin(stage.common)
    run.wait_for_progress()
    run.mark(WAIT, "failed")
    run.wait_until_job_is("CANCELLED")
    assert run.end() == "failed"
    assert run.row()["state"] == "CANCELLED"
    assert run.row()["archive_uri"]
    run.hasten()
    run.clear(WAIT)
    assert run.end() == "success"
    assert (run.row()["state"], run.row()["resumes"]) == ("SUCCESS", 1)
    assert len(run.jobs()) == 1
    assert run.times_processed() == [1] * FILES


def marking_the_waiting_task_failed_as_soon_as_it_waits_cancels_the_job_all_the_same(stage: Stage) -> None:
    run = Run.begin(stage.common)
    run.wait_for(WAIT, "deferred")
    run.mark(WAIT, "failed")
    assert run.end() == "failed"
    assert run.jobs()[0]["state"] == "CANCELLED"
    assert run.row()["state"] == "CANCELLED"


def failing_the_run_cancels_the_job(stage: Stage) -> None:
    run = Run.begin(stage.common)
    run.wait_for_progress()
    run.fail()
    run.wait_until_job_is("CANCELLED")


def the_time_out_of_the_run_cancels_the_job(stage: Stage) -> None:
    run = Run.begin(stage.common, dag_id=TIMED)
    run.wait_for_progress()
    stage.airflow.ask_database(
        "UPDATE dag_run SET start_date = start_date - interval '2 hours' WHERE dag_id = %s AND run_id = %s",
        TIMED,
        run.run_id,
    )
    assert run.end() == "failed"
    run.wait_until_job_is("CANCELLED")
    run.wait_for_words("was cancelled; the instance confirms it", WAIT)


def marking_the_waiting_task_successful_cancels_nothing(stage: Stage) -> None:
    run = Run.begin(stage.common)
    run.wait_for_progress()
    run.mark(WAIT, "success")
    run.wait_for(VERIFY, "deferred")
    assert [job["state"] for job in run.jobs()] == ["RUNNING"]
    run.wait_for_words("keeps running: the task was not killed (success)", WAIT)
    run.hasten()
    run.wait_until_job_is("SUCCESS")
    run.end()


@lasting
def a_job_that_was_adopted_is_cancelled_only_on_request(stage: Stage) -> None:
    first = Run.begin(stage.common)
    first.wait_for(WAIT, "deferred")
    for cancel_adopted, state in ((False, "RUNNING"), (True, "CANCELLED")):
        adopting = first.again(cancel_adopted=cancel_adopted)
        adopting.wait_for_progress()
        adopting.mark(WAIT, "failed")
        assert adopting.end() == "failed"
        assert adopting.row()["state"] == state
        assert [job["state"] for job in first.jobs()] == [state]
    assert first.end() == "failed"
    assert (first.row()["state"], first.row()["resumes"]) == ("CANCELLED", 0)


@lasting
def a_job_is_resumed_max_resumes_times_and_again_after_clear(stage: Stage) -> None:
    run = Run.begin(stage.common, conf={"max_resumes": 1})
    for resumes in (0, 1):
        run.wait_until_resumed(resumes)
        run.wait_for_progress()
        stage.common.emulator.post("/emulator/jobs/fail", {"processingId": run.jobs()[0]["processing_id"]})
    assert run.end() == "failed"
    assert (run.row()["state"], run.row()["resumes"]) == ("FAILED", 1)
    assert run.tries_that_said("It was resumed 1 times (max_resumes) and is not resumed automatically again", WAIT) == 1
    assert [job["resumes"] for job in run.jobs()] == [1], run.airflow.account(run.run_id)
    run.hasten()
    run.clear(WAIT)
    assert run.end() == "success"
    assert (run.row()["state"], run.row()["resumes"]) == ("SUCCESS", 2)
    assert run.times_processed() == [1] * FILES


def clearing_the_waiting_task_cancels_nothing_and_takes_the_job_up(stage: Stage) -> None:
    run = Run.begin(stage.common)
    run.wait_for(WAIT, "deferred")
    run.clear(WAIT)
    run.wait_for_second_try(WAIT)
    run.hasten()
    assert run.end() == "success"
    (job,) = run.jobs()
    assert (job["state"], job["resumes"]) == ("SUCCESS", 0)


@lasting
def clearing_a_start_that_had_done_its_work_starts_anew_unless_its_job_is_active(stage: Stage) -> None:
    run = Run.begin(stage.common)
    run.wait_for(WAIT, "deferred")
    run.clear(START)
    run.wait_for_second_try(START)
    run.wait_for(WAIT, "deferred")
    run.hasten()
    assert run.end() == "success"
    assert len(run.jobs()) == 1
    run.clear(START)
    assert run.end() == "success"
    assert len(run.jobs()) == 2


def a_job_that_fails_half_way_is_resumed_by_the_retry_and_no_asset_is_processed_twice(stage: Stage) -> None:
    run = Run.begin(stage.common, files=100, rate=FAST, fail_at=0.5)
    assert run.end() == "success"
    row = run.row()
    assert (row["state"], row["resumes"], row["triggered_count"]) == ("SUCCESS", 1, 100)
    assert [job["resumes"] for job in run.jobs()] == [1]
    assert run.times_processed() == [1] * 100


@lasting
def a_job_that_cannot_be_resumed_fails_for_good_at_once_archived_and_clear_starts_anew(stage: Stage) -> None:
    run = Run.begin(stage.common, rate=FAST, fail_at=0.5, resumable=False)
    assert run.end() == "failed"
    assert run.tries_that_said("It cannot be resumed", WAIT) == 1
    row = run.row()
    assert row["state"] == "FAILED"
    assert row["archive_uri"]
    assert row["log_lines"]
    run.hasten()
    run.clear(START)
    assert run.end() == "success"
    assert [job["state"] for job in run.jobs()] == ["FAILED", "SUCCESS"]


def a_deadline_cancels_the_job_and_says_so_in_words(stage: Stage) -> None:
    run = Run.begin(stage.common, conf={"deadline_hours": 0.002})
    assert run.end() == "failed"
    assert run.jobs()[0]["state"] == "CANCELLED"
    assert run.row()["state"] == "CANCELLED"
    assert run.tries_that_said("was cancelled; the instance confirms it", WAIT) == 1


def a_deadline_leaves_the_job_alone_on_request(stage: Stage) -> None:
    run = Run.begin(stage.common, conf={"deadline_hours": 0.002, "on_deadline": "leave"})
    assert run.end() == "failed"
    assert [job["state"] for job in run.jobs()] == ["RUNNING"]
    assert run.row()["state"] == "RUNNING"
    left = "was still active after 7 s (deadline_hours): "
    assert run.tries_that_said(left, WAIT) == run.tries_that_said("It was left running", WAIT) == 1
    run.hasten()
    run.wait_until_job_is("SUCCESS")


@lasting
def queue_waits_for_the_active_job_adopt_takes_it_up_and_fail_fails(stage: Stage) -> None:
    first = Run.begin(stage.common)
    first.wait_for(WAIT, "deferred")
    second = first.again(on_active_job="queue")
    second.wait_for(START, "deferred")
    adopting, refusing = first.again(on_active_job="adopt"), first.again(on_active_job="fail")
    assert refusing.end() == "failed"
    assert refusing.tries_that_said("is active on this path", START)
    adopting.wait_for(WAIT, "deferred")
    first.hasten()
    assert [run.end() for run in (first, adopting, second)] == ["success"] * 3
    assert len(first.jobs()) == 2
    assert stage.airflow.rest.xcom(DAG, adopting.run_id, START, map_index=0)["origin"] == "adopted"


@scenarios(
    marking_the_waiting_task_failed_cancels_the_job_and_clear_resumes_it,
    marking_the_waiting_task_failed_as_soon_as_it_waits_cancels_the_job_all_the_same,
    failing_the_run_cancels_the_job,
    the_time_out_of_the_run_cancels_the_job,
    marking_the_waiting_task_successful_cancels_nothing,
    a_job_that_was_adopted_is_cancelled_only_on_request,
    a_job_is_resumed_max_resumes_times_and_again_after_clear,
    clearing_the_waiting_task_cancels_nothing_and_takes_the_job_up,
    clearing_a_start_that_had_done_its_work_starts_anew_unless_its_job_is_active,
    a_job_that_fails_half_way_is_resumed_by_the_retry_and_no_asset_is_processed_twice,
    a_job_that_cannot_be_resumed_fails_for_good_at_once_archived_and_clear_starts_anew,
    a_deadline_cancels_the_job_and_says_so_in_words,
    a_deadline_leaves_the_job_alone_on_request,
    queue_waits_for_the_active_job_adopt_takes_it_up_and_fail_fails,
)
def test_what_is_done_to_a_run_reaches_its_job_as_promised(played: Played, scenario: Scenario) -> None:
    played.result(scenario)
