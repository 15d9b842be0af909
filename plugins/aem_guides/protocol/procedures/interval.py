"""Wait for the end of an interval, by the instance's clock and by ours."""

from __future__ import annotations

from aem_guides.protocol import contract
from aem_guides.protocol.conversation import Conversation
from aem_guides.protocol.models import ProcessingRequest
from aem_guides.protocol.procedures.events import Level, Notice
from aem_guides.protocol.steps import Emit, Steps, Wait
from aem_guides.protocol.wording import in_words

_SCHEDULER_AHEAD_SECONDS = 300.0
"""How far the scheduler's clock, which decides when an interval has ended, may be ahead of this worker's clock."""

_LONGEST_CLOCK_WAIT_SECONDS = 600.0
"""The longest wait for an instance whose clock is behind ours."""

_CLOCK_STRETCH_SECONDS = 60.0


def await_interval(talk: Conversation, request: ProcessingRequest, longest: float | None = None) -> Steps[bool]:
    """Wait for the end of an interval, by the instance's clock and by ours, before a turn is taken.

    Returns False without a wait if the wait would take more than `longest` seconds. Raises what a call raises.
    """
    while request.created_before is not None:
        yield from talk.call(contract.history())  # the answer shows the instance's time
        if (seconds := until_interval_ends(talk, request)) <= 0:
            return True
        if longest is not None and seconds > longest:
            return False
        yield from wait_for_interval(request, seconds)
    return True


def until_interval_ends(talk: Conversation, request: ProcessingRequest) -> float:
    """Seconds until `created_before` has passed, by the instance's clock and by ours.

    The instance's clock sets the creation time of assets. A request that is sent too early would miss the assets that
    are created until `created_before`. An end that is far in the future is intended, so it is not waited for. The wait
    for an instance whose clock is far behind is limited.
    """
    end = request.created_before
    if end is None or end / 1000 - talk.now() > _SCHEDULER_AHEAD_SECONDS:
        return 0.0
    ours = end / 1000 - talk.now()
    theirs = (end - talk.instance_now()) / 1000
    return max(ours, min(theirs, ours + _LONGEST_CLOCK_WAIT_SECONDS))


def wait_for_interval(request: ProcessingRequest, seconds: float) -> Steps[None]:
    """Wait in short steps, because each history shows the instance's clock anew."""
    text = (
        f"{request.path}: by the clock of the instance, created_before is still in the future; waiting up to "
        f"{in_words(seconds)}. Check that clock if the wait is long."
    )
    yield Emit(Notice(Level.WARNING, text))
    yield Wait(min(seconds, _CLOCK_STRETCH_SECONDS), text)
