"""What a log download hands on, block by block."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ArchivePart:
    """A block of the ZIP that the instance sent (`name` is None), or of the log file of that name."""

    name: str | None
    block: bytes
