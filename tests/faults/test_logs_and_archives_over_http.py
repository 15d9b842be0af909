"""Faulty log pages and log archives over real HTTP: nothing fails without need, and nothing is lost."""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
import zipfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from blockbuster import BlockBuster, blockbuster_ctx

from aem_guides.archive.place import Provenance, StoredArchive, archive_folder, store_archive, verify_archive
from aem_guides.hooks import bodies
from aem_guides.hooks.hook import AemGuidesHook
from aem_guides.protocol.conversation import RetrySettings
from aem_guides.protocol.errors import AemGuidesError, ArchiveError, AuthenticationError
from aem_guides.protocol.models import JsonObject, ProcessingRequest
from aem_guides.protocol.procedures import log_lines as logs
from aem_guides.protocol.procedures.events import LogLines
from aem_guides.protocol.procedures.log_lines import LogPageError
from aem_guides.protocol.procedures.path_state import PathState
from aem_guides.protocol.procedures.start import Origin
from aem_guides.protocol.states import Verdict
from aem_guides.runtime import notes
from aem_guides.storage import ArchiveCondition
from tests.support.clocks import FAST, Clock
from tests.support.emulator import EmulatorProcess
from tests.support.notes import KeptNotes
from tests.support.path_triggers import event_of, path_trigger

QUICK = RetrySettings(attempts=2, base_seconds=0.001, cap_seconds=0.002)
QUICK_PATIENCE = (0.01, 0.02, 0.03)
LOG_FAULTS = ("repeat_page", "shrink", "ignore_limit", "more_forever", "huge_line", "invalid_utf8", "reset_body")


@pytest.fixture(scope="module")
def clock() -> Clock:
    """The clock of these tests and of their emulator."""
    return Clock(FAST)


