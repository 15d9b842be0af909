"""The demo shows changes once, aligned numbers, and the reason of a failure."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import pytest

from local.demo import WAIT_TASK, Watcher, label, show_archive, show_failures, table
from local.rest import AirflowRest

ROW = {
    "path": "/content/dam/aurora/guides",
    "processing_id": "job-1",
    "state": "SUCCESS",
    "total_files": 12340,
    "triggered_count": 12340,
    "failed_assets": 0,
    "resumes": 0,
    "log_lines": 41,
    "archive_uri": None,
    "sha256": None,
}


class KnownRun(AirflowRest):
    """A run whose task instances and logs the test sets."""

    def __init__(self) -> None:
        self.instances: list[dict[str, Any]] = []
        self.log: list[str] = []
        self.log_reads = 0

    def task_instances(self, dag_id: str, run_id: str) -> list[dict[str, Any]]:
        return self.instances

    def log_events(self, dag_id: str, run_id: str, task_id: str, attempt: int, map_index: int = -1) -> list[str]:
        self.log_reads += 1
        return self.log


def instance(task_id: str, state: str | None, map_index: int = -1, mapped: str | None = None) -> dict[str, Any]:
    return {
        "task_id": task_id,
        "state": state,
        "map_index": map_index,
        "rendered_map_index": mapped,
        "try_number": 1,
    }


def shown(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return [line.strip() for line in capsys.readouterr().out.splitlines()]


def test_a_state_is_reported_when_it_changes_and_not_again(capsys: pytest.CaptureFixture[str]) -> None:
    run = KnownRun()
    watcher = Watcher(run, "run")
    for state in (None, "scheduled", "queued", "running", "running", "success", "success"):
        run.instances = [instance("report", state)]
        watcher.look()
    assert shown(capsys) == ["report: running", "report: success"]


def test_each_progress_line_is_shown_once_and_other_lines_are_not(capsys: pytest.CaptureFixture[str]) -> None:
    run = KnownRun()
    watcher = Watcher(run, "run")
    run.instances = [instance(WAIT_TASK, "deferred", 0, "/content/dam/aurora/guides")]
    for line in ("Filling up the DagBag", "10 of 35 assets (28.6 %), 2.5/s, about 10 s left", "1,020 of 1,035 assets"):
        run.log.append(line)
        watcher.look()
    assert shown(capsys) == [
        f"{WAIT_TASK} [guides]: deferred",
        f"{WAIT_TASK} [guides]: 10 of 35 assets (28.6 %), 2.5/s, about 10 s left",
        f"{WAIT_TASK} [guides]: 1,020 of 1,035 assets",
    ]


def test_the_last_progress_is_shown_before_the_end_and_the_log_is_left_alone_after_it(
    capsys: pytest.CaptureFixture[str],
) -> None:
    run = KnownRun()
    watcher = Watcher(run, "run")
    run.instances = [instance(WAIT_TASK, "success", 0, "guides")]
    run.log = ["35 of 35 assets (100.0 %)"]
    watcher.look()
    reads = run.log_reads
    watcher.look()
    assert shown(capsys) == [f"{WAIT_TASK} [guides]: 35 of 35 assets (100.0 %)", f"{WAIT_TASK} [guides]: success"]
    assert run.log_reads == reads


def test_a_task_that_has_not_begun_is_named_by_the_path_of_those_before_it(capsys: pytest.CaptureFixture[str]) -> None:
    run = KnownRun()
    watcher = Watcher(run, "run")
    for entry in (instance("start", "running", 0, "/content/dam/guides"), instance("verify", "running", 0, "0")):
        run.instances = [entry]
        watcher.look()
    assert shown(capsys) == ["start [guides]: running", "verify [guides]: running"]


@pytest.mark.parametrize(
    ("mapped", "words"),
    [("/content/dam/aurora/guides", "t [guides]"), ("/content/dam/a b/", "t [a b]"), (None, "t [3]"), ("", "t [3]")],
)
def test_a_mapped_task_is_named_by_the_end_of_its_path(mapped: str | None, words: str) -> None:
    assert label(instance("t", "running", 3, mapped)) == words


def test_the_table_has_a_line_for_each_path_and_columns_that_stand_below_each_other() -> None:
    lines = table([ROW, {**ROW, "path": "/content/dam/a", "state": "FAILED", "log_lines": None}]).splitlines()
    assert len(lines) == 3
    assert "12,340" in lines[1]
    for name, value in (("state", "FAILED"), ("log_lines", "-")):
        assert lines[2][lines[0].index(name) :].startswith(value)


def test_the_table_of_a_run_without_a_report_is_its_heading() -> None:
    assert table([]).startswith("path")
    assert "\n" not in table([])


def test_the_archive_is_shown_with_its_checksum_and_the_first_lines_of_the_log(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with zipfile.ZipFile(tmp_path / "logs.zip", "w") as archive:
        archive.writestr("log.txt", "".join(f"line {number}: é\n" for number in range(9)))
    show_archive({**ROW, "archive_uri": f"file://{tmp_path}/logs.zip", "sha256": "ab12"})
    lines = shown(capsys)
    assert lines[1:3] == [f"Archive of {ROW['path']}: file://{tmp_path}/logs.zip", "SHA-256 ab12"]
    assert lines[3:] == [f"line {number}: é" for number in range(4)]


def test_an_archive_that_is_not_on_this_machine_is_named_only(capsys: pytest.CaptureFixture[str]) -> None:
    show_archive({**ROW, "archive_uri": "s3://bucket/logs.zip", "sha256": "ab12"})
    assert shown(capsys)[1:] == [f"Archive of {ROW['path']}: s3://bucket/logs.zip", "SHA-256 ab12"]


def test_a_path_without_archive_shows_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    show_archive(ROW)
    assert shown(capsys) == []


def test_the_end_of_the_log_of_each_failed_task_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    run = KnownRun()
    run.instances = [instance("check_instance", "failed"), instance("report", "upstream_failed")]
    run.log = [f"line {number}" for number in range(30)] + ["the password is wrong"]
    show_failures(run, "run")
    lines = shown(capsys)
    assert lines[1] == "check_instance failed. The end of its log:"
    assert lines[-1] == "the password is wrong"
    assert "line 0" not in lines
    assert not any("report" in line for line in lines)
