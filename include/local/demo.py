"""The demo: one run over REST on our content, shown as it goes, and what it left behind."""

from __future__ import annotations

import re
import time
import zipfile
from pathlib import Path
from typing import Any

from local.rest import AirflowRest
from local.stack import CONTENT_MOUNT, MAIN_DAG, Stack

PATHS = [f"{CONTENT_MOUNT}/guides", f"{CONTENT_MOUNT}/reference"]
RECONCILE_DAG = "aem_guides_reconcile_history"
WAIT_TASK = "process_path.wait_for_processing"
_PROGRESS = re.compile(r"^[\d,]+ of [\d,]+ assets|counting the assets")
_COLUMNS = ("path", "state", "total_files", "triggered_count", "failed_assets", "resumes", "log_lines")


class Watcher:
    """Shows what has changed in a run since the last look."""

    def __init__(self, rest: AirflowRest, run_id: str) -> None:
        self._rest = rest
        self._run_id = run_id
        self._states: dict[tuple[str, int], str] = {}
        self._told: dict[int, int] = {}

    def look(self) -> None:
        """Tell state changes and fresh progress lines."""
        for instance in self._rest.task_instances(MAIN_DAG, self._run_id):
            key = (instance["task_id"], instance["map_index"])
            if instance["state"] != self._states.get(key) and instance["state"] not in (None, "scheduled", "queued"):
                self._states[key] = instance["state"]
                say(f"  {self._label(instance)}: {instance['state']}")
            if instance["task_id"] == WAIT_TASK and instance["state"] in ("deferred", "success"):
                self._tell_progress(instance)

    def _tell_progress(self, instance: dict[str, Any]) -> None:
        index = instance["map_index"]
        events = self._rest.log_events(MAIN_DAG, self._run_id, WAIT_TASK, max(1, instance["try_number"]), index)
        lines = [event for event in events if _PROGRESS.search(event)]
        for line in lines[self._told.get(index, 0) :]:
            say(f"      {self._label(instance)}: {line}")
        self._told[index] = len(lines)

    def _label(self, instance: dict[str, Any]) -> str:
        index = instance["map_index"]
        return str(instance["task_id"]) + (f" [{PATHS[index].rpartition('/')[2]}]" if index >= 0 else "")


def say(text: str) -> None:
    print(text, flush=True)


def run_demo(stack: Stack) -> int:
    """Run the demo on a stack that is up; returns the exit status."""
    began = time.monotonic()
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
    run_id = stack.rest.trigger(RECONCILE_DAG, {})
    state = stack.rest.wait_for_run(RECONCILE_DAG, run_id, 180)
    say(f"\nReconciliation of the instance's history ended as {state}:")
    for event in stack.rest.log_events(RECONCILE_DAG, run_id, "write_report", 1):
        if event.startswith("Reconciliation"):
            say(event)
    return 0 if state == "success" else 1


def table(rows: list[dict[str, Any]]) -> str:
    """The outcome as a table."""
    cells = [list(_COLUMNS), *[["-" if row[name] is None else str(row[name]) for name in _COLUMNS] for row in rows]]
    widths = [max(len(line[column]) for line in cells) for column in range(len(_COLUMNS))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in cells
    )


def show_archive(row: dict[str, Any]) -> None:
    """Where the archive of a path lies, and how its log begins."""
    uri = row.get("archive_uri")
    if not uri:
        return
    say(f"\nArchive of {row['path']}: {uri}\n  SHA-256 {row['sha256']}")
    file = Path(str(uri).removeprefix("file://"))
    if not file.exists():
        return
    with zipfile.ZipFile(file) as archive, archive.open(archive.namelist()[0]) as log:
        for _ in range(4):
            say("  " + log.readline().decode("utf-8", errors="replace").rstrip())


def show_failures(rest: AirflowRest, run_id: str) -> None:
    """The end of the log of each task that failed."""
    for instance in rest.task_instances(MAIN_DAG, run_id):
        if instance["state"] != "failed":
            continue
        say(f"\n{instance['task_id']} failed. The end of its log:")
        events = rest.log_events(
            MAIN_DAG, run_id, instance["task_id"], max(1, instance["try_number"]), instance["map_index"]
        )
        for event in events[-10:]:
            say(f"  {event}")
