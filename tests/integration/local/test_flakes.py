"""Repeated runs find tests that fail now and then. Real pytest sessions."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
# Fails every second time, as long as the folder is the same.
NOW_AND_THEN = """
from pathlib import Path

def test_steady():
    pass

def test_now_and_then():
    seen = Path(__file__).with_name("seen")
    if seen.exists():
        seen.unlink()
        raise AssertionError("now and then")
    seen.touch()
"""


def again_and_again(folder: Path, runs: int, *arguments: str) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, "-m", "tests.support.flakes", str(folder / "kept"), str(runs), "0", *arguments],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    return done.returncode, done.stdout


def test_a_flake_is_named_with_the_runs_in_which_it_was_seen(tmp_path: Path) -> None:
    (tmp_path / "test_flaky.py").write_text(NOW_AND_THEN)
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    status, said = again_and_again(tmp_path, 2, "-c", str(tmp_path / "pytest.ini"), str(tmp_path))
    assert status == 1
    assert "2 runs, 1 with failures" in said
    assert "test_now_and_then (in 2)" in said
    assert "test_steady" not in said
    assert "now and then" in (tmp_path / "kept" / "run-2.log").read_text()


def test_a_session_that_does_not_begin_has_failed_too(tmp_path: Path) -> None:
    status, said = again_and_again(tmp_path, 1, "--no-such-option")
    assert status == 1
    assert "the session, with exit status 4 (in 1)" in said
