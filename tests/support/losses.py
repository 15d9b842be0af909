"""Runs in which nothing may be lost or doubled, whatever dies."""

from __future__ import annotations

import zipfile
from pathlib import Path

from tests.support.airflow_stack import DAG, PULL
from tests.support.instances import FAST, Instance
from tests.support.runs import Run, pulled_lines

FILES = 60


def begin(instance: Instance, *, rate: float = FAST, **folder: float) -> Run:
    """Start a run on a new folder."""
    return Run.begin(instance, rate=rate, files=FILES, conf=None, dag_id=DAG, **folder)


def check_that_nothing_was_lost_or_doubled(run: Run) -> None:
    """Check for one job, every asset once, every log line pulled and archived, and a run that reports that."""
    assert run.end() == "success", run.airflow.account(run.run_id)
    (job,) = run.jobs()
    assert job["state"] == "SUCCESS"
    assert run.times_processed() == [1] * FILES
    logged = run.instance.emulator.log_lines(str(job["processing_id"]))
    assert pulled_lines(run.log(PULL)) == logged
    row = run.row()
    assert row["processing_id"] == job["processing_id"]
    assert row["log_lines"] == len(logged)
    stored = Path(str(row["archive_uri"]).removeprefix("file://"))
    assert sorted(file.name for file in stored.parent.iterdir()) == ["logs.zip", "manifest.json"]
    with zipfile.ZipFile(stored) as archive:
        assert archive.testzip() is None
        lines = b"".join(archive.read(name) for name in archive.namelist() if name.endswith(".log")).decode()
    assert lines.split("\n")[:-1] == logged
