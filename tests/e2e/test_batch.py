"""A batch of two hundred paths on the real Airflow, while somebody else uses the same instance."""

from __future__ import annotations

import csv
import uuid
from pathlib import Path

import pytest

from tests.support.airflow_stack import LiveAirflow
from tests.support.batch import (
    BATCH,
    Watcher,
    a_stranger_starting_jobs,
    starts_beyond,
    virtual_folders,
)

FOLDERS = 200
LIMIT = 4


@pytest.fixture
def root() -> str:
    return f"/content/dam/batch-{uuid.uuid4().hex[:8]}"


def test_two_hundred_paths_share_the_instance_with_a_stranger(airflow: LiveAirflow, root: str, tmp_path: Path) -> None:
    emulator = airflow.emulator
    paths = virtual_folders(emulator, root, FOLDERS, files=3, rate=3)
    listed = tmp_path / "paths.csv"
    listed.write_text("path\n" + "\n".join(paths) + "\n")
    conf = {"paths_file": f"file://{listed}", "max_active_jobs": LIMIT, "verify_assets": False}
    with a_stranger_starting_jobs(emulator, every=2.0, files=4, rate=2):
        run_id = airflow.rest.trigger(BATCH, conf)
        watcher = Watcher(airflow, run_id)
        state = airflow.rest.wait_for_run(BATCH, run_id, 600, look=watcher.look, every=1.0)
    assert state == "success"
    ours = [job for job in emulator.jobs() if job["path"].startswith(root)]
    assert sorted(job["path"] for job in ours) == sorted(paths)
    assert {job["state"] for job in ours} == {"SUCCESS"}
    assert starts_beyond(emulator, root, LIMIT) == []
    assert airflow.rest.healthy()
    progress = airflow.rest.log_events(BATCH, run_id, "batch_progress", 1)
    assert any(line.startswith(f"{FOLDERS} of {FOLDERS} paths, 0 running, 0 failed") for line in progress)
    outcome = airflow.rest.xcom(BATCH, run_id, "report")
    assert (outcome["paths"], outcome["succeeded"]) == (FOLDERS, FOLDERS)
    with Path(outcome["outcome_uri"].removeprefix("file://")).open(newline="") as sheet:
        rows = list(csv.DictReader(sheet))
    assert [row["path"] for row in rows] == paths
    assert all(Path(row["archive_uri"].removeprefix("file://")).exists() for row in rows)
