"""The progress of a whole batch."""

from __future__ import annotations

from dataclasses import dataclass

from aem_guides.protocol.wording import in_words


@dataclass(frozen=True)
class BatchCounts:
    """The number of paths of a batch, in all and by state. No path is both `done` and `failed`."""

    total: int
    done: int
    failed: int
    running: int | None

    @property
    def ended(self) -> int:
        return self.done + self.failed

    def in_words(self, seconds_left: float | None) -> str:
        """Progress for people, as in "312 of 2,000 paths, 4 running, 3 failed, about 5 h left"."""
        parts = [f"{self.ended:,} of {self.total:,} paths"]
        if self.running is not None:
            parts.append(f"{self.running:,} running")
        parts.append(f"{self.failed:,} failed")
        if seconds_left is not None and self.ended < self.total:
            parts.append(f"about {in_words(seconds_left)} left")
        return ", ".join(parts)


@dataclass
class BatchSpeed:
    """The remaining time of a batch, from its speed since the first check. It is known once some paths have ended."""

    _ended_first: int | None = None
    _at_first: float = 0.0

    def seconds_left(self, counts: BatchCounts, now: float) -> float | None:
        if self._ended_first is None:
            self._ended_first, self._at_first = counts.ended, now
        fresh = counts.ended - self._ended_first
        if fresh <= 0 or now <= self._at_first:
            return None
        return (counts.total - counts.ended) * (now - self._at_first) / fresh
