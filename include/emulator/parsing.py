"""The processing of one file: parse it safely, take its title, find its references."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO
from urllib.parse import unquote, urlsplit

from lxml import etree

_TITLE = "string(descendant::*[local-name()='title' or local-name()='booktitle'][1])"
_LONGEST_FILE = 5 * 1024 * 1024
_MAP_ROOTS = frozenset({"map", "bookmap", "subjectScheme", "learningBookmap", "learningMap"})
_TOPIC_ROOTS = frozenset(
    {"dita", "topic", "concept", "task", "generalTask", "machineryTask", "reference", "glossentry", "glossgroup"}
    | {"troubleshooting", "learningOverview", "learningContent", "learningSummary", "learningAssessment"}
)
_DITA_SUFFIXES = {".dita", ".xml"}
_BY_SUFFIX = {
    ".ditamap": "DITAMAP",
    ".bookmap": "DITAMAP",
    ".md": "MARKDOWN",
    ".markdown": "MARKDOWN",
    ".ditaval": "DITAVAL",
    ".html": "HTML/CSS",
    ".htm": "HTML/CSS",
    ".css": "HTML/CSS",
}
_DITA_ATTRIBUTE = "{http://dita.oasis-open.org/architecture/2005/}DITAArchVersion"

FILE_TYPES = ("DITATOPIC", "DITAMAP", "MARKDOWN", "HTML/CSS", "DITAVAL", "OTHERS")


@dataclass(frozen=True)
class Reference:
    """A reference as it is written: to a file, or to a key."""

    text: str
    is_key: bool = False


@dataclass(frozen=True)
class Outcome:
    """The result of processing an asset. `details` are lines without prefix that explain a failure."""

    file_type: str
    title: str = ""
    failure: str = ""
    details: tuple[str, ...] = ()
    dangling: tuple[str, ...] = ()
    references: int = 0


def classify(file: Path) -> str:
    """The file type in the API's words: by content if that is XML, else by the name's ending."""
    suffix = file.suffix.lower()
    if suffix not in _DITA_SUFFIXES:
        return _BY_SUFFIX.get(suffix, "OTHERS")
    root, is_dita = _root(file)
    if root in _MAP_ROOTS:
        return "DITAMAP"
    if root == "val":
        return "DITAVAL"
    return "DITATOPIC" if suffix == ".dita" or is_dita else "OTHERS"


def process_file(file: Path, file_type: str, resolves: Callable[[Path, Reference], bool]) -> Outcome:
    """Process one file. Nothing is fetched, no entity is expanded, and no content raises an exception."""
    try:
        if file_type == "OTHERS" or (file_type == "HTML/CSS"):
            file.stat()
            return Outcome(file_type, title=file.name)
        if file.stat().st_size > _LONGEST_FILE:
            return Outcome(file_type, failure="The file is too large to be parsed")
        if file_type == "MARKDOWN":
            title, found = _read_markdown(file)
        else:
            title, found = _read_xml(file)
    except etree.XMLSyntaxError as error:
        where = f"    at line {error.lineno}, column {error.offset}"
        return Outcome(file_type, failure="The file is not well-formed XML", details=(f"    {error.msg}", where))
    except OSError as error:
        return Outcome(file_type, failure="The file cannot be read", details=(f"    {error.strerror}",))
    dangling = tuple(reference.text for reference in found if not resolves(file, reference))
    return Outcome(file_type, title or file.name, references=len(found), dangling=dangling)


def keys_of_map(file: Path) -> frozenset[str]:
    """The keys that a map defines; none if it cannot be read."""
    try:
        root = _parse(file)
    except (etree.XMLSyntaxError, OSError):
        return frozenset()
    return frozenset(key for value in _values(root, "keys") for key in value.split())


def ids_of_file(file: Path) -> frozenset[str] | None:
    """The ids in an XML file, or None if it cannot be read."""
    try:
        return frozenset(_values(_parse(file), "id"))
    except (etree.XMLSyntaxError, OSError):
        return None


def file_part(reference: str) -> tuple[str, str] | None:
    """Path and fragment of a reference to a file of the repository, or None if it leads out of it."""
    try:
        parts = urlsplit(reference)
    except ValueError:
        return reference, ""
    if parts.scheme or parts.netloc:
        return None
    return unquote(parts.path), unquote(parts.fragment)


def _values(root: etree._Element, attribute: str) -> Iterator[str]:
    return (value for element in root.iter(etree.Element) if (value := element.get(attribute)) is not None)


def _parse(file: Path) -> etree._Element:
    with file.open("rb") as content:
        return _tree(content)


def _tree(content: BinaryIO) -> etree._Element:
    parser = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False)
    return etree.parse(content, parser).getroot()


def _root(file: Path) -> tuple[str, bool]:
    """The name of the root element, and whether it is a DITA element. The name is empty if the file is not XML."""
    try:
        with file.open("rb") as content:
            for _, element in etree.iterparse(
                content, events=("start",), resolve_entities=False, no_network=True, load_dtd=False
            ):
                name = str(etree.QName(element).localname)
                return name, name in _TOPIC_ROOTS or element.get(_DITA_ATTRIBUTE) is not None
    except (etree.XMLSyntaxError, OSError):
        return "", False
    return "", False


def _read_xml(file: Path) -> tuple[str, list[Reference]]:
    root = _parse(file)
    title = " ".join(str(root.xpath(_TITLE)).split()) or (root.get("title") or "")
    return title, list(_xml_references(root))


def _xml_references(root: etree._Element) -> Iterator[Reference]:
    for element in root.iter(etree.Element):
        for name in ("conkeyref", "keyref"):
            if value := element.get(name):
                yield Reference(value, is_key=True)
        if element.get("scope") in ("external", "peer") or element.get("format") == "mailto":
            continue
        names = ("href", "conref", "data") if etree.QName(element).localname == "object" else ("href", "conref")
        for name in names:
            if value := element.get(name):
                yield Reference(value)


def _read_markdown(file: Path) -> tuple[str, list[Reference]]:
    text = file.read_text(encoding="utf-8", errors="replace")
    heading = re.search(r"^#\s+(.+?)\s*(?:\{.*\})?$", text, re.MULTILINE)
    found = re.findall(r"\]\((?:<([^>\n]+)>|([^)\s>]+))[^)\n]*\)", text)
    return heading.group(1) if heading else "", [Reference(bracketed or plain) for bracketed, plain in found]
