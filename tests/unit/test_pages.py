"""The README and the pages in `docs/` are complete: reachable, linked, current, and right in what they show."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import cast

import pytest

from aem_guides import __version__
from aem_guides.ledger.findings import FindingKind
from aem_guides.plans.loading import parse_plans
from aem_guides.protocol.hours import parse_only_between
from aem_guides.provider_info import get_provider_info
from pages.generated import current
from tests.support.pages import DOCS, README, ROOT, Link, anchors, blocks, links, page, pages, prose, text_of

MOST_BYTES = 7168
FIELDS_OF_AIRFLOW = {"host", "login", "password"}


def name(file: Path) -> str:
    return str(file.relative_to(ROOT))


def test_the_readme_is_short() -> None:
    assert len(README.read_bytes()) <= MOST_BYTES


@pytest.mark.parametrize("file", pages(), ids=name)
def test_a_page_says_report_log_store_or_show_and_never_one_word_for_all(file: Path) -> None:
    written = re.sub(r"<!-- generated.*?<!-- end", "", prose(file), flags=re.DOTALL)
    assert re.findall(r"\b(?:tells?|told)\b.*", written) == []


def test_every_page_is_reached_from_the_index_and_from_the_readme() -> None:
    for start in (DOCS / "index.md", README):
        reached, waiting = set[Path](), [start]
        while waiting:
            file = waiting.pop()
            reached.add(file)
            waiting.extend(
                {link.target for link in links(file) if link.target.suffix == ".md"} - reached - set(waiting)
            )
        assert set(DOCS.rglob("*.md")) - reached == set()


def is_broken(link: Link) -> bool:
    if not link.target.is_file():
        return True
    return bool(link.anchor) and link.anchor not in anchors(link.target)


@pytest.mark.parametrize("file", pages(), ids=name)
def test_every_link_leads_to_a_file_and_a_heading_that_are_there(file: Path) -> None:
    assert [link for link in links(file) if is_broken(link)] == []


@pytest.mark.parametrize("file", sorted(DOCS.rglob("*.md")), ids=name)
def test_a_page_links_to_pages_only(file: Path) -> None:
    """The built site has nothing else."""
    assert [link for link in links(file) if not link.target.is_relative_to(DOCS)] == []


def test_what_is_generated_is_current() -> None:
    stale = [page for page, text in current().items() if (ROOT / page).read_text(encoding="utf-8") != text]
    assert stale == [], "run PYTHONPATH=include:plugins python -m pages"


@pytest.mark.parametrize("file", pages(), ids=name)
def test_every_file_that_a_page_names_is_there(file: Path) -> None:
    named = re.findall(r"`((?:include|plugins|dags|tests|docs)/[\w./-]+)`", text_of(file))
    assert [path for path in named if not (ROOT / path).exists()] == []


def test_every_target_of_make_is_explained_and_is_there() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    offered = set(
        re.findall(r"make ([a-z]+) ", " ".join(re.findall(r"^\t@echo \"(make .+)\"$", makefile, re.MULTILINE)))
    )
    named = set(re.findall(r"make ([a-z]+)`", text_of()))
    assert len(offered) > 10
    assert offered - named == set()
    assert [target for target in named if f"\n{target}:" not in makefile] == []


@pytest.mark.parametrize("text", blocks("yaml"))
def test_a_plan_in_a_page_is_a_plan(text: str) -> None:
    plans = parse_plans(text)
    assert plans.problems == ()
    assert len(plans.plans) == 1


def test_the_plan_of_the_readme_has_eight_lines_at_most() -> None:
    (text,) = blocks("yaml", README)
    assert len(text.splitlines()) <= 8


def test_the_off_peak_hours_in_the_pages_are_read() -> None:
    found = [json.loads(text) for text in blocks("json")]
    hours = [value for value in found if "from" in value]
    assert len(hours) == 1
    assert all(parse_only_between(value) for value in hours)


def test_every_field_of_the_connection_is_explained() -> None:
    (connection,) = cast("list[dict[str, dict[str, object]]]", get_provider_info()["connection-types"])
    rows = "\n".join(re.findall(r"^\| (.+?) \|", page("connection.md"), re.MULTILINE))
    explained = set(re.findall(r"`(\w+)`", rows))
    assert explained == {*connection["conn-fields"], *FIELDS_OF_AIRFLOW}


def test_every_kind_of_finding_is_explained() -> None:
    explained = set(re.findall(r"`(\w+)`", "\n".join(re.findall(r"^\| (`.+?) \|", page("ledger.md"), re.MULTILINE))))
    assert explained == {str(kind) for kind in FindingKind}


def test_the_changelog_begins_with_the_version_that_is_installed() -> None:
    first = re.search(r"^## (\S+)$", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert first is not None
    assert first[1] == __version__
