"""The states of a job, and the words for them.

Source: the contract documents the words WAITING and SUCCESS; the product's Bulk Processor shows "In progress",
"Completed" and "Cancelled", its events also "COMPLETED WITH ERRORS"; a failed state exists, since failed jobs can be
resumed. Every other word is kept as it is and judged by the job's other fields.
"""

from __future__ import annotations

import enum


class JobState(enum.StrEnum):
    """The state of a job, in AEM's documented spelling."""

    WAITING = "WAITING"
    RUNNING = "RUNNING"
    SUCCESS = "SUCCESS"
    WITH_ERRORS = "COMPLETED WITH ERRORS"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"
    UNKNOWN = "UNKNOWN"


ACTIVE_STATES = frozenset({JobState.WAITING, JobState.RUNNING})
WELL_ENDED_STATES = frozenset({JobState.SUCCESS, JobState.WITH_ERRORS})
"""The job went through all of its assets. WITH_ERRORS: some of them failed."""
ENDED_STATES = WELL_ENDED_STATES | {JobState.FAILED, JobState.CANCELLED}

_DONE = ("SUCCESS", "SUCCESSFUL", "SUCCEEDED", "COMPLETED", "COMPLETE", "DONE", "FINISHED")
_WORDS: dict[str, JobState] = {
    **dict.fromkeys(("WAITING", "PENDING", "QUEUED", "CREATED", "SCHEDULED", "NEW", "NOTSTARTED"), JobState.WAITING),
    **dict.fromkeys(
        (
            "RUNNING",
            "INPROGRESS",
            "PROCESSING",
            "STARTED",
            "ACTIVE",
            "RESUMED",
            "RESUMING",
            "EXECUTING",
            "CANCELLING",
            "CANCELING",
        ),
        JobState.RUNNING,
    ),
    **dict.fromkeys(_DONE, JobState.SUCCESS),
    **dict.fromkeys(
        (
            *(f"{done}WITH{what}" for done in _DONE for what in ("ERRORS", "ERROR", "FAILURES", "WARNINGS")),
            *("PARTIALSUCCESS", "PARTIALLYSUCCESSFUL", "PARTIALLYCOMPLETED", "PARTIALLYFAILED"),
        ),
        JobState.WITH_ERRORS,
    ),
    **dict.fromkeys(("FAILED", "FAILURE", "ERROR", "ABORTED"), JobState.FAILED),
    **dict.fromkeys(("CANCELLED", "CANCELED", "TERMINATED", "STOPPED", "KILLED", "INTERRUPTED"), JobState.CANCELLED),
}


def state_of_word(word: str) -> JobState:
    """Map a status word of any spelling and case to a state; an unknown word is `JobState.UNKNOWN`.

    Spaces, hyphens and underscores do not count: "In progress", "IN_PROGRESS" and "in-progress" are one word.
    """
    key = "".join(letter for letter in word.upper() if letter not in " _-\t")
    return _WORDS.get(key, JobState.UNKNOWN)


class Verdict(enum.StrEnum):
    """The judgement of a job from all its fields."""

    ACTIVE = "active"
    SUCCEEDED = "succeeded"
    WITH_ERRORS = "ended with errors"
    FAILED = "failed"
    CANCELLED = "cancelled"
    ENDED_UNCLEAR = "ended, outcome unknown"


VERDICT_OF_STATE = {
    JobState.WAITING: Verdict.ACTIVE,
    JobState.RUNNING: Verdict.ACTIVE,
    JobState.SUCCESS: Verdict.SUCCEEDED,
    JobState.WITH_ERRORS: Verdict.WITH_ERRORS,
    JobState.FAILED: Verdict.FAILED,
    JobState.CANCELLED: Verdict.CANCELLED,
}
"""The verdict for each known state."""
