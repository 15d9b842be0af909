"""A batch on the real Airflow while another user works on the same instance, and what it leaves to examine."""

from __future__ import annotations

import csv
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psutil

from tests.support.airflow_stack import LiveAirflow
from tests.support.emulator import PASSWORD, EmulatorProcess

BATCH = "aem_guides_process_batch"
PATHS = "process_path"
START = "/bin/guides/v1/assets/process"


def outcome_rows(outcome: dict[str, Any]) -> list[dict[str, str]]:
    """The rows of the sheet that the report of a batch names."""
    with Path(outcome["outcome_uri"].removeprefix("file://")).open(newline="") as sheet:
        return list(csv.DictReader(sheet))


def virtual_folders(emulator: EmulatorProcess, root: str, count: int, *, files: int, rate: float) -> list[str]:
    """This many folders below a root."""
    paths = [f"{root}/folder-{number:05}" for number in range(count)]
    folders = [{"path": path, "files": files, "rate": rate} for path in paths]
    emulator.post("/emulator/virtual-folders", {"folders": folders})
    return paths


@contextmanager
def a_stranger_starting_jobs(emulator: EmulatorProcess, *, every: float, files: int, rate: float) -> Iterator[str]:
    """Another user who starts a job every few seconds, whatever the number of active jobs. Yields the root of the
    paths."""
    root = f"/content/dam/stranger-{uuid.uuid4().hex[:8]}"
    stop = threading.Event()
    failures: list[Exception] = []

    def work() -> None:
        number = 0
        with httpx.Client(base_url=emulator.url, auth=("admin", PASSWORD), trust_env=False, timeout=30) as client:
            while not stop.wait(every):
                path = f"{root}/{number}"
                try:
                    emulator_folder = {"path": path, "files": files, "rate": rate}
                    client.post("/emulator/virtual-folders", json=emulator_folder).raise_for_status()
                    client.post(START, json={"path": path, "type": "ASSET_PROCESSING"}).raise_for_status()
                except httpx.HTTPError as error:
                    failures.append(error)
                number += 1

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield root
    finally:
        stop.set()
        thread.join()
    assert not failures, failures


def fail_job(emulator: EmulatorProcess, path: str) -> None:
    """Let the last job on a path fail at its current position."""
    emulator.post("/emulator/jobs/fail", {"processingId": emulator.jobs(path)[-1]["processing_id"]})


def start_as_stranger(emulator: EmulatorProcess, path: str) -> None:
    """Start a job as another user."""
    body = {"path": path, "type": "ASSET_PROCESSING"}
    answer = httpx.post(f"{emulator.url}{START}", json=body, auth=("admin", PASSWORD), trust_env=False)
    answer.raise_for_status()


def states_of_paths(airflow: LiveAirflow, run_id: str, *states: str, dag_id: str = BATCH) -> int:
    """How many path tasks of a run are in one of the states."""
    where = f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{PATHS}/listMapped"
    answer = airflow.rest.request("GET", where, params={"limit": 1, "state": list(states)})
    return int(answer["total_entries"])


@dataclass
class Watcher:
    """The memory of triggerer and scheduler while a batch runs, in bytes."""

    airflow: LiveAirflow
    samples: dict[str, list[int]] = field(default_factory=lambda: {"triggerer": [], "scheduler": []})

    def look(self) -> None:
        """Take one sample."""
        for component, sizes in self.samples.items():
            sizes.append(memory_of(self.airflow, component))

    def late_growth(self, component: str) -> float:
        """The maximum of the last third of the samples, relative to the maximum of the second third."""
        sizes = self.samples[component]
        third = max(1, len(sizes) // 3)
        return max(sizes[-third:]) / max(sizes[third : 2 * third] or sizes)


def memory_of(airflow: LiveAirflow, component: str) -> int:
    """Unshared memory of a component, in bytes: for the triggerer with its child process, for others alone."""
    process = psutil.Process(airflow.stack.programs.running[component].pid)
    members = [process, *(process.children() if component == "triggerer" else [])]
    return sum(int(member.memory_full_info().uss) for member in members)


def starts_beyond(emulator: EmulatorProcess, root: str, limit: int) -> list[str]:
    """Our starts at a moment when the instance had shown us `limit` or more active jobs, ours included.

    A job that another user started between our last look at the history and our start could not be known.
    """
    jobs = emulator.jobs()
    looks = [request["at"] * 1000 for request in emulator.requests("history")]
    beyond = []
    for job in (job for job in jobs if job["path"].startswith(root)):
        looked = max(at for at in looks if at <= job["started"])
        active = [
            other
            for other in jobs
            if other["seq"] < job["seq"]
            and (not other["completed"] or other["completed"] > job["started"])
            and (other["path"].startswith(root) or other["started"] <= looked)
        ]
        if len(active) >= limit:
            beyond.append(f"{job['path']}: {[(other['path'], other['started']) for other in active]}")
    return beyond