@pytest.fixture(autouse=True)
def _connection(emulator: EmulatorProcess, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(bodies, "REAL_SURROUNDINGS", clock.surroundings)
    monkeypatch.setenv("AIRFLOW_CONN_AEM_GUIDES_DEFAULT", emulator.connection(read_timeout=10))
    yield
    emulator.delete("/emulator/faults")


def start(emulator: EmulatorProcess, *, files: int = 120, rate: float = 100_000) -> str:
    path = f"/content/dam/logs-{uuid.uuid4().hex[:8]}"
    emulator.virtual_folder(path, files, rate=rate)
    with AemGuidesHook(retries=QUICK) as hook:
        return hook.start_processing(ProcessingRequest(path))


def ended(emulator: EmulatorProcess) -> str:
    """A job that has succeeded."""
    processing_id = start(emulator)
    deadline = time.monotonic() + 30
    with AemGuidesHook(retries=QUICK) as hook:
        while hook.get_status(processing_id).is_active:
            assert time.monotonic() < deadline
            time.sleep(0.02)
    return processing_id


@pytest.fixture
def register(monkeypatch: pytest.MonkeyPatch) -> KeptNotes:
    """The store of the paths' states."""
    kept = KeptNotes()
    monkeypatch.setattr(notes, "AirflowNotes", lambda: kept)
    return kept


def follow(register: KeptNotes, processing_id: str, *, log_lines: int = 0) -> tuple[JsonObject, PathState]:
    """Wait with the trigger, as the triggerer does, without blocking the loop. Returns its event and the last state."""
    works = PathState(ProcessingRequest(processing_id)).works(processing_id, Origin.STARTED)
    trigger = path_trigger(register, processing_id, state=works, log_lines=log_lines, stall_seconds=60.0)
    event = asyncio.run(event_of(trigger))
    return event, register.states(processing_id)[-1]


@pytest.mark.parametrize("kind", LOG_FAULTS)
def test_no_log_fault_fails_or_holds_up_the_wait(emulator: EmulatorProcess, register: KeptNotes, kind: str) -> None:
    processing_id = start(emulator, rate=60)
    emulator.fault("logs", kind, count=None)
    event, state = follow(register, processing_id, log_lines=1000)
    assert event == {"phase": "ended"}
    assert state.job is not None
    assert state.job.verdict is Verdict.SUCCEEDED


def test_the_trigger_never_blocks_the_loop(
    emulator: EmulatorProcess, register: KeptNotes, caplog: pytest.LogCaptureFixture
) -> None:
    processing_id = start(emulator, rate=60)
    caplog.set_level(logging.INFO)
    with blockbuster_ctx() as blockbuster:
        _allow_reading_of_files_by_the_logger(blockbuster)
        event, _ = follow(register, processing_id, log_lines=1000)
    assert event == {"phase": "ended"}


def test_the_trigger_that_waits_for_its_turn_never_blocks_the_loop_either(
    emulator: EmulatorProcess, register: KeptNotes
) -> None:
    start(emulator, rate=60)
    path = emulator.jobs()[-1]["path"]
    trigger = path_trigger(register, path, on_active_job="queue")
    with blockbuster_ctx() as blockbuster:
        _allow_reading_of_files_by_the_logger(blockbuster)
        assert asyncio.run(event_of(trigger)) == {"phase": "ended"}
    first, second = emulator.jobs(path)
    assert [first["state"], second["state"]] == ["SUCCESS", "SUCCESS"]
    assert first["completed"] <= second["started"]


def test_a_trigger_without_a_connection_says_so_and_that_no_retry_mends_it(
    emulator: EmulatorProcess, register: KeptNotes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_AEM_GUIDES_DEFAULT", '{"conn_type": "aem_guides"}')
    event, _ = follow(register, "any")
    assert "field host" in str(event["error"])
    assert event["retry"] == "pointless"


def _allow_reading_of_files_by_the_logger(blockbuster: BlockBuster) -> None:
    """Looking up a connection in the environment and loading a class are done by Airflow itself, at the first use."""
    for function in (
        "io.BufferedReader.read",
        "io.TextIOWrapper.read",
        "os.stat",
        "os.read",
        "os.scandir",
        "os.listdir",
    ):
        if function in blockbuster.functions:
            blockbuster.functions[function].deactivate()


@pytest.mark.parametrize("kind", ["repeat_page", "shrink", "ignore_limit", "huge_line", "invalid_utf8", "reset_body"])
def test_a_log_that_comes_wrong_once_is_pulled_whole(emulator: EmulatorProcess, kind: str) -> None:
    processing_id = ended(emulator)
    emulator.fault("logs", kind, after=1)
    pulled = pull(processing_id)
    logged = emulator.log_lines(processing_id)
    if kind == "huge_line":
        pulled = [line.partition(" xxxx")[0] for line in pulled]
    if kind == "invalid_utf8":
        pulled = [line.replace("\ufffd", "") for line in pulled]
    assert pulled == logged


@pytest.fixture
def _quick_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "_PATIENCE", QUICK_PATIENCE)


@pytest.mark.usefixtures("_quick_patience")
def test_a_log_that_never_goes_on_ends_in_an_error_that_says_where(emulator: EmulatorProcess) -> None:
    processing_id = ended(emulator)
    emulator.fault("logs", "repeat_page", count=None, after=1)
    with pytest.raises(LogPageError, match="could not be read from line 50 on"):
        pull(processing_id)


@pytest.mark.usefixtures("_quick_patience")
def test_a_log_that_claims_more_for_ever_is_pulled_whole_all_the_same(emulator: EmulatorProcess) -> None:
    processing_id = ended(emulator)
    emulator.fault("logs", "more_forever", count=None, after=1)
    assert pull(processing_id) == emulator.log_lines(processing_id)


def pull(processing_id: str) -> list[str]:
    lines: list[str] = []

    def take(page: LogLines) -> None:
        lines.extend(page.lines)

    with AemGuidesHook(retries=QUICK) as hook:
        assert hook.read_log(processing_id, take, page_lines=50) == len(lines)
    return lines


def archive(processing_id: str, base: Path) -> StoredArchive:
    with AemGuidesHook(retries=QUICK) as hook:
        job = hook.get_status(processing_id)
        folder = archive_folder(f"file://{base}", "instance", datetime(2026, 1, 2, tzinfo=UTC), processing_id)
        return store_archive(hook, Provenance("instance", job), folder, wait=lambda _seconds: None)


DAMAGES = ("zip_crc", "zip_truncated", "zip_empty", "login_page", "html", "empty_body", "truncated_json", "reset_body")


@pytest.mark.parametrize("damage", DAMAGES)
def test_an_archive_that_comes_damaged_once_is_fetched_again(
    emulator: EmulatorProcess, tmp_path: Path, damage: str
) -> None:
    processing_id = ended(emulator)
    emulator.fault("download", damage)
    if damage in ("login_page", "html"):
        with pytest.raises(AuthenticationError):
            archive(processing_id, tmp_path)
    archive(processing_id, tmp_path)
    check_whole(emulator, processing_id, tmp_path)


@pytest.mark.parametrize("damage", [*DAMAGES, "zip_bomb"])
def test_an_archive_that_stays_damaged_is_never_visible_and_the_next_try_completes_it(
    emulator: EmulatorProcess, tmp_path: Path, damage: str
) -> None:
    processing_id = ended(emulator)
    emulator.fault("download", damage, count=None)
    with pytest.raises(AemGuidesError):
        archive(processing_id, tmp_path)
    assert [file for file in tmp_path.rglob("*") if file.is_file()] == []
    emulator.delete("/emulator/faults")
    archive(processing_id, tmp_path)
    check_whole(emulator, processing_id, tmp_path)


def test_a_name_that_leads_out_of_the_folder_is_kept_and_said(emulator: EmulatorProcess, tmp_path: Path) -> None:
    processing_id = ended(emulator)
    emulator.fault("download", "zip_traversal")
    stored = archive(processing_id, tmp_path)
    assert [entry.name for entry in stored.entries] == ["x.log"]
    assert "'../../x.log'" in " ".join(stored.warnings)


def test_an_empty_entry_among_others_is_kept(emulator: EmulatorProcess, tmp_path: Path) -> None:
    processing_id = ended(emulator)
    emulator.fault("download", "zip_zero_entry")
    assert sorted(entry.size for entry in archive(processing_id, tmp_path).entries)[0] == 0


def test_the_file_form_is_packed_into_one_zip(emulator: EmulatorProcess, tmp_path: Path) -> None:
    processing_id = ended(emulator)
    emulator.settings(download_form="json")
    try:
        archive(processing_id, tmp_path)
    finally:
        emulator.settings(download_form="zip")
    check_whole(emulator, processing_id, tmp_path)


def test_storage_that_cannot_be_written_is_reported_and_nothing_is_left(
    emulator: EmulatorProcess, tmp_path: Path
) -> None:
    processing_id = ended(emulator)
    (tmp_path / "instance").write_text("a file where a folder is due")
    with pytest.raises(ArchiveError, match=processing_id):
        archive(processing_id, tmp_path)


def check_whole(emulator: EmulatorProcess, processing_id: str, base: Path) -> None:
    folder = archive_folder(f"file://{base}", "instance", datetime(2026, 1, 2, tzinfo=UTC), processing_id)
    assert verify_archive(folder) is ArchiveCondition.OK
    assert sorted(path.name for path in Path(folder.path).iterdir()) == ["logs.zip", "manifest.json"]
    with zipfile.ZipFile(Path(folder.path) / "logs.zip") as stored:
        text = b"".join(stored.read(name) for name in stored.namelist()).decode()
    assert text.split("\n")[:-1] == emulator.log_lines(processing_id)
