"""An author that restarts refuses logins that it accepted before: a run that is under way waits that out."""

from __future__ import annotations

import uuid
from pathlib import Path

import pytest

from aem_guides.ledger import recorder
from aem_guides.protocol.errors import AuthenticationError, Retry
from tests.support.emulator import EmulatorProcess
from tests.support.notes import KeptNotes
from tests.support.ways import PathRun, Way

CONNECTION = "AIRFLOW_CONN_AEM_GUIDES_DEFAULT"


@pytest.mark.parametrize("deferred", [True, False])
def test_the_wait_for_a_job_that_was_started_is_tried_again(
    emulator: EmulatorProcess, register: KeptNotes, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, *, deferred: bool
) -> None:
    monkeypatch.setattr(recorder, "record", lambda _notes: None)
    monkeypatch.setenv(CONNECTION, emulator.connection(read_timeout=5))
    path = f"/content/dam/story-{uuid.uuid4().hex[:8]}"
    emulator.virtual_folder(path, 20, rate=20)
    options = {"archive_uri": f"file://{tmp_path}", "longest_look": 2.0}
    run = PathRun(Way(five_tasks=True, deferred=deferred), path, register, monkeypatch, options)
    assert run.play("start")
    accepted = emulator.connection(read_timeout=5)
    monkeypatch.setenv(CONNECTION, accepted.replace('"login": "admin"', '"login": "nobody"'))
    with pytest.raises(AuthenticationError) as refused:
        run.attempt("wait")
    assert refused.value.retry is Retry.USEFUL
    assert run.state is not None
    assert not run.state.concluded
    monkeypatch.setenv(CONNECTION, accepted)
    assert run.play("wait")
    assert run.outcome["state"] == "SUCCESS"
