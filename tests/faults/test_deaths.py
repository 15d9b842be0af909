"""Real deaths on the real Airflow: whatever dies, one job comes of one request, and nothing of it is lost."""

from __future__ import annotations

import os
import random
import signal
import time
import uuid
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from tests.e2e.test_process_assets import pulled_lines
from tests.support.airflow_stack import DAG, PULL, START, LiveAirflow

FILES = 60
KILLS = 300 if os.environ.get("AEM_GUIDES_SOAK") else 30
AT_ONCE = 6
SEED = 20260


@dataclass(frozen=True)
class Run:
    """One run of the main DAG on a folder of its own."""

    run_id: str
    path: str


def begin(airflow: LiveAirflow, *, rate: float = 20, **folder: object) -> Run:
    path = f"/content/dam/deaths-{uuid.uuid4().hex[:10]}"
    airflow.emulator.virtual_folder(path, FILES, rate=rate, **folder)
    return Run(airflow.rest.trigger(DAG, {"paths": [path], "max_active_jobs": 50}), path)


def check_that_nothing_was_lost_or_doubled(airflow: LiveAirflow, run: Run) -> None:
    """One job, every asset once, every log line pulled and archived, and a run that says so."""
    assert airflow.rest.wait_for_run(DAG, run.run_id, 240) == "success"
    (job,) = airflow.emulator.jobs(run.path)
    assert job["state"] == "SUCCESS"
    assert [asset["times_processed"] for asset in airflow.emulator.assets(run.path)] == [1] * FILES
    logged = airflow.emulator.log_lines(job["processing_id"])
    assert pulled_lines(airflow.log(run.run_id, PULL, map_index=0)) == logged
    (row,) = airflow.rest.xcom(DAG, run.run_id, "report")
    assert row["processing_id"] == job["processing_id"]
    assert row["log_lines"] == len(logged)
    with zipfile.ZipFile(Path(row["archive_uri"].removeprefix("file://"))) as archive:
        stored = b"".join(archive.read(name) for name in archive.namelist()).decode()
    assert stored.split("\n")[:-1] == logged


def task_processes(airflow: LiveAirflow) -> list[psutil.Process]:
    """The processes in which tasks run just now: the children of the executor's workers."""
    scheduler = psutil.Process(airflow.stack.programs.running["scheduler"].pid)
    found = []
    for worker in scheduler.children():
        for process in [worker, *worker.children(recursive=True)]:
            if process.ppid() != scheduler.pid:
                found.append(process)
    return found


def kill_task(airflow: LiveAirflow) -> int:
    """kill -9 to every process of a running task; how many there were."""
    killed = 0
    for process in task_processes(airflow):
        try:
            process.send_signal(signal.SIGKILL)
            killed += 1
        except psutil.Error:
            continue
    return killed


def wait_for_request(airflow: LiveAirflow, endpoint: str, before: int) -> None:
    airflow.wait_until(lambda: len(airflow.emulator.requests(endpoint)) > before, f"a request to {endpoint}")


@pytest.mark.parametrize(
    ("endpoint", "fault"),
    [
        ("history", {"kind": "delay", "seconds": 3}),
        ("start", {"kind": "delay", "seconds": 3}),
        ("start", {"kind": "timeout_after"}),
    ],
    ids=["before the POST", "during the POST", "between the POST and its answer"],
)
def test_a_start_that_is_killed_makes_one_job(airflow: LiveAirflow, endpoint: str, fault: dict[str, object]) -> None:
    emulator = airflow.emulator
    run_id_before = len(emulator.requests("system_status"))
    run = begin(airflow)
    wait_for_request(airflow, "system_status", run_id_before)
    before = len(emulator.requests(endpoint))
    emulator.post("/emulator/faults", {"endpoint": endpoint, **fault})
    try:
        wait_for_request(airflow, endpoint, before)
        assert kill_task(airflow) > 0
    finally:
        emulator.delete("/emulator/faults")
    check_that_nothing_was_lost_or_doubled(airflow, run)
    assert airflow.instance(run.run_id, START, 0)["try_number"] >= 2


