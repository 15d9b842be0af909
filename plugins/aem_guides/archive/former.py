"""Whether a new archive contains everything that the replaced one had."""

from __future__ import annotations

import struct
import zipfile
import zlib
from typing import IO

from aem_guides.storage import BLOCK_BYTES

_UNREADABLE = (zipfile.BadZipFile, zlib.error, struct.error, EOFError, ValueError, RuntimeError, KeyError)


def holds_all(new: IO[bytes], former: IO[bytes]) -> bool:
    """Whether each file of the former ZIP is in the new one under its name, unchanged or with more lines at its end.

    False if that is unknown, for example for an encrypted file.
    """
    try:
        with zipfile.ZipFile(former) as before, zipfile.ZipFile(new) as now:
            entries = [entry for entry in before.infolist() if not entry.is_dir()]
            if len({entry.filename for entry in entries}) != len(entries):
                return False
            return all(_begins_with(now, before, entry) for entry in entries)
    except _UNREADABLE:
        return False


def _begins_with(now: zipfile.ZipFile, before: zipfile.ZipFile, entry: zipfile.ZipInfo) -> bool:
    with before.open(entry) as old, now.open(entry.filename) as fresh:
        while block := old.read(BLOCK_BYTES):
            if _exactly(fresh, len(block)) != block:
                return False
    return True


def _exactly(file: IO[bytes], size: int) -> bytes:
    """Exactly so many bytes, or fewer at the end: a single read may return less."""
    parts = []
    while size > 0 and (part := file.read(size)):
        parts.append(part)
        size -= len(part)
    return b"".join(parts)
