"""The content of the instance: real folders and virtual ones, and what processing does to an asset."""

from __future__ import annotations

import hashlib
import itertools
import re
import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote, urlsplit

from lxml import etree

_NAMESPACE = uuid.UUID("6f1b2f0c-6f0e-4a53-9a46-2f2f7d1c3a10")
_DITA_SUFFIXES = {".dita", ".xml"}
_MAP_SUFFIXES = {".ditamap", ".bookmap"}
_REFERENCES = ("href", "conref", "data", "conkeyref")
_TITLE = "string(descendant::*[local-name()='title' or local-name()='booktitle'][1])"
_LONGEST_FILE = 50 * 1024 * 1024


@dataclass(frozen=True)
class Asset:
    """One asset: its repository path, its file (None: virtual), and when it was created, in epoch milliseconds."""

    path: str
    file: Path | None
    created: int
    virtual_failure: bool = False


@dataclass(frozen=True)
class Outcome:
    """What processing made of an asset. `details` are lines without prefix that explain a failure."""

    file_type: str
    title: str = ""
    failure: str = ""
    details: tuple[str, ...] = ()
    dangling: tuple[str, ...] = ()
    references: int = 0


@dataclass(frozen=True)
class VirtualFolder:
    """A folder of `files` assets that need no disk.

    `rate` is in assets a second (0: the instance's). The job on it fails once at the share `fail_at` (0: never),
    resumable or not. The last `failed_assets` assets fail. `log_lines` lines are written for each asset;
    `zip_padding_bytes` incompressible bytes are added to its log archive. Creation times are spread evenly between
    `created_from` and `created_to` (epoch milliseconds).
    """

    path: str
    files: int
    rate: float = 0.0
    fail_at: float = 0.0
    resumable: bool = True
    failed_assets: int = 0
    log_lines: int = 1
    zip_padding_bytes: int = 0
    created_from: int = 1_700_000_000_000
    created_to: int = 1_700_000_000_000

    def assets(self) -> Iterator[Asset]:
        span = self.created_to - self.created_from
        for number in range(self.files):
            created = self.created_from + span * number // max(1, self.files)
            yield Asset(f"{self.path}/topic_{number:07}.dita", None, created, number >= self.files - self.failed_assets)


@dataclass
class Repository:
    """All content: real folders mounted at repository paths, and virtual folders."""

    mounts: dict[str, Path] = field(default_factory=dict)
    virtual: dict[str, VirtualFolder] = field(default_factory=dict)
    created: dict[str, int] = field(default_factory=dict)

    def exists(self, path: str) -> bool:
        if any(folder == path or _below(folder, path) for folder in (*self.mounts, *self.virtual)):
            return True
        if any(_below(path, folder) for folder in self.virtual):
            return any(asset.path == path for asset in self._virtual_assets(path))
        file = self._file(path)
        return file is not None and file.exists()

    def assets(self, path: str, excluded: Iterable[str] = ()) -> list[Asset]:
        """All assets at and below a path, in the order in which they are processed."""
        left_out = ["/" + other.strip("/") for other in excluded]
        found = [
            asset
            for asset in itertools.chain(self._real_assets(path), self._virtual_assets(path))
            if not any(asset.path == other or _below(asset.path, other) for other in left_out)
        ]
        return sorted(found, key=lambda asset: asset.path)

    def file_type(self, asset: Asset) -> str:
        """The class of an asset, by its content where that is XML."""
        if asset.file is None:
            return "DITATOPIC"
        suffix = asset.file.suffix.lower()
        if suffix in _MAP_SUFFIXES:
            return "DITAMAP"
        if suffix in _DITA_SUFFIXES:
            return "DITAMAP" if _root_name(asset.file) in ("map", "bookmap") else "DITATOPIC"
        return {
            ".md": "MARKDOWN",
            ".markdown": "MARKDOWN",
            ".ditaval": "DITAVAL",
            ".html": "HTML/CSS",
            ".htm": "HTML/CSS",
            ".css": "HTML/CSS",
        }.get(suffix, "OTHERS")

    def process(self, asset: Asset) -> Outcome:
        """Parse, validate, take the title, resolve the references. Nothing is fetched and no entity is expanded."""
        file_type = self.file_type(asset)
        if asset.file is None:
            failure = "Simulated failure" if asset.virtual_failure else ""
            return Outcome(file_type, title=asset.path.rpartition("/")[2], failure=failure)
        if file_type == "MARKDOWN":
            return _process_markdown(asset.file)
        if file_type in ("DITATOPIC", "DITAMAP", "DITAVAL"):
            return _process_xml(asset.file, file_type)
        return Outcome(file_type, title=asset.file.name)

    def _real_assets(self, path: str) -> Iterator[Asset]:
        for mounted, folder in self.mounts.items():
            if mounted == path or _below(mounted, path):
                root = folder
            elif _below(path, mounted):
                root = folder / path[len(mounted) + 1 :]
            else:
                continue
            files = [root] if root.is_file() else root.rglob("*")
            for file in files:
                if file.is_file() and not any(part.startswith(".") for part in file.relative_to(folder).parts):
                    where = f"{mounted}/{file.relative_to(folder).as_posix()}"
                    yield Asset(where, file, self.created.get(where, int(file.stat().st_mtime * 1000)))

    def _virtual_assets(self, path: str) -> Iterator[Asset]:
        for where, folder in self.virtual.items():
            if where == path or _below(where, path):
                yield from folder.assets()
            elif _below(path, where):
                yield from (a for a in folder.assets() if a.path == path or _below(a.path, path))

    def _file(self, path: str) -> Path | None:
        for mounted, folder in self.mounts.items():
            if _below(path, mounted):
                file = (folder / path[len(mounted) + 1 :]).resolve()
                return file if file.is_relative_to(folder.resolve()) else None
        return None


