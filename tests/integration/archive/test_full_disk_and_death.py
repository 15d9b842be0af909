"""Full disks and dying processes: nothing partial is visible, and the next try completes."""

from __future__ import annotations

import re
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from aem_guides.archive.place import verify_archive
from aem_guides.protocol.states import JobState
from aem_guides.storage import ArchiveCondition
from tests.integration.archive.child import big_zip
from tests.support.archives import FakeSource, a_folder, a_job, as_zip, store, visible

Run = Callable[..., "subprocess.CompletedProcess[str]"]
PARTIAL = {
    "killed in download": set[str](),
    "killed while writing": {".logs.zip"},
    "killed before the manifest": {"logs.zip", ".manifest.json"},
}


@pytest.mark.parametrize("mode", PARTIAL)
def test_a_process_killed_on_the_way_leaves_no_archive_and_the_next_one_completes_it(
    mode: str, run_child: Run, tmp_path: Path, work_dir: Path
) -> None:
    folder = a_folder(tmp_path / "archive")
    killed = run_child(mode)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert {re.sub(r"\.[0-9a-f]{32}\.part$", "", name) for name in visible(folder)} == PARTIAL[mode]
    assert verify_archive(folder) is ArchiveCondition.MISSING
    assert list(work_dir.iterdir()) == []

    second = run_child("whole")
    assert second.returncode == 0, second.stdout + second.stderr
    assert verify_archive(folder, sha256=second.stdout.splitlines()[-1]) is ArchiveCondition.OK
    assert visible(folder) == ["logs.zip", "manifest.json"]
    assert Path(folder.path, "logs.zip").read_bytes() == big_zip()


def test_a_process_killed_while_it_replaces_an_archive_leaves_none_that_counts(run_child: Run, tmp_path: Path) -> None:
    """The old manifest does not count for the new ZIP, even if both ZIPs have the same size."""
    folder = a_folder(tmp_path / "archive")
    old = bytearray(big_zip())
    old[10:14] = b"\x01\x02\x03\x04"  # the entry's time, in a header that no checksum covers
    store(FakeSource(as_zip(bytes(old))), folder, job=a_job(state=JobState.FAILED))
    assert verify_archive(folder) is ArchiveCondition.OK
    assert run_child("killed before the manifest").returncode == -signal.SIGKILL
    assert Path(folder.path, "logs.zip").read_bytes() == big_zip()
    assert verify_archive(folder) is ArchiveCondition.MISSING
    assert run_child("whole").returncode == 0
    assert verify_archive(folder) is ArchiveCondition.OK


@pytest.mark.parametrize("full", ["archive", "work"])
def test_a_full_disk_is_an_error_that_says_so_and_leaves_nothing(
    full: str, run_child: Run, tmp_path: Path, work_dir: Path
) -> None:
    (tmp_path / "archive").mkdir()
    child = run_child("whole", tiny=tmp_path / full)
    assert child.returncode == 1, child.stdout + child.stderr
    message, seen, temporary = child.stdout.splitlines()[-1].split(" | ")
    assert "No space left on device" in message or "File too large" in message
    assert "The storage is full. Free some space, then run the task again." in message
    assert str(tmp_path) in message
    assert (seen, temporary) == ("[]", "[]")

    assert run_child("whole").returncode == 0
    assert verify_archive(a_folder(tmp_path / "archive")) is ArchiveCondition.OK
