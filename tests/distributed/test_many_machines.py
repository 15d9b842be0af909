"""The services of docker-compose.yaml as processes: two workers, two triggerers, and the effect of the death of one."""

from __future__ import annotations

import json
import os
import re
import time
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import psutil
import pytest

from tests.support.airflow_stack import DAG, LEDGER, PULL
from tests.support.batch import BATCH, outcome_rows, virtual_folders
from tests.support.composed_airflow import ComposedAirflow
from tests.support.emulator import EmulatorProcess
from tests.support.runs import pulled_lines

BATCH_ROOT = "/content/dam/spread/batch"
RUN_ROOT = "/content/dam/spread/run"
IN_BATCH, IN_RUN = 6, 2
AT_WORK = 4
SLOW, QUICK = 0.5, 2000.0


@pytest.fixture(scope="module")
def spread(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ComposedAirflow]:
    folder = tmp_path_factory.mktemp("spread")
    with EmulatorProcess(folder) as emulator, ComposedAirflow(emulator) as running:
        yield running


def test_the_health_checks_of_the_file_say_healthy(spread: ComposedAirflow) -> None:
    programs = list(spread.stack.programs.running)
    assert programs == [
        "broker",
        "api-server",
        "scheduler",
        "dag-processor",
        "triggerer-1",
        "triggerer-2",
        "worker-1",
        "worker-2",
        "prune",
    ]
    asked = [name for name in programs[1:] if not name.endswith("-2")]
    spread.wait_until(lambda: all(map(spread.stack.healthy, asked)), "all are healthy")


@dataclass(frozen=True)
class Work:
    """Both kinds of runs at work at the same time, and the paths that each must process."""

    airflow: ComposedAirflow
    batch_run: str
    run: str
    batch_paths: list[str]
    run_paths: list[str]

    @property
    def paths(self) -> list[str]:
        return sorted(self.batch_paths + self.run_paths)

    def jobs(self) -> list[dict[str, Any]]:
        return [job for job in self.airflow.emulator.jobs() if job["path"].startswith("/content/dam/spread/")]


def start_work(airflow: ComposedAirflow) -> Work:
    """Jobs that last until the test hastens them."""
    emulator = airflow.emulator
    batch_paths = virtual_folders(emulator, BATCH_ROOT, IN_BATCH, files=100, rate=SLOW)
    run_paths = virtual_folders(emulator, RUN_ROOT, IN_RUN, files=100, rate=SLOW)
    run = airflow.rest.trigger(DAG, {"paths": run_paths, "max_active_jobs": IN_BATCH + IN_RUN})
    batch_run = airflow.rest.trigger(BATCH, {"paths": batch_paths, "max_active_jobs": IN_BATCH + IN_RUN})
    return Work(airflow, batch_run, run, batch_paths, run_paths)


def kill_a_worker_at_work(airflow: ComposedAirflow) -> str:
    """kill -9 to a whole worker while it runs a task. Returns its name."""
    at_work: list[str] = []

    def found() -> bool:
        at_work[:] = [name for name in ("worker-1", "worker-2") if airflow.task_processes(name)]
        return bool(at_work)

    airflow.wait_until(found, "a worker runs a task")
    airflow.kill(at_work[0])
    return at_work[0]


def triggers_held(airflow: ComposedAirflow) -> dict[int, list[int]]:
    """The triggers that each triggerer holds, by its job id."""
    rows = airflow.ask_database("SELECT triggerer_id, array_agg(id) FROM trigger WHERE triggerer_id > 0 GROUP BY 1")
    return {int(str(triggerer)): list(cast("list[int]", held)) for triggerer, held in rows}


def job_of(airflow: ComposedAirflow, triggerer: str) -> int | None:
    """The job id of a triggerer, which is the end of the names of its log files. None while it runs no trigger."""
    process = psutil.Process(airflow.stack.programs.running[triggerer].pid)
    written = [file.path for member in [process, *process.children(recursive=True)] for file in member.open_files()]
    found = {int(match[1]) for path in written if (match := re.search(r"\.trigger\.(\d+)\.log$", path))}
    return found.pop() if found else None


