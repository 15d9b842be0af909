"""Airflow keeps the states of paths forever. They are deleted when their runs have long ended."""

from __future__ import annotations

import pytest

from aem_guides.ledger.records import RunKey
from aem_guides.ledger.store import Ledger
from aem_guides.protocol.models import ProcessingRequest
from aem_guides.protocol.procedures.path_state import PathState
from aem_guides.reconciliation.states import forget_old_states
from aem_guides.runtime.notes import path_key
from aem_guides.runtime.path_store import encoded
from tests.support.notes import KeptNotes
from tests.support.worlds import MINUTE, NOW, RUN, note


def kept(register: KeptNotes, name: str) -> str:
    """Store the state of a path of the run to which the notes belong."""
    request = ProcessingRequest(f"/content/dam/{name}")
    key = path_key(RUN.dag_id, RUN.run_id, "process_path.start_processing", request.fingerprint())
    register.set(key, encoded(PathState(request)))
    return key


@pytest.mark.parametrize(("state", "goes"), [("success", True), ("failed", True), (None, True), ("running", False)])
def test_a_state_goes_when_its_run_is_over_and_long_past(
    ledger: Ledger, register: KeptNotes, state: str | None, goes: bool
) -> None:
    old, fresh = kept(register, "old"), kept(register, "fresh")
    ledger.take_note(note("old", at=NOW - 60 * MINUTE))
    ledger.take_note(note("fresh", at=NOW))

    def run_state(run: RunKey) -> str | None:
        assert run == RUN
        return state

    assert forget_old_states(ledger, NOW - 30 * MINUTE, run_state) == int(goes)
    assert (register.state(old) is None) is goes
    assert register.state(fresh) is not None
    assert forget_old_states(ledger, NOW - 30 * MINUTE, run_state) == 0, "what is gone is not looked for again"


def test_a_later_note_of_a_path_keeps_its_state(ledger: Ledger, register: KeptNotes) -> None:
    key = kept(register, "a")
    ledger.take_note(note("a", at=NOW - 60 * MINUTE))
    ledger.take_note(note("a", at=NOW))
    assert forget_old_states(ledger, NOW - 30 * MINUTE, lambda _: "success") == 0
    assert register.state(key) is not None
