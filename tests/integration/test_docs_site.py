"""The pages as a site: built without a warning, and complete without the network."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import pytest

from tests.support.pages import DOCS, ROOT

LOADING = {"script": "src", "img": "src", "link": "href", "iframe": "src", "source": "src", "object": "data"}
"""The elements whose address a browser loads by itself. A link that a reader clicks is not one of them."""


class Loaded(HTMLParser):
    """Collects the addresses that a page loads, and the class of each element."""

    def __init__(self) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.classes: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.classes |= set((given.get("class") or "").split())
        address = given.get(LOADING.get(tag, ""))
        if address and given.get("rel") != "canonical":
            self.addresses.append(address)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("docs") / "site"
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)],
        cwd=ROOT,
        env=os.environ | {"NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (done.returncode, done.stderr.strip()) == (0, "")
    return folder


def loaded(folder: Path) -> Iterator[tuple[Path, Loaded]]:
    for file in sorted(folder.rglob("*.html")):
        parser = Loaded()
        parser.feed(file.read_text(encoding="utf-8"))
        yield file, parser


def test_the_site_has_every_page(site: Path) -> None:
    built = {file.relative_to(site).with_suffix("") for file in site.rglob("*.html")}
    assert {file.relative_to(DOCS).with_suffix("") for file in DOCS.rglob("*.md")} - built == set()


def test_no_page_loads_anything_from_another_host(site: Path) -> None:
    for file, parser in loaded(site):
        assert [address for address in parser.addresses if re.match(r"([a-z]+:)?//", address)] == [], file.name
    for sheet in site.rglob("*.css"):
        assert re.findall(r"(?:url\(|@import)\s*[\"']?(?:https?:)?//[^)]+", sheet.read_text(encoding="utf-8")) == []


def test_no_page_has_what_lets_the_theme_load_a_script(site: Path) -> None:
    """The theme's own script fetches Mermaid for such an element, and counts of a repository for `data-md-source`."""
    for file, parser in loaded(site):
        assert not parser.classes & {"mermaid", "md-source"}, file.name


def test_what_a_page_loads_is_there(site: Path) -> None:
    for file, parser in loaded(site):
        if file.name != "404.html":  # it is shown below any address, and has absolute ones
            missing = [name for name in parser.addresses if not (file.parent / name.partition("?")[0]).exists()]
            assert missing == [], file.name
