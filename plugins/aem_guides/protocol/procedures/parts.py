"""What a log download hands on, block by block."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ArchivePart:
    """A block of the ZIP that the instance sent (`name` is None), or of a log file.

    `name` is then its path with its query, and `position` its place in the list: a list may name a path twice.
    """

    name: str | None
    block: bytes
    position: int = 0
