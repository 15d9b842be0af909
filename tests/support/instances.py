"""Separate instances for tests that share one Airflow, so that a test on its instance does not disturb others."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.support.airflow_stack import DAG, LiveAirflow
from tests.support.emulator import MANY, EmulatorProcess

SLOW, FAST = 0.25, 50.0
"""Assets a second: for a job that must still run when something happens, and for one that may end."""

LONGEST_ANSWER = 3600.0
"""How long Airflow waits for an answer of such an instance, in seconds. An answer that a test holds back does not time
out."""


def patient_connection(emulator: EmulatorProcess) -> str:
    """User and password, with very long time-outs."""
    return emulator.connection(read_timeout=LONGEST_ANSWER, requests_per_second=MANY)


@dataclass
class Instance:
    """An instance that Airflow knows by `connection_id`, for as long as the context lasts."""

    airflow: LiveAirflow
    emulator: EmulatorProcess
    connection_id: str
    connection: Callable[[EmulatorProcess], str] = patient_connection

    def __enter__(self) -> Instance:
        self.emulator.__enter__()
        try:
            self.airflow.connect(self.connection_id, self.connection(self.emulator))
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *exception: object) -> None:
        self.emulator.__exit__()

    def folder(self, files: int, *, rate: float, **more: object) -> str:
        """Create a new virtual folder."""
        path = f"/content/dam/own-{uuid.uuid4().hex[:10]}"
        self.emulator.virtual_folder(path, files, rate=rate, **more)
        return path

    def trigger(self, path: str, conf: Mapping[str, object] | None = None, *, dag_id: str = DAG) -> str:
        """Start a run of the main DAG, or of one with its tasks, on a path of this instance. Returns its id."""
        self.airflow.wait_until(lambda: self.airflow.rest.has_dag(dag_id), f"the DAG {dag_id}")
        given = {"paths": [path], "connection_id": self.connection_id, "max_active_jobs": 100}
        return self.airflow.rest.trigger(dag_id, {**given, **(conf or {})})

    def hasten(self, path: str, files: int) -> None:
        """Let the current job and the next ones on a slow folder end soon, because the test has seen what it waited
        for."""
        self.emulator.virtual_folder(path, files, rate=FAST)

    def wait_for_requests(self, endpoint: str, count: int) -> None:
        """Wait until this many requests to an endpoint have come, answered or not."""
        self.airflow.wait_until(lambda: len(self.emulator.requests(endpoint)) >= count, f"requests to {endpoint}")


@dataclass
class Instances:
    """Makes instances."""

    airflow: LiveAirflow
    folder: Path

    def new(
        self,
        settings: Mapping[str, object] | None = None,
        connection: Callable[[EmulatorProcess], str] = patient_connection,
    ) -> Instance:
        """An instance whose emulator has these settings. Its window shows all jobs of a test."""
        name = f"own_{uuid.uuid4().hex[:10]}"
        emulator = EmulatorProcess(self.folder / name, settings={"window": 200, **(settings or {})})
        return Instance(self.airflow, emulator, name, connection)
