"""A batch on the real Airflow while a stranger works on the same instance, and what can be told of it afterwards."""

from __future__ import annotations

import threading
import time
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


def virtual_folders(emulator: EmulatorProcess, root: str, count: int, *, files: int, rate: float) -> list[str]:
    """So many folders below a root."""
    paths = [f"{root}/folder-{number:05}" for number in range(count)]
    folders = [{"path": path, "files": files, "rate": rate} for path in paths]
    emulator.post("/emulator/virtual-folders", {"folders": folders})
    return paths


@contextmanager
def a_stranger_starting_jobs(emulator: EmulatorProcess, *, every: float, files: int, rate: float) -> Iterator[str]:
    """Somebody who starts a job every so many seconds, not asking how many are active; gives the root of his paths."""
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
                    client.post(
                        "/bin/guides/v1/assets/process", json={"path": path, "type": "ASSET_PROCESSING"}
                    ).raise_for_status()
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


@dataclass
class Watcher:
    """What the machine shows while a batch runs: task processes, memory of the triggerer and the scheduler."""

    airflow: LiveAirflow
    run_id: str
    samples: list[dict[str, Any]] = field(default_factory=list)

    def look(self) -> None:
        """Take one sample."""
        states: dict[str, int] = {}
        for state in ("running", "queued", "deferred"):
            states[state] = self._count(state)
        self.samples.append(
            {
                "at": time.time(),
                **states,
                "triggerer": memory_of(self.airflow, "triggerer"),
                "scheduler": memory_of(self.airflow, "scheduler"),
            }
        )

    def _count(self, state: str) -> int:
        query = {"limit": 1, "state": [state], "task_id_pattern": PATHS}
        answer = self.airflow.rest.request("GET", f"/dags/{BATCH}/dagRuns/{self.run_id}/taskInstances", params=query)
        return int(answer["total_entries"])


def memory_of(airflow: LiveAirflow, component: str) -> int:
    """Unshared memory of a component and all of its children, in bytes."""
    process = psutil.Process(airflow.stack.programs.running[component].pid)
    total = 0
    for member in [process, *process.children(recursive=True)]:
        try:
            total += int(member.memory_full_info().uss)
        except psutil.Error:
            continue
    return total


def starts_beyond(emulator: EmulatorProcess, root: str, limit: int) -> list[str]:
    """Our starts at which the instance had shown us `limit` or more active jobs, ours among them.

    A stranger's job that was started between our last look at the history and our start could not be known.
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


def archives(folder: Path) -> int:
    """How many whole archives lie below a folder."""
    return len(list(folder.rglob("manifest.json")))
