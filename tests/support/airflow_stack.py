"""The real Airflow for tests: PostgreSQL, API server, scheduler, DAG processor, triggerer, each a process."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol, Self

import httpx
import psutil
import psycopg2
from psycopg2.extensions import connection as Connection  # a class in small letters

from local.processes import Programs, free_port
from local.rest import END_STATES, AirflowRest
from local.stack import Stack, StackOptions
from tests.support.emulator import MANY, PASSWORD, ROOT, EmulatorProcess

DAG = "aem_guides_process_assets"
START = "process_path.start_processing"
WAIT = "process_path.wait_for_processing"
PULL = "process_path.pull_logs"
ARCHIVE = "process_path.archive_logs"
VERIFY = "process_path.verify_assets"
DATABASE, LEDGER = "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN", "AIRFLOW_CONN_AEM_GUIDES_LEDGER"
PATIENCE = 600.0
"""The longest wait for a condition, in seconds. It limits a failing test, and is not a measure of speed."""
LONGEST_PAUSE = 1.5
"""The longest pause in seconds between two looks. Many tests look at the same time, and each look is work for the API
server."""

_TASK_TITLE = re.compile(r"airflow worker -- ([0-9a-f]{8}-[0-9a-f-]{27})\b")

QUICK_RECOVERY = {
    "AIRFLOW__AEM_GUIDES__FIRST_RETRY_SECONDS": "1",
    "AIRFLOW__TRIGGERER__JOB_HEARTBEAT_SEC": "2",
    "AIRFLOW__TRIGGERER__TRIGGERER_HEALTH_CHECK_THRESHOLD": "10",
    "AIRFLOW__SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL": "10",
}
"""Airflow notices dead processes sooner. Its reaction stays the same."""

MANY_AT_ONCE = {
    "AIRFLOW__CORE__PARALLELISM": "16",
    "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "600",
    "AIRFLOW__DATABASE__SQL_ALCHEMY_POOL_PRE_PING": "False",
}
"""Tasks that tests hold back leave room for others. No core is busy with unchanged DAGs, or with pings."""

FORKED_READY = """
import sys

if "scheduler" in sys.argv:
    import airflow.providers.amazon.aws.hooks.s3
    import aem_guides.pipelines.batch
    import aem_guides.ledger
    import aem_guides.pipelines.process
    import aem_guides.pipelines.reconcile
