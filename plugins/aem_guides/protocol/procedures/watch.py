"""Find the jobs that have ended since the last look, also those of other users."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from aem_guides.protocol import contract
from aem_guides.protocol.conversation import Conversation
from aem_guides.protocol.errors import RejectedError
from aem_guides.protocol.models import Job, JsonObject, JsonValue, is_below, milliseconds, same_path, strings
from aem_guides.protocol.states import Verdict
from aem_guides.protocol.steps import Steps

KEPT_ENDS = 1000


@dataclass(frozen=True)
class Seen:
    """The result of the earlier looks: active jobs, and ended jobs with their ends."""

    active: frozenset[str] = frozenset()
    ended: Mapping[str, int | None] = field(default_factory=dict)

    def to_json(self) -> JsonObject:
        """The same as plain JSON, for a store. `from_json` reads it back."""
        return {"active": list(sorted(self.active)), "ended": dict(self.ended)}

    @classmethod
    def from_json(cls, data: JsonValue) -> Seen | None:
        """Read what `to_json` wrote. None for anything else."""
        match data:
            case {"active": list(active), "ended": dict(ended)}:
                return cls(frozenset(strings(active)), {name: milliseconds(end) for name, end in ended.items()})
        return None


def look_for_ends(talk: Conversation, seen: Seen | None) -> Steps[tuple[tuple[Job, ...], Seen]]:
    """The jobs that have ended since the last look, in the order of their ends, and the new `Seen`.

    The first look (`seen` is None) finds none, because earlier ends are not news. A job that was active and has left
    the window is looked up by its id. A job that entered and left the window between two looks is not noticed. Raises
    what a call raises.
    """
    history = yield from talk.call(contract.history())
    shown = {job.processing_id: job for job in history.jobs}
    for name in sorted((seen.active if seen else frozenset()) - shown.keys()):
        try:
            shown[name] = yield from talk.call(contract.status(name))
        except RejectedError:
            continue
    ended = {name: job for name, job in shown.items() if job.verdict is not Verdict.ACTIVE}
    ends = {name: job.completed_at for name, job in ended.items()}
    active = frozenset(shown.keys() - ended.keys())
    if seen is None:
        return (), Seen(active, ends)
    # If the history omits a job once, the job is not news when it appears again.
    earlier = dict(list(seen.ended.items())[-KEPT_ENDS:])
    now = Seen(active, {**{name: end for name, end in earlier.items() if name not in ends}, **ends})
    fresh = [job for job in ended.values() if _is_news(job, seen)]
    return tuple(sorted(fresh, key=lambda job: (job.completed_at or 0, job.processing_id))), now


def _is_news(job: Job, seen: Seen) -> bool:
    """Whether this end is new. The instance may show a later time for the same end."""
    name = job.processing_id
    if name not in seen.ended:
        return True
    at = seen.ended[name]
    return at != job.completed_at and (at is not None or name in seen.active)


def concerns(job: Job, path: str, *, with_parents: bool) -> bool:
    """Whether a job worked on `path` or below it. `with_parents`: or on a folder above it that did not exclude it."""
    if job.path is None:
        return False
    if same_path(job.path) == same_path(path) or is_below(job.path, path):
        return True
    if not with_parents or not is_below(path, job.path):
        return False
    return not any(same_path(out) == same_path(path) or is_below(path, out) for out in job.excluded_paths or ())
