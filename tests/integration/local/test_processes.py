"""The launcher ends everything that it starts. Real processes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from local.problems import StackError
from local.processes import MOST_RESTARTS, Programs, free_port, has_ended, is_free, session_members

SLEEP = "import time; time.sleep(600)"
STUBBORN = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); {SLEEP}"
# A task of Airflow's: a child in its own process group, which does not end when its parent gets a signal.
WITH_TASK = """
import os, signal, time
if os.fork() == 0:
    os.setpgid(0, 0)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    print("task", os.getpid(), flush=True)
time.sleep(600)
"""


@pytest.fixture
def programs(tmp_path: Path) -> Iterator[Programs]:
    started = Programs(tmp_path)
    yield started
    started.stop(0)


def start(programs: Programs, code: str, name: str = "program") -> int:
    return programs.start(name, [sys.executable, "-c", code], os.environ).pid


def await_condition(met: Callable[[], object], within: float = 10) -> None:
    deadline = time.monotonic() + within
    while not met():
        assert time.monotonic() < deadline, "the condition was not met in time"
        time.sleep(0.01)


def await_output(programs: Programs, text: str, name: str = "program") -> str:
    log = programs.running[name].log
    await_condition(lambda: text in log.read_text())
    return log.read_text()


def test_a_program_that_obeys_ends_long_before_its_grace_is_over(programs: Programs) -> None:
    pid = start(programs, SLEEP)
    began = time.monotonic()
    programs.stop(30)
    assert has_ended(pid)
    assert time.monotonic() - began < 10


def test_a_program_that_does_not_hear_the_request_is_killed_after_its_grace(programs: Programs) -> None:
    pid = start(programs, STUBBORN)
    await_output(programs, "deaf")
    programs.stop(0.2)
    assert has_ended(pid)


def test_a_task_in_a_process_group_of_its_own_ends_with_the_program_that_started_it(programs: Programs) -> None:
    pid = start(programs, WITH_TASK)
    task = int(await_output(programs, "task").split()[1])
    assert os.getpgid(task) != os.getpgid(pid)
    programs.stop(0.2)
    assert has_ended(task)
    assert session_members([pid]) == []


def test_a_program_that_has_ended_is_reported_with_its_status_and_its_last_lines(programs: Programs) -> None:
    start(programs, "import sys; print('the disk is full'); sys.exit(3)")
    programs.running["program"].process.wait(10)
    with pytest.raises(StackError, match=r"program ended with status 3\.(.|\n)*the disk is full"):
        programs.check()


def test_a_program_that_was_killed_is_reported_with_the_signal(programs: Programs) -> None:
    os.kill(start(programs, SLEEP), signal.SIGKILL)
    programs.running["program"].process.wait(10)
    with pytest.raises(StackError, match="program ended on signal SIGKILL"):
        programs.check()


def test_a_restarted_program_has_another_pid_and_goes_on_with_its_log(programs: Programs) -> None:
    first = start(programs, "print('here I am', flush=True)")
    programs.running["program"].process.wait(10)
    second = programs.restart("program").pid
    await_condition(lambda: programs.running["program"].log.read_text().count("here I am") == 2)
    assert second != first


def test_a_new_stack_begins_its_logs_anew(programs: Programs) -> None:
    for word in ("first", "second"):
        start(programs, f"print('{word}', flush=True)")
        programs.running["program"].process.wait(10)
    assert programs.running["program"].log.read_text() == "second\n"


def test_a_program_that_died_is_started_again_with_all_that_it_had_and_said_so(programs: Programs) -> None:
    said: list[str] = []
    command = [sys.executable, "-c", f"import os; print(os.environ['GREETING'], flush=True); {SLEEP}"]
    pid = programs.start("program", command, {**os.environ, "GREETING": "hello"}).pid
    await_output(programs, "hello")
    programs.restart_ended(said.append)
    assert (said, programs.running["program"].pid) == ([], pid)
    os.kill(pid, signal.SIGKILL)
    programs.running["program"].process.wait(10)
    programs.restart_ended(said.append)
    assert len(said) == 1
    assert said[0].startswith("program ended on signal SIGKILL and is restarted. Its log: ")
    assert programs.running["program"].pid != pid
    await_output(programs, "hello\nhello\n")


def test_the_tasks_of_a_program_that_died_end_before_it_is_started_again(programs: Programs) -> None:
    pid = start(programs, WITH_TASK)
    task = int(await_output(programs, "task").split()[1])
    os.kill(pid, signal.SIGKILL)
    programs.running["program"].process.wait(10)
    programs.restart_ended(lambda _said: None)
    assert has_ended(task)


def test_a_program_that_keeps_dying_is_given_up(programs: Programs) -> None:
    said: list[str] = []
    start(programs, "import sys; sys.exit(3)")
    for _ in range(MOST_RESTARTS):
        programs.running["program"].process.wait(10)
        programs.restart_ended(said.append)
    programs.running["program"].process.wait(10)
    with pytest.raises(StackError, match="program ended with status 3"):
        programs.restart_ended(said.append)
    assert len(said) == MOST_RESTARTS


def test_the_next_launcher_ends_the_programs_of_a_killed_one(programs: Programs, tmp_path: Path) -> None:
    pid = start(programs, WITH_TASK, "scheduler")
    task = int(await_output(programs, "task", "scheduler").split()[1])
    assert Programs(tmp_path).end_leftovers() == ["scheduler"]
    programs.running["scheduler"].process.wait(10)
    await_condition(lambda: has_ended(task))
    assert session_members([pid]) == []


def test_a_task_that_outlived_its_killed_program_is_ended_by_the_next_launcher(
    programs: Programs, tmp_path: Path
) -> None:
    pid = start(programs, WITH_TASK, "scheduler")
    task = int(await_output(programs, "task", "scheduler").split()[1])
    os.kill(pid, signal.SIGKILL)
    programs.running["scheduler"].process.wait(10)
    assert not has_ended(task)
    Programs(tmp_path).end_leftovers()
    await_condition(lambda: has_ended(task))


def test_another_process_with_the_pid_of_a_program_is_left_alone(programs: Programs, tmp_path: Path) -> None:
    pid = start(programs, SLEEP)
    noted = json.loads(programs.register.read_text())
    noted["programs"][0]["created"] -= 1000
    programs.register.write_text(json.dumps(noted))
    assert Programs(tmp_path).end_leftovers() == []
    assert not has_ended(pid)


def test_programs_noted_before_a_restart_of_the_machine_are_left_alone(programs: Programs, tmp_path: Path) -> None:
    pid = start(programs, SLEEP)
    noted = json.loads(programs.register.read_text())
    noted["booted"] -= 3600
    programs.register.write_text(json.dumps(noted))
    assert Programs(tmp_path).end_leftovers() == []
    assert not has_ended(pid)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"booted": 0}', '[{"name": "x"}]'])
def test_a_damaged_note_of_programs_does_not_keep_a_stack_from_starting(tmp_path: Path, text: str) -> None:
    programs = Programs(tmp_path)
    programs.register.write_text(text)
    assert programs.end_leftovers() == []
    assert not programs.register.exists()


def test_a_port_is_free_until_a_server_listens_on_it() -> None:
    port = free_port()
    assert is_free(port)
    listener = subprocess.Popen(
        [sys.executable, "-c", f"import socket; s = socket.create_server(('127.0.0.1', {port})); print('x'); input()"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    with listener:
        assert listener.stdout
        listener.stdout.readline()
        assert not is_free(port)
        listener.kill()
