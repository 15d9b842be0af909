"""Real deaths on the real Airflow: whatever dies, one request leads to one job, and nothing of it is lost."""

from __future__ import annotations

import os
import random
from collections.abc import Callable

import psutil

from tests.support.airflow_stack import ARCHIVE, DAG, START
from tests.support.instances import FAST, LONGEST_ANSWER, SLOW, Instance
from tests.support.losses import FILES, begin, check_that_nothing_was_lost_or_doubled
from tests.support.runs import Run
from tests.support.together import Played, Scenario, Stage, lasting, scenarios

KILLS = 300 if os.environ.get("AEM_GUIDES_SOAK") else 8
AT_ONCE = 6
SEED = 20260


@lasting
def killed_before_the_post(stage: Stage) -> None:
    with stage.instances.new() as instance:
        instance.emulator.fault("history", "delay", seconds=LONGEST_ANSWER, after=1)
        run = begin(instance)
        instance.wait_for_requests("history", 2)
        stage.airflow.kill_task(run.run_id, START, 0)
        assert instance.emulator.requests("start") == []
        check_that_nothing_was_lost_or_doubled(run)
        assert run.tries(START) >= 2


@lasting
def killed_during_the_post_which_is_accepted_later(stage: Stage) -> None:
    with stage.instances.new() as instance:
        instance.emulator.fault("start", "delay", seconds=25)
        run = begin(instance)
        instance.wait_for_requests("start", 1)
        stage.airflow.kill_task(run.run_id, START, 0)
        assert instance.emulator.jobs() == []
        check_that_nothing_was_lost_or_doubled(run)
        assert run.tries(START) >= 2
        assert len(instance.emulator.requests("start")) == 1


@lasting
def killed_between_the_post_and_its_answer(stage: Stage) -> None:
    with stage.instances.new() as instance:
        instance.emulator.fault("start", "timeout_after")
        run = begin(instance)
        stage.airflow.wait_until(lambda: instance.emulator.jobs(run.path), "the job")
        stage.airflow.kill_task(run.run_id, START, 0)
        check_that_nothing_was_lost_or_doubled(run)
        assert run.tries(START) >= 2
        assert len(instance.emulator.requests("start")) == 1


@lasting
def killed_after_the_id_was_stored(stage: Stage) -> None:
    airflow, dag = stage.airflow, "held_start"
    with stage.instances.new() as instance:
        path = instance.folder(FILES, rate=FAST)
        airflow.wait_until(lambda: airflow.rest.has_dag(dag), "the DAG")
        run_id = airflow.rest.trigger(dag, {"path": path, "connection_id": instance.connection_id})
        airflow.wait_until(lambda: airflow.rest.xcom(dag, run_id, "start", "processing_id"), "the id")
        airflow.kill_task(run_id, "start", dag_id=dag)
        assert airflow.end_of(dag, run_id) == "success"
        (job,) = instance.emulator.jobs(path)
        assert job["state"] == "SUCCESS"
        assert len(instance.emulator.requests("start")) == 1
        assert airflow.rest.xcom(dag, run_id, "start")["origin"] == "started"


@lasting
def killed_while_writing_the_archive(stage: Stage) -> None:
    with stage.instances.new() as instance:
        instance.emulator.fault("download", "slow_body", seconds=LONGEST_ANSWER)
        run = begin(instance, zip_padding_bytes=1_000_000)
        instance.wait_for_requests("download", 1)
        stage.airflow.kill_task(run.run_id, ARCHIVE, 0)
        (job,) = instance.emulator.jobs(run.path)
        archives = (stage.airflow.folder / "archive").rglob("logs.zip")
        assert [file for file in archives if job["processing_id"] in str(file)] == []
        check_that_nothing_was_lost_or_doubled(run)
        assert run.tries(ARCHIVE) >= 2


@lasting
def instance_dead_in_the_middle_of_a_job(stage: Stage) -> None:
    with stage.instances.new() as instance:
        run = begin(instance, rate=SLOW)
        run.wait_for_work()
        instance.emulator.restart()
        run.hasten()
        check_that_nothing_was_lost_or_doubled(run)


@lasting
def instance_dead_in_the_middle_of_a_download(stage: Stage) -> None:
    with stage.instances.new() as instance:
        instance.emulator.fault("download", "slow_body", seconds=LONGEST_ANSWER)
        run = begin(instance, zip_padding_bytes=1_000_000)
        instance.wait_for_requests("download", 1)
        instance.emulator.restart()
        check_that_nothing_was_lost_or_doubled(run)
        assert len(instance.emulator.requests("download")) >= 2


@scenarios(
    killed_before_the_post,
    killed_during_the_post_which_is_accepted_later,
    killed_between_the_post_and_its_answer,
    killed_after_the_id_was_stored,
    killed_while_writing_the_archive,
    instance_dead_in_the_middle_of_a_job,
    instance_dead_in_the_middle_of_a_download,
)
def test_one_job_comes_of_one_request_and_nothing_is_lost(played: Played, scenario: Scenario) -> None:
    played.result(scenario)


class Reaper:
    """Kills something at random, with a seed. Counts only what was alive.

    A task in its last try is not killed: Airflow rightly fails a run whose task died as often as it may be tried.
    """

    def __init__(self, instance: Instance) -> None:
        self._chance = random.Random(SEED)
        self._instance = instance
        self._airflow = instance.airflow
        self._runs: list[Run] = []
        self.kills = 0

    def pause(self) -> float:
        return self._chance.uniform(0, 2.5)

    def rate(self) -> float:
        return self._chance.choice([4.0, 10.0, 30.0])

    def strike(self, runs: list[Run]) -> None:
        """Kill a task of one of these runs, the triggerer or the instance."""
        self._runs = runs
        victims: list[Callable[[], bool]] = [self._task] * 5 + [self._triggerer, self._emulator]
        self.kills += self._chance.choice(victims)()

    def _task(self) -> bool:
        processes = self._airflow.task_processes()
        mortal = sorted(processes.keys() & self._with_tries_left())
        if not mortal:
            return False
        try:
            processes[self._chance.choice(mortal)].kill()
        except psutil.NoSuchProcess:
            return False
        return True

    def _with_tries_left(self) -> set[str]:
        found = [task for run in self._runs for task in self._airflow.rest.task_instances(DAG, run.run_id)]
        return {str(task["id"]) for task in found if task["try_number"] <= task["max_tries"]}

    def _triggerer(self) -> bool:
        self._airflow.kill("triggerer")
        self._airflow.restart("triggerer")
        return True

    def _emulator(self) -> bool:
        self._instance.emulator.restart()
        return True


def deaths_at_random_moments_double_and_lose_nothing(stage: Stage) -> None:
    with stage.instances.new() as instance:
        reaper = Reaper(instance)
        runs: list[Run] = []
        alive: list[Run] = []
        while reaper.kills < KILLS:
            alive = [run for run in alive if run.state() not in ("success", "failed")]
            while len(alive) < AT_ONCE:
                alive.append(begin(instance, rate=reaper.rate()))
                runs.append(alive[-1])
            stage.airflow.pause(reaper.pause())
            reaper.strike(alive)
        for run in runs:
            check_that_nothing_was_lost_or_doubled(run)
    print(f"\n{reaper.kills} kills at random moments, {len(runs)} runs: 0 duplicates, 0 losses")


@scenarios(deaths_at_random_moments_double_and_lose_nothing)
def test_whatever_dies_nothing_is_lost(aftermath: Played, scenario: Scenario) -> None:
    aftermath.result(scenario)
