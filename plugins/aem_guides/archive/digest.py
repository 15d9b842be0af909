"""A job's log in short: how many lines, errors and warnings, and which errors came again and again."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

MOST_SHAPES = 1_000
"""Kinds of errors that are told apart; those beyond are only counted."""
_LOOKED_AT = 1_000
_BAD = re.compile(r"\b(?:ERROR|SEVERE|FATAL|FAILED|Failed|(WARN(?:ING)?))\b|(?:Exception|Error)\b")
"""The first of these in a line is what it is."""
_STAMP = re.compile(r"^[\d\s:.,/TZ+-]+")
_PATH = re.compile(r"(?<![\w/])/[^\s'\":,;()\[\]]+")
_NUMBER = re.compile(r"\b(?=[0-9a-fA-F-]*\d)[0-9a-fA-F]+(?:-[0-9a-fA-F]+)*\b")
_LONGEST_SHAPE = 200


@dataclass(frozen=True)
class RepeatedError:
    """Errors that differ only in paths and numbers: their common text, how many, and the number of the first line."""

    text: str
    count: int
    first_line: int


@dataclass
class LogDigest:
    """Takes the lines of a log one by one."""

    lines: int = 0
    errors: int = 0
    warnings: int = 0
    _seen: dict[str, list[int]] = field(default_factory=dict)

    def take(self, number: int, text: str) -> bool:
        """Count a line; whether it is an error."""
        self.lines += 1
        found = _BAD.search(text)
        if found is None:
            return False
        if found[1]:
            self.warnings += 1
            return False
        self.errors += 1
        self._note(number, text)
        return True

    def repeated(self, most: int = 8) -> tuple[RepeatedError, ...]:
        """The most frequent errors, the first of equals first."""
        found = (RepeatedError(text, count, first) for text, (count, first) in self._seen.items())
        return tuple(sorted(found, key=lambda error: (-error.count, error.first_line))[:most])

    def _note(self, number: int, text: str) -> None:
        shape = shape_of(text)
        entry = self._seen.get(shape)
        if entry is not None:
            entry[0] += 1
        elif len(self._seen) < MOST_SHAPES:
            self._seen[shape] = [1, number]


def shape_of(text: str) -> str:
    """What a line has in common with others of its kind: without its time, its paths and its numbers."""
    bare = _STAMP.sub("", text[:_LOOKED_AT])
    shape = _NUMBER.sub("#", _PATH.sub("…", bare)).strip()
    return shape if len(shape) <= _LONGEST_SHAPE else f"{shape[:_LONGEST_SHAPE]}…"
