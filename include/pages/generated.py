"""Which pages have generated parts, and what these are now."""

from __future__ import annotations

import re
from pathlib import Path

from pages import tables

ROOT = Path(__file__).resolve().parents[2]
PARTS = {
    "docs/parameters.md": ("parameters", tables.parameters),
    "docs/plans.md": ("plans", tables.plan_fields),
    "docs/operate.md": ("options", tables.options),
}
"""The pages with a generated part, its name in the page, and what makes it."""

_END = "<!-- end of what is generated -->"
_COPIED = "<!-- generated: a copy of CHANGELOG.md -->\n"


def current() -> dict[str, str]:
    """The text of each page that has a generated part, with this part as it should be."""
    pages = {name: _renewed(name, part, make()) for name, (part, make) in PARTS.items()}
    return {**pages, "docs/changelog.md": _COPIED + (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")}


def _renewed(name: str, part: str, table: str) -> str:
    text = (ROOT / name).read_text(encoding="utf-8")
    begin = f"<!-- generated: {part} -->"
    found = re.compile(f"{re.escape(begin)}.*?{re.escape(_END)}", re.DOTALL)
    if len(found.findall(text)) != 1:
        raise ValueError(f"{name}: write '{begin}' and, below it, '{_END}' once.")
    return found.sub(lambda _: f"{begin}\n\n{table}\n\n{_END}", text)
