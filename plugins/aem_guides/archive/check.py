"""Checks that a ZIP is complete, undamaged and safe. Every entry is read and compared with its CRC-32.

Nothing is unpacked here, so unusual names do no harm. A complete ZIP is stored unchanged. Anything unusual in it, or
that could not be checked, is a warning.
"""

from __future__ import annotations

import errno
import stat
import struct
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO, cast

from aem_guides.archive.names import UnusedNames, entry_path
from aem_guides.protocol.errors import ArchiveError
from aem_guides.protocol.wording import counted
from aem_guides.storage import BLOCK_BYTES

_DIRECTORY_END = b"PK\x05\x06"
_DIRECTORY_END_BYTES = 22
_DIRECTORY_END_64 = b"PK\x06\x06"
_SPANNED = (b"PK\x07\x08", b"PK00")
"""Some packers put this before the first entry."""
_LONGEST_COMMENT = 65_535
_MOST_BYTES_BEHIND = 1024 * 1024
_SHOWN_BYTES_BEHIND = 16
_SHOWN_NAMES = 3
_BOTH_RECORDS_64_BYTES = 20 + 56
METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
"""Python's reader unpacks entries of other methods without a bound: a few thousand bytes may become gigabytes."""
_UNREADABLE = (zipfile.BadZipFile, zlib.error, struct.error, EOFError, ValueError, RuntimeError, OverflowError)


class DamagedArchiveError(ArchiveError):
    """The download is not a complete ZIP. A second download may help at once."""


class RefusedArchiveError(ArchiveError):
    """A complete ZIP that is not stored: it would fill the disk when unpacked."""


@dataclass(frozen=True)
class ArchivedEntry:
    """One file in the archive. `size` is in bytes, uncompressed; the CRC-32 has eight hexadecimal digits.

    `name` is unique and can be unpacked on every system. In the ZIP itself the entry may have another name.
    """

    name: str
    size: int
    crc32: str


@dataclass(frozen=True)
class ZipLimits:
    """The limits of an unpacked log archive. Ratios are uncompressed to compressed; sizes are in bytes.

    Deflate reaches 1,032 at most; logs stay below 40. `ratio_from` is the uncompressed size below which a ratio
    does no harm.
    """

    largest_ratio: int = 250
    ratio_from: int = 64 * 1024 * 1024
    largest_uncompressed: int = 256 * 1024**3
    most_entries: int = 10_000
    largest_directory: int = 16 * 1024 * 1024


@dataclass(frozen=True)
class CheckedZip:
    """The entries of a complete ZIP, and its warnings: one sentence for each thing that is unusual or could not be
    checked."""

    entries: tuple[ArchivedEntry, ...]
    warnings: tuple[str, ...] = ()


def check_zip(file: IO[bytes], size: int, limits: ZipLimits, *, packed_here: bool) -> CheckedZip:
    """Read every entry of a ZIP of `size` bytes against its CRC-32, in blocks.

    The compression ratio of a ZIP that was packed here is not checked: all its bytes came over the network. Raises
    DamagedArchiveError and RefusedArchiveError.
    """
    _look_at_beginning(file, size)
    archive, end = open_zip(file, size, limits)
    with archive:
        entries = archive.infolist()
        _look_at_first_entry(file, entries)
        if not packed_here:
            _refuse_bomb(entries, end, limits)
        unchecked = [entry for entry in entries if not _read_entry(archive, entry)]
    kept = _kept(entries)
    if not any(entry.size for entry in kept):
        raise DamagedArchiveError(
            f"The archive is empty: the ZIP ({size:,} bytes) is complete, but its {len(kept)} entries have no log "
            "lines."
        )
    return CheckedZip(kept, (*_said_of_names(entries), *_said_of_unchecked(unchecked), *_said_behind(file, end, size)))


def open_zip(file: IO[bytes], size: int, limits: ZipLimits) -> tuple[zipfile.ZipFile, int]:
    """The ZIP with its list of entries, and where it ends: bytes behind that do not belong to it.

    A list that is too large is not read into memory. Raises DamagedArchiveError and RefusedArchiveError.
    """
    end = _end_of_zip(file, size, limits)
    try:
        return zipfile.ZipFile(cast("IO[bytes]", _Beginning(file, end))), end
    except (*_UNREADABLE, OSError) as error:
        raise DamagedArchiveError(
            f"The archive ({size:,} bytes) is damaged: the list of its entries cannot be read: {error}."
        ) from error


