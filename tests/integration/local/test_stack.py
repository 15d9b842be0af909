"""A stack and the programs that it starts; without Airflow."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from local import __main__ as launcher
from local.problems import StackError
from local.processes import FolderLock
from local.stack import Stack, StackOptions

PASSWORD = "emulator-password"
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path(launcher.__file__).parents[1])}


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[Stack]:
    made = Stack(StackOptions(folder=tmp_path, report=pytest.fail))
    yield made
    made.stop()


def test_a_folder_is_free_again_once_its_stack_has_ended_even_without_a_word(tmp_path: Path) -> None:
    code = (
        "import os, sys; from pathlib import Path; from local.processes import FolderLock;"
        "taken = FolderLock(Path(sys.argv[1])).acquire(); os._exit(7 if taken else 1)"
    )
    file = tmp_path / "stack.lock"
    killed = subprocess.run([sys.executable, "-c", code, str(file)], env=ENVIRONMENT, check=False)
    assert killed.returncode == 7
    lock = FolderLock(file)
    assert lock.acquire()
    lock.release()
    assert not lock.held


def test_the_end_of_a_stack_returns_whether_anything_was_started(stack: Stack) -> None:
    stack._claim_folder()
    assert not stack.stop()
    stack._claim_folder()
    stack.programs.start("scheduler", [sys.executable, "-c", "import time; time.sleep(600)"], os.environ)
    assert stack.stop()


def test_a_program_that_dies_while_it_is_awaited_is_reported_at_once(stack: Stack) -> None:
    stack._claim_folder()
    stack.programs.start("scheduler", [sys.executable, "-c", "print('no table'); exit(1)"], os.environ)
    with pytest.raises(StackError, match=r"scheduler ended with status 1\.(.|\n)*no table"):
        stack._wait(lambda: False, 60, "never seen")


def test_the_emulator_has_the_same_address_at_the_next_start(stack: Stack) -> None:
    first = stack._start_emulator(PASSWORD)
    stack.programs.stop(5.0)
    assert stack._start_emulator(PASSWORD) == first
    stack.programs.stop(5.0)
