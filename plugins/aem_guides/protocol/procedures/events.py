"""What procedures emit while they run."""

from __future__ import annotations

import enum
from dataclasses import dataclass

from aem_guides.protocol.models import Job


class Level(enum.Enum):
    """The log level of a notice."""

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
    """The job has made progress since the last look. `text` describes it."""

    job: Job
    text: str


@dataclass(frozen=True)
class LogLines:
    """Lines of the job's log, in order. `next_offset` is the number of the line after them (0 is the first line)."""

    lines: tuple[str, ...]
    next_offset: int
