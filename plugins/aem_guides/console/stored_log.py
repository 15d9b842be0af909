"""The archived log of a job, read for people: a page of it, errors first, and never more than a page can hold.

A ZIP is checked when it is stored, but what lies there now may be something else, and entries that are packed in an
unusual way are stored unchecked: those are not read. Each of the others is read as a stream, no further than
`MOST_BYTES` and no longer than `MOST_SECONDS`, and nothing is unpacked.
"""

from __future__ import annotations

import contextlib
import io
import struct
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import replace
from typing import IO, cast

from airflow.sdk import ObjectStoragePath

from aem_guides.archive.check import METHODS, DamagedArchiveError, RefusedArchiveError, ZipLimits, open_zip
from aem_guides.console.log_text import LONGEST_LINE, Entry, LogPage, page_of
from aem_guides.hooks.bodies import surroundings
from aem_guides.protocol.errors import ArchiveError
from aem_guides.protocol.json import clean_text
from aem_guides.storage import ABSENT, BLOCK_BYTES, storage_errors

MOST_BYTES = 64 * 1024 * 1024
MOST_SECONDS = 5.0
MOST_ENTRIES = 200
LIMITS = ZipLimits()
_LOOKED_AT = 8 * 1024
"""Bytes at the beginning of a file that show whether it is text."""
_LINES_BETWEEN_LOOKS = 1_000
_BUFFER_BYTES = 16 * 1024
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
_NO_ZIP = "What lies there is no ZIP that can be read. Download it to see what it is."
_TOO_MANY = "The archive lists too many files to be shown. Download it to look at them."
_NO_TEXT = "This file is no text. Download the archive to look at it."
_LOCKED = "This file cannot be read: it is damaged, encrypted or packed in an unusual way. Download the archive."
_BROKEN = "The file is damaged behind these lines. Download the archive to look at the rest."


def read_log(uri: str, entry: int = 0, page: int = 1, search: str | None = None) -> LogPage:
    """A page of one file: all its lines, or those that have the words, in any case of letters.

    Raises ArchiveError where nothing is there or the storage cannot be read.
    """
    with open_archive(uri) as file:
        try:
            archive, _ = open_zip(file, file.seek(0, io.SEEK_END), LIMITS)
            with archive:
                return _read(archive, entry, page, search)
        except RefusedArchiveError:
            return LogPage(said=_TOO_MANY)
        except (DamagedArchiveError, *_UNREADABLE):
            return LogPage(said=_NO_ZIP)


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
    files = [info for info in archive.infolist() if not info.is_dir()]
    entries = tuple(
        Entry(number, clean_text(info.filename, 300), info.file_size)
        for number, info in enumerate(files[:MOST_ENTRIES])
    )
    if not files:
        return LogPage(said="The archive has no file in it.")
    number = wanted if 0 <= wanted < len(entries) else 0
    nothing = LogPage(entries, entries[number])
    if files[number].compress_type not in METHODS:
        return replace(nothing, said=_LOCKED)
    try:
        with archive.open(files[number]) as stream:
            # ZipFile's own way to read a line of bounded length takes several times as long. Where the file is
            # damaged, the lines that are in the buffer are lost.
            lines = _Lines(io.BufferedReader(cast("io.RawIOBase", stream), _BUFFER_BYTES))
            shown = page_of(lines, page, search)
    except _UNREADABLE:
        return replace(nothing, said=_LOCKED)
    if lines.is_binary:
        return replace(nothing, said=_NO_TEXT)
    said = _LOCKED if lines.is_broken and not shown.lines else _BROKEN if lines.is_broken else ""
    return replace(shown, entries=entries, entry=entries[number], cut=lines.was_cut, said=said)


class _Lines:
    """The lines of a stream with their numbers, each cut where it is very long, and no more than may be read."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self._until = surroundings().elapsed() + MOST_SECONDS
        self.was_cut = False
        self.is_binary = False
        self.is_broken = False

    def __iter__(self) -> Iterator[tuple[int, str]]:
        number, read = 0, 0
        try:
            while line := self._stream.readline(LONGEST_LINE + 1):
                if read < _LOOKED_AT and b"\x00" in line:
                    self.is_binary = True
                    return
                number += 1
                read += len(line)
                text = line.decode("utf-8", errors="replace").rstrip("\r\n")
                is_long = len(line) > LONGEST_LINE and not line.endswith(b"\n")
                if is_long:
                    read += self._skip(MOST_BYTES - read)
                    text = f"{text} …"
                yield number, text
                if read >= MOST_BYTES or ((is_long or not number % _LINES_BETWEEN_LOOKS) and self._is_late()):
                    self.was_cut = True
                    return
        except _UNREADABLE:
            self.is_broken = True

    def _skip(self, most: int) -> int:
        """Read on to the end of the line; how many bytes that was."""
        read = 0
        while read < most and not self._is_late() and (part := self._stream.readline(BLOCK_BYTES)):
            read += len(part)
            if part.endswith(b"\n"):
                break
        return read

    def _is_late(self) -> bool:
        return surroundings().elapsed() >= self._until
