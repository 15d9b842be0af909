"""The content of the instance: real folders mounted at repository paths, and virtual ones."""

from __future__ import annotations

import hashlib
import re
import uuid
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from emulator.parsing import Outcome, Reference, classify, file_part, ids_of_file, keys_of_map, process_file
from emulator.virtual import VirtualFolder

_NAMESPACE = uuid.UUID("6f1b2f0c-6f0e-4a53-9a46-2f2f7d1c3a10")
_MAP_SUFFIXES = {".ditamap", ".bookmap"}
_XML_SUFFIXES = {".dita", ".xml", *_MAP_SUFFIXES}
_MOST_IDS_KEPT = 500


@dataclass(frozen=True)
class Asset:
    """One asset: its repository path, its file (None: virtual), and when it was created, in epoch milliseconds."""

    path: str
    file: Path | None
    created: int
    virtual_failure: bool = False


@dataclass(frozen=True)
class Selection:
    """The selected assets: all below `path` without the excluded ones, of these types, created from `after` on and
    before `before` (epoch milliseconds). Exclusions are read with and without leading slash."""

    path: str
    excluded: tuple[str, ...] = ()
    file_types: tuple[str, ...] = ()
    after: int | None = None
    before: int | None = None

    def leaves(self, path: str) -> bool:
        """Whether the exclusions leave a path."""
        folders = ("/" + entry.strip("/") for entry in self.excluded if entry.strip("/"))
        return not any(path == folder or is_below(path, folder) for folder in folders)

    def in_time(self, created: int) -> bool:
        return (self.after is None or created >= self.after) and (self.before is None or created < self.before)


