"""Every way in which the log of a job that has ended is archived."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass

import httpx
import pytest

from aem_guides.archive.job import archive_job
from aem_guides.hooks import AemGuidesHook
from aem_guides.operators import AemGuidesArchiveLogsOperator, AemGuidesProcessAssetsOperator
from aem_guides.operators import process as batch_operator
from aem_guides.protocol.models import ProcessingRequest
from aem_guides.protocol.procedures.path_state import PathState
from aem_guides.protocol.procedures.start import Origin
from aem_guides.runtime import notes as registers
from aem_guides.runtime.notes import path_key
from aem_guides.runtime.path_store import encoded
from tests.support.emulator import PASSWORD, EmulatorProcess
from tests.support.notes import KeptNotes
from tests.support.tasks import Task


@dataclass(frozen=True)
class Ended:
    """A job that has ended, and its path."""

    processing_id: str
    path: str

    @classmethod
    def on(cls, emulator: EmulatorProcess) -> Ended:
        """A job on a new folder, once it has ended."""
        path = f"/content/dam/ended-{uuid.uuid4().hex[:8]}"
        emulator.virtual_folder(path, 20, rate=10_000)
        body = {"path": path, "type": "ASSET_PROCESSING"}
        start = f"{emulator.url}/bin/guides/v1/assets/process"
        answer = httpx.post(start, json=body, auth=("admin", PASSWORD), trust_env=False)
        emulator.wait_until(lambda: emulator.get("/emulator/health")["active"] == 0)
        return cls(str(answer.json()["processingId"]), path)


def by_the_operator(ended: Ended, task: Task, _now: float) -> None:
    with AemGuidesHook() as hook:
        archive = AemGuidesArchiveLogsOperator(task_id="archive", processing_id=ended.processing_id)
        archive.act(hook, task.context())


def by_a_batch(ended: Ended, task: Task, now: float) -> None:
    """The path's task continues with a job that has ended meanwhile."""
    request, notes = ProcessingRequest(ended.path), KeptNotes()
    state = PathState(request).works(ended.processing_id, Origin.STARTED).stays(deadline_at=now + 600)
    notes.set(path_key(task.dag_id, task.run_id, task.task_id, request.fingerprint()), encoded(state))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(batch_operator, "announce", lambda *_reported: None)
        patch.setattr(registers, "AirflowNotes", lambda: notes)
        operator = AemGuidesProcessAssetsOperator(task_id=task.task_id, path=ended.path, verify_assets=False)
        operator.execute(task.context())


FIRST_SEEN = 1_750_000_000.0


def by_the_reconciliation(ended: Ended, _task: Task, _now: float) -> None:
    """The same way archives a single job for a user."""
    with AemGuidesHook() as hook:
        job = hook.get_status(ended.processing_id)
        archive_job(hook, job, run="reconcile", request=None, first_seen=lambda: FIRST_SEEN)


Way = Callable[[Ended, Task, float], None]
"""Archives the log of a job. The task is the same for every try, and the number is the time."""

ways = pytest.mark.parametrize("archive", [by_the_operator, by_a_batch, by_the_reconciliation])
