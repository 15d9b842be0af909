"""A whole ZIP, told from a torn, a damaged and a dangerous one: every entry is read against its CRC-32."""

from __future__ import annotations

import errno
import stat
import struct
import zipfile
import zlib
from dataclasses import dataclass
from typing import IO

from aem_guides.archive_storage import BLOCK_BYTES
from aem_guides.protocol.errors import ArchiveError

_DIRECTORY_END = b"PK\x05\x06"
_DIRECTORY_END_BYTES = 22
_DIRECTORY_END_64 = b"PK\x06\x06"
_SPANNED = (b"PK\x07\x08", b"PK00")
"""Some packers put this before the first entry."""
_LONGEST_COMMENT = 65_535
_BOTH_RECORDS_64_BYTES = 20 + 56
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_UNREADABLE = (zipfile.BadZipFile, zlib.error, struct.error, EOFError, ValueError, RuntimeError, OverflowError)


class DamagedArchiveError(ArchiveError):
    """What was downloaded is not a whole ZIP. Fetching it again may help at once."""


class RefusedArchiveError(ArchiveError):
    """A whole ZIP that is not to be kept: it would leave its folder, or fill the disk, when unpacked."""


@dataclass(frozen=True)
class ArchivedEntry:
    """One file in the archive; `size` in bytes, uncompressed; the CRC-32 as eight hexadecimal digits."""

    name: str
    size: int
    crc32: str


@dataclass(frozen=True)
class ZipLimits:
    """What a log archive may unpack to. Ratios are uncompressed to compressed; sizes are in bytes.

    Deflate reaches 1,032 at most; logs stay below 40. `ratio_from` is the uncompressed size below which a ratio
    does no harm.
    """

    largest_ratio: int = 250
    ratio_from: int = 64 * 1024 * 1024
    largest_uncompressed: int = 256 * 1024**3
    most_entries: int = 10_000
    largest_directory: int = 16 * 1024 * 1024


def check_zip(file: IO[bytes], size: int, limits: ZipLimits, *, packed_here: bool) -> tuple[ArchivedEntry, ...]:
    """Read every entry of a ZIP of `size` bytes against its CRC-32, in blocks.

    What was packed here is not held against the compression ratio: all its bytes came over the network. Raises
    DamagedArchiveError and RefusedArchiveError.
    """
    _look_at_beginning(file, size)
    _look_at_directory(file, size, limits)
    try:
        archive = zipfile.ZipFile(file)
    except (*_UNREADABLE, OSError) as error:
        raise DamagedArchiveError(
            f"The archive of {size:,} bytes is damaged: its directory of entries cannot be read: {error}."
        ) from error
    with archive:
        entries = archive.infolist()
        _look_at_first_entry(file, entries)
        for entry in entries:
            _refuse_unsafe(entry)
        if not packed_here:
            _refuse_bomb(entries, size, limits)
        for entry in entries:
            _read_entry(archive, entry)
    kept = tuple(
        ArchivedEntry(entry.filename, entry.file_size, f"{entry.CRC:08x}") for entry in entries if not entry.is_dir()
    )
    if not any(entry.size for entry in kept):
        raise DamagedArchiveError(
            f"The archive is empty: a whole ZIP of {size:,} bytes, and not a byte of a log in its {len(kept)} entries."
        )
    return kept


def _look_at_beginning(file: IO[bytes], size: int) -> None:
    if size == 0:
        raise DamagedArchiveError("The archive is empty: the download has 0 bytes.")
    file.seek(0)
    beginning = file.read(512)
    if beginning.startswith(b"PK"):
        return
    if beginning.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"<"):
        raise DamagedArchiveError(
            f"The download of {size:,} bytes is an HTML or XML page, not a ZIP: a login or error page. See that the "
            "connection's account may read logs, and that no proxy stands between."
        )
    raise DamagedArchiveError(f"The download of {size:,} bytes is not a ZIP: it begins with {beginning[:8].hex(' ')}.")


