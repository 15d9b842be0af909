"""What the control of one job shows of the job."""

from __future__ import annotations

from types import SimpleNamespace
from typing import cast

import pytest

from aem_guides.ledger.records import LedgerJob, RunKey
from aem_guides.pipelines import control
from aem_guides.protocol.contract import read_job


def test_inspecting_shows_names_as_they_are_written(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    job = read_job({"processingId": "Job-A", "status": "SUCCESS", "path": "/content/dam/Manuals"})
    entry = LedgerJob(
        "Job-A",
        "SUCCESS",
        False,
        path="/content/dam/Manuals",
        run=RunKey("my_DAG", "manual__2026-01-01T00:00"),
        archive_uri="s3://Bucket/Logs.zip",
    )
    hook = SimpleNamespace(get_logs=lambda _id, tail: SimpleNamespace(lines=()))
    control._inspect(cast("control.Subject", SimpleNamespace(job=job, entry=entry, hook=hook)))
    said = "The ledger has it as SUCCESS on /content/dam/Manuals; run manual__2026-01-01T00:00 of my_DAG started it, "
    assert said + "its log is s3://Bucket/Logs.zip." in caplog.text
