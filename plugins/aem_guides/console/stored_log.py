"""The archived log of a job, read for people: a page of it, errors first, and never more than a page can hold.

A ZIP is checked when it is stored, but what lies there now may be something else: each entry is read as a stream, no
further than `MOST_BYTES`, and nothing is unpacked.
"""

from __future__ import annotations

import contextlib
import re
import struct
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO, cast

from airflow.sdk import ObjectStoragePath

from aem_guides.protocol.errors import ArchiveError
from aem_guides.protocol.json import clean_text
from aem_guides.storage import ABSENT, BLOCK_BYTES, storage_errors

LINES = 500
MOST_ERRORS = 100
MOST_BYTES = 64 * 1024 * 1024
MOST_ENTRIES = 200
LONGEST_LINE = 2_000
LARGEST_DIRECTORY = 10_000
_ERROR = re.compile(r"\b(ERROR|SEVERE|FATAL|FAILED|Failed|Exception|Error)\b")
_UNREADABLE = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    EOFError,
    ValueError,
    RuntimeError,
    OverflowError,
    NotImplementedError,
)


@dataclass(frozen=True)
class Line:
    """A line and its number, from 1."""

    number: int
    text: str
    is_error: bool


@dataclass(frozen=True)
class Entry:
    """A file of the archive; `size` in bytes, unpacked, as the archive says."""

    number: int
    name: str
    size: int


@dataclass(frozen=True)
class LogPage:
    """A page of a log. `errors` are the first of all errors. `cut`: only the beginning of the log was read."""

    entries: tuple[Entry, ...]
    entry: Entry | None
    lines: tuple[Line, ...] = ()
    errors: tuple[Line, ...] = ()
    page: int = 1
    has_more: bool = False
    cut: bool = False
    said: str = ""


def read_log(uri: str, entry: int = 0, page: int = 1, search: str | None = None) -> LogPage:
    """A page of `LINES` lines of one file: all of them, or those that have the words, in any case of letters.

    Raises ArchiveError where nothing is there or the storage cannot be read.
    """
    with open_archive(uri) as file:
        try:
            with zipfile.ZipFile(file) as archive:
                return _read(archive, entry, page, search)
        except _UNREADABLE:
            return LogPage((), None, said="What lies there is no ZIP that can be read. Download it to see what it is.")


@contextlib.contextmanager
def open_archive(uri: str) -> Iterator[IO[bytes]]:
    """The archive as a file. Raises ArchiveError."""
    with storage_errors("Reading the log", uri):
        try:
            place = ObjectStoragePath(uri)
            opened = place.fs.open(place.path, "rb", block_size=BLOCK_BYTES)
        except ABSENT:
            reported = "The reconciliation reports it as archive_missing."
            raise ArchiveError(f"Nothing lies at {uri} any more. {reported}") from None
        with opened as file:
            yield cast("IO[bytes]", file)


def _read(archive: zipfile.ZipFile, wanted: int, page: int, search: str | None) -> LogPage:
    files = [info for info in archive.infolist()[:LARGEST_DIRECTORY] if not info.is_dir()]
    entries = tuple(
        Entry(number, clean_text(info.filename, 300), info.file_size)
        for number, info in enumerate(files[:MOST_ENTRIES])
    )
    if not files:
        return LogPage((), None, said="The archive has no file in it.")
    number = wanted if 0 <= wanted < len(entries) else 0
    with archive.open(files[number]) as stream:
        return _page(stream, entries, entries[number], max(1, page), search)


def _page(stream: IO[bytes], entries: tuple[Entry, ...], entry: Entry, page: int, search: str | None) -> LogPage:
    first, last = (page - 1) * LINES, page * LINES
    lines: list[Line] = []
    errors: list[Line] = []
    matched = 0
    reader = _Lines(stream)
    words = search.casefold() if search else None
    for number, text in reader:
        if number == 1 and "\x00" in text:
            return LogPage(entries, entry, said="This file is no text. Download the archive to look at it.")
        is_error = _ERROR.search(text) is not None
        if is_error and len(errors) < MOST_ERRORS:
            errors.append(Line(number, clean_text(text), True))
        if words is not None and words not in text.casefold():
            continue
        matched += 1
        if first < matched <= last:
            lines.append(Line(number, clean_text(text), is_error))
    return LogPage(entries, entry, tuple(lines), tuple(errors), page, matched > last, reader.was_cut)


class _Lines:
    """The lines of a stream with their numbers, each cut where it is very long, and none behind `MOST_BYTES`."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self.was_cut = False

    def __iter__(self) -> Iterator[tuple[int, str]]:
        number, read = 0, 0
        while read < MOST_BYTES and (line := self._stream.readline(LONGEST_LINE + 1)):
            number += 1
            read += len(line)
            text = line.decode("utf-8", errors="replace").rstrip("\r\n")
            if len(line) > LONGEST_LINE and not line.endswith(b"\n"):
                read += self._skip(MOST_BYTES - read)
                text = f"{text} …"
            yield number, text
        self.was_cut = read >= MOST_BYTES

    def _skip(self, most: int) -> int:
        """Read on to the end of the line; how many bytes that was."""
        read = 0
        while read < most and (part := self._stream.readline(BLOCK_BYTES)):
            read += len(part)
            if part.endswith(b"\n"):
                break
        return read
