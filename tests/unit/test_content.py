"""The demo's content has what the demo needs: many kinds, real reuse, two broken files, three broken links."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from lxml import etree

from emulator.content import Repository

INCLUDE = Path(__file__).resolve().parents[2] / "include"
CONTENT = INCLUDE / "content"
INVENTORY = INCLUDE / "content.md"
FILES = sorted(path for path in CONTENT.rglob("*") if path.is_file())
FOLDERS = [path for path in CONTENT.rglob("*") if path.is_dir()]

BROKEN_FILES = {"guides/troubleshooting/frozen gauge.dita", "reference/spare parts.dita"}
BROKEN_LINKS = {
    ("guides/installation/choosing a site.dita", "guides/installation/soil survey.dita"),
    ("reference/Unités de mesure.dita", "reference/conversion des unités.dita"),
    ("reference/licences.dita", "resources/images/seal of approval.svg"),
}
FORBIDDEN_IN_FILES = set("*/:[\\]|#%{}?&\t")
FORBIDDEN_IN_FOLDERS = FORBIDDEN_IN_FILES | set('".^;+')
XML_SUFFIXES = {".dita", ".ditamap", ".ditaval", ".svg", ".xml"}
TOPIC_KINDS = {"concept", "task", "reference", "troubleshooting", "topic", "glossentry", "glossgroup"}
MAP_KINDS = {"map", "bookmap", "subjectScheme"}
NAME_IN_REPOSITORY = "/content/dam/aurora"


def name(file: Path) -> str:
    return file.relative_to(CONTENT).as_posix()


def kind(file: Path) -> str:
    """The kind of a file: its document type, or its suffix if it has none."""
    if file.suffix in (".dita", ".ditamap", ".xml"):
        declared = re.search(r"<!DOCTYPE (\w+) PUBLIC", file.read_text(encoding="utf-8"))
        assert declared, f"{name(file)} has no document type"
        return declared.group(1)
    return file.suffix.lstrip(".")


def parse(file: Path) -> etree._Element:
    parser = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False)
    return etree.parse(str(file), parser).getroot()


def well_formed() -> Iterator[tuple[Path, etree._Element]]:
    for file in FILES:
        if file.suffix in XML_SUFFIXES and name(file) not in BROKEN_FILES:
            yield file, parse(file)


def elements(root: etree._Element) -> Iterator[etree._Element]:
    return root.iter("{*}*")


def written_links(file: Path) -> Iterator[str]:
    """Every link in a file, as it is written."""
    if file.suffix in XML_SUFFIXES:
        for element in elements(parse(file)):
            if element.get("scope") != "external":
                yield from (value for value in (element.get("href"), element.get("conref")) if value)
    elif file.suffix == ".md":
        yield from re.findall(r"\]\(([^)]+)\)", file.read_text(encoding="utf-8"))
    elif file.suffix == ".css":
        yield from re.findall(r"url\(\"?([^\")]+)\"?\)", file.read_text(encoding="utf-8"))


def local_links() -> Iterator[tuple[Path, Path, str]]:
    """Every link from one file of the tree to another: source, target, fragment."""
    for file in FILES:
        if name(file) in BROKEN_FILES:
            continue
        for link in written_links(file):
            parts = urlsplit(link)
            assert not parts.scheme, f"{name(file)}: {link} leaves the tree but does not say so"
            yield file, (file.parent / unquote(parts.path)).resolve() if parts.path else file, parts.fragment


def key_targets() -> dict[str, Path | None]:
    """Every key that a map defines, with its file (None: a word, or a target elsewhere)."""
    keys: dict[str, Path | None] = {}
    for file, root in well_formed():
        for element in elements(root):
            href = element.get("href") if element.get("scope") != "external" else None
            target = (file.parent / unquote(href)).resolve() if href else None
            keys.update({key: target for key in (element.get("keys") or "").split()})
    return keys


def reused_element(target: Path, fragment: str) -> str:
    """The name of the element with the address `topic/element` in a topic. Empty if there is none."""
    topic_id, _, element_id = fragment.partition("/")
    for topic in elements(parse(target)):
        if topic.get("id") == topic_id:
            if not element_id:
                return str(topic.tag)
            return next((str(e.tag) for e in elements(topic) if e.get("id") == element_id), "")
    return ""


def inventory() -> dict[str, int]:
    rows = re.findall(r"^\| `([^`]+)` \| (\d+) \|", INVENTORY.read_text(encoding="utf-8"), re.MULTILINE)
    return {what: int(count) for what, count in rows}


def test_the_inventory_in_content_md_is_what_is_there() -> None:
    kinds = Counter(kind(file) for file in FILES)
    folders = Counter(f"{name(file).partition('/')[0]}/" for file in FILES)
    assert inventory() == {**kinds, **folders}


def test_there_is_enough_of_every_kind_that_the_demo_shows() -> None:
    kinds = Counter(kind(file) for file in FILES)
    assert len(FILES) >= 60
    assert set(kinds) == TOPIC_KINDS | MAP_KINDS | {"md", "ditaval", "css", "png", "svg"}
    for folder, least in {"guides": 35, "reference": 25}.items():
        below = [name(file) for file in FILES if name(file).startswith(f"{folder}/")]
        assert len(below) >= least
        assert any(path.count("/") > 1 for path in below)


def test_the_broken_files_are_named_in_content_md() -> None:
    reported = INVENTORY.read_text(encoding="utf-8")
    assert all(f"`{file}`" in reported for file in BROKEN_FILES)
    assert all(f"`{source}`" in reported and f"`{target}`" in reported for source, target in BROKEN_LINKS)


@pytest.mark.parametrize("file", [file for file in FILES if file.suffix in XML_SUFFIXES], ids=name)
def test_all_xml_but_the_two_broken_files_is_well_formed(file: Path) -> None:
    if name(file) in BROKEN_FILES:
        with pytest.raises(etree.XMLSyntaxError):
            parse(file)
    else:
        root = parse(file)
        assert file.suffix in (".ditaval", ".svg") or root.tag == kind(file)


def test_exactly_the_three_links_dangle_that_shall() -> None:
    dangling = [(name(source), name(target)) for source, target, _ in local_links() if not target.exists()]
    assert sorted(dangling) == sorted(BROKEN_LINKS)


def test_no_link_leads_out_of_the_tree() -> None:
    assert [name(source) for source, target, _ in local_links() if not target.is_relative_to(CONTENT)] == []


def test_every_link_to_a_part_of_a_topic_finds_it() -> None:
    lost = [
        (name(source), f"{name(target)}#{fragment}")
        for source, target, fragment in local_links()
        if fragment and not reused_element(target, fragment)
    ]
    assert lost == []


def test_every_content_reference_draws_an_element_of_its_own_kind() -> None:
    keys = key_targets()
    seen: Counter[str] = Counter()
    for file, root in well_formed():
        for element in elements(root):
            if conref := element.get("conref"):
                path, _, fragment = conref.partition("#")
                assert reused_element((file.parent / unquote(path)).resolve(), fragment) == element.tag, name(file)
                seen["conref"] += 1
            if conkeyref := element.get("conkeyref"):
                key, _, element_id = conkeyref.partition("/")
                target = keys[key]
                assert target is not None
                assert reused_element(target, f"{parse(target).get('id')}/{element_id}") == element.tag, name(file)
                seen["conkeyref"] += 1
    assert min(seen["conref"], seen["conkeyref"]) >= 5


def test_every_key_that_is_used_is_defined() -> None:
    used = {e.get("keyref", "") for _, root in well_formed() for e in elements(root) if e.tag != "subjectdef"} - {""}
    assert used <= set(key_targets())
    assert len(used) >= 8


def test_element_ids_are_unique_in_each_file() -> None:
    for file, root in well_formed():
        ids = Counter(element.get("id") for element in elements(root) if element.get("id"))
        assert [one for one, count in ids.items() if count > 1] == [], name(file)


def test_every_topic_of_the_two_folders_is_in_a_map() -> None:
    mapped = {target for source, target, _ in local_links() if kind(source) in MAP_KINDS}
    topics = [file for file in FILES if kind(file) in TOPIC_KINDS | {"md"}]
    assert [name(file) for file in topics if file not in mapped and name(file)[:9] != "resources"] == []


def test_names_are_legal_in_the_dam_and_some_are_not_plain() -> None:
    assert [path for path in FOLDERS if set(path.name) & FORBIDDEN_IN_FOLDERS] == []
    assert [path for path in FILES if set(path.name) & FORBIDDEN_IN_FILES] == []
    names = [path.name for path in (*FILES, *FOLDERS)]
    assert [one for one in names if one != one.strip() or not unicodedata.is_normalized("NFC", one)] == []
    for odd in (" ", ",", "'", "é"):
        assert any(odd in one for one in names)


def test_every_picture_is_a_real_one() -> None:
    for file in FILES:
        if file.suffix == ".png":
            content = file.read_bytes()
            assert content.startswith(b"\x89PNG\r\n\x1a\n")
            assert content.endswith(b"IEND\xaeB`\x82")
            assert 500 < len(content) < 50_000


def test_the_emulator_finds_the_same_faults() -> None:
    repository = Repository({NAME_IN_REPOSITORY: CONTENT})
    outcomes = {asset.path: repository.process(asset) for asset in repository.assets(NAME_IN_REPOSITORY)}
    assert {o.file_type for o in outcomes.values()} == {
        "DITATOPIC",
        "DITAMAP",
        "MARKDOWN",
        "DITAVAL",
        "HTML/CSS",
        "OTHERS",
    }
    assert len(outcomes) == len(FILES)
    failed = {path for path, outcome in outcomes.items() if outcome.failure}
    assert failed == {f"{NAME_IN_REPOSITORY}/{file}" for file in BROKEN_FILES}
    dangling = {path: len(outcome.dangling) for path, outcome in outcomes.items() if outcome.dangling}
    assert dangling == {f"{NAME_IN_REPOSITORY}/{source}": 1 for source, _ in BROKEN_LINKS}
