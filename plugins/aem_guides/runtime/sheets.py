"""CSV for people, spreadsheets and later runs: every cell is safe in a spreadsheet, and can be read back."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Iterator

LONGEST_CELL = 32_767
"""The longest cell that spreadsheets accept. Python's reader accepts four times as much."""

_FORMULA = re.compile(r"'*[=+\-@\t\r\n]")
_GUARDED = re.compile(r"'+[=+\-@\t\r\n]")


def as_csv(rows: Iterable[Iterable[object]]) -> str:
    """The rows as CSV. None is an empty cell.

    Names and reasons come from the instance, and a spreadsheet reads some of them as formulas: those get an apostrophe
    in front. A value that is too long is cut, with a mark.
    """
    target = io.StringIO()
    csv.writer(target, lineterminator="\r\n").writerows([_cell(value) for value in row] for row in rows)
    return target.getvalue()


def read_csv(lines: Iterable[str]) -> Iterator[dict[str, str]]:
    """The rows that `as_csv` wrote, by the names in its first row, and without its apostrophes. Raises csv.Error."""
    for row in csv.DictReader(lines):
        yield {name: cell[1:] if _GUARDED.match(cell) else cell for name, cell in row.items() if isinstance(cell, str)}


def _cell(value: object) -> object:
    if not isinstance(value, str):
        return value
    guarded = f"'{value}" if _FORMULA.match(value) else value
    if len(guarded) <= LONGEST_CELL:
        return guarded
    mark = f"… ({len(value):,} letters in all)"
    return guarded[: LONGEST_CELL - len(mark)] + mark
