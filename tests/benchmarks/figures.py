"""A figure with its bound: each part of the measurements shows its own, and the table shows those of all parts."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from tabulate import tabulate

FIGURES_FILE = "AEM_GUIDES_FIGURES"
"""The environment variable that names the file to which a part adds its figures, one JSON object a line."""


@dataclass(frozen=True)
class Figure:
    """What was measured, with its unit; `most` or `least`: its bound, None where it has none on that side."""

    part: str
    what: str
    value: float
    unit: str
    most: float | None = None
    least: float | None = None

    @property
    def is_within(self) -> bool:
        """Whether it keeps its bound."""
        return (self.most is None or self.value <= self.most) and (self.least is None or self.value >= self.least)

    @property
    def bound(self) -> str:
        """The bound in words."""
        if self.most is not None:
            return f"at most {self.most:g}"
        return "" if self.least is None else f"at least {self.least:g}"


def table(figures: Iterable[Figure]) -> str:
    """The figures, one a line."""
    rows = [
        (one.part, one.what, f"{one.value:,.2f}", one.unit, one.bound, "" if one.is_within else "BEYOND")
        for one in figures
    ]
    return str(tabulate(rows, headers=("", "measured", "figure", "unit", "bound", ""), disable_numparse=True))


def report(*figures: Figure) -> int:
    """Show the figures, and add them to the file of all parts; returns the exit status: 1 where a bound is passed."""
    print(table(figures), flush=True)
    if file := os.environ.get(FIGURES_FILE):
        with Path(file).open("a") as lines:
            lines.writelines(json.dumps(asdict(one)) + "\n" for one in figures)
    return int(not all(one.is_within for one in figures))


def read(file: Path) -> list[Figure]:
    """The figures that the parts added."""
    return [Figure(**json.loads(line)) for line in file.read_text().splitlines()] if file.exists() else []
