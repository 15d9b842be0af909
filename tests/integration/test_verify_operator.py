"""How a run reacts to the instance's answers about the assets: three answers, never two, in every form of the
operator."""

from __future__ import annotations

import asyncio
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import pytest
from airflow.sdk.exceptions import AirflowSkipException, TaskDeferred

from aem_guides.hooks.hook import AemGuidesHook
from aem_guides.operators import AemGuidesProcessAssetsOperator, AemGuidesVerifyAssetsOperator
from aem_guides.operators import process as batch_operator
from aem_guides.protocol.asset_tally import AssetTally
from aem_guides.protocol.errors import AemGuidesError, AssetsAtWorkError, VerificationError
from aem_guides.protocol.models import AssetStatus, JsonObject, JsonValue, ProcessingRequest
from aem_guides.protocol.pacing import Pacing
from aem_guides.protocol.procedures.follow import FollowPlan, follow
from aem_guides.protocol.procedures.path_state import PathState
from aem_guides.protocol.procedures.start import Origin, Started, StartPolicy, start_once
from aem_guides.runtime import notes as registers
from aem_guides.runtime.notes import path_key
from aem_guides.runtime.path_store import encoded
from aem_guides.runtime.sheets import read_csv
from aem_guides.triggers.assets import AemGuidesAssetsTrigger
from tests.support.clocks import Clock
from tests.support.emulator import EmulatorProcess
from tests.support.notes import KeptNotes
from tests.support.tasks import Task

FILES = 24
BROKEN = "topic_0000003.dita"
BEGIN, HOUR = 1_700_000_000_000, 3_600_000


@pytest.fixture(scope="module")
def clock() -> Clock:
    """A clock by which five minutes of waiting take five seconds."""
    return Clock(60.0)


