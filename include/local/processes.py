"""Processes of the stack: each in its own session, with its output in a file. All of them are ended at the end."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import psutil

from local.problems import StackError

MOST_RESTARTS = 5
_RESTARTS_WITHIN_SECONDS = 600.0
_LAST_WORD_SECONDS = 5.0


@dataclass
class Program:
    """One running program of the stack."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path
    command: Sequence[str]
    environment: Mapping[str, str]

    @property
    def pid(self) -> int:
        return self.process.pid

    def check(self) -> None:
        """Raise StackError if it has ended."""
        code = self.process.poll()
        if code is not None:
            raise StackError(f"{self.name} ended {_in_words(code)}. The end of {self.log}:\n{last_lines(self.log)}")


class Programs:
    """All programs of one stack. A file lists them, so that the programs of a killed launcher can be ended."""

    def __init__(
        self, folder: Path, uninterrupted: Callable[[], AbstractContextManager[None]] = contextlib.nullcontext
    ) -> None:
        self.folder = folder
        self.logs = folder / "logs"
        self.register = folder / "processes.json"
        self.running: dict[str, Program] = {}
        self._ends: dict[str, list[float]] = {}
        self._uninterrupted = uninterrupted

    def start(
        self, name: str, command: Sequence[str], environment: Mapping[str, str], *, keep_log: bool = False
    ) -> Program:
        """Start a program in its own session, with a new log unless the last one is to be kept."""
        self.logs.mkdir(parents=True, exist_ok=True)
        log = self.logs / f"{name}.log"
        with log.open("ab" if keep_log else "wb") as output, self._uninterrupted():
            process = subprocess.Popen(
                command,
                env=dict(environment),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            program = Program(name, process, log, command, environment)
            self.running[name] = program
            self._note()
        return program

    def restart(self, name: str) -> Program:
        """Start an ended program again, with the same command, environment and log."""
        old = self.running[name]
        return self.start(name, old.command, old.environment, keep_log=True)

    def check(self) -> None:
        """Raise StackError if any program has ended."""
        for program in self.running.values():
            program.check()

    def restart_ended(self, report: Callable[[str], None]) -> None:
        """Restart programs that have ended, and report it. Raises StackError for a program that ended six times in ten
        minutes."""
        for name, program in list(self.running.items()):
            code = program.process.poll()
            if code is None:
                continue
            now = time.monotonic()
            ends = [at for at in self._ends.get(name, ()) if now - at < _RESTARTS_WITHIN_SECONDS]
            if len(ends) >= MOST_RESTARTS:
                program.check()
            self._ends[name] = [*ends, now]
            end_sessions([program.pid], 0.0)  # processes that it started
            self.restart(name)
            report(f"{name} ended {_in_words(code)} and is restarted. Its log: {program.log}")

    def stop(self, grace_seconds: float) -> None:
        """End all: send a signal first, and kill what remains after the grace period. No process of their sessions is
        left."""
        programs = list(self.running.values())
        end_sessions([program.pid for program in programs], grace_seconds, lambda: _reap(programs))
        for program in programs:
            with contextlib.suppress(subprocess.TimeoutExpired):
                program.process.wait(5)
        self.running.clear()
        self.register.unlink(missing_ok=True)

    def end_leftovers(self) -> list[str]:
        """End the programs of a killed launcher. Returns their names."""
        left: dict[str, int] = {}
        with contextlib.suppress(OSError, ValueError, TypeError, KeyError):
            noted = json.loads(self.register.read_text())
            if abs(noted["booted"] - psutil.boot_time()) < 60:
                left = {
                    entry["name"]: entry["pid"]
                    for entry in noted["programs"]
                    if _is_its_session(entry["pid"], entry["created"])
                }
        end_sessions(list(left.values()), 0.0)
        self.register.unlink(missing_ok=True)
        return list(left)

    def _note(self) -> None:
        entries = []
        for program in self.running.values():
            with contextlib.suppress(psutil.NoSuchProcess):
                created = psutil.Process(program.pid).create_time()
                entries.append({"name": program.name, "pid": program.pid, "created": created})
        beside = self.register.with_suffix(".new")
        beside.write_text(json.dumps({"booted": psutil.boot_time(), "programs": entries}))
        beside.replace(self.register)


def last_lines(log: Path, count: int = 15) -> str:
    """The end of a log, or "" if there is none."""
    with contextlib.suppress(OSError):
        return "\n".join(log.read_text(errors="replace").splitlines()[-count:])
    return ""


class FolderLock:
    """A lock that one stack holds at a time. It is released when its process ends, in whatever way."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._handle: int | None = None

    @property
    def held(self) -> bool:
        return self._handle is not None

    def acquire(self) -> bool:
        """Take the lock. False if another stack has it. Raises OSError if the file cannot be written."""
        handle = os.open(self._file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(handle)
            return False
        self._handle = handle
        return True

    def release(self) -> None:
        """Release the lock, if it is held."""
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None


def end_sessions(sessions: Sequence[int], grace_seconds: float, reap: Callable[[], None] = lambda: None) -> None:
    """Send a signal to the leaders' groups, and kill what is still in the sessions after the grace period.

    A session contains several groups, because Airflow puts every task into its own group. `reap` collects the exit
    status of our child processes, so that they no longer count.
    """
    for session in sessions:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(session, signal.SIGTERM)
    _await_end(sessions, grace_seconds, reap)
    deadline = time.monotonic() + _LAST_WORD_SECONDS
    while (left := session_members(sessions)) and time.monotonic() < deadline:
        for pid in left:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        _await_end(sessions, 0.2, reap)
    reap()


def session_members(sessions: Sequence[int]) -> list[int]:
    """The live processes of some sessions."""
    wanted = set(sessions)
    members = []
    for pid in psutil.pids() if wanted else []:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            if os.getsid(pid) in wanted and not has_ended(pid):
                members.append(pid)
    return members


def has_ended(pid: int) -> bool:
    """Whether the process with this number has ended."""
    try:
        return bool(psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True


def free_port(host: str = "127.0.0.1") -> int:
    """A port that is free now."""
    with socket.socket() as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])


def is_free(port: int, host: str = "127.0.0.1") -> bool:
    """Whether a server could listen on the port."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
        return True


def _await_end(sessions: Sequence[int], seconds: float, reap: Callable[[], None]) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        reap()
        if not session_members(sessions):
            return
        time.sleep(0.05)


def _reap(programs: Sequence[Program]) -> None:
    for program in programs:
        program.process.poll()


def _is_its_session(session: int, created: float) -> bool:
    """Whether it is still the session in which a program was started, and not a later one with that number.

    The system does not reuse the number while a member is alive, even if the leader has ended.
    """
    try:
        return bool(abs(psutil.Process(session).create_time() - created) < 1.0)
    except psutil.NoSuchProcess:
        return bool(session_members([session]))


def _in_words(code: int) -> str:
    if code >= 0:
        return f"with status {code}"
    with contextlib.suppress(ValueError):
        return f"on signal {signal.Signals(-code).name}"
    return f"on signal {-code}"
