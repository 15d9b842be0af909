"""The parts that a reconciliation works on: an instance, a ledger, an archive, and runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from aem_guides.hooks.hook import AemGuidesHook
from aem_guides.ledger.clock import now_ms
from aem_guides.ledger.findings import Remedy
from aem_guides.ledger.notes import Note
from aem_guides.ledger.reconcile import ReconcilePolicy, Reconciliation
from aem_guides.ledger.records import LedgerJob, RunKey
from aem_guides.ledger.settings import ReconcileSettings
from aem_guides.ledger.store import Ledger
from aem_guides.protocol.models import ProcessingRequest
from aem_guides.reconciliation.remedies import (
    RemedyResult,
    assignments,
    carry_out,
    take_in_waiting_notes,
    take_snapshot,
)
from tests.support.emulator import PASSWORD, EmulatorProcess

CONNECTION = "aem_guides_default"
RUN = RunKey("aem_guides_process_assets", "manual__1")
EVERYTHING = frozenset({Remedy.ARCHIVE, Remedy.RESUME, Remedy.ADOPT})


@dataclass
class World:
    """An instance, a ledger, an archive, and our runs."""

    emulator: EmulatorProcess
    ledger: Ledger
    archive: Path
    runs: dict[RunKey, str | None] = field(default_factory=dict)
    archive_foreign: bool = False
    max_active_jobs: int = 4
    shown: set[str] = field(default_factory=set)
    windows: list[set[str]] = field(default_factory=list)

    @property
    def settings(self) -> ReconcileSettings:
        policy = ReconcilePolicy(archive_foreign=self.archive_foreign)
        return ReconcileSettings(policy, EVERYTHING, 2, 0, 0, self.max_active_jobs)

    @property
    def instance(self) -> str:
        return f"127.0.0.1:{self.emulator.port}"

    def reconcile(self) -> Reconciliation:
        take_in_waiting_notes(self.ledger)
        with AemGuidesHook(CONNECTION) as hook:
            shown = take_snapshot(hook, self.ledger, CONNECTION, self.runs.get, EVERYTHING)
        names = {job.processing_id for job in shown.window}
        self.shown |= names
        self.windows.append(names)
        return self.ledger.reconcile(shown, self.settings.policy, EVERYTHING, run_id="r", dry_run=False)

    def mend(self) -> list[RemedyResult]:
        planned = assignments(self.ledger, self.instance, CONNECTION, self.settings)
        return [carry_out(one, self.ledger, self.settings, by="test") for one in planned]

    def found(self) -> set[str]:
        return {str(finding.key.kind) for finding in self.reconcile().opened}

    def entry(self, name: str) -> LedgerJob:
        entry = self.ledger.find(self.instance, name)
        assert entry is not None
        return entry

    def start_ours(self, path: str, run: RunKey = RUN, state: str | None = "running") -> str:
        request = ProcessingRequest(path)
        with AemGuidesHook(CONNECTION) as hook:
            name = hook.start_processing(request)
        self.runs[run] = state
        note = Note(self.instance, CONNECTION, name, request.to_json(), run, "start_processing", 0, now_ms())
        self.ledger.take_note(note)
        return name

    def start_foreign(self, path: str) -> str:
        """Start a job as another user, with a plain request."""
        answer = httpx.post(
            f"{self.emulator.url}/bin/guides/v1/assets/process",
            json={"path": path, "type": "ASSET_PROCESSING"},
            auth=("admin", PASSWORD),
            trust_env=False,
        )
        return str(answer.raise_for_status().json()["processingId"])

    def wait(self, met: Callable[[], object]) -> None:
        self.emulator.wait_until(met)

    def wait_for_more_than(self, jobs: int) -> None:
        self.wait(lambda: len(self.emulator.jobs()) > jobs)

    def settle(self) -> None:
        """Wait until the instance has no active job."""
        self.wait(lambda: self.emulator.get("/emulator/health")["active"] == 0)

    def state(self, name: str) -> str:
        return str(self.emulator.job(name)["state"])

    def advance(self, seconds: float) -> None:
        self.emulator.post("/emulator/clock", {"advance_seconds": seconds})
