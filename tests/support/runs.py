"""Runs on the real Airflow, path by path: how they begin, conditions to wait for, and their results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from tests.support.airflow_stack import DAG, WAIT, LiveAirflow
from tests.support.instances import SLOW, Instance

FILES = 150


@dataclass(frozen=True)
class Run:
    """One path of a run that has the tasks of the main DAG."""

    instance: Instance
    path: str
    run_id: str
    dag_id: str = DAG
    files: int = FILES
    index: int = 0

    @classmethod
    def begin(
        cls,
        instance: Instance,
        *,
        rate: float = SLOW,
        files: int = FILES,
        conf: Mapping[str, object] | None = None,
        dag_id: str = DAG,
        **folder: object,
    ) -> Run:
        """Start a run on a new folder."""
        path = instance.folder(files, rate=rate, **folder)
        return cls(instance, path, instance.trigger(path, conf, dag_id=dag_id), dag_id, files)

    @classmethod
    def begin_on(cls, instance: Instance, paths: Sequence[str], *, files: int = FILES, **conf: object) -> list[Run]:
        """Start one run on several folders. Returns a `Run` for each of them."""
        run_id = instance.trigger(paths[0], {"paths": list(paths), **conf})
        first = cls(instance, paths[0], run_id, files=files)
        return [replace(first, path=path, index=index) for index, path in enumerate(paths)]

    @property
    def airflow(self) -> LiveAirflow:
        return self.instance.airflow

    def again(self, **conf: object) -> Run:
        """Another run on the same path."""
        return replace(self, run_id=self.instance.trigger(self.path, conf), index=0)

    def wait_for(self, task_id: str, *states: str) -> None:
        self.airflow.wait_for_state(self.run_id, task_id, *states, map_index=self.index, dag_id=self.dag_id)

    def wait_for_words(self, words: str, task_id: str) -> None:
        self.airflow.wait_for_words(words, self.run_id, task_id, self.index, dag_id=self.dag_id)

    def wait_for_progress(self) -> None:
        """Wait until the trigger has shown progress, which means that it runs."""
        self.wait_for(WAIT, "deferred")
        self.wait_for_words(f" of {self.files} assets", WAIT)

    def wait_for_work(self) -> None:
        """Wait until the job has processed an asset and its task waits for it."""
        self.wait_for(WAIT, "deferred")
        self.airflow.wait_until(lambda: self.instance.emulator.jobs(self.path)[0]["position"] > 0, "work")

    def wait_for_second_try(self, task_id: str) -> None:
        self.airflow.wait_until(lambda: self.tries(task_id) >= 2, f"the second try of {task_id}")

    def wait_until_job_is(self, state: str) -> None:
        self.airflow.wait_until(lambda: self.jobs()[0]["state"] == state, f"the job {state}")

    def wait_until_resumed(self, times: int) -> None:
        """Wait until the job runs after this many resumes."""

        def resumed() -> bool:
            return any((job["state"], job["resumes"]) == ("RUNNING", times) for job in self.jobs())

        self.airflow.wait_until(resumed, f"{times} resumes")

    def hasten(self) -> None:
        self.instance.hasten(self.path, self.files)

    def mark(self, task_id: str, state: str) -> None:
        """Mark a task of the path, as a user does in the UI."""
        self.airflow.set_state(self.run_id, task_id, state, self.index, dag_id=self.dag_id)

    def clear(self, task_id: str) -> None:
        """Clear a task and the tasks after it, as a user does in the UI."""
        self.airflow.clear(self.run_id, task_id, dag_id=self.dag_id)

    def fail(self) -> None:
        """Mark the whole run failed."""
        self.airflow.fail_run(self.dag_id, self.run_id)

    def state(self) -> str:
        return self.airflow.run_state(self.dag_id, self.run_id)

    def end(self) -> str:
        """Wait for the run's end and return its state."""
        return self.airflow.end_of(self.dag_id, self.run_id)

    def row(self) -> dict[str, object]:
        """The path's row of the report."""
        return dict(self.airflow.rest.xcom(self.dag_id, self.run_id, "report")[self.index])

    def jobs(self) -> list[dict[str, object]]:
        return self.instance.emulator.jobs(self.path)

    def tries(self, task_id: str) -> int:
        return int(self.airflow.instance(self.run_id, task_id, self.index, dag_id=self.dag_id)["try_number"])

    def starts(self, task_id: str) -> int:
        """How often a worker has begun to work on a task of the path."""
        return self.airflow.starts(self.run_id, task_id, self.index, dag_id=self.dag_id)

    def xcom(self, task_id: str, key: str = "return_value") -> object:
        """An XCom of a task of the path."""
        return self.airflow.rest.xcom(self.dag_id, self.run_id, task_id, key, self.index)

    def tries_that_said(self, words: str, task_id: str) -> int:
        return self.airflow.tries_that_said(words, self.run_id, task_id, self.index, dag_id=self.dag_id)

    def log(self, task_id: str) -> list[str]:
        """The records of the last try of a task of the path."""
        return self.airflow.log(self.run_id, task_id, map_index=self.index, dag_id=self.dag_id)

    def whole_log(self, task_id: str) -> str:
        return self.airflow.whole_log(self.run_id, task_id, self.index, dag_id=self.dag_id)

    def times_processed(self) -> list[int]:
        return [asset["times_processed"] for asset in self.instance.emulator.assets(self.path)]


def pulled_lines(records: list[str]) -> list[str]:
    """The instance's lines among the records of a pull_logs log."""
    first = next(n for n, record in enumerate(records) if record.endswith("from its first line:"))
    last = next(n for n, record in enumerate(records) if "ends here:" in record)
    return "\n".join(records[first + 1 : last]).split("\n")
