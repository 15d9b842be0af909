"""What a task that waits for a job hands on to the tasks after it, as XComs."""

from __future__ import annotations

from aem_guides.protocol.models import JsonObject
from aem_guides.protocol.procedures.path_state import PathState
from aem_guides.results.outcome import WaitOutcome

PROCESSING_ID_KEY = "processing_id"
EARLIER_IDS_KEY = "earlier_processing_ids"
STATE_KEY = "state_key"
OUTCOME_KEY = "outcome"
RETURN_KEY = "return_value"


def ids_of(state: PathState, state_key: str) -> JsonObject:
    """Where the job is found: its ids, and where its state is stored."""
    return {
        PROCESSING_ID_KEY: state.processing_id,
        EARLIER_IDS_KEY: list(state.earlier_ids),
        STATE_KEY: state_key,
    }


def results_of(state: PathState, state_key: str, outcome: WaitOutcome) -> JsonObject:
    """All XComs of a task that succeeded. The task returns its outcome."""
    return {**ids_of(state, state_key), OUTCOME_KEY: outcome.to_json(), RETURN_KEY: outcome.to_json()}