@pytest.fixture(autouse=True)
def _connection(emulator: EmulatorProcess, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("AIRFLOW_CONN_AEM_GUIDES_DEFAULT", emulator.connection(read_timeout=30))
    yield
    emulator.settings(told_assets={}, comma_fails_asset_status=False, asset_status=True, errors_word="")
    emulator.settings(query_builder=True)


@pytest.fixture
def folder(emulator: EmulatorProcess) -> str:
    """A folder with an asset an hour. The fourth is broken, and all were processed once."""
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


def verify_operator(request: ProcessingRequest, processing_id: str, archive: Path, **more: object) -> Task:
    """The task of the operator, with a limit of one failure unless another is given."""
    operator = AemGuidesVerifyAssetsOperator(
        task_id="verify",
        request=request.to_json(),
        processing_id=processing_id,
        archive_uri=f"file://{archive}",
        **{"fail_on_asset_failures": 1, **more},  # type: ignore[arg-type]  # arguments of the operator
    )
    task = Task("verify")
    context = task.context()
    try:
        operator.execute(context)
    except TaskDeferred as deferral:
        trigger = cast("AemGuidesAssetsTrigger", deferral.trigger)
        event = asyncio.run(event_of(AemGuidesAssetsTrigger(**trigger.serialize()[1])))  # type: ignore[arg-type]
        operator.execute_complete(context, event)
    return task


async def event_of(trigger: AemGuidesAssetsTrigger) -> JsonObject:
    async for event in trigger.run():
        return cast("JsonObject", event.payload)
    raise AssertionError("the trigger fired nothing")


def of_batch(
    clock: Clock,
    request: ProcessingRequest,
    processing_id: str,
    archive: Path,
    patch: pytest.MonkeyPatch,
    **more: object,
) -> dict[str, JsonValue]:
    """The row of the path of a batch whose job has ended."""
    state = PathState(request).works(processing_id, Origin.STARTED).stays(deadline_at=clock.now() + 600)
    task, notes = Task("path"), KeptNotes()
    notes.set(path_key(task.dag_id, task.run_id, task.task_id, request.fingerprint()), encoded(state))
    patch.setattr(registers, "AirflowNotes", lambda: notes)
    patch.setattr(batch_operator, "announce", lambda *_reported: None)
    operator = AemGuidesProcessAssetsOperator(
        task_id="path",
        request=request.to_json(),
        archive_uri=f"file://{archive}",
        **{"fail_on_asset_failures": 1, **more},  # type: ignore[arg-type]  # arguments of the operator
    )
    try:
        try:
            return operator.execute(task.context())
        except TaskDeferred as deferral:
            trigger = cast("AemGuidesAssetsTrigger", deferral.trigger)
            return operator.execute_verified(task.context(), asyncio.run(event_of(trigger)))
    except AemGuidesError:
        return cast("dict[str, JsonValue]", task.pushed["row"])


def verified(request: ProcessingRequest, processing_id: str, archive: Path, **more: object) -> dict[str, JsonValue]:
    """What the operator returns if it succeeds."""
    task = verify_operator(request, processing_id, archive, **more)
    return cast("dict[str, JsonValue]", task.pushed["return_value"])


def test_a_job_that_had_no_assets_is_verified_without_a_question(
    emulator: EmulatorProcess, folder: str, tmp_path: Path
) -> None:
    request = ProcessingRequest(folder, created_after=BEGIN + FILES * HOUR, created_before=BEGIN + 2 * FILES * HOUR)
    processing_id, asked = process(request), len(emulator.requests("asset_status_start"))
    found = verified(request, processing_id, tmp_path)
    assert (found["total"], found["failed"], found["too_many"]) == (0, 0, False)
    assert len(emulator.requests("asset_status_start")) == asked


def test_failures_that_may_be_another_job_s_are_reported_and_decide_only_where_a_limit_is_set(
    emulator: EmulatorProcess, folder: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    emulator.settings(query_builder=False)
    request = ProcessingRequest(folder, created_after=BEGIN + 20 * HOUR)
    processing_id = process(request)
    found = verified(request, processing_id, tmp_path, fail_on_asset_failures=None)
    assert (found["total"], found["failed"], found["failed_at_most"]) == (4, None, 1)
    log = capsys.readouterr().out
    assert "because the instance does not show which of them this job processed" in log
    assert f"Not processed: {folder}/{BROKEN}" in log
    assert "the outcome of 1 of 4 assets is not known. 1 assets below the path were not processed, but the job" in log
    with pytest.raises(VerificationError, match="It is not known whether too many assets failed"):
        verified(request, processing_id, tmp_path)
    assert verified(request, processing_id, tmp_path, fail_on_asset_failures=2)["undecided"] is False


@pytest.mark.parametrize("created_after", [None, BEGIN - HOUR])
def test_failures_decide_where_the_job_had_every_asset(folder: str, tmp_path: Path, created_after: int | None) -> None:
    request = ProcessingRequest(folder, created_after=created_after)
    processing_id = process(request)
    with pytest.raises(VerificationError, match="1 of 24 assets failed"):
        verified(request, processing_id, tmp_path)


@pytest.mark.parametrize("word", ["UNPROCESSED", "FAILED_TO_PROCESS", "FAILED"])
@pytest.mark.parametrize("form", ["deferred", "in a worker", "batch"])
def test_whatever_the_word_what_was_not_processed_fails_the_run_where_a_limit_is_set(
    emulator: EmulatorProcess,
    clock: Clock,
    folder: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    word: str,
    form: str,
) -> None:
    processing_id, request = process(ProcessingRequest(folder)), ProcessingRequest(folder)
    emulator.settings(told_assets={f"{folder}/*7.dita": {"status": word}, "*": {"status": "SUCCESS"}})
    emulator.post("/emulator/clock", {"advance_seconds": 301})
    if form == "batch":
        row = of_batch(clock, request, processing_id, tmp_path, monkeypatch)
        assert (row["failed_assets"], row["state"]) == (2, "SUCCESS")
        assert "2 of 24 assets failed, and fail_on_asset_failures is 1" in str(row["error"])
    else:
        with pytest.raises(VerificationError, match="2 of 24 assets failed, and fail_on_asset_failures is 1"):
            verified(request, processing_id, tmp_path, deferrable=form == "deferred")
    (sheet,) = tmp_path.rglob("failed-assets.csv")
    with sheet.open(newline="") as lines:
        assert [row["status"] for row in read_csv(lines)] == [word, word]


@pytest.mark.parametrize("form", ["deferred", "in a worker", "batch"])
def test_assets_that_nothing_moves_are_named_as_left_out_and_hold_no_run(
    emulator: EmulatorProcess,
    clock: Clock,
    folder: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    form: str,
) -> None:
    processing_id, request = process(ProcessingRequest(folder)), ProcessingRequest(folder)
    ignored, gone = f"{folder}/topic_0000003.dita", f"{folder}/topic_0000004.dita"
    emulator.settings(
        told_assets={ignored: {"status": "PENDING", "reason": ""}, gone: {"status": "PENDING", "exists": False}}
    )
    began = clock.now()
    if form == "batch":
        row = of_batch(clock, request, processing_id, tmp_path, monkeypatch)
        assert (row["failed_assets"], row["error"]) == (0, None)
    else:
        found = verified(request, processing_id, tmp_path, deferrable=form == "deferred")
        assert (found["total"], found["failed"], found["left_out"]) == (22, 0, 2)
    assert 300 <= clock.now() - began <= 1800
    log = capsys.readouterr().out
    assert "2 assets are left out. These assets stay PENDING, or no longer exist" in log
    assert "ignored.post.processing.paths" in log
    assert f"Left out: {ignored} (PENDING)" in log
    assert f"Left out: {gone} (PENDING)" in log


@pytest.mark.parametrize("limit", [None, 1])
@pytest.mark.parametrize("form", ["deferred", "in a worker", "batch"])
@pytest.mark.parametrize("story", ["does not cover the job", "failed over a comma", "not there"])
def test_unknown_assets_never_count_as_no_failures(
    emulator: EmulatorProcess,
    clock: Clock,
    folder: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    story: str,
    form: str,
    limit: int | None,
) -> None:
    request = ProcessingRequest(folder, excluded_paths=(f"{folder}/a, b",))
    processing_id = process(request)
    emulator.post("/emulator/clock", {"advance_seconds": 301})
    changes: dict[str, dict[str, object]] = {
        "does not cover the job": {"told_assets": {f"{folder}/*[1-9].dita": {"omitted": True}}},
        "failed over a comma": {"comma_fails_asset_status": True},
        "not there": {"asset_status": False},
    }
    emulator.settings(**changes[story])
    said = {
        "does not cover the job": "The answer of the instance has 3 assets, but the job had 24.",
        "failed over a comma": "AEM Guides before 2026.09 fails at a comma",
        "not there": "This instance has no asset status",
    }[story]
    if form == "batch":
        row = of_batch(clock, request, processing_id, tmp_path, monkeypatch, fail_on_asset_failures=limit)
        assert (row["state"], row["failed_assets"]) == ("SUCCESS", None)
        assert (row["error"] is None) is (limit is None)
        assert limit is None or said in str(row["error"])
    elif limit:
        with pytest.raises(VerificationError, match="It is not known whether too many assets failed") as raised:
            verified(request, processing_id, tmp_path, deferrable=form == "deferred")
        assert said in str(raised.value)
    elif story == "not there":
        with pytest.raises(AirflowSkipException):
            verified(request, processing_id, tmp_path, fail_on_asset_failures=None)
    else:
        found = verified(request, processing_id, tmp_path, fail_on_asset_failures=None)
        assert (found["failed"], found["undecided"]) == (None, False)
        assert said in str(found["not_known"])
    assert said in capsys.readouterr().out


def test_assets_at_work_are_waited_for_in_the_triggerer_and_no_longer_than_is_said(
    emulator: EmulatorProcess, folder: str, tmp_path: Path
) -> None:
    emulator.settings(late_assets=2, late_seconds=100.0)
    request, processing_id = ProcessingRequest(folder), process(ProcessingRequest(folder))
    emulator.settings(late_assets=2, late_seconds=0.0)
    with pytest.raises(AssetsAtWorkError):
        verified(request, processing_id, tmp_path, deferrable=False, within_minutes=0.5)
    assert verified(request, processing_id, tmp_path, fail_on_asset_failures=2)["failed"] == 1
    emulator.settings(late_assets=0)


@pytest.mark.parametrize("form", ["deferred", "batch"])
def test_assets_that_are_to_be_ignored_do_not_count_whatever_became_of_them(
    emulator: EmulatorProcess,
    clock: Clock,
    folder: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    form: str,
) -> None:
    processing_id, request = process(ProcessingRequest(folder)), ProcessingRequest(folder)
    stuck = f"{folder}/topic_0000007.dita"
    emulator.settings(told_assets={stuck: {"status": "PROCESSING"}})
    ignore = [f"*/{BROKEN}", "*_000000[79].dita"]
    if form == "batch":
        row = of_batch(clock, request, processing_id, tmp_path, monkeypatch, verify_ignore=ignore)
        assert (row["failed_assets"], row["error"]) == (0, None)
    else:
        found = verified(request, processing_id, tmp_path, verify_ignore=str(ignore).replace("'", '"'))
        assert (found["total"], found["failed"], found["ignored"]) == (21, 0, 3)
    assert "21 processed, 0 failed, 3 do not count (verify_ignore)" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("more", "error"),
    [
        ({"fail_on_asset_failures": None}, None),
        ({"fail_on_asset_failures": 2}, None),
        ({"fail_on_asset_failures": 1}, "1 of 24 assets failed"),
        ({"fail_on_asset_failures": 1, "verify_ignore": [f"*/{BROKEN}"]}, None),
        ({"fail_on_asset_failures": None, "verify_assets": False}, None),
        ({"fail_on_asset_failures": 2, "verify_assets": False}, "how many assets failed is not known"),
    ],
)
def test_a_job_that_ends_with_errors_keeps_that_state_and_the_limit_decides(
    emulator: EmulatorProcess,
    clock: Clock,
    folder: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    more: dict[str, object],
    error: str | None,
) -> None:
    emulator.settings(errors_word="COMPLETED WITH ERRORS")
    request = ProcessingRequest(folder)
    row = of_batch(clock, request, process(request), tmp_path, monkeypatch, **more)
    assert row["state"] == "COMPLETED WITH ERRORS"
    assert (row["error"] is None) is (error is None)
    assert error is None or error in str(row["error"])
    assert row["archive_uri"]


def test_many_assets_are_counted_outside_the_event_loop_and_all_that_failed_are_in_the_csv(
    emulator: EmulatorProcess, clock: Clock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = f"/content/dam/many-{uuid.uuid4().hex[:8]}"
    emulator.virtual_folder(path, 20_000, rate=1_000_000)
    request = ProcessingRequest(path)
    processing_id = process(request)
    emulator.settings(told_assets={"*[05]00.dita": {"status": "FAILURE", "reason": "=1+1"}})
    in_the_loop: list[bool] = []
    take = AssetTally.take

    def noted(tally: AssetTally, entries: list[JsonValue]) -> list[AssetStatus]:
        in_the_loop.append(threading.current_thread() is threading.main_thread())
        return take(tally, entries)

    with monkeypatch.context() as patch:
        patch.setattr(AssetTally, "take", noted)
        trigger = AemGuidesAssetsTrigger(
            aem_guides_conn_id="aem_guides_default", request=request.to_json(), deadline_at=clock.now() + 3600
        )
        assert asyncio.run(event_of(trigger))["ready"] is True
    assert len(in_the_loop) > 10, "it was read in blocks"
    assert not any(in_the_loop)
    found = verified(request, processing_id, tmp_path, fail_on_asset_failures=None)
    assert (found["total"], found["succeeded"], found["failed"]) == (20_000, 19_960, 40)
    (sheet,) = tmp_path.rglob("failed-assets.csv")
    with sheet.open(newline="") as lines:
        rows = list(read_csv(lines))
    assert [row["path"] for row in rows] == [f"{path}/topic_{number:07}.dita" for number in range(0, 20_000, 500)]
    assert {row["reason"] for row in rows} == {"=1+1"}
