"""The log download: a ZIP written to a temporary file, whole or damaged on purpose."""

from __future__ import annotations

import os
import tempfile
import zipfile
from pathlib import Path

from emulator.content import Repository, safe_name
from emulator.store import JobRecord, Store

_BLOCK = 1024 * 1024


def write_archive(store: Store, repository: Repository, job: JobRecord, damage: str | None) -> Path:
    """Write the log archive of a job and return its file; who asked removes it."""
    handle, name = tempfile.mkstemp(suffix=".zip")
    os.close(handle)
    path = Path(name)
    folder = repository.virtual.get(job.path)
    if damage == "zip_empty":
        return path
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        with archive.open(_entry_name(job, damage), "w", force_zip64=True) as entry:
            for line in store.all_lines(job):
                entry.write(line.encode() + b"\n")
        if folder and folder.zip_padding_bytes:
            _add_padding(archive, folder.zip_padding_bytes)
        if damage == "zip_zero_entry":
            archive.writestr("empty.log", b"")
        if damage == "zip_bomb":
            with archive.open("bomb.log", "w", force_zip64=True) as entry:
                for _ in range(300):
                    entry.write(bytes(_BLOCK))
    if damage in ("zip_crc", "zip_truncated"):
        _damage(path, damage)
    return path


def _entry_name(job: JobRecord, damage: str | None) -> str:
    return "../../x.log" if damage == "zip_traversal" else f"{safe_name(job.processing_id)}.log"


def _add_padding(archive: zipfile.ZipFile, size: int) -> None:
    entry = zipfile.ZipInfo("padding.bin", (2026, 1, 1, 0, 0, 0))
    with archive.open(entry, "w", force_zip64=True) as padding:
        for _ in range(0, size, _BLOCK):
            padding.write(os.urandom(_BLOCK))


def _damage(path: Path, damage: str) -> None:
    """Cut the file short, or flip bits in the compressed data of its first entry."""
    size = path.stat().st_size
    with path.open("r+b") as file:
        if damage == "zip_truncated":
            file.truncate(size // 2)
            return
        with zipfile.ZipFile(path) as archive:
            first = archive.infolist()[0]
        place = first.header_offset + 30 + len(first.filename.encode()) + 20 + max(1, first.compress_size // 2)
        file.seek(place)
        byte = file.read(1)
        file.seek(place)
        file.write(bytes([byte[0] ^ 0xFF]))
