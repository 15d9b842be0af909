"""The assets that a job did not process, as their verification stored them: never more than a page can hold."""

from __future__ import annotations

import contextlib
import csv
import io
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC
from typing import IO

from airflow.sdk import ObjectStoragePath
from typing_extensions import Buffer

from aem_guides.archive.place import archive_folder, date_of_job
from aem_guides.hooks.bodies import surroundings
from aem_guides.ledger.lookup import Listed
from aem_guides.protocol.json import clean_text
from aem_guides.results.verification import CSV_NAME
from aem_guides.runtime.sheets import LONGEST_CELL, read_csv
from aem_guides.storage import ABSENT, BLOCK_BYTES, default_archive_uri, storage_errors

MOST_BYTES = 64 * 1024 * 1024
MOST_SECONDS = 5.0
ASSETS = 100
_LONGEST_TEXT = 2_000
_LONGEST_LINE = 8 * LONGEST_CELL
_PORT = re.compile(r":\d+$")


@dataclass(frozen=True)
class FailedAsset:
    """An asset, what the instance calls its state, and why."""

    path: str
    status: str
    reason: str


@dataclass(frozen=True)
class AssetPage:
    """A page of the list. `stored_at`: epoch milliseconds, None where the storage does not say.

    `cut`: only the beginning of the list was read. `said`: why there are no more.
    """

    assets: tuple[FailedAsset, ...] = ()
    page: int = 1
    has_more: bool = False
    stored_at: int | None = None
    cut: bool = False
    said: str = ""


def sheet_of(listed: Listed) -> ObjectStoragePath | None:
    """Where the list of a job lies if it has one: beside its archive. None where that cannot be known.

    Raises ArchiveError.
    """
    job = listed.job
    with storage_errors("Looking for the list of failed assets", job.archive_uri or "the archive"):
        if job.archive_uri:
            return ObjectStoragePath(job.archive_uri).parent / CSV_NAME
        when = date_of_job(job.started_at, job.completed_at)
        if when is None:
            return None
        return archive_folder(default_archive_uri(), _PORT.sub("", listed.instance), when, job.processing_id) / CSV_NAME


def stored_at(listed: Listed) -> int | None:
    """When the list was stored, in epoch milliseconds; None where there is none. Raises ArchiveError."""
    place = sheet_of(listed)
    if place is None:
        return None
    with storage_errors("Looking for the list of failed assets", place):
        try:
            return _time_of(place)
        except ABSENT:
            return None


def read_failed(listed: Listed, page: int = 1, search: str | None = None, size: int = ASSETS) -> AssetPage | None:
    """A page of the failed assets: all, or those whose path or reason has the words, in any case of letters.

    None where no list is stored. Raises ArchiveError where the storage cannot be read.
    """
    place = sheet_of(listed)
    if place is None:
        return None
    with storage_errors("Reading the list of failed assets", place):
        try:
            at = _time_of(place)
            opened = place.fs.open(place.path, "rb", block_size=BLOCK_BYTES)
        except ABSENT:
            return None
        with opened as file:
            return _page(_Bounded(file), max(1, page), search, size, at)


def _page(file: _Bounded, page: int, search: str | None, size: int, at: int | None) -> AssetPage:
    first, last = (page - 1) * size, page * size
    words = search.casefold() if search else None
    shown: list[FailedAsset] = []
    matched, said = 0, ""
    try:
        for asset in _assets(file):
            if words is not None and words not in f"{asset.path}\n{asset.reason}".casefold():
                continue
            matched += 1
            if matched > last:
                break
            if matched > first:
                shown.append(asset)
    except csv.Error:
        said = "The list cannot be read any further. Download it to look at the rest."
    return AssetPage(tuple(shown), page, matched > last, at, file.was_cut, said)


def _assets(file: _Bounded) -> Iterator[FailedAsset]:
    text = io.TextIOWrapper(io.BufferedReader(file, BLOCK_BYTES), encoding="utf-8", errors="replace", newline="")
    for row in read_csv(_lines(text)):
        told = [clean_text(row.get(name, ""), _LONGEST_TEXT) for name in ("path", "status", "reason")]
        yield FailedAsset(*told)


def _lines(text: io.TextIOWrapper) -> Iterator[str]:
    """The lines of the list. Raises csv.Error for one that no list of ours can have."""
    while line := text.readline(_LONGEST_LINE):
        if len(line) == _LONGEST_LINE:
            raise csv.Error("a line is too long")
        yield line


class _Bounded(io.RawIOBase):
    """A file that ends where as much was read as may be, in bytes or in time."""

    def __init__(self, file: IO[bytes]) -> None:
        super().__init__()
        self._file = file
        self._left = MOST_BYTES
        self._until = surroundings().elapsed() + MOST_SECONDS
        self.was_cut = False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Buffer, /) -> int:
        view = memoryview(buffer).cast("B")
        if self._left <= 0 or surroundings().elapsed() >= self._until:
            self.was_cut = True
            return 0
        block = self._file.read(min(len(view), self._left))
        self._left -= len(block)
        view[: len(block)] = block
        return len(block)


def _time_of(place: ObjectStoragePath) -> int | None:
    """When a file was stored. Raises FileNotFoundError."""
    place.fs.invalidate_cache()
    with contextlib.suppress(NotImplementedError):
        at = place.fs.modified(place.path)
        return int(at.replace(tzinfo=at.tzinfo or UTC).timestamp() * 1000)
    place.fs.info(place.path)
    return None