def kill_the_triggerer_with_most_at_work(airflow: ComposedAirflow) -> None:
    """kill -9 to the triggerer with the most triggers. Then wait until the other has taken them over.

    How triggers are spread is chance: one triggerer may hold all of them, and killing the other would prove nothing.
    """

    def programs() -> dict[int | None, str]:
        return {job_of(airflow, name): name for name in ("triggerer-1", "triggerer-2")}

    airflow.wait_until(lambda: sum(map(len, triggers_held(airflow).values())) >= AT_WORK, "triggers are held")
    held = triggers_held(airflow)
    dying = max(held, key=lambda job: len(held[job]))
    airflow.wait_until(lambda: dying in programs(), "it writes the logs of triggers")
    airflow.kill(programs()[dying])

    def taken_over() -> bool:
        now = triggers_held(airflow)
        others = {trigger for triggers in now.values() for trigger in triggers}
        return dying not in now and bool(others & set(held[dying]))

    airflow.wait_until(taken_over, "the other has taken them over")


def test_a_worker_and_a_triggerer_die_and_everything_is_done_once(spread: ComposedAirflow) -> None:
    emulator = spread.emulator
    work = start_work(spread)
    dead_worker = kill_a_worker_at_work(spread)
    spread.wait_until(lambda: len([job for job in work.jobs() if not job["completed"]]) >= AT_WORK, "jobs are active")
    kill_the_triggerer_with_most_at_work(spread)
    assert not spread.stack.healthy(dead_worker)
    for path in work.paths:
        emulator.virtual_folder(path, 100, rate=QUICK)
    assert spread.end_of(DAG, work.run) == "success"
    assert spread.end_of(BATCH, work.batch_run) == "success"

    jobs = work.jobs()
    assert sorted(job["path"] for job in jobs) == work.paths, "each path is processed, and once"
    assert {job["state"] for job in jobs} == {"SUCCESS"}
    rows = spread.rest.xcom(DAG, work.run, "report")
    rows += outcome_rows(spread.rest.xcom(BATCH, work.batch_run, "report"))
    assert sorted(row["path"] for row in rows) == work.paths
    for row in rows:
        (job,) = [job for job in jobs if job["processing_id"] == row["processing_id"]]
        assert archived_lines(row["archive_uri"]) == emulator.log_lines(job["processing_id"])
    noted = spread.ask_database("SELECT path, count(*) FROM aem_guides_job GROUP BY path", database=LEDGER)
    assert sorted((str(path), int(str(count))) for path, count in noted) == [(path, 1) for path in work.paths]
    pulled = [spread.log(work.run, "process_path.pull_logs", map_index=index) for index in range(IN_RUN)]
    for index, row in enumerate(spread.rest.xcom(DAG, work.run, "report")):
        whole = "\n".join(pulled[index]).split("\n")
        assert all(whole.count(line) == 1 for line in emulator.log_lines(row["processing_id"]))
    print(json.dumps({"jobs": len(jobs), "kills": 2, "duplicates": len(jobs) - len(work.paths), "losses": 0}))


def test_files_past_their_retention_are_deleted_and_the_rest_stays(spread: ComposedAirflow) -> None:
    """Follows the test before, and uses its runs."""
    logs = spread.stack.home / "logs"
    forgotten, kept = (spread.rest.request("GET", f"/dags/{dag}/dagRuns")["dag_runs"][0] for dag in (BATCH, DAG))
    spread.ask_database(
        "UPDATE dag_run SET start_date = start_date - interval '91 days' WHERE run_id = %s RETURNING 1",
        forgotten["dag_run_id"],
    )
    (old_folder,) = logs.glob(f"dag_id={BATCH}/run_id=*")
    for old in [*old_folder.rglob("*"), old_folder]:
        os.utime(old, times=(time.time() - 92 * 86400,) * 2)
    spread.kill("prune")
    (spread.stack.folder / "pruned").unlink()
    assert not spread.stack.healthy("prune")
    spread.restart("prune")
    spread.wait_until(lambda: spread.stack.healthy("prune"), "all is pruned")
    assert [spread.rest.request("GET", f"/dags/{dag}/dagRuns")["total_entries"] for dag in (BATCH, DAG)] == [0, 1]
    assert [file for file in old_folder.rglob("*") if file.is_file()] == []
    assert pulled_lines(spread.log(kept["dag_run_id"], PULL, map_index=0))
    noted = spread.ask_database("SELECT count(*) FROM aem_guides_job", database=LEDGER)
    assert noted == [(IN_BATCH + IN_RUN,)]


def archived_lines(archive_uri: str) -> list[str]:
    with zipfile.ZipFile(Path(archive_uri.removeprefix("file://"))) as stored:
        assert stored.testzip() is None
        return b"".join(stored.read(name) for name in stored.namelist()).decode().split("\n")[:-1]
