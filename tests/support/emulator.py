"""The emulator as a real process, for tests."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx

from tests.support.clocks import Clock

ROOT = Path(__file__).resolve().parents[2]
PASSWORD = "canary-password-5f2e"
TOKEN = "canary-token-93ab"
MANY = 20
"""Requests a second that suit an emulator on which dozens of scenarios run at once."""
CONTENT = {"/content/dam/aurora": ROOT / "include" / "content"}


class EmulatorProcess:
    """One emulator: started as a program, killed like one. Use it as a context manager."""

    def __init__(
        self,
        folder: Path,
        *,
        contents: Mapping[str, Path] | None = None,
        settings: Mapping[str, object] | None = None,
        arguments: Sequence[str] = ("--rate", "2000"),
        clock: Clock | None = None,
    ) -> None:
        self.folder = folder
        self._contents = CONTENT if contents is None else contents
        self._settings = dict(settings or {})
        self._arguments = [*arguments, *(clock.arguments if clock is not None else ())]
        self._process: subprocess.Popen[bytes] | None = None
        self._client = httpx.Client(timeout=30.0, trust_env=False)
        self.port = 0

    def __enter__(self) -> EmulatorProcess:
        try:
            self.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_exception: object) -> None:
        self.stop()
        self._client.close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def admin(self) -> httpx.Client:
        """A client of the admin routes. It serves until a restart and after it."""
        self._client.base_url = httpx.URL(self.url)
        return self._client

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Start it, on the port that it had before if there was one, and wait until it answers."""
        self.folder.mkdir(parents=True, exist_ok=True)
        port_file = self.folder / "port"
        port_file.unlink(missing_ok=True)
        command = [sys.executable, "-m", "emulator", "--port", str(self.port), "--port-file", str(port_file)]
        command += ["--data", str(self.folder / "data"), "--settings", json.dumps(self._settings), *self._arguments]
        for where, content in self._contents.items():
            command += ["--content", f"{content}:{where}"]
        environment = {
            **os.environ,
            "PYTHONPATH": str(ROOT / "include"),
            "EMULATOR_PASSWORD": PASSWORD,
            "EMULATOR_TOKENS": TOKEN,
        }
        log = (self.folder / "emulator.log").open("ab")
        self._process = subprocess.Popen(command, env=environment, stdout=log, stderr=subprocess.STDOUT)
        log.close()
        deadline = time.monotonic() + 30
        while not port_file.exists():
            assert self._process.poll() is None, (self.folder / "emulator.log").read_text()
            assert time.monotonic() < deadline, "the emulator does not answer"
            time.sleep(0.02)
        self.port = int(port_file.read_text())

    def stop(self) -> None:
        """End it as an operator would."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End it as a power cut would."""
        self._end(signal.SIGKILL)

    def restart(self) -> None:
        """Start it again on what its data folder holds, on the same port; kill it first if it still runs."""
        self.kill()
        self.start()

    def get(self, route: str, **query: str) -> Any:
        answer = self._client.get(self.url + route, params=query)
        answer.raise_for_status()
        return answer.json() if "json" in answer.headers["content-type"] else answer.text

    def post(self, path: str, body: Mapping[str, object]) -> Any:
        answer = self._client.post(self.url + path, json=dict(body))
        answer.raise_for_status()
        return answer.json()

    def patch(self, path: str, body: Mapping[str, object]) -> Any:
        answer = self._client.patch(self.url + path, json=dict(body))
        answer.raise_for_status()
        return answer.json()

    def delete(self, path: str) -> Any:
        answer = self._client.delete(self.url + path)
        answer.raise_for_status()
        return answer.json()

    def fault(self, endpoint: str, kind: str, **more: object) -> None:
        """Set a fault, by default for one call."""
        self.post("/emulator/faults", {"endpoint": endpoint, "kind": kind, **more})

    def settings(self, **changes: object) -> None:
        self.patch("/emulator/settings", changes)

    def virtual_folder(self, path: str, files: int, **more: object) -> None:
        self.post("/emulator/virtual-folders", {"path": path, "files": files, **more})

    def jobs(self, path: str | None = None) -> list[dict[str, Any]]:
        """All jobs, or those on one path."""
        return list(self.get("/emulator/jobs", **({} if path is None else {"path": path})))

    def job(self, processing_id: str) -> dict[str, Any]:
        """One job."""
        (job,) = self.get("/emulator/jobs", processingId=processing_id)
        return dict(job)

    def log_lines(self, processing_id: str) -> list[str]:
        """What the emulator logged, line by line."""
        return str(self.get("/emulator/log", processingId=processing_id)).split("\n")[:-1]

    def assets(self, path: str) -> list[dict[str, Any]]:
        return list(self.get("/emulator/assets", path=path))

    def requests(self, endpoint: str | None = None) -> list[dict[str, Any]]:
        """The API requests that came, or those to one endpoint."""
        query = {} if endpoint is None else {"endpoint": endpoint}
        return list(self.get("/emulator/requests", **query))

    def connection(self, **extra: object) -> str:
        """The Airflow connection to this instance, as JSON for an environment variable."""
        return json.dumps(
            {"conn_type": "aem_guides", "host": self.url, "login": "admin", "password": PASSWORD, "extra": extra}
        )

    def _end(self, number: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait(15)
            self._process = None

    def wait_until(self, met: Callable[[], object], what: str = "what is awaited", within: float = 60) -> None:
        """Await a condition."""
        deadline = time.monotonic() + within
        while not met():
            assert time.monotonic() < deadline, f"not within {within} s: {what}"
            time.sleep(0.02)
