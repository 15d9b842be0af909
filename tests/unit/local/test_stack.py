"""One stack per folder, the file with its address, its complete end; without starting anything."""

from __future__ import annotations

import json
import os
import shutil
import stat
from collections import namedtuple
from collections.abc import Iterator
from pathlib import Path

import pytest

from local import __main__ as launcher
from local.interruption import Interruption
from local.problems import StackError
from local.settings import INSTANCE_CONNECTION
from local.stack import Stack, StackOptions

Usage = namedtuple("Usage", "total used free")


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[Stack]:
    made = Stack(StackOptions(folder=tmp_path, report=pytest.fail))
    yield made
    made.stop()


def test_a_second_stack_in_the_same_folder_is_refused_and_the_first_goes_on(stack: Stack, tmp_path: Path) -> None:
    stack._claim_folder()
    stack.write_up_file()
    second = Stack(StackOptions(folder=tmp_path))
    with pytest.raises(StackError, match=r"Another stack runs in .*: end it first"):
        second._claim_folder()
    assert not second.stop()
    assert (tmp_path / "up.json").exists()


def test_the_file_with_the_address_of_the_stack_can_be_read_by_its_owner_only(stack: Stack) -> None:
    stack._claim_folder()
    stack.url, stack.password = "http://127.0.0.1:8123", "secret"
    file = stack.write_up_file()
    reported = json.loads(file.read_text())
    assert reported == {"url": stack.url, "username": "admin", "password": "secret", "pid": os.getpid()}
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_the_file_with_the_address_of_the_stack_goes_with_it(stack: Stack) -> None:
    stack._claim_folder()
    file = stack.write_up_file()
    stack.stop()
    assert not file.exists()


def test_the_file_that_a_killed_launcher_left_goes_at_the_next_start(stack: Stack, tmp_path: Path) -> None:
    (tmp_path / "up.json").write_text("{}")
    stack._claim_folder()
    assert not (tmp_path / "up.json").exists()


def test_a_full_disk_is_reported_before_anything_is_started(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: Usage(10**9, 10**9, 5 * 1024**2))
    with pytest.raises(StackError, match=r"There are 5 MiB left on the disk of .* needs 500\. Make room"):
        stack.start()
    assert not stack.programs.running


def test_a_folder_that_cannot_be_made_is_reported(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StackError, match=r"cannot be written: .*Not a directory"):
        Stack(StackOptions(folder=tmp_path / "file" / "state")).start()


def test_what_does_not_come_in_time_is_reported_with_the_place_of_the_logs(stack: Stack) -> None:
    with pytest.raises(StackError, match=r"Airflow is not healthy after 0 s\. Look into .*logs"):
        stack._wait(lambda: False, 0, "Airflow is not healthy")


def test_up_works_with_the_instance_that_is_given_and_starts_no_emulator(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(INSTANCE_CONNECTION, "aem-guides://author")
    assert not launcher._options("up", Interruption()).emulator


@pytest.mark.parametrize("given", [None, ""])
def test_up_starts_the_emulator_where_no_instance_is_given(monkeypatch: pytest.MonkeyPatch, given: str | None) -> None:
    monkeypatch.delenv(INSTANCE_CONNECTION, raising=False)
    if given is not None:
        monkeypatch.setenv(INSTANCE_CONNECTION, given)
    assert launcher._options("up", Interruption()).emulator


def test_the_demo_runs_on_the_emulator_even_where_an_instance_is_given_and_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(INSTANCE_CONNECTION, "aem-guides://author")
    assert launcher._options("demo", Interruption()).emulator
    assert "The demo runs on the emulator." in capsys.readouterr().out


def test_an_unknown_command_is_answered_with_the_known_ones(capsys: pytest.CaptureFixture[str]) -> None:
    assert launcher.main(["start"]) == 2
    assert capsys.readouterr().out == "Usage: python -m local demo|up\n"
