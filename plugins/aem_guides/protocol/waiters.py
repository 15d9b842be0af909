"""Who waits on an instance, and why: what a process stores of its paths for people to see."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from aem_guides.protocol.admission import Ticket, Turns
from aem_guides.protocol.json import clean_text

MOST = 50
"""So many paths of each kind are named; the others are counted."""
STALE_SECONDS = 60.0
"""What was stored longer ago than this comes from a process that has ended."""
_LONGEST_TEXT = 300


@dataclass(frozen=True)
class Waiter:
    """A path that waits. `run` is "dag / run", `index` its map index, -1 without one; `since` is in epoch seconds.

    `until` (epoch seconds) is when the off-peak hours begin, where it waits for these; `job` is the one that is held
    back until then, None where none was started yet.
    """

    path: str
    run: str
    index: int
    since: float
    why: str
    until: float | None = None
    job: str | None = None

    @property
    def dag_and_run(self) -> tuple[str, str]:
        """The ids of the DAG and of the run. A DAG's id has no blank."""
        dag_id, _, run_id = self.run.partition(" / ")
        return dag_id, run_id


@dataclass(frozen=True)
class Waiters:
    """The paths of the process `by` that wait on an instance, at a time (`at`, epoch seconds).

    `queue` waits for its turn, in the order of the line; `held` waits for the off-peak hours. At most `MOST` of each
    are named; `queued` and `held_back` count all. `limit`: the most active jobs that the first in the line allows.
    """

    by: str
    instance: str
    at: float
    queue: tuple[Waiter, ...] = ()
    queued: int = 0
    held: tuple[Waiter, ...] = ()
    held_back: int = 0
    limit: int | None = None

    @classmethod
    def of(cls, by: str, instance: str, at: float, turns: Turns, held: Iterable[Waiter]) -> Waiters:
        """What is to be stored of a line, and of those who wait for the off-peak hours."""
        line, all_held = turns.line, sorted(held, key=lambda waiter: (waiter.until or 0.0, waiter.since, waiter.index))
        queue = tuple(_in_line(turns, ticket) for ticket in line[:MOST])
        limit = line[0].limit if line else None
        return cls(by, instance, at, queue, len(line), tuple(all_held[:MOST]), len(all_held), limit)

    def is_current(self, now: float) -> bool:
        """Whether its process still waits. Clocks may differ by as much."""
        return abs(now - self.at) <= STALE_SECONDS


def waiter(
    ticket: Ticket, path: str, since: float, why: str, until: float | None = None, job: str | None = None
) -> Waiter:
    """The waiter with this ticket; very long texts are cut."""
    place = ticket.place
    shown = clean_text(path, _LONGEST_TEXT), place.run, place.index, since, clean_text(why, _LONGEST_TEXT)
    return Waiter(*shown, until, job)


def _in_line(turns: Turns, ticket: Ticket) -> Waiter:
    why = "its start is under way" if turns.starting is ticket else turns.why(ticket)
    return waiter(ticket, ticket.path, ticket.place.came_at, why)
