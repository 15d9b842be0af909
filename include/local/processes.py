"""Processes of the stack: each in its own process group, its output in a file, all of them ended in the end."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from local.problems import StackError


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

    def last_lines(self, count: int = 15) -> str:
        """The end of its output."""
        with contextlib.suppress(OSError):
            return "\n".join(self.log.read_text(errors="replace").splitlines()[-count:])
        return ""

    def check(self) -> None:
        """Raise StackError if it has ended."""
        code = self.process.poll()
        if code is not None:
            raise StackError(f"{self.name} ended with status {code}. The end of {self.log}:\n{self.last_lines()}")


class Programs:
    """All programs of one stack, noted in a file so that what a killed launcher left behind can be ended."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.logs = folder / "logs"
        self.register = folder / "processes.json"
        self.running: dict[str, Program] = {}

    def start(self, name: str, command: Sequence[str], environment: Mapping[str, str]) -> Program:
        """Start a program in a process group of its own."""
        self.logs.mkdir(parents=True, exist_ok=True)
        log = self.logs / f"{name}.log"
        with log.open("ab") as output:
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
        """Start a program that has ended once more, with the same command and environment."""
        old = self.running[name]
        return self.start(name, old.command, old.environment)

    def check(self) -> None:
        """Raise StackError if any program has ended."""
        for program in self.running.values():
            program.check()

    def stop(self, grace_seconds: float) -> None:
        """End all: ask first, and after the grace make sure. No process of their groups is left."""
        programs = list(self.running.values())
        for program in programs:
            _signal_group(program.pid, signal.SIGTERM)
        deadline = time.monotonic() + grace_seconds
        while time.monotonic() < deadline and any(_group_lives(program) for program in programs):
            time.sleep(0.05)
        for program in programs:
            _signal_group(program.pid, signal.SIGKILL)
            with contextlib.suppress(subprocess.TimeoutExpired):
                program.process.wait(5)
        self.running.clear()
        self.register.unlink(missing_ok=True)

    def end_leftovers(self) -> list[str]:
        """End what a launcher that was killed left running; returns the names."""
        ended: list[str] = []
        with contextlib.suppress(OSError, ValueError):
            for entry in json.loads(self.register.read_text()):
                if _is_same(entry["pid"], entry["created"]):
                    _signal_group(entry["pid"], signal.SIGKILL)
                    ended.append(entry["name"])
        self.register.unlink(missing_ok=True)
        return ended

    def _note(self) -> None:
        entries = []
        for program in self.running.values():
            with contextlib.suppress(psutil.NoSuchProcess):
                created = psutil.Process(program.pid).create_time()
                entries.append({"name": program.name, "pid": program.pid, "created": created})
        self.register.write_text(json.dumps(entries))


def free_port(host: str = "127.0.0.1") -> int:
    """A port that nobody listens on just now."""
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


def _is_same(pid: int, created: float) -> bool:
    """Whether the pid still is the process that was started, and not another that got its number."""
    try:
        return bool(abs(psutil.Process(pid).create_time() - created) < 1.0)
    except psutil.NoSuchProcess:
        return False


def _signal_group(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, number)


def _group_lives(program: Program) -> bool:
    program.process.poll()
    try:
        os.killpg(program.pid, 0)
    except ProcessLookupError:
        return False
    return True
