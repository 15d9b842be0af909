"""The list of paths that wait for a person, since it is in doubt what came of a start or resume.

Each is an entry of its own in the state store of `aem_guides_notes`. Airflow lists the keys of that store in their
order, and those of doubts come first.
"""

from __future__ import annotations

from dataclasses import dataclass

from aem_guides.protocol.models import JsonObject, JsonValue
from aem_guides.protocol.procedures.path_state import PathState
from aem_guides.runtime.records import Codec
from aem_guides.runtime.task_states import TaskKey

PREFIX = "doubt:"
MARKED_STATES = frozenset({"success", "skipped", "removed"})
"""The states of a task for which no choice is waited any more: a person has marked it, or its DAG has changed."""


@dataclass(frozen=True)
class Asker:
    """The task that waits for a person, and its connection."""

    task: TaskKey
    connection_id: str


@dataclass(frozen=True)
class Doubt:
    """A path in doubt: where its state is stored, the task that has stopped, and what it was about when it did.

    `at`: when the request was sent, in epoch milliseconds by the instance's clock.
    """

    state_key: str
    asker: Asker
    path: str
    instance: str | None
    at: int

    @property
    def name(self) -> str:
        return name_of(self.state_key, self.at)

    def to_json(self) -> JsonObject:
        """As plain JSON; `from_json` reads it back."""
        return _CODEC.encoded(self)

    @classmethod
    def from_json(cls, stored: JsonValue) -> Doubt | None:
        """Read what `to_json` wrote; None where it is something else."""
        return _CODEC.decoded(stored)


_CODEC = Codec(Doubt)


def name_of(state_key: str, at: int) -> str:
    """The name of a doubt: where the path's state is stored, and when the request was sent (epoch milliseconds)."""
    return f"{state_key}@{at}"


def doubt_key(state_key: str) -> str:
    """Where the doubt about a path is listed, by where its state is stored."""
    return PREFIX + state_key


def waits_for_person(state: PathState) -> bool:
    """Whether a person has to settle the path, or has done so and the run has not gone on yet."""
    return state.doubtful or state.settled_at is not None


def listing(state_key: str, state: PathState, asker: Asker) -> JsonObject | None:
    """The entry to be listed for this state; None where it is in no doubt."""
    if not state.doubtful or state.intent is None:
        return None
    return Doubt(state_key, asker, state.request.path, state.instance, state.intent.at).to_json()