def asset_id(path: str) -> str:
    """The unique id of an asset: the same for the same path, ever."""
    return f"GUID-{uuid.uuid5(_NAMESPACE, path)}"


def _below(path: str, folder: str) -> bool:
    return path.startswith(folder.rstrip("/") + "/")


def _parser() -> etree.XMLParser:
    return etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False)


def _root_name(file: Path) -> str:
    try:
        with file.open("rb") as content:
            for _, element in etree.iterparse(
                content, events=("start",), resolve_entities=False, no_network=True, load_dtd=False
            ):
                return str(etree.QName(element).localname)
    except (etree.XMLSyntaxError, OSError):
        return ""
    return ""


def _process_xml(file: Path, file_type: str) -> Outcome:
    if file.stat().st_size > _LONGEST_FILE:
        return Outcome(file_type, failure="The file is too large to be parsed")
    try:
        root = etree.parse(str(file), _parser()).getroot()
    except etree.XMLSyntaxError as error:
        where = f"    at line {error.lineno}, column {error.offset}"
        return Outcome(file_type, failure="The file is not well-formed XML", details=(f"    {error.msg}", where))
    title = " ".join(str(root.xpath(_TITLE)).split()) or file.name
    found = list(_xml_references(root))
    dangling = tuple(reference for reference in found if not _resolves(file, reference))
    return Outcome(file_type, title=title, references=len(found), dangling=dangling)


def _xml_references(root: etree._Element) -> Iterator[str]:
    for element in root.iter(etree.Element):
        if element.get("scope") in ("external", "peer") or element.get("format") == "mailto":
            continue
        for name in _REFERENCES:
            value = element.get(name)
            if value and name != "conkeyref":
                yield value


def _process_markdown(file: Path) -> Outcome:
    text = file.read_text(encoding="utf-8", errors="replace")
    heading = re.search(r"^#\s+(.+?)\s*(?:\{.*\})?$", text, re.MULTILINE)
    found = re.findall(r"\]\(<?([^)\s>]+)>?[^)]*\)", text)
    dangling = tuple(reference for reference in found if not _resolves(file, reference))
    return Outcome("MARKDOWN", heading.group(1) if heading else file.name, references=len(found), dangling=dangling)


def _resolves(file: Path, reference: str) -> bool:
    """Whether a reference leads somewhere; what lies outside the file system counts as resolved."""
    try:
        parts = urlsplit(reference)
    except ValueError:
        return False
    if parts.scheme or parts.netloc or not parts.path:
        return True
    return (file.parent / unquote(parts.path)).exists()


def safe_name(processing_id: str) -> str:
    """A file name for a processing id."""
    digest = hashlib.sha256(processing_id.encode()).hexdigest()[:8]
    return re.sub(r"[^A-Za-z0-9_.-]+", "_", processing_id)[:80] + "-" + digest