@dataclass
class Repository:
    """All content. `created` overrides the creation times of real files, by repository path."""

    mounts: dict[str, Path] = field(default_factory=dict)
    virtual: dict[str, VirtualFolder] = field(default_factory=dict)
    created: dict[str, int] = field(default_factory=dict)
    _keys: dict[Path, frozenset[str]] = field(default_factory=dict)
    _ids: dict[tuple[Path, float], frozenset[str] | None] = field(default_factory=dict)

    def exists(self, path: str) -> bool:
        if path in self.virtual or any(folder == path or is_below(folder, path) for folder in self.mounts):
            return True
        if any(is_below(folder, path) for folder in self.virtual):
            return True
        parent = self.virtual.get(path.rpartition("/")[0])
        if parent is not None and parent.number_of(path) is not None:
            return True
        file = self._file(path)
        return file is not None and file.exists()

    def assets(self, path: str, excluded: Iterable[str] = ()) -> Iterator[Asset]:
        """All assets at and below a path, one folder after the other."""
        chosen = Selection(path, tuple(excluded))
        yield from self.real_assets(chosen)
        for folder, ranges in self.virtual_ranges(chosen):
            for start, stop in ranges:
                for number in range(start, stop):
                    yield self.virtual_asset(folder, number)

    def real_assets(self, chosen: Selection) -> list[Asset]:
        """The assets with files, by path."""
        found = [
            asset
            for asset in self._walk(chosen.path)
            if chosen.leaves(asset.path)
            and chosen.in_time(asset.created)
            and (not chosen.file_types or self.file_type(asset) in chosen.file_types)
        ]
        return sorted(found, key=lambda asset: asset.path)

    def virtual_ranges(self, chosen: Selection) -> Iterator[tuple[VirtualFolder, list[tuple[int, int]]]]:
        """The virtual folders and the ranges of their assets, by path. They are small, however many assets there
        are."""
        if chosen.file_types and "DITATOPIC" not in chosen.file_types:
            return
        for where in sorted(self.virtual):
            folder = self.virtual[where]
            if where == chosen.path or is_below(where, chosen.path):
                start, stop = folder.created_between(chosen.after, chosen.before)
                if chosen.leaves(where):
                    yield folder, _cut(start, stop, _excluded_numbers(folder, chosen.excluded))
            elif (number := folder.number_of(chosen.path)) is not None and chosen.in_time(folder.created(number)):
                yield folder, [(number, number + 1)]

    def virtual_asset(self, folder: VirtualFolder, number: int) -> Asset:
        return Asset(folder.asset_path(number), None, folder.created(number), folder.fails(number))

    def real_asset(self, path: str) -> Asset:
        """A real asset by its path, even if its file has been deleted."""
        file = self._file(path) or Path("/nonexistent") / path.strip("/")
        return Asset(path, file, self.created.get(path, 0))

    def file_type(self, asset: Asset) -> str:
        """The class of an asset, by its content if that is XML."""
        return "DITATOPIC" if asset.file is None else classify(asset.file)

    def process(self, asset: Asset) -> Outcome:
        """Parse the file, take its title, resolve its references. Nothing is fetched and no entity is expanded."""
        if asset.file is None:
            failure = "Simulated failure" if asset.virtual_failure else ""
            details = ("    at virtual.Asset.process(Asset)",) if failure else ()
            return Outcome("DITATOPIC", title=asset.path.rpartition("/")[2], failure=failure, details=details)
        return process_file(asset.file, classify(asset.file), self._resolves)

    def set_created(self, times: Mapping[str, int]) -> None:
        self.created.update(times)

    def refresh(self) -> None:
        """Forget what was read of maps: they may have changed."""
        self._keys.clear()
        self._ids.clear()

    def _walk(self, path: str) -> Iterator[Asset]:
        for mounted, folder in self.mounts.items():
            if mounted == path or is_below(mounted, path):
                root = folder
            elif is_below(path, mounted):
                root = folder / path[len(mounted) + 1 :]
            else:
                continue
            inside = folder.resolve()
            for file in [root] if root.is_file() else root.rglob("*"):
                hidden = any(part.startswith(".") for part in file.relative_to(folder).parts)
                if not hidden and file.is_file() and file.resolve().is_relative_to(inside):
                    where = f"{mounted}/{file.relative_to(folder).as_posix()}"
                    yield Asset(where, file, self.created.get(where, int(file.stat().st_mtime * 1000)))

    def _file(self, path: str) -> Path | None:
        for mounted, folder in self.mounts.items():
            if is_below(path, mounted) and "\0" not in path:
                file = folder / path[len(mounted) + 1 :]
                try:
                    return file if file.resolve().is_relative_to(folder.resolve()) else None
                except OSError:
                    return None
        return None

    def _resolves(self, file: Path, reference: Reference) -> bool:
        """Whether a reference leads to a file (and an id in it) or to a key. References out of the repository count as
        resolved."""
        root = next((folder for folder in self.mounts.values() if file.is_relative_to(folder)), file.parent)
        if reference.is_key:
            return reference.text.partition("/")[0] in self._keys_below(root)
        parts = file_part(reference.text)
        if parts is None:
            return True
        path, fragment = parts
        target = self._file(path) if path.startswith("/content/") else file.parent / path if path else file
        try:
            if target is None or not target.exists() or not target.resolve().is_relative_to(root.resolve()):
                return bool(target and path.startswith("/content/") and target.exists())
        except (OSError, ValueError):
            return False
        return not fragment or self._has_ids(target, fragment)

    def _has_ids(self, target: Path, fragment: str) -> bool:
        if target.suffix.lower() not in _XML_SUFFIXES:
            return True
        key = (target, target.stat().st_mtime)
        if key not in self._ids:
            if len(self._ids) >= _MOST_IDS_KEPT:
                self._ids.clear()
            self._ids[key] = ids_of_file(target)
        known = self._ids[key]
        return known is None or all(part in known for part in fragment.split("/") if part not in ("", "."))

    def _keys_below(self, root: Path) -> frozenset[str]:
        if root not in self._keys:
            maps = (file for file in root.rglob("*") if file.suffix.lower() in _MAP_SUFFIXES)
            self._keys[root] = frozenset().union(*(keys_of_map(file) for file in maps))
        return self._keys[root]


def asset_id(path: str) -> str:
    """The unique id of an asset. The same path always has the same id."""
    return f"GUID-{uuid.uuid5(_NAMESPACE, path)}"


def is_below(path: str, folder: str) -> bool:
    return path.startswith(folder.rstrip("/") + "/")


def _excluded_numbers(folder: VirtualFolder, excluded: Iterable[str]) -> list[int]:
    numbers = (folder.number_of("/" + entry.strip("/")) for entry in excluded)
    return sorted({number for number in numbers if number is not None})


def _cut(start: int, stop: int, without: Iterable[int]) -> list[tuple[int, int]]:
    """The range without some numbers, as ranges."""
    ranges: list[tuple[int, int]] = []
    for number in without:
        if start <= number < stop:
            ranges.append((start, number))
            start = number + 1
    ranges.append((start, stop))
    return [(first, last) for first, last in ranges if first < last]


def safe_name(processing_id: str) -> str:
    """A file name for a processing id."""
    digest = hashlib.sha256(processing_id.encode()).hexdigest()[:8]
    return re.sub(r"[^A-Za-z0-9_.-]+", "_", processing_id)[:80] + "-" + digest
