"""Triggerer and scheduler die on the real Airflow, while runs and batches wait and users continue their work."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from tests.support.airflow_stack import START, WAIT
from tests.support.batch import BATCH, PATHS, virtual_folders
from tests.support.control import reconcile
from tests.support.instances import SLOW
from tests.support.losses import begin, check_that_nothing_was_lost_or_doubled
from tests.support.runs import Run
from tests.support.together import ARGUMENT, Outage, Stage, chosen

Witness = Callable[[Stage, Outage], None]


def a_triggerer_is_replaced_without_repeating_the_log_and_what_is_killed_meanwhile_is_cancelled(
    stage: Stage, outage: Outage
) -> None:
    with stage.instances.new() as instance:
        run, killed = begin(instance, rate=SLOW), begin(instance, rate=SLOW)
        run.wait_for_progress()
        killed.wait_for_progress()
        with outage.seen():
            shown_before = len(run.log(WAIT))
            killed.mark(WAIT, "failed")
            assert killed.end() == "failed"
            assert [job["state"] for job in killed.jobs()] == ["CANCELLED"]
        stage.airflow.wait_until(lambda: len(run.log(WAIT)) > shown_before, "the new triggerer")
        run.hasten()
        check_that_nothing_was_lost_or_doubled(run)
        shown = "\n".join(run.log(WAIT))
        assert "continues at line" in shown
        (job,) = run.jobs()
        logged = instance.emulator.log_lines(str(job["processing_id"]))
        assert len([line for line in logged if shown.count(line) > 1]) <= 500


def a_batch_goes_on_and_its_paths_are_marked_failed_and_cleared_afterwards(stage: Stage, outage: Outage) -> None:
    airflow = stage.airflow
    with stage.instances.new() as instance:
        emulator = instance.emulator
        paths = virtual_folders(emulator, "/content/dam/outage", 2, files=1000, rate=1)
        conf = {"paths": paths, "connection_id": instance.connection_id, "max_active_jobs": 50}
        run_id = airflow.rest.trigger(BATCH, conf)
        airflow.wait_until(lambda: len([job for job in emulator.jobs() if job["position"]]) == 2, "both jobs run")
        with outage.seen():
            looks = len(emulator.requests("history"))
        airflow.wait_until(lambda: len(emulator.requests("history")) > looks + 2, "the jobs are followed again")
        airflow.set_state(run_id, PATHS, "failed", 0, dag_id=BATCH)
        airflow.wait_until(lambda: emulator.jobs(paths[0])[0]["state"] == "CANCELLED", "the job is cancelled")
        assert emulator.jobs(paths[1])[0]["state"] == "RUNNING"
        for path in paths:
            emulator.virtual_folder(path, 1000, rate=2000)
        airflow.clear(run_id, PATHS, 0, dag_id=BATCH)
        airflow.wait_until(lambda: airflow.run_state(BATCH, run_id) == "success", "the run succeeds")
        assert [len(emulator.jobs(path)) for path in paths] == [1, 1]
        assert emulator.jobs(paths[0])[0]["resumes"] == 1


def the_job_of_a_run_that_was_failed_while_the_triggerer_was_dead_is_cancelled(stage: Stage, outage: Outage) -> None:
    with stage.instances.new() as instance, outage.seen():
        run = Run.begin(instance, files=100)
        run.wait_for(WAIT, "deferred")
        run.fail()
        found = reconcile(stage.airflow, instance)
        assert found.state == "success"
        assert "marked failed while no process could cancel the job" in found.report
        assert run.jobs()[0]["state"] == "CANCELLED"


def a_scheduler_that_dies_too_loses_neither_what_waits_nor_what_runs(stage: Stage, outage: Outage) -> None:
    airflow = stage.airflow
    with stage.instances.new() as instance:
        waiting = begin(instance, rate=SLOW)
        waiting.wait_for_work()
        instance.emulator.fault("start", "timeout_after")
        running = begin(instance, rate=SLOW)
        airflow.wait_until(running.jobs, "the job")
        with outage.seen():
            pass  # the others see it
        airflow.kill("scheduler")
        airflow.restart("scheduler")
        for run in (waiting, running):
            run.hasten()
        for run in (waiting, running):
            check_that_nothing_was_lost_or_doubled(run)
        assert running.tries(START) >= 2


@pytest.fixture(scope="module")
def witnessed(request: pytest.FixtureRequest, undisturbed: Stage) -> Iterator[Mapping[Witness, Future[None]]]:
    """One death of the triggerer for all scenarios that look at it, when nothing else is played; then one of the
    scheduler."""
    witnesses: list[Witness] = chosen(request.session.items, "witnessed")
    with Outage(undisturbed.airflow, "triggerer", len(witnesses)) as outage, ThreadPoolExecutor(len(witnesses)) as pool:
        yield {witness: pool.submit(outage.look_at, witness, undisturbed) for witness in witnesses}


@pytest.mark.parametrize(
    ARGUMENT,
    [
        a_triggerer_is_replaced_without_repeating_the_log_and_what_is_killed_meanwhile_is_cancelled,
        a_batch_goes_on_and_its_paths_are_marked_failed_and_cleared_afterwards,
        the_job_of_a_run_that_was_failed_while_the_triggerer_was_dead_is_cancelled,
        a_scheduler_that_dies_too_loses_neither_what_waits_nor_what_runs,
    ],
    ids=lambda witness: witness.__name__,
)
def test_a_triggerer_and_a_scheduler_may_die(witnessed: Mapping[Witness, Future[None]], scenario: Witness) -> None:
    witnessed[scenario].result()
