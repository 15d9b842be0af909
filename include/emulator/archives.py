"""The log download: a ZIP in a temporary file, complete or damaged on purpose."""

from __future__ import annotations

import os
import random
import shutil
import tempfile
import zipfile
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from emulator.content import safe_name
from emulator.odd_archives import Oddities, falsify_crc, make_odd
from emulator.store import read_lines

_BLOCK = 1024 * 1024
_BOMB_BLOCKS = 300
_HTML = b"<!DOCTYPE html><html><body>Service is being restored</body></html>"


@dataclass(frozen=True)
class ArchiveOrder:
    """What to pack: the first `lines` lines of a job's log and `padding` bytes that cannot be compressed.

    `damage` is the kind of a fault. `oddities` are unusual features of a complete archive.
    """

    data: Path
    seq: int
    processing_id: str
    lines: int
    padding: int
    stamp: int
    damage: str | None
    oddities: Oddities


def clear_temporary(data: Path) -> None:
    """Remove the temporary files of an earlier process that was killed."""
    shutil.rmtree(_temporary(data), ignore_errors=True)


def write_archive(order: ArchiveOrder) -> Path:
    """Write the log archive of a job, with the same bytes each time, and return its file. The caller removes the
    file."""
    folder = _temporary(order.data)
    folder.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(suffix=".zip", dir=folder)
    os.close(handle)
    path = Path(name)
    if order.damage == "zip_html":
        path.write_bytes(_HTML)
    elif order.damage != "zip_empty":
        _pack(path, order)
        _damage(path, order.damage)
        make_odd(path, order.oddities)
    return path


def _temporary(data: Path) -> Path:
    return data / "tmp"


def _pack(path: Path, order: ArchiveOrder) -> None:
    stamp = datetime.fromtimestamp(max(order.stamp / 1000, 315_619_200), tz=UTC)

    def entry(name: str, compression: int = zipfile.ZIP_DEFLATED) -> zipfile.ZipInfo:
        info = zipfile.ZipInfo(name, (stamp.year, stamp.month, stamp.day, stamp.hour, stamp.minute, stamp.second))
        info.compress_type = compression
        info.filename = name  # as it is, a NUL and all that follows it too
        return info

    log_name = "../../x.log" if order.damage == "zip_traversal" else f"{safe_name(order.processing_id)}.log"
    log_name, *more_names = order.oddities.names or (log_name,)
    with zipfile.ZipFile(path, "w") as archive:
        with archive.open(entry(log_name), "w", force_zip64=True) as log:
            for line in read_lines(order.data, order.seq, order.lines):
                log.write(line.encode() + b"\n")
        for number, name in enumerate(more_names, 1):
            archive.NameToInfo.clear()  # zipfile would warn about equal names
            archive.writestr(entry(name), f"entry {number}\n")
        if order.padding:
            noise = random.Random(order.seq)  # noqa: S311  # the same noise each time
            with archive.open(entry("padding.bin", zipfile.ZIP_STORED), "w", force_zip64=True) as padding:
                for written in range(0, order.padding, _BLOCK):
                    padding.write(noise.randbytes(min(_BLOCK, order.padding - written)))
        if order.damage == "zip_zero_entry":
            archive.writestr(entry("empty.log"), b"")
        if order.damage == "zip_bomb":
            with archive.open(entry("bomb.log"), "w", force_zip64=True) as bomb:
                for _ in range(_BOMB_BLOCKS):
                    bomb.write(bytes(_BLOCK))


def _damage(path: Path, damage: str | None) -> None:
    """Cut the file short, blank a part of its middle, or falsify the checksum of its first entry."""
    if damage == "zip_crc":
        falsify_crc(path, 0)
        return
    size = path.stat().st_size
    with zipfile.ZipFile(path) as archive:
        directory = archive.start_dir
    with path.open("r+b") as file:
        match damage:
            case "zip_truncated":
                file.truncate(size // 2)
            case "zip_torn":
                file.seek(directory // 2)
                file.write(bytes(size - directory // 2))
