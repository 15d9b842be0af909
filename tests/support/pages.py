"""The README and the pages in `docs/`: their text, their blocks, their links."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
README = ROOT / "README.md"
DOCS = ROOT / "docs"


class Link(NamedTuple):
    """A link of a page to a file of ours, and to a heading in it (empty: to its beginning)."""

    page: Path
    target: Path
    anchor: str


def pages() -> list[Path]:
    """The README and every page, as files."""
    return [README, *sorted(DOCS.rglob("*.md"))]


def text_of(*files: Path) -> str:
    return "\n\n".join(file.read_text(encoding="utf-8") for file in files or pages())


def page(name: str) -> str:
    """The text of one page in `docs/`."""
    return text_of(DOCS / name)


def flowing() -> str:
    """All text in one line, for words that go over a line's end."""
    return " ".join(text_of().split())


def blocks(language: str, *files: Path) -> list[str]:
    """The fenced blocks of a language (empty: of none), from all pages or from those named."""
    fenced = re.findall(r"^```(\w*)\n(.*?)^```$", text_of(*files), re.DOTALL | re.MULTILINE)
    return [block for named, block in fenced if named == language]


def prose(file: Path) -> str:
    """A page without its blocks and what is quoted as code."""
    without = re.sub(r"^```.*?^```", "", text_of(file), flags=re.DOTALL | re.MULTILINE)
    return re.sub(r"`[^`]*`", "", without)


def links(file: Path) -> Iterator[Link]:
    """The links and images of a page that lead to files here."""
    for address in re.findall(r"\]\(([^)\s]+)\)", prose(file)):
        if not re.match(r"[a-z]+:", address):
            name, _, anchor = address.partition("#")
            yield Link(file, (file.parent / name).resolve() if name else file, anchor)


def anchors(file: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub and MkDocs both make them."""
    headings = re.findall(r"^#+ (.+)$", re.sub(r"^```.*?^```", "", text_of(file), flags=re.DOTALL | re.MULTILINE), re.M)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}
