"""Whether an archive holds all that the one had which it replaces."""

from __future__ import annotations

import struct
import zipfile
import zlib
from typing import IO

from aem_guides.storage import BLOCK_BYTES

_UNREADABLE = (zipfile.BadZipFile, zlib.error, struct.error, EOFError, ValueError, RuntimeError, KeyError)


def holds_all(new: IO[bytes], former: IO[bytes]) -> bool:
    """Whether each file of the former ZIP is in the new one, under its name, as it was or with more behind it.

    Where that cannot be told, as of an encrypted file, it is not so.
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
    """So many bytes, fewer only at the end: a read may give less than was asked for."""
    parts = []
    while size > 0 and (part := file.read(size)):
        parts.append(part)
        size -= len(part)
    return b"".join(parts)
