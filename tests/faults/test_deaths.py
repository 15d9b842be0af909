"""Real deaths on the real Airflow: whatever dies, one job comes of one request, and nothing of it is lost."""

from __future__ import annotations

import os
import random
import time
import zipfile
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from tests.e2e.test_process_assets import pulled_lines
from tests.support.airflow_stack import ARCHIVE, DAG, PULL, START, WAIT, LiveAirflow
from tests.support.instances import FAST, LONGEST_ANSWER, SLOW, Instance, Instances
from tests.support.together import Scenario, played_together, scenarios

FILES = 60
KILLS = 300 if os.environ.get("AEM_GUIDES_SOAK") else 30
AT_ONCE = 6
SEED = 20260


@dataclass(frozen=True)
class Run:
    """One run of the main DAG on a folder of its own."""

    instance: Instance
    run_id: str
    path: str

    @property
    def airflow(self) -> LiveAirflow:
        return self.instance.airflow

    @classmethod
    def begin(cls, instance: Instance, *, rate: float = FAST, **folder: object) -> Run:
        path = instance.folder(FILES, rate=rate, **folder)
        return cls(instance, instance.trigger(path), path)

    def has_ended(self) -> bool:
        return self.airflow.rest.run_state(DAG, self.run_id) in ("success", "failed")

    def wait_for_work(self) -> None:
        """Wait until the job has processed something, and its task waits for it."""
        emulator = self.instance.emulator
        self.airflow.wait_for_state(self.run_id, WAIT, "deferred", map_index=0)
        self.airflow.wait_until(lambda: emulator.jobs(self.path)[0]["position"] > 0, "work")

    def wait_for_progress(self) -> None:
        """Wait until the trigger has shown how far the job is."""
        self.airflow.wait_for_state(self.run_id, WAIT, "deferred", map_index=0)
        self.airflow.wait_for_words(f" of {FILES} assets", self.run_id, WAIT, 0)

    def hasten(self) -> None:
        self.instance.hasten(self.path, FILES)

    def tries(self, task_id: str) -> int:
        return int(self.airflow.instance(self.run_id, task_id, 0)["try_number"])

    def check_that_nothing_was_lost_or_doubled(self) -> None:
        """One job, every asset once, every log line pulled and archived, and a run that says so."""
        emulator = self.instance.emulator
        state = self.airflow.rest.wait_for_run(DAG, self.run_id, 600)
        assert state == "success", self.airflow.account(self.run_id)
        (job,) = emulator.jobs(self.path)
        assert job["state"] == "SUCCESS"
        assert [asset["times_processed"] for asset in emulator.assets(self.path)] == [1] * FILES
        logged = emulator.log_lines(job["processing_id"])
        assert pulled_lines(self.airflow.log(self.run_id, PULL, map_index=0)) == logged
        (row,) = self.airflow.rest.xcom(DAG, self.run_id, "report")
        assert row["processing_id"] == job["processing_id"]
        assert row["log_lines"] == len(logged)
        stored = Path(row["archive_uri"].removeprefix("file://"))
        assert sorted(file.name for file in stored.parent.iterdir()) == ["logs.zip", "manifest.json"]
        with zipfile.ZipFile(stored) as archive:
            assert archive.testzip() is None
            lines = b"".join(archive.read(name) for name in archive.namelist() if name.endswith(".log")).decode()
        assert lines.split("\n")[:-1] == logged


def killed_before_the_post(instances: Instances) -> None:
    with instances.new() as instance:
        instance.emulator.fault("history", "delay", seconds=LONGEST_ANSWER, after=1)
        run = Run.begin(instance)
        instance.wait_for_requests("history", 2)
        instances.airflow.kill_task(run.run_id, START, 0)
        assert instance.emulator.requests("start") == []
        run.check_that_nothing_was_lost_or_doubled()
        assert run.tries(START) >= 2


def killed_during_the_post_which_is_accepted_later(instances: Instances) -> None:
    with instances.new() as instance:
        instance.emulator.fault("start", "delay", seconds=25)
        run = Run.begin(instance)
        instance.wait_for_requests("start", 1)
        instances.airflow.kill_task(run.run_id, START, 0)
        assert instance.emulator.jobs() == []
        run.check_that_nothing_was_lost_or_doubled()
        assert run.tries(START) >= 2
        assert len(instance.emulator.requests("start")) == 1


def killed_between_the_post_and_its_answer(instances: Instances) -> None:
    with instances.new() as instance:
        instance.emulator.fault("start", "timeout_after")
        run = Run.begin(instance)
        instances.airflow.wait_until(lambda: instance.emulator.jobs(run.path), "the job")
        instances.airflow.kill_task(run.run_id, START, 0)
        run.check_that_nothing_was_lost_or_doubled()
        assert run.tries(START) >= 2
        assert len(instance.emulator.requests("start")) == 1


def killed_after_the_id_was_stored(instances: Instances) -> None:
    airflow, dag = instances.airflow, "held_start"
    with instances.new() as instance:
        path = instance.folder(FILES, rate=FAST)
        airflow.wait_until(lambda: airflow.rest.has_dag(dag), "the DAG")
        run_id = airflow.rest.trigger(dag, {"path": path, "connection_id": instance.connection_id})
        airflow.wait_until(lambda: airflow.rest.xcom(dag, run_id, "start", "processing_id"), "the id")
        airflow.kill_task(run_id, "start", dag_id=dag)
        assert airflow.rest.wait_for_run(dag, run_id, 600) == "success"
        (job,) = instance.emulator.jobs(path)
        assert job["state"] == "SUCCESS"
        assert len(instance.emulator.requests("start")) == 1
        assert airflow.rest.xcom(dag, run_id, "start")["origin"] == "recovered"


