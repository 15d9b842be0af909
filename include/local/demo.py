"""The demo: one run over REST on our content, its progress, and its results."""

from __future__ import annotations

import re
import time
import zipfile
from pathlib import Path
from typing import Any

from tabulate import tabulate

from local.rest import AirflowRest
from local.stack import CONTENT_MOUNT, MAIN_DAG, Stack

PATHS = [f"{CONTENT_MOUNT}/guides", f"{CONTENT_MOUNT}/reference"]
RECONCILE_DAG = "aem_guides_reconcile_history"
WAIT_TASK = "process_path.wait_for_processing"
_PROGRESS = re.compile(r"^[\d,]+ of [\d,]+ assets|counting the assets")
_NOT_SHOWN = (None, "scheduled", "queued")
_COLUMNS = ("path", "state", "total_files", "triggered_count", "failed_assets", "resumes", "log_lines")


class Watcher:
    """Shows the changes in a run since the last look."""

    def __init__(self, rest: AirflowRest, run_id: str) -> None:
        self._rest = rest
        self._run_id = run_id
        self._states: dict[tuple[str, int], str] = {}
        self._shown: dict[int, int] = {}
        self._paths: dict[int, str] = {}

    def look(self) -> None:
        """Show new progress lines and changes of state."""
        for instance in self._rest.task_instances(MAIN_DAG, self._run_id):
            key = (instance["task_id"], instance["map_index"])
            state = instance["state"]
            changed = state != self._states.get(key) and state not in _NOT_SHOWN
            if instance["task_id"] == WAIT_TASK and (state == "deferred" or changed):
                self._show_progress(instance)
            if changed:
                self._states[key] = state
                say(f"  {self._label(instance)}: {state}")

    def _show_progress(self, instance: dict[str, Any]) -> None:
        index = instance["map_index"]
        events = self._rest.log_events(MAIN_DAG, self._run_id, WAIT_TASK, max(1, instance["try_number"]), index)
        lines = [event for event in events if _PROGRESS.search(event)]
        for line in lines[self._shown.get(index, 0) :]:
            say(f"      {self._label(instance)}: {line}")
        self._shown[index] = len(lines)

    def _label(self, instance: dict[str, Any]) -> str:
        """As `label`, with the path from an earlier task: Airflow gives only the index until a task has begun."""
        index = instance["map_index"]
        path = instance["rendered_map_index"]
        if path and path != str(index):
            self._paths[index] = path
        return label({**instance, "rendered_map_index": self._paths.get(index)})


def label(instance: dict[str, Any]) -> str:
    """A short name of a task instance. A mapped one is shown with the last part of its path."""
    if instance["map_index"] < 0:
        return str(instance["task_id"])
    mapped = str(instance.get("rendered_map_index") or instance["map_index"])
    return f"{instance['task_id']} [{mapped.rstrip('/').rpartition('/')[2]}]"


def say(text: str) -> None:
    print(text, flush=True)


def run_demo(stack: Stack) -> int:
    """Run the demo on a stack that is up; returns the exit status."""
    began = time.monotonic()
    stack.rest.unpause(MAIN_DAG)
    run_id = stack.rest.trigger(MAIN_DAG, {"paths": PATHS})
    say(f"Started {MAIN_DAG} over REST for {' and '.join(PATHS)}: run {run_id}")
    watcher = Watcher(stack.rest, run_id)
    state = stack.rest.wait_for_run(MAIN_DAG, run_id, 300, watcher.look)
    say(f"\nThe run ended as {state} after {time.monotonic() - began:.0f} s.\n")
    rows = stack.rest.xcom(MAIN_DAG, run_id, "report") or []
    say(table(rows))
    for row in rows:
        show_archive(row)
    if state != "success":
        show_failures(stack.rest, run_id)
        return 1
    return show_reconciliation(stack)


def show_reconciliation(stack: Stack) -> int:
    """Reconcile the instance's history and show the report, where the project has that DAG."""
    if not stack.rest.has_dag(RECONCILE_DAG):
        return 0
    stack.rest.unpause(RECONCILE_DAG)
    run_id = stack.rest.trigger(RECONCILE_DAG, {})
    state = stack.rest.wait_for_run(RECONCILE_DAG, run_id, 180)
    say(f"\nReconciliation of the instance's history ended as {state}:")
    for event in stack.rest.log_events(RECONCILE_DAG, run_id, "write_report", 1):
        if event.startswith("Reconciliation"):
            say(event)
    return 0 if state == "success" else 1


def table(rows: list[dict[str, Any]]) -> str:
    """The outcome as a table, one line per path."""
    cells = [[row.get(name) for name in _COLUMNS] for row in rows]
    shown: str = tabulate(cells, _COLUMNS, "plain", intfmt=",", numalign="left", missingval="-")
    return shown


def show_archive(row: dict[str, Any]) -> None:
    """Show where the archive of a path is stored, and the first lines of its log."""
    uri = row.get("archive_uri")
    if not uri:
        return
    say(f"\nArchive of {row['path']}: {uri}\n  SHA-256 {row['sha256']}")
    file = Path(str(uri).removeprefix("file://"))
    if not file.exists():  # an archive elsewhere is not read here
        return
    with zipfile.ZipFile(file) as archive, archive.open(archive.namelist()[0]) as log:
        for _ in range(4):
            say("  " + log.readline().decode("utf-8", errors="replace").rstrip())


def show_failures(rest: AirflowRest, run_id: str) -> None:
    """Show the end of the log of each failed task."""
    for instance in rest.task_instances(MAIN_DAG, run_id):
        if instance["state"] != "failed":
            continue
        say(f"\n{label(instance)} failed. The end of its log:")
        events = rest.log_events(
            MAIN_DAG, run_id, instance["task_id"], max(1, instance["try_number"]), instance["map_index"]
        )
        for event in events[-10:]:
            say(f"  {event}")
