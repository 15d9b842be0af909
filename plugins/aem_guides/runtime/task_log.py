"""The lines of the instance's log as records of the task log: few records, all lines, errors at their level."""

from __future__ import annotations

import itertools
import logging
import re
from collections import deque
from collections.abc import Iterable, Iterator
from typing import Protocol

from aem_guides.protocol.procedures.events import Level, LogLines, Notice, Progress

_LEVEL_OF_LINE = re.compile(r"^\d{4}-\d{2}-\d{2} \d{2}:\d{2}:\d{2}[:.,]\d+:? \[?(\w+)\]?")
_LEVELS = {
    "ERROR": logging.ERROR,
    "SEVERE": logging.ERROR,
    "FATAL": logging.ERROR,
    "WARN": logging.WARNING,
    "WARNING": logging.WARNING,
}
_LEVEL_OF_NOTICE = {Level.INFO: logging.INFO, Level.WARNING: logging.WARNING, Level.ERROR: logging.ERROR}
_LONGEST_LIVE_LINE = 2000


class TaskLog(Protocol):
    """The part of a logger that is used here."""

    def log(self, level: int, event: str, /, *args: object) -> object: ...


def level_of(line: str) -> int | None:
    """The logging level of a line in the product's form; None for a line without a prefix: it belongs to the line
    before."""
    found = _LEVEL_OF_LINE.match(line)
    return _LEVELS.get(found.group(1).upper(), logging.INFO) if found else None


def records(lines: Iterable[str], begin: int = logging.INFO) -> Iterator[tuple[int, str]]:
    """Group lines into as few records as their levels allow: (level, lines joined by line feeds)."""
    current = begin
    levelled: list[tuple[int, str]] = []
    for line in lines:
        current = level_of(line) or current
        levelled.append((current, line))
    for level, group in itertools.groupby(levelled, key=lambda pair: pair[0]):
        yield level, "\n".join(line for _, line in group)


def show_event(log: TaskLog, event: object) -> None:
    """Log what a procedure emits, at once. Very long lines are cut (pull_logs shows them complete)."""
    if isinstance(event, Notice):
        log.log(_LEVEL_OF_NOTICE[event.level], "%s", event.text)
    elif isinstance(event, Progress):
        log.log(logging.INFO, "%s", event.text)
    elif isinstance(event, LogLines):
        for level, text in records(_cut(line) for line in event.lines):
            log.log(level, "%s", text)


def _cut(line: str) -> str:
    if len(line) <= _LONGEST_LIVE_LINE:
        return line
    return f"{line[:_LONGEST_LIVE_LINE]}… ({len(line):,} characters)"


class LogBudget:
    """Shows the beginning of a log at once and keeps its end; the lines between are counted.

    `most` lines are shown in all, half of them from the head. `finish` shows the tail and gives the count left out.
    """

    def __init__(self, log: TaskLog, most: int) -> None:
        self._log = log
        self._head = most - most // 2
        self._tail: deque[str] = deque(maxlen=most // 2)
        self._beyond = 0
        self._level = logging.INFO
        self.total = 0

    def take(self, page: LogLines) -> None:
        """Take the lines of one page. Lines of one level become one record."""
        room = max(0, self._head - self.total)
        self._show(page.lines[:room])
        rest = page.lines[room:]
        self._beyond += len(rest)
        self._tail.extend(rest)
        self.total += len(page.lines)

    def finish(self) -> int:
        """Show the tail and the number of lines between. Returns that number."""
        left_out = self._beyond - len(self._tail)
        if left_out:
            self._log.log(
                logging.WARNING,
                "%s",
                f"… {left_out:,} of {self.total:,} log lines are not shown here (max_log_lines); the log archive has "
                "all of them …",
            )
        lines = list(self._tail)
        for start in range(0, len(lines), 500):
            self._show(tuple(lines[start : start + 500]))
        return left_out

    def _show(self, lines: tuple[str, ...]) -> None:
        for level, text in records(lines, self._level):
            self._log.log(level, "%s", text)
            self._level = level
