"""A place in object storage. Files are written beside it, read back and moved; errors are raised as one kind."""

from __future__ import annotations

import contextlib
import enum
import errno
import hashlib
import io
import logging
import os
import re
import shutil
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

from airflow.sdk import ObjectStoragePath
from airflow.sdk.configuration import conf

from aem_guides.protocol.errors import AemGuidesError, ArchiveError
from aem_guides.protocol.models import number
from aem_guides.runtime.local_files import airflow_home

BLOCK_BYTES = 1024 * 1024
ABSENT = (FileNotFoundError, NotADirectoryError, IsADirectoryError)

_LOCAL_PROTOCOLS = ("", "file", "local")
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)

_LONGEST_NAME = 80
_DIGEST_ENDING = re.compile(r"-[0-9a-f]{16}$")

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Content:
    """Content to store, with its digest."""

    file: BinaryIO
    sha256: str
    size: int


@contextlib.contextmanager
def storage_errors(doing: str, place: object) -> Iterator[None]:
    """Turn any error of the storage into an ArchiveError that names the action and the place."""
    try:
        yield
    except AemGuidesError:
        raise
    except Exception as error:  # each object store raises errors of its own kind
        raise ArchiveError(f"{doing} failed at {place}: {_reason(error)}. {_remedy(error)}") from error


@contextlib.contextmanager
def beside(place: ObjectStoragePath, content: Content) -> Iterator[ObjectStoragePath]:
    """Write beside a place under a hidden name and read it back. At the end, that name is removed."""
    part = place.parent / f".{place.name}.{uuid.uuid4().hex}.part"
    try:
        with part.fs.open(part.path, "wb") as target:
            shutil.copyfileobj(content.file, target, BLOCK_BYTES)
        if _is_local(part):
            _sync(Path(part.path))
        if digest_of(part) != (content.sha256, content.size):
            raise ArchiveError(
                f"{place.parent} returned other bytes than were written. {place.name} was not stored. Check that "
                "storage, then run the task again."
            )
        yield part
    finally:
        with contextlib.suppress(Exception):  # the first error is the one to report
            remove(part)


def write(place: ObjectStoragePath, data: bytes, doing: str) -> str:
    """Store bytes completely or not at all, and return the URI. Raises ArchiveError, which names the action."""
    with storage_errors(doing, place):
        place.fs.makedirs(place.parent.path, exist_ok=True)
        content = Content(io.BytesIO(data), hashlib.sha256(data).hexdigest(), len(data))
        with beside(place, content) as part:
            move(part, place, len(data))
    return str(place)


def move(part: ObjectStoragePath, place: ObjectStoragePath, size: int) -> None:
    """Rename a local file, which is atomic. Object stores copy, and show an object only when it is complete."""
    if _is_local(part):
        Path(part.path).replace(place.path)
        with contextlib.suppress(OSError):  # not every file system can sync a folder, and the rename is done
            _sync(Path(place.parent.path))
        return
    remove(place)
    part.fs.mv(part.path, place.path)
    if size_of(place) != size:
        remove(place)
        raise ArchiveError(f"{place} had a wrong size after the move (expected {size:,} bytes) and was removed.")


def remove_leftovers(place: ObjectStoragePath) -> None:
    """Remove the hidden files that killed tries left beside this place."""
    leftover = re.compile(rf"\.{re.escape(place.name)}\.[0-9a-f]{{32}}\.part")
    folder = place.parent
    folder.fs.invalidate_cache()
    # An object store has no folder until the first object is in it.
    with contextlib.suppress(FileNotFoundError):
        for path in cast("list[str]", folder.fs.ls(folder.path, detail=False)):
            name = path.rpartition("/")[2]
            if leftover.fullmatch(name):
                log.info("Removing %s, a leftover of a killed try", name)
                remove(folder / name)


def remove(path: ObjectStoragePath) -> None:
    """Remove a file. It may be missing."""
    with contextlib.suppress(FileNotFoundError):
        path.fs.rm_file(path.path)


def size_of(path: ObjectStoragePath) -> int | None:
    """The size in bytes, or None if there is no file."""
    path.fs.invalidate_cache()
    try:
        return number(path.fs.info(path.path).get("size"))
    except ABSENT:
        return None


def digest_of(path: ObjectStoragePath) -> tuple[str, int] | None:
    """SHA-256 and size of the file, or None if there is no file."""
    digest, size = hashlib.sha256(), 0
    try:
        with path.fs.open(path.path, "rb", block_size=BLOCK_BYTES) as content:
            while block := cast("bytes", content.read(BLOCK_BYTES)):
                digest.update(block)
                size += len(block)
    except ABSENT:
        return None
    return digest.hexdigest(), size


def _is_local(path: ObjectStoragePath) -> bool:
    return path.protocol in _LOCAL_PROTOCOLS


def _sync(path: Path) -> None:
    """Write a file's content, or a folder's names, to the disk, so that they survive a power failure."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _remedy(error: Exception) -> str:
    if isinstance(error, OSError) and error.errno in _FULL:
        return "The storage is full. Free some space, then run the task again."
    return "Check that this storage can be reached, read and written, then run the task again."


def _reason(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return f"{type(error).__name__}: {error}"


class ArchiveCondition(enum.StrEnum):
    """The condition of a stored archive, compared with its manifest."""

    OK = "ok"
    MISSING = "missing"
    DIFFERENT = "different"


def default_archive_uri() -> str:
    """`[aem_guides] archive_uri` of Airflow's configuration; without it `file://` below AIRFLOW_HOME."""
    if configured := conf.get("aem_guides", "archive_uri", fallback=""):
        return str(configured)
    return f"file://{airflow_home()}/aem_guides/archive"


def safe_name(name: str) -> str:
    """A readable name for one folder, at most 97 of `A-Z a-z 0-9 . _ -`, and unique for every name.

    A name that was changed, or that looks like a changed one, gets 16 digits of its SHA-256.
    """
    kept = re.sub(r"[^A-Za-z0-9._-]+", "_", name)[:_LONGEST_NAME].strip(".") or "_"
    if kept == name and not _DIGEST_ENDING.search(name):
        return name
    return f"{kept}-{hashlib.sha256(name.encode(errors='surrogatepass')).hexdigest()[:16]}"
