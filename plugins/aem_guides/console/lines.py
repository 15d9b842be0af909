"""Who waits on an instance, over all processes: for a turn, and for the off-peak hours. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from aem_guides.console.airflow_store import Entry
from aem_guides.protocol.waiters import Waiter, Waiters
from aem_guides.runtime.notes import AWAITS
from aem_guides.runtime.waiters import decoded

SHOWN = 20
"""So many of each kind are shown; the others are counted."""
_LATEST = 253_402_300_799.0
_SECOND = 1000


@dataclass(frozen=True)
class Waiting:
    """A path that waits, with its run. Times in epoch milliseconds; `until` None: it waits for its turn."""

    path: str
    dag_id: str
    run_id: str
    index: int
    why: str
    since: int
    until: int | None
    job: str | None

    @classmethod
    def of(cls, waiter: Waiter) -> Waiting:
        """As the page shows it."""
        until = None if waiter.until is None else _milliseconds(waiter.until)
        dag_id, run_id = waiter.dag_and_run
        since = _milliseconds(waiter.since)
        why = waiter.why[:1].upper() + waiter.why[1:]
        return cls(waiter.path, dag_id, run_id, waiter.index, why, since, until, waiter.job)


@dataclass(frozen=True)
class Line:
    """All who wait on an instance: those that are shown, and how many there are. `limit`: the most active jobs."""

    queue: tuple[Waiting, ...] = ()
    queued: int = 0
    held: tuple[Waiting, ...] = ()
    held_back: int = 0
    limit: int | None = None


def lines_of(entries: Iterable[Entry], now: float) -> dict[str, Line]:
    """The lines of all instances on which somebody waits now (epoch seconds)."""
    found: dict[str, list[Waiters]] = {}
    for entry in entries:
        waiters = decoded(entry.value) if entry.key.startswith(AWAITS) else None
        if waiters is not None and waiters.is_current(now):
            found.setdefault(waiters.instance, []).append(waiters)
    return {instance: _merged(all_here) for instance, all_here in found.items()}


def _merged(all_here: list[Waiters]) -> Line:
    queue = sorted((one for waiters in all_here for one in waiters.queue), key=_place)
    held = sorted(
        (one for waiters in all_here for one in waiters.held), key=lambda one: (one.until or 0.0, _place(one))
    )
    return Line(
        tuple(map(Waiting.of, queue[:SHOWN])),
        sum(waiters.queued for waiters in all_here),
        tuple(map(Waiting.of, held[:SHOWN])),
        sum(waiters.held_back for waiters in all_here),
        next((waiters.limit for waiters in all_here if waiters.limit is not None), None),
    )


def _place(waiter: Waiter) -> tuple[float, str, int]:
    """The place in the line, as `Place` orders it."""
    return waiter.since, waiter.run, waiter.index


def _milliseconds(seconds: float) -> int:
    return int(min(max(0.0, seconds), _LATEST) * _SECOND)
