"""Two parts of `make test` side by side: real processes, their output, and their end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from local.processes import has_ended
from tests.support.lanes import BESIDE

ROOT = Path(__file__).resolve().parents[3]
# A test session that has started a process in its own session, and ends it in order after a signal.
WITH_A_STACK = """
import subprocess, sys, time, signal, os
def end(number, frame):
    raise KeyboardInterrupt
signal.signal(signal.SIGTERM, end)
stack = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
open(sys.argv[1], "w").write(f"{os.getpid()} {stack.pid}\\n")
try:
    time.sleep(600)
except KeyboardInterrupt:
    stack.kill()
    stack.wait()
"""
DEAF = """
import os, signal, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
open(sys.argv[1], "w").write(f"{os.getpid()}\\n")
time.sleep(600)
"""


def says(words: str, status: int = 0, after: float = 0.0) -> list[str]:
    return [sys.executable, "-c", f"import sys, time; time.sleep({after}); print({words!r}); sys.exit({status})"]


def lanes(folder: Path, first: list[str], second: list[str], **environment: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.support.lanes", str(folder), *first, BESIDE, *second]
    given = {**os.environ, "PYTHONPATH": f"{ROOT / 'include'}{os.pathsep}{ROOT}", **environment}
    return subprocess.Popen(
        command, cwd=ROOT, env=given, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, encoding="utf-8"
    )


def outcome(running: subprocess.Popen[str]) -> tuple[int, str]:
    said, _ = running.communicate(timeout=60)
    return running.returncode, said


def test_both_are_shown_and_all_is_well_if_both_are(tmp_path: Path) -> None:
    status, said = outcome(lanes(tmp_path, says("one"), says("two")))
    assert status == 0
    assert "one" in said
    assert "two" in said


def test_the_second_is_shown_as_a_whole_and_not_between_the_lines_of_the_first(tmp_path: Path) -> None:
    slow = [sys.executable, "-uc", "import time\nfor n in range(3): print('a', n); time.sleep(0.2)"]
    between = [sys.executable, "-uc", "import time\nfor n in range(4): print('b', n); time.sleep(0.1)"]
    status, said = outcome(lanes(tmp_path, slow, between))
    assert status == 0
    assert "b 0\nb 1\nb 2\nb 3\n" in said


def test_a_failure_of_either_is_the_status_and_ends_the_other_not(tmp_path: Path) -> None:
    assert outcome(lanes(tmp_path, says("one", 3), says("two", after=0.5)))[0] == 3
    status, said = outcome(lanes(tmp_path, says("one", after=0.5), says("two", 5)))
    assert (status, "one" in said, "with exit status 5" in said) == (5, True, True)


def test_its_end_ends_both_lanes_and_what_they_started(tmp_path: Path) -> None:
    files = [tmp_path / "first", tmp_path / "second"]
    first, second = ([sys.executable, "-c", WITH_A_STACK, str(file)] for file in files)
    running = lanes(tmp_path, first, second)
    pids = started(files)
    running.send_signal(signal.SIGTERM)
    assert outcome(running)[0] == 128 + signal.SIGTERM
    assert len(pids) == 4
    assert all(map(has_ended, pids))


def test_a_process_that_ignores_the_signal_is_killed_after_the_grace(tmp_path: Path) -> None:
    file = tmp_path / "deaf"
    running = lanes(tmp_path, says("one"), [sys.executable, "-c", DEAF, str(file)], AEM_GUIDES_LANES_GRACE="0.5")
    pids = started([file])
    running.send_signal(signal.SIGINT)
    assert outcome(running)[0] == 128 + signal.SIGINT
    assert all(map(has_ended, pids))


def started(files: list[Path]) -> list[int]:
    """The process ids that processes write into these files."""
    deadline = time.monotonic() + 60
    while not all(file.exists() and file.read_text().endswith("\n") for file in files):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return [int(pid) for file in files for pid in file.read_text().split()]
