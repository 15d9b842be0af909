"""Delete the states of paths whose runs ended long ago, because Airflow does not delete them."""

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
    """Delete the states without a note since then (epoch milliseconds), and return their number.

    The state of a running run is kept. A later reconciliation tries again to delete a state that cannot be deleted now.
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
