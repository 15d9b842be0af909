"""The blocks of a log download."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ArchivePart:
    """A block of the ZIP that the instance sent (`name` is None), or of a log file.

    For a log file, `name` is its path with its query, and `position` is its place in the list: a list may name a path
    twice.
    """

    name: str | None
    block: bytes
    position: int = 0
