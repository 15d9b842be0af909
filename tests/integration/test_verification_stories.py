"""Stories about the assets of an ended job, each through every way to run a path."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import pytest

from aem_guides.protocol.models import JsonObject
from aem_guides.results.batch_rows import is_well
from aem_guides.results.rows import Row
from aem_guides.triggers.assets import AemGuidesAssetsTrigger
from aem_guides.triggers.base import AemGuidesTrigger
from tests.support.archives import archived_lines
from tests.support.clocks import Clock
from tests.support.deaths import WorkerKilledError
from tests.support.emulator import EmulatorProcess
from tests.support.ways import Begin, PathRun, every_deferred_way, every_way

HOUR, FIRST = 3_600_000, 1_700_000_000_000


@pytest.fixture(scope="module")
def clock() -> Clock:
    """A clock with which five minutes without a change take five seconds."""
    return Clock(60.0)


@pytest.fixture(autouse=True)
def _as_before(emulator: EmulatorProcess) -> Iterator[None]:
    yield
    emulator.settings(late_assets=0, late_seconds=0.0, late_line_seconds=0.0, told_assets={}, errors_word="")
    emulator.settings(comma_fails_asset_status=False, query_builder=True)


def processed_hourly(emulator: EmulatorProcess, begin: Begin) -> PathRun:
    """The run of a folder with an asset an hour, whose fourth is broken."""
    run = begin()
    emulator.virtual_folder(
        run.path, 20, rate=20, failed_assets=["topic_0000003.dita"], created_from=FIRST, created_to=FIRST + 20 * HOUR
    )
    run.to_the_end()
    return run


def waits_for_assets(run: PathRun) -> int:
    """How often the run waited for its assets in the triggerer."""
    return sum(isinstance(trigger, AemGuidesAssetsTrigger) for trigger in run.triggers)


@every_way
def test_lines_that_come_while_assets_are_still_at_work_are_in_the_log_and_the_archive(
    emulator: EmulatorProcess, begin: Begin, tmp_path: Path
) -> None:
    emulator.settings(late_assets=3, late_seconds=300.0, late_line_seconds=20.0)
    run = begin(verify_assets=True)
    assert run.to_the_end()["state"] == "SUCCESS"
    assert run.verification == (0, "")
    assert waits_for_assets(run) == (1 if run.way.deferred else 0), "no worker is held while it waits"
    (job,) = emulator.jobs(run.path)
    logged = emulator.log_lines(job["processing_id"])
    assert "Waiting for remaining assets" in logged[-1]
    assert archived_lines(tmp_path) == logged


@every_way
def test_assets_that_are_done_at_the_first_look_are_not_waited_for(begin: Begin) -> None:
    run = begin(verify_assets=True)
    assert run.to_the_end()["state"] == "SUCCESS"
    assert run.verification == (0, "")
    assert waits_for_assets(run) == 0


@every_way
@pytest.mark.parametrize("word", ["UNPROCESSED", "FAILED_TO_PROCESS"])
def test_whatever_the_word_what_was_not_processed_counts(emulator: EmulatorProcess, begin: Begin, word: str) -> None:
    emulator.settings(told_assets={"*3.dita": {"status": word}})
    run = begin(verify_assets=True, fail_on_asset_failures=2)
    assert run.to_the_end()["state"] == "SUCCESS"
    failed, said = run.verification
    assert (failed, "2 of 20 assets failed, and fail_on_asset_failures is 2" in said) == (2, True)


@every_way
def test_an_answer_that_does_not_cover_the_job_is_not_taken_for_no_failures(
    emulator: EmulatorProcess, begin: Begin, tmp_path: Path
) -> None:
    emulator.settings(told_assets={"*": {"omitted": True}})
    run = begin(verify_assets=True, fail_on_asset_failures=1)
    run.to_the_end()
    failed, said = run.verification
    assert (failed, "has 0 assets, but the job had 20" in said) == (None, True)
    assert archived_lines(tmp_path), "the log is archived whatever became of the assets"


@every_way
def test_assets_that_stay_pending_are_left_out_and_hold_the_run_for_five_minutes_only(
    emulator: EmulatorProcess, begin: Begin, clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    emulator.settings(told_assets={"*[012].dita": {"status": "PENDING"}, "*9.dita": {"exists": False, "status": ""}})
    run, began = begin(verify_assets=True, fail_on_asset_failures=1), clock.now()
    assert run.to_the_end()["state"] == "SUCCESS"
    assert run.verification == (0, "")
    assert 300 <= clock.now() - began <= 1200
    said = capsys.readouterr().out
    assert "8 assets are left out. These assets stay PENDING, or no longer exist" in said
    assert f"Left out: {run.path}/topic_0000001.dita (PENDING)" in said


@every_way
def test_of_a_job_with_a_filter_only_its_own_assets_are_asked_for_and_decide(
    emulator: EmulatorProcess, begin: Begin, clock: Clock
) -> None:
    whole = processed_hourly(emulator, begin)
    emulator.settings(told_assets={"*0000002.dita": {"status": "PENDING"}})
    began = clock.now()
    limited = {"verify_assets": True, "fail_on_asset_failures": 1}
    late = begin(whole.path, run_id="late", created_after=FIRST + 15 * HOUR, **limited)
    assert late.to_the_end()["state"] == "SUCCESS"
    assert late.verification == (0, "")
    assert clock.now() - began < 300, "what is pending is another job's"
    more = begin(whole.path, run_id="more", created_after=FIRST + 3 * HOUR, **limited)
    more.to_the_end()
    assert "1 of 17 assets failed" in more.verification[1]


@every_way
def test_of_a_job_with_a_filter_it_is_not_known_which_assets_failed_where_the_instance_does_not_list_them(
    emulator: EmulatorProcess, begin: Begin, clock: Clock
) -> None:
    emulator.settings(query_builder=False)
    whole = processed_hourly(emulator, begin)
    emulator.settings(told_assets={"*7.dita": {"status": "PENDING"}})
    began, after = clock.now(), FIRST + 15 * HOUR
    run = begin(whole.path, verify_assets=True, fail_on_asset_failures=1, run_id="filtered", created_after=after)
    assert run.to_the_end()["state"] == "SUCCESS"
    failed, said = run.verification
    assert (failed, "It is not known whether too many assets failed" in said) == (None, True)
    assert "the job had a filter" in said
    assert clock.now() - began >= 300, "what is pending may be its own"


@every_way
def test_if_the_instance_fails_over_a_comma_the_job_counts_and_the_assets_are_unknown(
    emulator: EmulatorProcess, begin: Begin
) -> None:
    path = f"/content/dam/a, b-{uuid.uuid4().hex[:8]}"
    emulator.virtual_folder(path, 20, rate=20)
    emulator.settings(comma_fails_asset_status=True)
    run = begin(path, verify_assets=True)
    assert run.to_the_end()["state"] == "SUCCESS"
    assert run.verification == (None, "")
    again = begin(path, verify_assets=True, fail_on_asset_failures=1, run_id="limited")
    again.to_the_end()
    assert "AEM Guides before 2026.09 fails at a comma" in again.verification[1]


@every_way
def test_a_job_that_ends_with_errors_keeps_that_state_and_the_limit_decides(
    emulator: EmulatorProcess, begin: Begin
) -> None:
    emulator.settings(errors_word="COMPLETED WITH ERRORS")
    run = begin(verify_assets=True, fail_on_asset_failures=2)
    emulator.virtual_folder(run.path, 20, rate=20, failed_assets=["topic_0000004.dita", "topic_0000005.dita"])
    assert run.to_the_end()["state"] == "COMPLETED WITH ERRORS"
    assert run.verification[0] == 2
    again = begin(run.path, verify_assets=True, fail_on_asset_failures=2, verify_ignore=["*.dita"], run_id="again")
    assert again.to_the_end()["state"] == "COMPLETED WITH ERRORS"
    assert again.verification == (0, "")


@every_way
@pytest.mark.parametrize("clear", [False, True], ids=["retry", "clear"])
def test_the_tasks_after_a_failed_verification_start_and_resume_nothing(
    emulator: EmulatorProcess, begin: Begin, clear: bool
) -> None:
    emulator.settings(told_assets={"*": {"status": "PROCESSING"}})
    run = begin(verify_assets=True, verify_minutes=1, reprocess=True)
    run.to_the_end()
    assert "Clear this task to check again" in run.verification[1]
    emulator.settings(told_assets={})
    (job,) = emulator.jobs(run.path)
    emulator.post("/emulator/jobs/lose", {"processingId": job["processing_id"]})
    name = "verify" if run.way.five_tasks else "batch"
    if clear:
        run.clear(name)
    assert run.play(name)
    assert run.verification == (0, "")
    (same,) = emulator.jobs(run.path)
    assert (same["processing_id"], same["resumes"]) == (job["processing_id"], 0)


@every_deferred_way
def test_a_task_that_is_killed_while_it_waits_for_assets_leaves_the_job_and_says_what_was_not_done(
    emulator: EmulatorProcess, begin: Begin
) -> None:
    emulator.settings(late_assets=3, late_seconds=300.0)
    run = begin(verify_assets=True)
    run.wait_is_over = dies_with_the_wait_for_assets
    with pytest.raises(WorkerKilledError):
        run.to_the_end()
    run.states["verify" if run.way.five_tasks else "batch"] = "failed"
    asyncio.run(run.triggers[-1].on_kill())
    run.afterwards()
    (job,) = emulator.jobs(run.path)
    assert job["state"] == "SUCCESS"
    assert run.outcome["state"] == "SUCCESS"
    if not run.way.five_tasks:
        assert "They were not verified, and the log was not archived" in str(run.outcome["error"])
        assert not is_well(Row.from_json(run.outcome), archived=False)


@every_deferred_way
def test_a_connection_that_leads_elsewhere_while_assets_are_waited_for_sends_nothing_there(
    emulator: EmulatorProcess, begin: Begin, monkeypatch: pytest.MonkeyPatch
) -> None:
    emulator.settings(late_assets=3, late_seconds=300.0)
    run = begin(verify_assets=True)
    run.wait_is_over = dies_with_the_wait_for_assets
    with pytest.raises(WorkerKilledError):
        run.to_the_end()
    other = emulator.connection(read_timeout=5).replace("127.0.0.1", "localhost")
    monkeypatch.setenv("AIRFLOW_CONN_AEM_GUIDES_DEFAULT", other)
    asked, (_, arguments) = len(emulator.requests()), run.triggers[-1].serialize()
    event = asyncio.run(fired(AemGuidesAssetsTrigger(**arguments)))  # type: ignore[arg-type]  # its own
    assert event["kind"] == "ConfigurationError"
    assert len(emulator.requests()) == asked


async def fired(trigger: AemGuidesAssetsTrigger) -> JsonObject:
    return cast("JsonObject", (await anext(trigger.run())).payload)


def dies_with_the_wait_for_assets(trigger: AemGuidesTrigger) -> None:
    if isinstance(trigger, AemGuidesAssetsTrigger):
        raise WorkerKilledError