def _kept(entries: list[zipfile.ZipInfo]) -> tuple[ArchivedEntry, ...]:
    names = UnusedNames()
    return tuple(
        ArchivedEntry(names.like(entry_path(entry.orig_filename)), entry.file_size, f"{entry.CRC:08x}")
        for entry in entries
        if not entry.is_dir()
    )


def _said_of_names(entries: list[zipfile.ZipInfo]) -> Iterator[str]:
    names = [entry.orig_filename for entry in entries]
    if odd := [name for name in names if entry_path(name) != name.rstrip("/")]:
        yield (
            f"Some names cannot be unpacked on every system, or lead out of the folder: {_listed(odd)}. Unpack it "
            "with care. The manifest has a safe name for each of them."
        )
    if twice := [name for name, count in Counter(names).items() if count > 1]:
        yield f"Several entries have the same name, and most programs unpack only one of them: {_listed(twice)}."
    if links := [entry.orig_filename for entry in entries if stat.S_ISLNK(entry.external_attr >> 16)]:
        yield f"It has symbolic links instead of files: {_listed(links)}."


def _said_of_unchecked(entries: list[zipfile.ZipInfo]) -> Iterator[str]:
    if locked := [entry.orig_filename for entry in entries if _is_encrypted(entry)]:
        yield f"Encrypted entries could not be checked against their CRC-32: {_listed(locked)}."
    for method in sorted({entry.compress_type for entry in entries if not _is_encrypted(entry)}):
        packed = [e.orig_filename for e in entries if e.compress_type == method and not _is_encrypted(e)]
        yield f"Entries compressed with method {method} could not be checked against their CRC-32: {_listed(packed)}."


def _is_encrypted(entry: zipfile.ZipInfo) -> bool:
    return bool(entry.flag_bits & 0x1)


def _said_behind(file: IO[bytes], end: int, size: int) -> Iterator[str]:
    if end == size:
        return
    file.seek(end)
    begins = file.read(_SHOWN_BYTES_BEHIND)
    yield f"{counted(size - end, 'byte')} after the end of the ZIP do not belong to it. They begin with {begins!r}."


def _listed(names: list[str]) -> str:
    shown = ", ".join(repr(name[:200]) for name in names[:_SHOWN_NAMES])
    return shown + (f" and {len(names) - _SHOWN_NAMES:,} more" if len(names) > _SHOWN_NAMES else "")


class _Beginning:
    """The first `end` bytes of a file. Bytes after the end of a ZIP would confuse its reader."""

    def __init__(self, file: IO[bytes], end: int) -> None:
        self._file = file
        self._end = end
        self._at = 0

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = 0) -> int:
        """Raises OSError for a negative position, as files do: the reader of ZIPs tries such positions."""
        at = {0: 0, 1: self._at, 2: self._end}[whence] + offset
        if at < 0:
            raise OSError(errno.EINVAL, "before the beginning")
        self._at = at
        return at

    def read(self, size: int = -1) -> bytes:
        left = max(0, self._end - self._at)
        self._file.seek(self._at)
        block = self._file.read(left if size < 0 else min(size, left))
        self._at += len(block)
        return block


def _look_at_beginning(file: IO[bytes], size: int) -> None:
    if size == 0:
        raise DamagedArchiveError("The archive is empty: the download has 0 bytes.")
    file.seek(0)
    beginning = file.read(512)
    if beginning.startswith(b"PK"):
        return
    if beginning.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"<"):
        raise DamagedArchiveError(
            f"The download of {size:,} bytes is an HTML or XML page, not a ZIP: a login or error page. Check that the "
            "user of the connection may read logs, and that no proxy answers instead of the instance."
        )
    raise DamagedArchiveError(f"The download of {size:,} bytes is not a ZIP: it begins with {beginning[:8].hex(' ')}.")


