"""The archive of a job that shows few facts, over every way that archives it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.support.archiving import FIRST_SEEN, Ended, Way, ways
from tests.support.clocks import stop_clock
from tests.support.emulator import EmulatorProcess
from tests.support.tasks import Task

LATE = datetime.fromtimestamp(FIRST_SEEN, tz=UTC).replace(hour=23, minute=59, second=50)


@pytest.fixture(scope="module")
def ended(emulator: EmulatorProcess) -> Ended:
    return Ended.on(emulator)


@pytest.fixture(autouse=True)
def _connection(emulator: EmulatorProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("AIRFLOW_CONN_AEM_GUIDES_DEFAULT", emulator.connection(read_timeout=30))
    monkeypatch.setenv("AIRFLOW__AEM_GUIDES__ARCHIVE_URI", f"file://{tmp_path}")
    yield
    emulator.delete("/emulator/faults")


def answers_with(emulator: EmulatorProcess, **fields: object) -> None:
    for endpoint in ("status", "history"):
        emulator.fault(endpoint, "odd_fields", count=None, body=json.dumps(fields))


@ways
def test_a_job_that_shows_that_it_has_no_log_is_not_archived_and_fails_no_task(
    emulator: EmulatorProcess, ended: Ended, archive: Way, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    answers_with(emulator, hasLogs=False)
    emulator.fault("download", "status", count=None, status=404)
    archive(ended, Task("archive"), LATE.timestamp())
    assert list(tmp_path.rglob("*")) == []
    assert "has no log. Nothing is archived" in caplog.text


@ways
def test_a_job_without_a_time_has_one_archive_whatever_the_day_of_the_next_try(
    emulator: EmulatorProcess, ended: Ended, archive: Way, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers_with(emulator, startedAt=None, completedAt=None)
    task = Task("archive")
    for now in (LATE, LATE + timedelta(minutes=2)):
        moment = now.timestamp()
        stop_clock(monkeypatch, moment)
        archive(ended, task, moment)
    (stored,) = tmp_path.rglob("logs.zip")
    assert f"/{LATE:%Y/%m/%d}/" in str(stored)


@ways
def test_a_job_that_shows_its_start_is_archived_by_that_day(
    emulator: EmulatorProcess, ended: Ended, archive: Way, tmp_path: Path
) -> None:
    answers_with(emulator, startedAt=86_400_000)
    archive(ended, Task("archive"), LATE.timestamp())
    (stored,) = tmp_path.rglob("logs.zip")
    assert "/1970/01/02/" in str(stored)
