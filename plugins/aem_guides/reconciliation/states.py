"""Delete the states of paths whose runs are long over: Airflow keeps them until somebody does."""

from __future__ import annotations

import logging
from collections.abc import Callable

from airflow.sdk.exceptions import AirflowRuntimeError

from aem_guides.ledger.records import RunKey
from aem_guides.ledger.store import Ledger
from aem_guides.runtime.path_store import PathStore

_GOES_ON = ("queued", "running")

log = logging.getLogger(__name__)


def forget_old_states(ledger: Ledger, before: int, run_state: Callable[[RunKey], str | None]) -> int:
    """Delete the states of which nothing was noted since then (epoch milliseconds); returns how many.

    The state of a run that goes on stays. What cannot be deleted now is tried again by a later reconciliation.
    """
    gone: list[str] = []
    for state in ledger.old_states(before):
        if run_state(state.run) in _GOES_ON:
            continue
        try:
            PathStore(state.key).delete()
        except AirflowRuntimeError as error:
            log.warning("The state of a path of run %s could not be deleted: %s", state.run.run_id, error)
            break
        gone.append(state.key)
    ledger.forget_states(gone)
    return len(gone)
