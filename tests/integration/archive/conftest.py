"""Fixtures of the archive's tests: separate processes."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.integration.archive.child import main
from tests.support.children import run_forked

ROOT = Path(__file__).parents[3]
MOUNT = 'mount -t tmpfs -o size=1m tmpfs "$0" && exec "$@"'
Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def work_dir(tmp_path: Path) -> Path:
    """An empty folder for temporary files."""
    path = tmp_path / "work"
    path.mkdir()
    return path


@pytest.fixture
def run_child(tmp_path: Path, work_dir: Path) -> Run:
    """Archive in a separate process. `tiny` is a folder that becomes a disk of 1 MiB for it."""

    def run(mode: str, *, tiny: Path | None = None) -> subprocess.CompletedProcess[str]:
        base = tmp_path / "archive"
        base.mkdir(exist_ok=True)
        if tiny is None:
            return run_forked(tmp_path, main, mode, str(base), str(work_dir))
        limit = "0"
        command: list[str] = []
        if can_mount(tmp_path):
            command = [str(shutil.which("unshare")), "-rm", "sh", "-c", MOUNT, str(tiny)]
        else:
            # Without the right to mount: no file of the process may grow beyond 1 MiB.
            mode, limit = "limited", str(1024 * 1024)
        command += [sys.executable, "-m", "tests.integration.archive.child", mode, str(base), str(work_dir), limit]
        paths = os.pathsep.join([str(ROOT / "plugins"), str(ROOT)])
        environment = os.environ | {"PYTHONPATH": paths, "AIRFLOW_HOME": str(tmp_path / "home")}
        return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120)

    return run


def can_mount(folder: Path) -> bool:
    program = shutil.which("unshare")
    if program is None:
        return False
    command = [program, "-rm", "sh", "-c", MOUNT, str(folder), "true"]
    return subprocess.run(command, capture_output=True, timeout=30).returncode == 0