def killed_while_writing_the_archive(instances: Instances) -> None:
    with instances.new() as instance:
        instance.emulator.fault("download", "slow_body", seconds=LONGEST_ANSWER)
        run = Run.begin(instance, zip_padding_bytes=1_000_000)
        instance.wait_for_requests("download", 1)
        instances.airflow.kill_task(run.run_id, ARCHIVE, 0)
        (job,) = instance.emulator.jobs(run.path)
        archives = (instances.airflow.folder / "archive").rglob("logs.zip")
        assert [file for file in archives if job["processing_id"] in str(file)] == []
        run.check_that_nothing_was_lost_or_doubled()
        assert run.tries(ARCHIVE) >= 2


def instance_dead_in_the_middle_of_a_job(instances: Instances) -> None:
    with instances.new() as instance:
        run = Run.begin(instance, rate=SLOW)
        run.wait_for_work()
        instance.emulator.restart()
        run.hasten()
        run.check_that_nothing_was_lost_or_doubled()


def instance_dead_in_the_middle_of_a_download(instances: Instances) -> None:
    with instances.new() as instance:
        instance.emulator.fault("download", "slow_body", seconds=LONGEST_ANSWER)
        run = Run.begin(instance, zip_padding_bytes=1_000_000)
        instance.wait_for_requests("download", 1)
        instance.emulator.restart()
        run.check_that_nothing_was_lost_or_doubled()
        assert len(instance.emulator.requests("download")) >= 2


@pytest.fixture(scope="module")
def instances(airflow: LiveAirflow, tmp_path_factory: pytest.TempPathFactory) -> Instances:
    return Instances(airflow, tmp_path_factory.mktemp("deaths"))


@pytest.fixture(scope="module")
def played(
    request: pytest.FixtureRequest, instances: Instances
) -> Iterator[Mapping[Scenario[Instances], Future[None]]]:
    with played_together(request, instances) as futures:
        yield futures


@scenarios(
    killed_before_the_post,
    killed_during_the_post_which_is_accepted_later,
    killed_between_the_post_and_its_answer,
    killed_after_the_id_was_stored,
    killed_while_writing_the_archive,
    instance_dead_in_the_middle_of_a_job,
    instance_dead_in_the_middle_of_a_download,
)
def test_one_job_comes_of_one_request_and_nothing_is_lost(
    played: Mapping[Scenario[Instances], Future[None]], scenario: Scenario[Instances]
) -> None:
    played[scenario].result()


def test_a_triggerer_that_dies_is_replaced_without_repeating_the_log_and_what_is_killed_meanwhile_is_cancelled(
    instances: Instances,
) -> None:
    airflow = instances.airflow
    with instances.new() as instance:
        run, killed = Run.begin(instance, rate=SLOW), Run.begin(instance, rate=SLOW)
        run.wait_for_progress()
        killed.wait_for_progress()
        airflow.kill("triggerer")
        shown_before = len(airflow.log(run.run_id, WAIT, map_index=0))
        airflow.set_state(killed.run_id, WAIT, "failed", 0)
        assert airflow.rest.wait_for_run(DAG, killed.run_id, 600) == "failed"
        assert [job["state"] for job in instance.emulator.jobs(killed.path)] == ["CANCELLED"]
        airflow.restart("triggerer")
        airflow.wait_until(lambda: len(airflow.log(run.run_id, WAIT, map_index=0)) > shown_before, "the new triggerer")
        run.hasten()
        run.check_that_nothing_was_lost_or_doubled()
        shown = "\n".join(airflow.log(run.run_id, WAIT, map_index=0))
        assert "after a restart of the triggerer" in shown
        (job,) = instance.emulator.jobs(run.path)
        repeated = [line for line in instance.emulator.log_lines(job["processing_id"]) if shown.count(line) > 1]
        assert len(repeated) <= 500


def test_a_scheduler_that_dies_loses_neither_what_waits_nor_what_runs(instances: Instances) -> None:
    airflow = instances.airflow
    with instances.new() as instance:
        waiting = Run.begin(instance, rate=SLOW)
        waiting.wait_for_work()
        instance.emulator.fault("start", "timeout_after")
        running = Run.begin(instance, rate=SLOW)
        airflow.wait_until(lambda: instance.emulator.jobs(running.path), "the job")
        airflow.kill("scheduler")
        airflow.restart("scheduler")
        for run in (waiting, running):
            run.hasten()
        for run in (waiting, running):
            run.check_that_nothing_was_lost_or_doubled()
        assert running.tries(START) >= 2


class Reaper:
    """Kills something at random, with a seed; counts only what was alive.

    A task in its last try is spared: Airflow rightly fails a run whose task died as often as it may be tried.
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


def test_deaths_at_random_moments_double_and_lose_nothing(instances: Instances) -> None:
    with instances.new() as instance:
        reaper = Reaper(instance)
        runs: list[Run] = []
        alive: list[Run] = []
        while reaper.kills < KILLS:
            alive = [run for run in alive if not run.has_ended()]
            while len(alive) < AT_ONCE:
                alive.append(Run.begin(instance, rate=reaper.rate()))
                runs.append(alive[-1])
            time.sleep(reaper.pause())
            reaper.strike(alive)
        for run in runs:
            run.check_that_nothing_was_lost_or_doubled()
    print(f"\n{reaper.kills} kills at random moments, {len(runs)} runs: 0 duplicates, 0 losses")
