"""Whose failures decide: the instance is asked for a path, and a job with a filter had some of its assets only."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import cast

import pytest

from aem_guides.hooks.hook import AemGuidesHook
from aem_guides.operators import AemGuidesVerifyAssetsOperator
from aem_guides.protocol.errors import VerificationError
from aem_guides.protocol.models import JsonValue, ProcessingRequest
from aem_guides.protocol.pacing import Pacing
from aem_guides.protocol.procedures.follow import FollowPlan, follow
from aem_guides.protocol.procedures.start import Started, StartPolicy, start_once
from tests.support.emulator import EmulatorProcess
from tests.support.tasks import Task

FILES = 24
BROKEN = "topic_0000003.dita"
BEGIN, HOUR = 1_700_000_000_000, 3_600_000


@pytest.fixture(autouse=True)
def _connection(emulator: EmulatorProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_AEM_GUIDES_DEFAULT", emulator.connection(read_timeout=30))


@pytest.fixture
def folder(emulator: EmulatorProcess) -> str:
    """A folder with an asset an hour, whose fourth is broken, and all of which were processed once."""
    path = f"/content/dam/hourly-{uuid.uuid4().hex[:8]}"
    emulator.virtual_folder(
        path, FILES, rate=1000, failed_assets=[BROKEN], created_from=BEGIN, created_to=BEGIN + FILES * HOUR
    )
    process(ProcessingRequest(path))
    return path


def process(request: ProcessingRequest) -> str:
    with AemGuidesHook() as hook:
        started = hook.drive(start_once(hook.talk, request, policy=StartPolicy(), run="test"))
        assert isinstance(started, Started)
        plan = FollowPlan(2e10, 60, Pacing(shortest=0.05, longest=0.1), log_budget=0, first_look=0)
        hook.drive(follow(hook.talk, started.processing_id, plan))
    return started.processing_id


def verified(request: ProcessingRequest, processing_id: str, archive: Path) -> dict[str, JsonValue]:
    task = AemGuidesVerifyAssetsOperator(
        task_id="verify",
        request=request.to_json(),
        processing_id=processing_id,
        fail_on_asset_failures=1,
        archive_uri=f"file://{archive}",
    )
    return cast("dict[str, JsonValue]", task.execute(Task("verify").context()))


def test_a_job_that_had_no_assets_is_verified_without_a_question(
    emulator: EmulatorProcess, folder: str, tmp_path: Path
) -> None:
    request = ProcessingRequest(folder, created_after=BEGIN + FILES * HOUR, created_before=BEGIN + 2 * FILES * HOUR)
    processing_id, asked = process(request), len(emulator.requests("asset_status_start"))
    found = verified(request, processing_id, tmp_path)
    assert (found["total"], found["failed"], found["too_many"]) == (0, 0, False)
    assert len(emulator.requests("asset_status_start")) == asked


def test_failures_below_the_path_of_a_job_with_a_filter_are_told_and_decide_nothing(
    folder: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    request = ProcessingRequest(folder, created_after=BEGIN + 20 * HOUR)
    found = verified(request, process(request), tmp_path)
    assert (found["total"], found["failed"], found["too_many"]) == (FILES, None, False)
    log = capsys.readouterr().out
    assert "below the whole path, since the instance cannot say which of them this job processed" in log
    assert f"Not processed: {folder}/{BROKEN}" in log


@pytest.mark.parametrize("created_after", [None, BEGIN - HOUR])
def test_failures_decide_where_the_job_had_every_asset(folder: str, tmp_path: Path, created_after: int | None) -> None:
    request = ProcessingRequest(folder, created_after=created_after)
    processing_id = process(request)
    with pytest.raises(VerificationError, match="1 of 24 assets failed"):
        verified(request, processing_id, tmp_path)