"""
"""With these settings, the scheduler imports the modules of tasks before it forks, which saves a third of a task's
work."""


class RunningStack(Protocol):
    """The programs of an Airflow: those of `make up`, or of docker-compose.yaml."""

    environment: dict[str, str]
    programs: Programs
    rest: AirflowRest

    def __enter__(self) -> Any: ...

    def __exit__(self, *exception: object) -> None: ...


class LiveAirflow:
    """A running Airflow with one emulator, and the actions of tests on it."""

    stack: RunningStack

    def __init__(self, emulator: EmulatorProcess, environment: Mapping[str, str] | None = None) -> None:
        self.emulator = emulator
        self._given_up = threading.Event()
        self.folder = folder = Path(tempfile.mkdtemp(prefix="aem-guides-stack-"))
        dags = folder / "dags"
        for source in (ROOT / "dags", ROOT / "tests" / "support" / "dags"):
            shutil.copytree(source, dags, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
        self.plans_file = folder / "plans.yaml"
        self.paths_files_folder = folder / "paths"
        self.paths_files_folder.mkdir()
        plans = (ROOT / "tests" / "support" / "plans.yaml").read_text()
        self.plans_file.write_text(plans.replace("FOLDER", str(folder)))
        options = StackOptions(
            folder=folder,
            emulator=False,
            dags_folder=dags,
            environment={
                "AIRFLOW__API__PORT": str(free_port()),
                "AIRFLOW_CONN_AEM_GUIDES_DEFAULT": emulator.connection(read_timeout=10, requests_per_second=MANY),
                **QUICK_RECOVERY,
                **MANY_AT_ONCE,
                # Tests count requests: the reconciliation runs when they say.
                "AIRFLOW__AEM_GUIDES__RECONCILE_SCHEDULE": "never",
                "AIRFLOW__AEM_GUIDES__RECONCILE_REMEDIES": "archive, resume, adopt, alert",
                "AIRFLOW__AEM_GUIDES__ALERT_NOTIFIER": json.dumps(
                    {
                        "class": "file_notifier.FileNotifier",
                        "kwargs": {"file": str(folder / "alerts.txt"), "text": "{{ aem_guides_alert }}"},
                    }
                ),
                "AIRFLOW__AEM_GUIDES__PATHS_FILES_FOLDER": str(self.paths_files_folder),
                "AIRFLOW__AEM_GUIDES__PLANS_FILE": str(self.plans_file),
                "AIRFLOW_CONN_WRONG_PASSWORD": emulator.connection().replace(PASSWORD, "not-the-password"),
                "AIRFLOW_CONN_NO_HOST": '{"conn_type": "aem_guides", "login": "admin", "password": "x"}',
                "AIRFLOW_CONN_NOBODY_THERE": emulator.connection().replace(emulator.url, "http://127.0.0.1:9"),
                "AIRFLOW__AEM_GUIDES__ARCHIVE_URI": f"file://{folder / 'archive'}",
                **(environment or {}),
            },
            grace_seconds=3.0,
        )
        self.stack = Stack(options)
        settings = folder / "airflow" / "config" / "airflow_local_settings.py"
        settings.parent.mkdir(parents=True)
        settings.write_text(FORKED_READY)

    def __enter__(self) -> Self:
        self.stack.__enter__()
        self.rest.be_patient(PATIENCE)
        return self

    def __exit__(self, *exception: object) -> None:
        if "_lookout" in vars(self):
            self._lookout.close()
        self.stack.__exit__(*exception)
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def rest(self) -> AirflowRest:
        return self.stack.rest

    @cached_property
    def _lookout(self) -> Connection:
        """A connection for short looks, shared by all threads."""
        connection: Connection = psycopg2.connect(self.stack.environment[DATABASE].replace("+psycopg2", ""))
        connection.autocommit = True
        return connection

    def run_dag(self, dag_id: str, conf: Mapping[str, object], within: float = PATIENCE) -> tuple[str, str]:
        """Start a run of any DAG, wait for its end, and return its id and state."""
        run_id = self.rest.trigger(dag_id, conf)
        return run_id, self.end_of(dag_id, run_id, within)

    def run_state(self, dag_id: str, run_id: str) -> str:
        """The current state of a run."""
        return str(self._of_run("state", dag_id, run_id))

    def end_of(self, dag_id: str, run_id: str, within: float = PATIENCE) -> str:
        """Wait for the end of a run and return its state."""
        self.wait_until(lambda: self.run_state(dag_id, run_id) in END_STATES, f"the end of {dag_id} {run_id}", within)
        return self.run_state(dag_id, run_id)

    def connect(self, connection_id: str, connection: str) -> None:
        """Create an Airflow connection from its JSON form, as a user does in the UI."""
        fields = json.loads(connection)
        extra = json.dumps(fields.pop("extra", {}))
        self.rest.request("POST", "/connections", json={"connection_id": connection_id, "extra": extra, **fields})

    def ask_database(self, statement: str, *values: object, database: str = DATABASE) -> list[tuple[object, ...]]:
        """Run one statement on the database in this environment variable, and return its rows, if any."""
        uri = self.stack.environment[database].replace("+psycopg2", "")
        with contextlib.closing(psycopg2.connect(uri)) as connection, connection, connection.cursor() as cursor:
            cursor.execute(statement, values)
            return list(cursor.fetchall()) if cursor.description else []

    def run(self, conf: Mapping[str, object], within: float = PATIENCE) -> tuple[str, str]:
        """Start a run of the main DAG, wait for its end, and return its id and state."""
        return self.run_dag(DAG, conf, within)

    def instance(self, run_id: str, task_id: str, map_index: int = -1, *, dag_id: str = DAG) -> dict[str, Any]:
        """One task instance. A mapped one is selected by its index."""
        asked = (
            "SELECT row_to_json(t) FROM task_instance t"
            " WHERE dag_id = %s AND run_id = %s AND task_id = %s AND map_index = %s"
        )
        rows = self._look(asked, dag_id, run_id, task_id, map_index)
        found: list[dict[str, Any]] = [row for (row,) in rows if isinstance(row, dict)]
        return found[0] if found else {"state": None, "try_number": 0}

    def starts(self, run_id: str, task_id: str, map_index: int = -1, *, dag_id: str = DAG) -> int:
        """How often a worker has begun to work on a task, over all tries, also after it was deferred."""
        asked = (
            "SELECT count(*) FROM log WHERE event = 'running'"
            " AND dag_id = %s AND run_id = %s AND task_id = %s AND map_index = %s"
        )
        return int(str(self._look(asked, dag_id, run_id, task_id, map_index)[0][0]))

    def _of_run(self, column: str, dag_id: str, run_id: str) -> object:
        """One column of a run. None if the row does not exist yet, because the API answers a moment before it
        commits."""
        asked = f"SELECT {column} FROM dag_run WHERE dag_id = %s AND run_id = %s"  # noqa: S608  # a name of ours
        rows = self._look(asked, dag_id, run_id)
        return rows[0][0] if rows else None

    def _look(self, statement: str, *values: object) -> list[tuple[object, ...]]:
        """Query Airflow's database for an awaited fact. A look through the API server costs a hundred times as much."""
        with self._lookout.cursor() as cursor:
            cursor.execute(statement, values)
            return list(cursor.fetchall())

    def wait_until(self, met: Callable[[], object], what: str, within: float = PATIENCE) -> None:
        """Await a condition."""
        deadline, pause = time.monotonic() + within, 0.2
        while not met():
            assert time.monotonic() < deadline, f"not within {within} s: {what}"
            self.pause(pause)
            pause = min(LONGEST_PAUSE, pause * 1.3)

    def pause(self, seconds: float) -> None:
        """Let some time pass, unless the tests are ending early."""
        assert not self._given_up.wait(seconds), "the tests are given up"

    def give_up(self) -> None:
        """End all waits, because the tests are ending early."""
        self._given_up.set()

    def wait_for_state(
        self,
        run_id: str,
        task_id: str,
        *states: str,
        map_index: int = -1,
        within: float = PATIENCE,
        dag_id: str = DAG,
    ) -> None:
        self.wait_until(
            lambda: self.instance(run_id, task_id, map_index, dag_id=dag_id)["state"] in states,
            f"{task_id} in {states}",
            within,
        )

    def log(
        self, run_id: str, task_id: str, attempt: int | None = None, map_index: int = -1, *, dag_id: str = DAG
    ) -> list[str]:
        """The records of one try's log; of the last try by default."""
        if attempt is None:
            attempt = max(1, self.instance(run_id, task_id, map_index, dag_id=dag_id)["try_number"])
        return self.rest.log_events(dag_id, run_id, task_id, attempt, map_index)

    def whole_log(
        self, run_id: str, task_id: str, map_index: int = -1, *, attempt: int | None = None, dag_id: str = DAG
    ) -> str:
        """The log of a try, the last one by default, with all that its records hold, exceptions too, as JSON."""
        if attempt is None:
            attempt = max(1, self.instance(run_id, task_id, map_index, dag_id=dag_id)["try_number"])
        path = f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/logs/{attempt}"
        wanted = {"full_content": "true", "map_index": str(map_index)}
        return json.dumps(self.rest.request("GET", path, params=wanted), ensure_ascii=False)

    def account(self, run_id: str, *, dag_id: str = DAG) -> str:
        """The state of each task of a run, and the end of the log of each failed task: for a test's message."""
        reported = []
        for found in self.rest.task_instances(dag_id, run_id):
            task_id, index, state = found["task_id"], found["map_index"], found["state"]
            reported.append(
                f"{task_id}[{index}]: {state} after {found['try_number']} of {found['max_tries'] + 1} tries"
            )
            if state == "failed":
                for attempt in self.rest.tries(dag_id, run_id, task_id, index):
                    log = self.whole_log(run_id, task_id, index, attempt=attempt, dag_id=dag_id)
                    reported.append(f"  try {attempt} ends: {log[-1500:]}")
        return "\n".join(reported)

    def components_said(self, words: str, run_id: str) -> list[str]:
        """The lines of the components' own logs, not those of tasks, that contain the words and concern a run."""
        logs = (program.log.read_text(errors="replace") for program in self.stack.programs.running.values())
        return [line for log in logs for line in log.splitlines() if words in line and run_id in line]

    def tries_that_said(self, words: str, run_id: str, task_id: str, map_index: int = -1, *, dag_id: str = DAG) -> int:
        """The number of tries whose logs contain the words.

        Airflow cuts a try short if its executor reports too late that the part before the deferring ended. Then it
        begins another try and forgets this one, of which only the log files are left. Such a try counts if no other try
        has the words.
        """
        kept = self.rest.tries(dag_id, run_id, task_id, map_index)
        said = {attempt for attempt, log in self._log_files(dag_id, run_id, task_id, map_index) if words in log}
        return len(said.intersection(kept)) or min(1, len(said))

    def logged_in_all_tries(self, run_id: str, task_id: str, map_index: int = -1, *, dag_id: str = DAG) -> list[str]:
        """The texts of the records of all tries of a task, also of those that Airflow cut short and forgot."""
        logs = (log for _, log in self._log_files(dag_id, run_id, task_id, map_index))
        return [str(json.loads(line).get("event")) for log in logs for line in log.splitlines() if line.startswith("{")]

    def _log_files(self, dag_id: str, run_id: str, task_id: str, map_index: int) -> Iterator[tuple[int, str]]:
        """The log files of a task, each with the number of its try: the worker's, and one for each trigger."""
        folder = self.folder / "airflow" / "logs" / f"dag_id={dag_id}" / f"run_id={run_id}" / f"task_id={task_id}"
        for file in (folder / f"map_index={map_index}" if map_index >= 0 else folder).glob("attempt=*.log*"):
            yield int(file.name.split("=")[1].split(".")[0]), file.read_text(errors="replace")

    def wait_for_words(self, words: str, run_id: str, task_id: str, map_index: int = -1, *, dag_id: str = DAG) -> None:
        """Wait until the log of a task's last try contains the words."""

        def said() -> bool:
            last = self.instance(run_id, task_id, map_index, dag_id=dag_id)["try_number"]
            logs = self._log_files(dag_id, run_id, task_id, map_index)
            return any(words in log for attempt, log in logs if attempt == last)

        self.wait_until(said, f"{words!r} in the log of {task_id}")

    def set_state(self, run_id: str, task_id: str, state: str, map_index: int = -1, *, dag_id: str = DAG) -> None:
        """Mark a task instance, as a user does in the UI."""
        where = f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}"
        if map_index >= 0:
            where += f"/{map_index}"
        self._act("PATCH", where, json={"new_state": state}, params={"update_mask": "new_state"})

    def fail_run(self, dag_id: str, run_id: str) -> None:
        """Mark a whole run failed, as a user does in the UI."""
        self._act("PATCH", f"/dags/{dag_id}/dagRuns/{run_id}", json={"state": "failed"})

    def _act(self, method: str, where: str, **asked: Any) -> None:
        """Send a request to Airflow, and once more if it answers 500, as a user does.

        It did so while the scheduler worked on the same run.
        """
        try:
            self.rest.request(method, where, **asked)
        except httpx.HTTPStatusError as error:
            if error.response.status_code != httpx.codes.INTERNAL_SERVER_ERROR:
                raise
            self.rest.request(method, where, **asked)

    def clear(self, run_id: str, task_id: str, map_index: int = -1, *, dag_id: str = DAG) -> None:
        """Clear a task and the tasks after it, as a user does in the UI."""
        chosen: list[object] = [[task_id, map_index]] if map_index >= 0 else [task_id]
        body: dict[str, object] = {
            "dry_run": False,
            "dag_run_id": run_id,
            "task_ids": chosen,
            "include_downstream": True,
            "only_failed": False,
            "reset_dag_runs": True,
        }
        with self.clearing(dag_id, run_id):
            self._act("POST", f"/dags/{dag_id}/clearTaskInstances", json=body)

    @contextlib.contextmanager
    def clearing(self, dag_id: str, run_id: str) -> Iterator[None]:
        """Clear tasks of a run inside. Until Airflow has committed that, which it does after its answer, the run has
        its old state."""
        clears = self._of_run("clear_number", dag_id, run_id)
        yield
        self.wait_until(lambda: self._of_run("clear_number", dag_id, run_id) != clears, f"the clear in {run_id}")

    def kill(self, component: str) -> None:
        """kill -9 to a component and all of its children."""
        process = psutil.Process(self.stack.programs.running[component].pid)
        for member in [*process.children(recursive=True), process]:
            _kill(member.pid)
        self.stack.programs.running[component].process.wait(10)

    def restart(self, component: str) -> None:
        self.stack.programs.restart(component)

    def task_processes(self, component: str = "scheduler") -> dict[str, psutil.Process]:
        """The processes in which a component currently runs tasks, by the ids of their task instances."""
        found = {}
        for process in psutil.Process(self.stack.programs.running[component].pid).children(recursive=True):
            with contextlib.suppress(psutil.Error):
                if title := _TASK_TITLE.match(" ".join(process.cmdline())):
                    found[title[1]] = process
        return found

    def kill_task(self, run_id: str, task_id: str, map_index: int = -1, *, dag_id: str = DAG) -> None:
        """kill -9 to the process in which a task runs, as soon as there is one."""

        def killed() -> bool:
            instance = self.instance(run_id, task_id, map_index, dag_id=dag_id)
            process = self.task_processes().get(str(instance.get("id")))
            if process is not None:
                _kill(process.pid)
            return process is not None

        self.wait_until(killed, f"a process of {task_id}")


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return
