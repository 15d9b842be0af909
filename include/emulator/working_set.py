"""The assets of a job, fixed when they are counted. Small in memory, and the same after a restart."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass

from emulator.content import Asset, Repository, Selection


@dataclass(frozen=True)
class RealPart:
    """Assets with files, by path."""

    paths: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.paths)


@dataclass(frozen=True)
class VirtualPart:
    """Assets of a virtual folder, as ranges of their numbers."""

    folder: str
    ranges: tuple[tuple[int, int], ...]

    def __len__(self) -> int:
        return sum(stop - start for start, stop in self.ranges)


@dataclass(frozen=True)
class WorkingSet:
    """The assets in the order of processing. A checkpoint is a position in it."""

    parts: tuple[RealPart | VirtualPart, ...] = ()

    @classmethod
    def of(cls, repository: Repository, chosen: Selection) -> WorkingSet:
        """Count the assets of a selection."""
        parts: list[RealPart | VirtualPart] = [
            RealPart(tuple(asset.path for asset in repository.real_assets(chosen))),
            *(VirtualPart(folder.path, tuple(ranges)) for folder, ranges in repository.virtual_ranges(chosen)),
        ]
        return cls(tuple(part for part in parts if len(part)))

    @classmethod
    def loads(cls, text: str) -> WorkingSet:
        """Read what `dumps` wrote."""
        return cls(
            tuple(
                VirtualPart(part["folder"], tuple((start, stop) for start, stop in part["ranges"]))
                if "folder" in part
                else RealPart(tuple(part["paths"]))
                for part in json.loads(text)
            )
        )

    def dumps(self) -> str:
        return json.dumps(
            [
                {"folder": part.folder, "ranges": part.ranges}
                if isinstance(part, VirtualPart)
                else {"paths": part.paths}
                for part in self.parts
            ]
        )

    def __len__(self) -> int:
        return sum(len(part) for part in self.parts)

    def take(self, repository: Repository, position: int, stop: int) -> Iterator[Asset]:
        """The assets from a position up to another."""
        passed = 0
        for part in self.parts:
            first, last = max(0, position - passed), min(len(part), stop - passed)
            if first < last:
                yield from _take(repository, part, first, last)
            passed += len(part)


def _take(repository: Repository, part: RealPart | VirtualPart, first: int, last: int) -> Iterator[Asset]:
    if isinstance(part, RealPart):
        for path in part.paths[first:last]:
            yield repository.real_asset(path)
        return
    folder = repository.virtual.get(part.folder)
    passed = 0
    for start, stop in part.ranges:
        begin, end = max(start, start + first - passed), min(stop, start + last - passed)
        for number in range(begin, end):
            if folder is not None:
                yield repository.virtual_asset(folder, number)
        passed += stop - start
