"""What people do to a run while it waits, and what becomes of the job on the instance."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import Future
from dataclasses import dataclass

import pytest

from tests.support.airflow_stack import DAG, PULL, START, WAIT, LiveAirflow
from tests.support.instances import FAST, SLOW, Instance, Instances
from tests.support.together import Scenario, played_together, scenarios

FILES = 150
TIMED = "timed_run"


@dataclass
class People:
    """People who work with one Airflow; each scenario has folders of its own, on the common instance if it can."""

    airflow: LiveAirflow
    common: Instance
    instances: Instances


@dataclass(frozen=True)
class Run:
    """One run of the main DAG on one path."""

    instance: Instance
    path: str
    run_id: str
    dag_id: str = DAG

    @classmethod
    def begin(cls, instance: Instance, *, rate: float = SLOW, files: int = FILES, **folder: object) -> Run:
        path = instance.folder(files, rate=rate, **folder)
        return cls(instance, path, instance.trigger(path))

    @property
    def airflow(self) -> LiveAirflow:
        return self.instance.airflow

    def again(self, **conf: object) -> Run:
        """Another run on the same path."""
        return Run(self.instance, self.path, self.instance.trigger(self.path, **conf))

    def wait_for(self, task_id: str, *states: str) -> None:
        self.airflow.wait_for_state(self.run_id, task_id, *states, map_index=0, dag_id=self.dag_id)

    def wait_for_progress(self) -> None:
        """Wait until the trigger has shown progress: then it runs."""
        self.wait_for(WAIT, "deferred")
        self.airflow.wait_for_words(f" of {FILES} assets", self.run_id, WAIT, 0, dag_id=self.dag_id)

    def wait_for_second_try(self, task_id: str) -> None:
        self.airflow.wait_until(lambda: self.tries(task_id) >= 2, f"the second try of {task_id}")

    def wait_until_job_is(self, state: str) -> None:
        self.airflow.wait_until(lambda: self.jobs()[0]["state"] == state, f"the job {state}")

    def wait_until_resumed(self, times: int) -> None:
        """Wait until the job runs after so many resumes."""

        def resumed() -> bool:
            return any((job["state"], job["resumes"]) == ("RUNNING", times) for job in self.jobs())

        self.airflow.wait_until(resumed, f"{times} resumes")

    def hasten(self) -> None:
        self.instance.hasten(self.path, FILES)

    def end(self) -> str:
        """Wait for the run's end; its state."""
        return self.airflow.rest.wait_for_run(self.dag_id, self.run_id, 600)

    def row(self) -> dict[str, object]:
        """The report's one row."""
        (row,) = self.airflow.rest.xcom(self.dag_id, self.run_id, "report")
        return dict(row)

    def jobs(self) -> list[dict[str, object]]:
        return self.instance.emulator.jobs(self.path)

    def tries(self, task_id: str) -> int:
        return int(self.airflow.instance(self.run_id, task_id, 0)["try_number"])

    def tries_that_said(self, words: str, task_id: str) -> int:
        return self.airflow.tries_that_said(words, self.run_id, task_id, 0, dag_id=self.dag_id)

    def times_processed(self) -> list[int]:
        return [asset["times_processed"] for asset in self.instance.emulator.assets(self.path)]


def marking_the_waiting_task_failed_cancels_the_job_and_clear_resumes_it(people: People) -> None:
    run = Run.begin(people.common)
    run.wait_for_progress()
    people.airflow.set_state(run.run_id, WAIT, "failed", 0)
    run.wait_until_job_is("CANCELLED")
    assert run.end() == "failed"
    assert run.row()["state"] == "CANCELLED"
    assert run.row()["archive_uri"]
    run.hasten()
    people.airflow.clear(run.run_id, WAIT)
    assert run.end() == "success"
    assert (run.row()["state"], run.row()["resumes"]) == ("SUCCESS", 1)
    assert len(run.jobs()) == 1
    assert run.times_processed() == [1] * FILES


def marking_the_waiting_task_failed_as_soon_as_it_waits_cancels_the_job_all_the_same(people: People) -> None:
    run = Run.begin(people.common)
    run.wait_for(WAIT, "deferred")
    people.airflow.set_state(run.run_id, WAIT, "failed", 0)
    assert run.end() == "failed"
    assert run.jobs()[0]["state"] == "CANCELLED"
    assert run.row()["state"] == "CANCELLED"


def failing_the_run_cancels_the_job(people: People) -> None:
    run = Run.begin(people.common)
    run.wait_for_progress()
    people.airflow.rest.request("PATCH", f"/dags/{DAG}/dagRuns/{run.run_id}", json={"state": "failed"})
    run.wait_until_job_is("CANCELLED")