def _end_of_zip(file: IO[bytes], size: int, limits: ZipLimits) -> int:
    """Where the ZIP ends, which may be before the end of the file.

    Refuses a directory that is too large before it is read into memory.
    """
    longest = _DIRECTORY_END_BYTES + _LONGEST_COMMENT + _BOTH_RECORDS_64_BYTES + _MOST_BYTES_BEHIND
    begin = max(0, size - longest)
    file.seek(begin)
    tail = file.read(longest)
    at = tail.rfind(_DIRECTORY_END)
    while at >= 0:
        directory = _directory_before(tail, at, begin)
        if directory is not None:
            entries, length = directory
            if entries > limits.most_entries or length > limits.largest_directory:
                raise RefusedArchiveError(
                    f"The archive of {size:,} bytes lists {entries:,} entries in {length:,} bytes, but at most "
                    f"{limits.most_entries:,} entries in {limits.largest_directory:,} bytes are accepted. Look at the "
                    "job's log on the instance."
                )
            return begin + _end_of_record(tail, at)
        at = tail.rfind(_DIRECTORY_END, 0, at)
    raise DamagedArchiveError(f"The archive is cut off: it ends after {size:,} bytes, before the list of its entries.")


def _directory_before(tail: bytes, at: int, begin: int) -> tuple[int, int] | None:
    """The number of entries and bytes of the directory whose record is at this place of the tail.

    None if the record is incomplete, or if it belongs to a ZIP within this ZIP and the outer one is cut off behind it:
    then the offset in the record does not fit this file.
    """
    if len(tail) < at + _DIRECTORY_END_BYTES or len(tail) < _end_of_record(tail, at):
        return None
    entries, length, offset = struct.unpack_from("<HLL", tail, at + 10)
    record = at - _BOTH_RECORDS_64_BYTES
    if record >= 0 and tail.startswith(_DIRECTORY_END_64, record):
        entries, length, offset = struct.unpack_from("<QQQ", tail, record + 32)
        at = record
    return (entries, length) if begin + at - length - offset in (0, len(_SPANNED[0])) else None


def _end_of_record(tail: bytes, at: int) -> int:
    (comment,) = struct.unpack_from("<H", tail, at + _DIRECTORY_END_BYTES - 2)
    return at + _DIRECTORY_END_BYTES + int(comment)


def _look_at_first_entry(file: IO[bytes], entries: list[zipfile.ZipInfo]) -> None:
    """Refuse the directory of a ZIP within the ZIP, if the outer ZIP is cut off right behind it."""
    file.seek(0)
    begins = len(_SPANNED[0]) if file.read(4) in _SPANNED else 0
    if entries and min(entry.header_offset for entry in entries) != begins:
        raise DamagedArchiveError(
            "The archive is cut off or damaged: its first entry is missing from the list of entries at its end."
        )


def _refuse_bomb(entries: list[zipfile.ZipInfo], size: int, limits: ZipLimits) -> None:
    for entry in entries:
        _refuse_ratio(
            f"the archive's entry {entry.orig_filename[:200]!r}", entry.file_size, entry.compress_size, limits
        )
    _refuse_ratio("the archive", sum(entry.file_size for entry in entries), size, limits)


def _refuse_ratio(what: str, uncompressed: int, compressed: int, limits: ZipLimits) -> None:
    bad_ratio = uncompressed > limits.ratio_from and uncompressed > compressed * limits.largest_ratio
    if bad_ratio or uncompressed > limits.largest_uncompressed:
        ratio = uncompressed / max(compressed, 1)
        raise RefusedArchiveError(
            f"The archive looks like a ZIP bomb: {what} would unpack from {compressed:,} to {uncompressed:,} bytes, "
            f"{ratio:,.0f} times as much. At most {limits.largest_ratio} times and {limits.largest_uncompressed:,} "
            "bytes are accepted."
        )


def _read_entry(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> bool:
    """Whether an entry could be read. If so, its CRC-32 is right. Raises DamagedArchiveError."""
    if _is_encrypted(entry) or entry.compress_type not in METHODS:
        return False
    shown, read = repr(entry.orig_filename[:200]), 0
    try:
        with archive.open(entry) as content:
            while block := content.read(BLOCK_BYTES):
                read += len(block)
    except (*_UNREADABLE, OSError) as error:
        if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):
            raise
        what = "does not match its CRC-32" if "CRC" in str(error) else f"cannot be unpacked: {error}"
        raise DamagedArchiveError(f"The archive is damaged: its entry {shown} {what}.") from error
    if read != entry.file_size:
        # If the data end early, zipfile does not compare the CRC-32.
        raise DamagedArchiveError(
            f"The archive is damaged: its entry {shown} has {read:,} bytes, but the ZIP says {entry.file_size:,}."
        )
    return True
