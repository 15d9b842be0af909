"""The reconciliation against a real instance: what it reads, finds and repairs."""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from aem_guides.hooks.hook import AemGuidesHook
from aem_guides.ledger.clock import now_ms
from aem_guides.ledger.database import open_engine
from aem_guides.ledger.findings import Remedy
from aem_guides.ledger.notes import Note
from aem_guides.ledger.recorder import record
from aem_guides.ledger.records import RunKey
from aem_guides.ledger.store import Ledger
from aem_guides.ledger.waiting import let_wait
from aem_guides.protocol.errors import DoubtfulStartError
from aem_guides.protocol.models import ProcessingRequest
from aem_guides.protocol.procedures.intent import Intent
from aem_guides.protocol.procedures.resume import resume_once
from aem_guides.protocol.steps import Steps
from aem_guides.reconciliation.remedies import assignments, carry_out, take_snapshot
from tests.support.archives import archived_lines
from tests.support.emulator import EmulatorProcess
from tests.support.new_ledgers import new_ledger
from tests.support.reconciling import CONNECTION, RUN, World


@pytest.fixture
def world(emulator: EmulatorProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    archive = tmp_path / "archive"
    database = new_ledger(tmp_path / "ledger.db")
    monkeypatch.setenv("AIRFLOW__AEM_GUIDES__ARCHIVE_URI", f"file://{archive}")
    monkeypatch.setenv("AIRFLOW_CONN_AEM_GUIDES_LEDGER", f"sqlite:///{tmp_path / 'ledger.db'}")
    emulator.post("/emulator/reset", {})
    with Ledger(open_engine(database)) as ledger:
        monkeypatch.setenv("AIRFLOW_CONN_AEM_GUIDES_DEFAULT", emulator.connection())
        yield World(emulator, ledger, archive)


def test_a_job_whose_run_was_killed_for_good_is_adopted_followed_and_archived(world: World) -> None:
    world.emulator.virtual_folder("/content/dam/x", 100, rate=0.1)
    name = world.start_ours("/content/dam/x", state="failed")
    assert "disagreement" in world.found()
    assert [(r.assignment.remedy, r.succeeded) for r in world.mend()] == [(Remedy.ADOPT, True)]
    assert world.entry(name).kept
    assert [str(key.kind) for key in world.reconcile().closed] == ["disagreement"]
    world.emulator.virtual_folder("/content/dam/x", 100, rate=1000)
    world.settle()
    assert world.found() == {"state_changed", "missed_completion", "log_not_archived"}
    assert [(r.assignment.remedy, r.succeeded) for r in world.mend()] == [(Remedy.ARCHIVE, True)]
    entry = world.entry(name)
    assert entry.archive_uri
    with zipfile.ZipFile(entry.archive_uri.removeprefix("file://")) as archive:
        stored = b"".join(archive.read(member) for member in archive.namelist()).decode().split("\n")[:-1]
    assert stored == world.emulator.log_lines(name)
    assert [str(key.kind) for key in world.reconcile().closed] == ["log_not_archived"]
    assert world.mend() == []


def test_a_job_that_failed_while_no_run_waited_is_resumed_once_even_after_a_crash(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.emulator.virtual_folder("/content/dam/x", 40, rate=400, fail_at=0.5)
    name = world.start_ours("/content/dam/x", state="failed")
    world.settle()
    assert "failed_resumable" in world.found()
    planned = assignments(world.ledger, world.instance, CONNECTION, world.settings)
    (resume,) = (one for one in planned if one.remedy is Remedy.RESUME)
    with monkeypatch.context() as dying:
        dying.setattr(world.ledger, "resumed", _crash)  # after the POST, before that is written down
        with pytest.raises(KeyboardInterrupt):
            carry_out(resume, world.ledger, world.settings, by="test")
    world.settle()
    assert carry_out(resume, world.ledger, world.settings, by="test").succeeded
    assert carry_out(resume, world.ledger, world.settings, by="test").succeeded
    world.settle()
    world.reconcile()
    assert len(world.emulator.requests("resume")) == 1
    assert [asset["times_processed"] for asset in world.emulator.assets("/content/dam/x")] == [1] * 40
    assert (world.entry(name).state, world.entry(name).resumes) == ("SUCCESS", 1)


def test_a_job_that_fails_again_before_the_next_reconciliation_is_resumed_again(world: World) -> None:
    world.emulator.virtual_folder("/content/dam/x", 40, rate=400, fail_at=0.5)
    name = world.start_ours("/content/dam/x", state="failed")
    world.settle()
    world.emulator.virtual_folder("/content/dam/x", 40, rate=0.1)
    for _ in range(2):
        world.reconcile()
        done = [result for result in world.mend() if result.assignment.remedy is Remedy.RESUME]
        assert [result.succeeded for result in done] == [True]
        world.emulator.post("/emulator/jobs/fail", {"processingId": name, "resumable": True})
    assert len(world.emulator.requests("resume")) == 2


def _crash(*_arguments: object) -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize("keeps_id", [True, False])
def test_a_resume_that_is_in_doubt_is_settled_by_the_next_attempt_and_not_sent_again(
    world: World, monkeypatch: pytest.MonkeyPatch, keeps_id: bool
) -> None:
    world.emulator.settings(resume_keeps_id=keeps_id)
    world.emulator.virtual_folder("/content/dam/x", 40, rate=400, fail_at=0.5)
    world.start_ours("/content/dam/x", state="failed")
    world.settle()
    world.reconcile()
    planned = assignments(world.ledger, world.instance, CONNECTION, world.settings)
    (resume,) = (one for one in planned if one.remedy is Remedy.RESUME)

    def doubtful(*arguments: Any, **more: Any) -> Steps[str]:
        yield from resume_once(*arguments, **more)
        raise DoubtfulStartError("The answer did not come, and the history cannot settle it.")

    with monkeypatch.context() as doubting:
        doubting.setattr("aem_guides.protocol.procedures.resume_in_turn.resume_once", doubtful)
        doubting.setattr(Intent, "settled", lambda intent, _processing_id: intent)
        assert not carry_out(resume, world.ledger, world.settings, by="test").succeeded
    world.settle()
    assert carry_out(resume, world.ledger, world.settings, by="test").succeeded
    assert len(world.emulator.requests("resume")) == 1


def test_a_resume_that_was_refused_leaves_nothing_to_settle(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.emulator.virtual_folder("/content/dam/x", 40, rate=400, fail_at=0.5)
    world.start_ours("/content/dam/x", state="failed")
    world.settle()
    world.reconcile()
    planned = assignments(world.ledger, world.instance, CONNECTION, world.settings)
    (resume,) = (one for one in planned if one.remedy is Remedy.RESUME)
    world.emulator.fault("resume", "status", status=400)
    assert not carry_out(resume, world.ledger, world.settings, by="test").succeeded
    finding = world.ledger.finding(resume.finding_id)
    assert finding is not None
    assert finding.intent is None


def test_a_resume_is_given_up_after_as_many_as_are_allowed(world: World) -> None:
    world.emulator.virtual_folder("/content/dam/x", 40, rate=400, fail_at=0.5)
    name = world.start_ours("/content/dam/x", state="failed")
    world.settle()
    world.reconcile()
    with world.ledger.begin("test") as connection:
        connection.exec_driver_sql("UPDATE aem_guides_job SET resumes = 2")
    (result,) = (r for r in world.mend() if r.assignment.remedy is Remedy.RESUME)
    assert (result.succeeded, "reconcile_max_resumes" in result.note) == (False, True)
    assert world.state(name) == "FAILED"


def test_an_archive_that_was_damaged_or_removed_is_found_and_fetched_again(world: World) -> None:
    world.emulator.virtual_folder("/content/dam/x", 5)
    name = world.start_ours("/content/dam/x", state="success")
    world.settle()
    world.reconcile()
    world.mend()
    place = Path(str(world.entry(name).archive_uri).removeprefix("file://"))
    for damage in (lambda: place.write_bytes(b"not what was stored"), place.unlink):
        damage()
        with world.ledger.begin("test") as connection:
            connection.exec_driver_sql("UPDATE aem_guides_job SET archive_checked_at = '2020-01-01'")
        assert world.found() == {"archive_missing"}
        assert [(r.assignment.remedy, r.succeeded) for r in world.mend()] == [(Remedy.ARCHIVE, True)]
        assert [str(key.kind) for key in world.reconcile().closed] == ["archive_missing"]


def test_a_log_that_grows_after_it_was_archived_is_archived_anew_and_holds_all_it_had(world: World) -> None:
    world.emulator.settings(late_assets=3, late_seconds=90.0, late_line_seconds=60.0)
    world.emulator.virtual_folder("/content/dam/x", 5)
    name = world.start_ours("/content/dam/x", state="success")
    world.settle()
    world.reconcile()
    assert [r.assignment.remedy for r in world.mend()] == [Remedy.ARCHIVE]
    place = Path(str(world.entry(name).archive_uri).removeprefix("file://"))
    first, lines = place.read_bytes(), world.emulator.log_lines(name)
    assert "log_grown" not in world.found()
    world.wait(lambda: len(world.emulator.log_lines(name)) > len(lines))
    before = len(world.emulator.requests("logs"))
    assert world.found() == {"log_grown"}
    assert len(world.emulator.requests("logs")) - before == 1
    assert [(r.assignment.remedy, r.succeeded) for r in world.mend()] == [(Remedy.ARCHIVE, True)]
    assert archived_lines(world.archive) == world.emulator.log_lines(name)
    manifest = json.loads((place.parent / "manifest.json").read_bytes())
    (replaced,) = manifest["replaces"]
    assert (replaced["sha256"], replaced["is_held_whole"]) == (hashlib.sha256(first).hexdigest(), True)
    assert [str(key.kind) for key in world.reconcile().closed] == ["log_grown"]
    assert world.mend() == []


def test_without_the_remedy_and_long_after_the_end_no_log_is_asked_for(world: World) -> None:
    world.emulator.virtual_folder("/content/dam/x", 5)
    world.start_ours("/content/dam/x", state="success")
    world.settle()
    world.reconcile()
    world.mend()
    before = len(world.emulator.requests("logs"))
    with AemGuidesHook(CONNECTION) as hook:
        assert take_snapshot(hook, world.ledger, CONNECTION, world.runs.get).log_grown == {}
        world.advance(7 * 3600)
        world.reconcile()
    assert len(world.emulator.requests("logs")) == before


def test_a_job_that_the_instance_forgot_is_lost(world: World) -> None:
    world.emulator.virtual_folder("/content/dam/x", 100, rate=0.1)
    name = world.start_ours("/content/dam/x")
    with world.ledger.begin("test") as connection:
        connection.exec_driver_sql("UPDATE aem_guides_job SET first_seen_at = '2020-01-01'")
    world.emulator.post("/emulator/jobs/lose", {"processingId": name})
    assert "lost" in world.found()
    assert world.entry(name).state == "LOST"


def test_an_unreadable_entry_is_reported_and_an_unknown_state_survived(world: World) -> None:
    world.emulator.virtual_folder("/content/dam/x", 5)
    name = world.start_foreign("/content/dam/x")
    world.settle()
    world.emulator.fault("history", "history_bad_entry")
    assert "unreadable_entry" in world.found()
    assert world.entry(name).state == "SUCCESS"
    world.emulator.fault("history", "unknown_state")
    assert "unknown_state" in world.found()


def test_notes_wait_in_the_archive_while_the_ledger_is_down_and_none_is_lost(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.emulator.virtual_folder("/content/dam/x", 5)
    request = ProcessingRequest("/content/dam/x")
    with AemGuidesHook(CONNECTION) as hook:
        name = hook.start_processing(request)
    note = Note(world.instance, CONNECTION, name, request.to_json(), RUN, "start_processing", 0, now_ms())
    with monkeypatch.context() as broken:
        broken.setenv("AIRFLOW_CONN_AEM_GUIDES_LEDGER", "postgresql://nobody:canary-5e@127.0.0.1:9/none")
        record([note])
    assert len(list((world.archive / "ledger-notes").glob("*.json"))) == 1
    world.runs[RUN] = "running"
    assert "new_external" not in world.found()
    assert world.entry(name).run == RUN
    assert not list((world.archive / "ledger-notes").glob("*.json"))


@pytest.mark.parametrize(
    "content",
    [
        b"\x00\xff not JSON",
        b"[1, 2]",
        b'{"processing_id": 7}',
        b"[" * 100_000,
        b'{"instance": "x", "connection_id": "c", "processing_id": 7, "request": {}, "run": {}, "task_id": "t"}',
    ],
)
def test_a_note_that_cannot_be_taken_in_is_set_aside_with_a_finding_and_holds_up_no_other(
    world: World, content: bytes
) -> None:
    folder = world.archive / "ledger-notes"
    folder.mkdir(parents=True)
    (folder / "0-broken.json").write_bytes(content)
    request = ProcessingRequest("/content/dam/a").to_json()
    let_wait(Note(world.instance, CONNECTION, "a-job", request, RUN, "start_processing", 0, now_ms()))
    assert "note_set_aside" in world.found()
    assert world.entry("a-job").run == RUN
    assert (folder / "set-aside" / "0-broken.json").read_bytes() == content
    assert not list(folder.glob("*.json"))
    assert "note_set_aside" not in world.found(), "it lasts, and is no news"
    (folder / "set-aside" / "0-broken.json").unlink()
    assert "note_set_aside" in {str(key.kind) for key in world.reconcile().closed}


def test_hours_with_ours_others_and_the_instances_own_jobs_leave_nothing_out(world: World) -> None:
    world.archive_foreign = True
    world.emulator.settings(window=5, schedule_seconds=900.0, schedule_path="/content/dam/system")
    world.emulator.virtual_folder("/content/dam/system", 3)
    ours: set[str] = set()
    for quarter in range(24):
        world.settle()  # the instance refuses its own run while the last one is active
        before = len(world.emulator.jobs())
        world.advance(900)
        world.wait_for_more_than(before)
        if quarter % 3 == 0:
            world.emulator.virtual_folder(f"/content/dam/ours-{quarter}", 4)
            ours.add(world.start_ours(f"/content/dam/ours-{quarter}", RunKey("d", f"r{quarter}"), "success"))
        for number in range(7 if quarter in (8, 17) else quarter % 2):
            world.emulator.virtual_folder(f"/content/dam/theirs-{quarter}-{number}", 2)
            world.start_foreign(f"/content/dam/theirs-{quarter}-{number}")
            world.settle()
        world.reconcile()
        world.mend()
    world.settle()
    world.advance(200)
    world.reconcile()
    world.mend()
    world.reconcile()
    assert ours
    for name in world.shown | ours:
        assert world.entry(name).state == world.state(name)
        assert world.entry(name).archive_uri
        assert Path(str(world.entry(name).archive_uri).removeprefix("file://")).exists()
    with world.ledger.begin("test") as connection:
        gaps = connection.exec_driver_sql("SELECT COUNT(*) FROM aem_guides_finding WHERE kind = 'window_gap'").scalar()
        count = connection.exec_driver_sql("SELECT COUNT(*) FROM aem_guides_job").scalar()
    pairs = zip(world.windows, world.windows[1:], strict=False)
    assert gaps == sum(not before & after for before, after in pairs) == 2
    assert count == len(world.shown | ours)
