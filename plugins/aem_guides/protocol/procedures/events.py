"""What procedures emit while they go on."""

from __future__ import annotations

import enum
from dataclasses import dataclass

from aem_guides.protocol.models import Job


class Level(enum.Enum):
    """How loud a notice is."""

    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True)
class Notice:
    """A message for the log of the task."""

    level: Level
    text: str


@dataclass(frozen=True)
class HeldUntil:
    """The path waits for the off-peak hours, which begin at `at` (epoch seconds), and needs nothing; None: no more."""

    at: float | None
    why: str = ""


@dataclass(frozen=True)
class Progress:
    """The job has moved on since the last look; `text` says how far it is."""

    job: Job
    text: str


@dataclass(frozen=True)
class LogLines:
    """Lines of the job's log, in order; the line after them has the number `next_offset` (0 is the first line)."""

    lines: tuple[str, ...]
    next_offset: int