def _look_at_directory(file: IO[bytes], size: int, limits: ZipLimits) -> None:
    """Refuse a directory that is too large before it is read into memory."""
    longest = _DIRECTORY_END_BYTES + _LONGEST_COMMENT + _BOTH_RECORDS_64_BYTES
    file.seek(max(0, size - longest))
    tail = file.read(longest)
    at = len(tail) - _DIRECTORY_END_BYTES
    if at < 0 or not tail.startswith(_DIRECTORY_END, at):
        at = tail.rfind(_DIRECTORY_END)
    if at < 0 or not _ends_with_directory(tail, at):
        raise DamagedArchiveError(
            f"The archive is cut off: it ends after {size:,} bytes, before its directory of entries."
        )
    entries, length = struct.unpack_from("<HL", tail, at + 10)
    record = at - _BOTH_RECORDS_64_BYTES
    if record >= 0 and tail.startswith(_DIRECTORY_END_64, record):
        entries, length = struct.unpack_from("<QQ", tail, record + 32)
    if entries > limits.most_entries or length > limits.largest_directory:
        raise RefusedArchiveError(
            f"The archive of {size:,} bytes lists {entries:,} entries in {length:,} bytes; at most "
            f"{limits.most_entries:,} in {limits.largest_directory:,} are taken. Look at the job's log on the instance."
        )


def _ends_with_directory(tail: bytes, at: int) -> bool:
    """Whether the record that ends a directory, with its comment, is the last of the file.

    That of a ZIP within the ZIP is not, where the outer one is cut off behind it.
    """
    if len(tail) - at < _DIRECTORY_END_BYTES:
        return False
    (comment,) = struct.unpack_from("<H", tail, at + _DIRECTORY_END_BYTES - 2)
    return at + _DIRECTORY_END_BYTES + int(comment) == len(tail)


def _look_at_first_entry(file: IO[bytes], entries: list[zipfile.ZipInfo]) -> None:
    """Refuse a directory that is that of a ZIP within the ZIP, where the outer one is cut off right behind it."""
    file.seek(0)
    begins = len(_SPANNED[0]) if file.read(4) in _SPANNED else 0
    if entries and min(entry.header_offset for entry in entries) != begins:
        raise DamagedArchiveError(
            "The archive is cut off or damaged: the directory at its end does not list what it begins with."
        )


def _refuse_unsafe(entry: zipfile.ZipInfo) -> None:
    name = entry.orig_filename
    shown = repr(name[:200])
    parts = name.replace("\\", "/").split("/")
    if parts[0] == "" or ".." in parts or ":" in parts[0] or "\x00" in name:
        raise RefusedArchiveError(f"The archive has an entry that would be unpacked outside its folder: {shown}.")
    if stat.S_ISLNK(entry.external_attr >> 16):
        raise RefusedArchiveError(f"The archive has a symbolic link: {shown}. A log archive has files only.")
    if entry.flag_bits & 0x1:
        raise RefusedArchiveError(f"The archive's entry {shown} is encrypted: it cannot be checked.")
    if entry.compress_type not in _METHODS:
        raise RefusedArchiveError(
            f"The archive's entry {shown} is packed by method {entry.compress_type}, not deflated."
        )


def _refuse_bomb(entries: list[zipfile.ZipInfo], size: int, limits: ZipLimits) -> None:
    for entry in entries:
        _refuse_ratio(f"the archive's entry {entry.filename[:200]!r}", entry.file_size, entry.compress_size, limits)
    _refuse_ratio("the archive", sum(entry.file_size for entry in entries), size, limits)


def _refuse_ratio(what: str, uncompressed: int, compressed: int, limits: ZipLimits) -> None:
    bad_ratio = uncompressed > limits.ratio_from and uncompressed > compressed * limits.largest_ratio
    if bad_ratio or uncompressed > limits.largest_uncompressed:
        ratio = uncompressed / max(compressed, 1)
        raise RefusedArchiveError(
            f"A ZIP bomb, by its figures: {what} would unpack from {compressed:,} to {uncompressed:,} bytes, "
            f"{ratio:,.0f} times as much. At most {limits.largest_ratio} times and {limits.largest_uncompressed:,} "
            "bytes are taken."
        )


def _read_entry(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> None:
    shown, read = repr(entry.filename[:200]), 0
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
        # zipfile leaves it at the CRC-32 where the data end early.
        raise DamagedArchiveError(
            f"The archive is damaged: its entry {shown} has {read:,} bytes where {entry.file_size:,} are told."
        )
