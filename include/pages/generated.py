"""Which pages have generated parts, and the current text of these."""

from __future__ import annotations

import re
from pathlib import Path

from pages import tables

ROOT = Path(__file__).resolve().parents[2]
PARTS = {
    "docs/parameters.md": {"parameters": tables.parameters},
    "docs/plans.md": {"plans": tables.plan_fields, "error": tables.plan_error},
    "docs/operate.md": {"options": tables.options},
}
"""The pages with generated parts: the names of the parts, and the functions that make them."""

_END = "<!-- end of what is generated -->"
_COPIED = "<!-- generated: a copy of CHANGELOG.md -->\n"


def current() -> dict[str, str]:
    """The text of each page with a generated part, with this part up to date."""
    pages = {name: (ROOT / name).read_text(encoding="utf-8") for name in PARTS}
    for name, parts in PARTS.items():
        for part, make in parts.items():
            pages[name] = _renewed(name, pages[name], part, make())
    return {**pages, "docs/changelog.md": _COPIED + (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")}


def _renewed(name: str, text: str, part: str, made: str) -> str:
    begin = f"<!-- generated: {part} -->"
    found = re.compile(f"{re.escape(begin)}.*?{re.escape(_END)}", re.DOTALL)
    if len(found.findall(text)) != 1:
        raise ValueError(f"{name}: write '{begin}' and, below it, '{_END}' once.")
    return found.sub(lambda _: f"{begin}\n\n{made}\n\n{_END}", text)
