"""Which failures of a task leave its job to the later tasks, like a kill."""

from __future__ import annotations

import pytest

from aem_guides.protocol.errors import AemGuidesError, InvalidInputError, NotFoundError, UnavailableError
from aem_guides.protocol.models import ProcessingRequest
from aem_guides.protocol.procedures.path_state import PathState, Phase
from aem_guides.protocol.procedures.start import Origin
from aem_guides.runtime.path_store import NewerStateError, PathStore, encoded
from aem_guides.sensors import AemGuidesProcessingSensor
from aem_guides.triggers.lifecycle import TaskKilledError
from tests.support.notes import KeptNotes
from tests.support.tasks import Task

STARTED = PathState(ProcessingRequest("/content/a"), Phase.FOLLOWING, 1, processing_id="job", origin=Origin.STARTED)
NOT_THERE = NotFoundError("GET history", 404, "", attempts=1)


def after_failing(error: Exception, try_number: int, register: KeptNotes | None = None) -> PathState:
    """The state after a try of a wait, of six at most, that failed."""
    register = register or KeptNotes()
    if "path" not in register.values:
        register.set("path", encoded(STARTED))
    sensor = AemGuidesProcessingSensor(task_id="wait", processing_id="job")
    store = PathStore("path", register)
    store.load()
    context = Task(try_number=try_number, max_tries=5).context()
    with pytest.raises(type(error)), sensor.concluding(context, store):
        raise error
    state = register.state("path")
    assert state is not None
    return state


@pytest.mark.parametrize(
    ("error", "try_number", "concluded"),
    [
        (InvalidInputError("path", "x", "give one"), 1, True),
        (UnavailableError("GET history", 503, ""), 1, False),
        (UnavailableError("GET history", 503, ""), 6, True),
        (ValueError("not foreseen"), 5, False),
        (ValueError("not foreseen"), 6, True),
        (NOT_THERE, 3, False),
        (NOT_THERE, 4, True),
        (TaskKilledError("killed"), 6, False),
    ],
    ids=lambda value: str(value) if isinstance(value, int) else type(value).__name__,
)
def test_a_task_that_fails_for_good_by_itself_was_not_killed(
    error: AemGuidesError, try_number: int, concluded: bool
) -> None:
    assert after_failing(error, try_number).concluded is concluded


def test_a_process_that_was_overtaken_writes_nothing_more() -> None:
    register = KeptNotes()
    register.set("path", encoded(STARTED))
    goes_on = PathStore("path", register)
    goes_on.load()
    sensor = AemGuidesProcessingSensor(task_id="wait", processing_id="job")
    with pytest.raises(NewerStateError) as raised:
        sensor.came_back(goes_on, {"error": "overtaken", "kind": "NewerStateError", "retry": "useful"})
    assert after_failing(raised.value, 6, register) == STARTED
    goes_on.save(STARTED.stays(log_offset=7))