def test_a_triggerer_that_dies_while_waiting_is_replaced_without_repeating_the_log(airflow: LiveAirflow) -> None:
    run = begin(airflow, rate=0.5)
    wait = "process_path.wait_for_processing"
    airflow.wait_for_state(run.run_id, wait, "deferred", map_index=0)
    airflow.wait_until(lambda: "of 60 assets" in "".join(airflow.log(run.run_id, wait, map_index=0)), "progress")
    airflow.kill("triggerer")
    airflow.restart("triggerer")
    shown_before = len(airflow.log(run.run_id, wait, map_index=0))
    airflow.wait_until(lambda: len(airflow.log(run.run_id, wait, map_index=0)) > shown_before, "the new triggerer")
    airflow.emulator.virtual_folder(run.path, FILES, rate=20)
    check_that_nothing_was_lost_or_doubled(airflow, run)
    shown = "\n".join(airflow.log(run.run_id, wait, map_index=0))
    assert "after a restart of the triggerer" in shown
    (job,) = airflow.emulator.jobs(run.path)
    repeated = [line for line in airflow.emulator.log_lines(job["processing_id"]) if shown.count(line) > 1]
    assert len(repeated) <= 500


def test_a_scheduler_that_dies_loses_nothing(airflow: LiveAirflow) -> None:
    run = begin(airflow, rate=3)
    airflow.wait_until(lambda: airflow.emulator.jobs(run.path), "the job")
    airflow.kill("scheduler")
    airflow.restart("scheduler")
    check_that_nothing_was_lost_or_doubled(airflow, run)


def test_an_instance_that_dies_in_the_middle_of_a_job_is_waited_for(airflow: LiveAirflow) -> None:
    run = begin(airflow, rate=3)
    airflow.wait_until(
        lambda: airflow.emulator.jobs(run.path) and airflow.emulator.jobs(run.path)[0]["position"], "work"
    )
    airflow.emulator.kill()
    airflow.emulator.restart()
    check_that_nothing_was_lost_or_doubled(airflow, run)


def test_an_instance_that_dies_in_the_middle_of_a_download_leaves_no_partial_archive(airflow: LiveAirflow) -> None:
    before = len(airflow.emulator.requests("download"))
    path = f"/content/dam/deaths-{uuid.uuid4().hex[:10]}"
    airflow.emulator.virtual_folder(path, FILES, rate=500, zip_padding_bytes=300_000_000)
    run_id = airflow.rest.trigger(DAG, {"paths": [path], "max_active_jobs": 50})
    wait_for_request(airflow, "download", before)
    airflow.emulator.kill()
    airflow.emulator.restart()
    assert airflow.rest.wait_for_run(DAG, run_id, 240) == "success"
    (row,) = airflow.rest.xcom(DAG, run_id, "report")
    folder = Path(row["archive_uri"].removeprefix("file://")).parent
    assert sorted(file.name for file in folder.iterdir()) == ["logs.zip", "manifest.json"]
    with zipfile.ZipFile(folder / "logs.zip") as archive:
        assert archive.testzip() is None


def _kill_a_task(airflow: LiveAirflow) -> bool:
    return kill_task(airflow) > 0


def _kill_the_triggerer(airflow: LiveAirflow) -> bool:
    airflow.kill("triggerer")
    airflow.restart("triggerer")
    return True


def _kill_the_instance(airflow: LiveAirflow) -> bool:
    airflow.emulator.kill()
    airflow.emulator.restart()
    return True


VICTIMS: list[Callable[[LiveAirflow], bool]] = [
    _kill_a_task,
    _kill_a_task,
    _kill_a_task,
    _kill_the_triggerer,
    _kill_the_instance,
]


def test_deaths_at_random_moments_double_and_lose_nothing(airflow: LiveAirflow) -> None:
    chance = random.Random(SEED)
    kills = 0
    runs: list[Run] = []
    while kills < KILLS:
        batch = [begin(airflow, rate=chance.choice([4, 10, 30])) for _ in range(AT_ONCE)]
        runs += batch
        for _ in range(AT_ONCE + 2):
            moment = chance.uniform(0, 4)
            airflow.wait_until(_clock(moment), "the moment", within=30)
            kills += chance.choice(VICTIMS)(airflow)
        for run in batch:
            check_that_nothing_was_lost_or_doubled(airflow, run)
    print(f"\n{kills} kills at random moments, {len(runs)} runs: 0 duplicates, 0 losses")


def _clock(seconds: float) -> Callable[[], bool]:
    end = time.monotonic() + seconds
    return lambda: time.monotonic() >= end