def the_time_out_of_the_run_cancels_the_job(people: People) -> None:
    path = people.common.folder(FILES, rate=SLOW)
    people.airflow.wait_until(lambda: people.airflow.rest.has_dag(TIMED), "the DAG")
    conf = {"paths": [path], "connection_id": people.common.connection_id, "max_active_jobs": 100}
    run = Run(people.common, path, people.airflow.rest.trigger(TIMED, conf), TIMED)
    run.wait_for_progress()
    people.airflow.ask_database(
        "UPDATE dag_run SET start_date = start_date - interval '2 hours' WHERE dag_id = %s AND run_id = %s",
        TIMED,
        run.run_id,
    )
    assert run.end() == "failed"
    run.wait_until_job_is("CANCELLED")
    people.airflow.wait_for_words("is cancelled; the instance confirms it", run.run_id, WAIT, 0, dag_id=TIMED)


def marking_the_waiting_task_successful_cancels_nothing(people: People) -> None:
    run = Run.begin(people.common)
    run.wait_for_progress()
    people.airflow.set_state(run.run_id, WAIT, "success", 0)
    run.wait_for(PULL, "success")
    assert [job["state"] for job in run.jobs()] == ["RUNNING"]
    people.airflow.wait_for_words("goes on: the task was not killed (success)", run.run_id, WAIT, 0)
    run.hasten()
    run.wait_until_job_is("SUCCESS")
    run.end()


def a_job_that_was_adopted_is_cancelled_only_if_told_so(people: People) -> None:
    first = Run.begin(people.common)
    first.wait_for(WAIT, "deferred")
    for cancel_adopted, state in ((False, "RUNNING"), (True, "CANCELLED")):
        adopting = first.again(cancel_adopted=cancel_adopted)
        adopting.wait_for_progress()
        people.airflow.set_state(adopting.run_id, WAIT, "failed", 0)
        assert adopting.end() == "failed"
        assert adopting.row()["state"] == state
        assert [job["state"] for job in first.jobs()] == [state]
    assert first.end() == "failed"
    assert (first.row()["state"], first.row()["resumes"]) == ("CANCELLED", 0)


def a_job_is_resumed_max_resumes_times_and_again_after_clear(people: People) -> None:
    path = people.common.folder(FILES, rate=SLOW)
    run = Run(people.common, path, people.common.trigger(path, max_resumes=1))
    for resumes in (0, 1):
        run.wait_until_resumed(resumes)
        run.wait_for_progress()
        people.common.emulator.post("/emulator/jobs/fail", {"processingId": run.jobs()[0]["processing_id"]})
    assert run.end() == "failed"
    assert (run.row()["state"], run.row()["resumes"]) == ("FAILED", 1)
    assert run.tries_that_said("It was resumed 1 times and is not resumed by itself again", WAIT) == 1
    run.hasten()
    people.airflow.clear(run.run_id, WAIT)
    assert run.end() == "success"
    assert (run.row()["state"], run.row()["resumes"]) == ("SUCCESS", 2)
    assert run.times_processed() == [1] * FILES


def clearing_the_waiting_task_cancels_nothing_and_takes_the_job_up(people: People) -> None:
    run = Run.begin(people.common)
    run.wait_for(WAIT, "deferred")
    people.airflow.clear(run.run_id, WAIT)
    run.wait_for_second_try(WAIT)
    run.hasten()
    assert run.end() == "success"
    (job,) = run.jobs()
    assert (job["state"], job["resumes"]) == ("SUCCESS", 0)


def clearing_a_start_that_had_done_its_work_starts_anew_unless_its_job_is_active(people: People) -> None:
    run = Run.begin(people.common)
    run.wait_for(WAIT, "deferred")
    people.airflow.clear(run.run_id, START)
    run.wait_for_second_try(START)
    run.wait_for(WAIT, "deferred")
    run.hasten()
    assert run.end() == "success"
    assert len(run.jobs()) == 1
    people.airflow.clear(run.run_id, START)
    assert run.end() == "success"
    assert len(run.jobs()) == 2


def a_job_that_fails_half_way_is_resumed_by_the_retry_and_no_asset_is_processed_twice(people: People) -> None:
    run = Run.begin(people.common, files=100, rate=FAST, fail_at=0.5)
    assert run.end() == "success"
    row = run.row()
    assert (row["state"], row["resumes"], row["triggered_count"]) == ("SUCCESS", 1, 100)
    assert [job["resumes"] for job in run.jobs()] == [1]
    assert run.times_processed() == [1] * 100


