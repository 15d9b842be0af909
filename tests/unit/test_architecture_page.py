"""The architecture page names what exists."""

from __future__ import annotations

import re

from tests.support.floors import FLOORS
from tests.support.pages import ROOT, page

PAGE = page("architecture.md")
PACKAGE = ROOT / "plugins" / "aem_guides"


def test_it_has_every_floor_with_what_is_on_it() -> None:
    rows = re.findall(r"^\| (\d+) \| `([a-z]+)(?:/|\.py)` \|", PAGE, re.MULTILINE)
    reported = {name: int(floor) for floor, name in rows}
    assert reported == {name: number for number, names in enumerate(FLOORS, start=1) for name in names}


def test_every_file_that_it_names_is_there() -> None:
    named = set(re.findall(r"`([a-z_/]+/[a-z_]+\.py)`", PAGE))
    assert len(named) > 10
    assert [name for name in named if not (ROOT / name).is_file() and not (PACKAGE / name).is_file()] == []
