"""The emulator as a client sees it, for the tests of its promises."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from tests.support.emulator import PASSWORD, EmulatorProcess

PROCESS = "/bin/guides/v1/assets/process"
ENDED = ("SUCCESS", "FAILED", "CANCELLED")


@dataclass
class Instance:
    """The API of an emulator, called as a client does, and the emulator itself."""

    emulator: EmulatorProcess
    client: httpx.Client

    def folder(self, files: int, **more: object) -> str:
        """A new virtual folder."""
        path = f"/content/dam/virtual-{uuid.uuid4().hex[:10]}"
        self.emulator.virtual_folder(path, files, **more)
        return path

    def begin(self, path: str, **more: object) -> httpx.Response:
        body = {"path": path, "type": "ASSET_PROCESSING", **more}
        return self.client.post(self.emulator.url + PROCESS, json=body)

    def start(self, path: str, **more: object) -> str:
        answer = self.begin(path, **more)
        assert answer.status_code == 200, answer.text
        return str(answer.json()["processingId"])

    def ask(self, what: str, processing_id: str, **query: object) -> httpx.Response:
        """GET one of status, logs, logs/download."""
        values = {"processingId": processing_id, **{name: str(value) for name, value in query.items()}}
        return self.client.get(f"{self.emulator.url}{PROCESS}/{what}", params=values)

    def act(self, what: str, processing_id: str) -> httpx.Response:
        """POST one of cancel, resume."""
        return self.client.post(f"{self.emulator.url}{PROCESS}/{what}", json={"processingId": processing_id})

    def status(self, processing_id: str) -> dict[str, Any]:
        answer = self.ask("status", processing_id)
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    def history(self) -> list[dict[str, Any]]:
        return list(self.client.get(f"{self.emulator.url}{PROCESS}/history").json()["executionHistory"])

    def wait(self, processing_id: str, met: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """Await a condition of a job."""
        deadline = time.monotonic() + 120
        while not met(job := self.status(processing_id)):
            assert time.monotonic() < deadline, job
            time.sleep(0.02)
        return job

    def end(self, processing_id: str) -> dict[str, Any]:
        return self.wait(processing_id, lambda job: job["status"] in ENDED)

    def times_processed(self, path: str) -> list[int]:
        return [asset["times_processed"] for asset in self.emulator.assets(path)]


@pytest.fixture
def instance(emulator: EmulatorProcess) -> Iterator[Instance]:
    """The instance, reset."""
    if emulator.get("/emulator/health")["jobs"]:
        emulator.post("/emulator/reset", {})
    emulator.delete("/emulator/faults")
    with httpx.Client(auth=("admin", PASSWORD), trust_env=False, timeout=60) as client:
        yield Instance(emulator, client)
    emulator.post("/emulator/reset", {})