def a_resume_under_another_id_is_followed_there(people: People) -> None:
    with people.instances.new({"resume_keeps_id": False}) as instance:
        run = Run.begin(instance, files=60, rate=FAST, fail_at=0.5)
        assert run.end() == "success"
        first, second = run.jobs()
        assert run.row()["processing_id"] == second["processing_id"] != first["processing_id"]
        assert run.times_processed() == [1] * 60


def a_job_that_cannot_be_resumed_fails_for_good_at_once_archived_and_clear_starts_anew(people: People) -> None:
    run = Run.begin(people.common, rate=FAST, fail_at=0.5, resumable=False)
    assert run.end() == "failed"
    assert run.tries_that_said("It cannot be resumed", WAIT) == 1
    row = run.row()
    assert row["state"] == "FAILED"
    assert row["archive_uri"]
    assert row["log_lines"]
    run.hasten()
    people.airflow.clear(run.run_id, START)
    assert run.end() == "success"
    assert [job["state"] for job in run.jobs()] == ["FAILED", "SUCCESS"]


def a_deadline_cancels_the_job_and_says_so_in_words(people: People) -> None:
    path = people.common.folder(FILES, rate=SLOW)
    run = Run(people.common, path, people.common.trigger(path, deadline_hours=0.002))
    assert run.end() == "failed"
    assert run.jobs()[0]["state"] == "CANCELLED"
    assert run.row()["state"] == "CANCELLED"
    assert run.tries_that_said("is cancelled; the instance confirms it", WAIT) == 1


def a_deadline_leaves_the_job_alone_if_told_so(people: People) -> None:
    path = people.common.folder(FILES, rate=SLOW)
    run = Run(people.common, path, people.common.trigger(path, deadline_hours=0.002, on_deadline="leave"))
    assert run.end() == "failed"
    assert [job["state"] for job in run.jobs()] == ["RUNNING"]
    assert run.row()["state"] == "RUNNING"
    left = "was still active after 7 s (deadline_hours): "
    assert run.tries_that_said(left, WAIT) == run.tries_that_said("It was left running", WAIT) == 1
    run.hasten()
    run.wait_until_job_is("SUCCESS")


def queue_waits_for_the_active_job_adopt_takes_it_up_and_fail_fails(people: People) -> None:
    first = Run.begin(people.common)
    first.wait_for(WAIT, "deferred")
    second = first.again(on_active_job="queue")
    second.wait_for(START, "deferred")
    adopting, refusing = first.again(on_active_job="adopt"), first.again(on_active_job="fail")
    assert refusing.end() == "failed"
    assert refusing.tries_that_said("is active on this path", START) == 1
    adopting.wait_for(WAIT, "deferred")
    first.hasten()
    assert [run.end() for run in (first, adopting, second)] == ["success"] * 3
    assert len(first.jobs()) == 2
    assert people.airflow.rest.xcom(DAG, adopting.run_id, START, map_index=0)["origin"] == "adopted"


@pytest.fixture(scope="module")
def played(
    request: pytest.FixtureRequest, airflow: LiveAirflow, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Mapping[Scenario[People], Future[None]]]:
    instances = Instances(airflow, tmp_path_factory.mktemp("people"))
    with instances.new() as common, played_together(request, People(airflow, common, instances)) as futures:
        yield futures


@scenarios(
    marking_the_waiting_task_failed_cancels_the_job_and_clear_resumes_it,
    marking_the_waiting_task_failed_as_soon_as_it_waits_cancels_the_job_all_the_same,
    failing_the_run_cancels_the_job,
    the_time_out_of_the_run_cancels_the_job,
    marking_the_waiting_task_successful_cancels_nothing,
    a_job_that_was_adopted_is_cancelled_only_if_told_so,
    a_job_is_resumed_max_resumes_times_and_again_after_clear,
    clearing_the_waiting_task_cancels_nothing_and_takes_the_job_up,
    clearing_a_start_that_had_done_its_work_starts_anew_unless_its_job_is_active,
    a_job_that_fails_half_way_is_resumed_by_the_retry_and_no_asset_is_processed_twice,
    a_resume_under_another_id_is_followed_there,
    a_job_that_cannot_be_resumed_fails_for_good_at_once_archived_and_clear_starts_anew,
    a_deadline_cancels_the_job_and_says_so_in_words,
    a_deadline_leaves_the_job_alone_if_told_so,
    queue_waits_for_the_active_job_adopt_takes_it_up_and_fail_fails,
)
def test_what_is_done_to_a_run_reaches_its_job_as_promised(
    played: Mapping[Scenario[People], Future[None]], scenario: Scenario[People]
) -> None:
    played[scenario].result()
