"""Archive one log in a separate process: `child.py MODE BASE WORK [LIMIT]`. MODE is the fault that strikes it.

Prints the SHA-256 of the stored archive, or prints the error and exits with status 1.
"""

from __future__ import annotations

import os
import resource
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

from airflow.sdk import ObjectStoragePath
from fsspec.implementations.local import LocalFileOpener  # type: ignore[import-untyped]  # fsspec has no types

from aem_guides import storage as archive_storage
from aem_guides.archive import place as archive
from aem_guides.protocol.errors import ArchiveError
from aem_guides.protocol.procedures.parts import ArchivePart
from tests.support.archives import FakeSource, a_folder, a_zip, as_zip, store, visible

BIG = 3 * 1024 * 1024


def big_zip() -> bytes:
    """A ZIP that is larger than a test's disk and cannot be compressed."""
    return a_zip({"job.log": bytes(range(256)) * (BIG // 256)}, method=0)


def killed_in_download(content: bytes) -> Iterator[ArchivePart | Exception]:
    parts = as_zip(content, 64 * 1024)
    yield from parts[: len(parts) // 2]
    os.kill(os.getpid(), signal.SIGKILL)


def kill_while_writing() -> None:
    """The process dies when half of the archive is written into the archive's folder."""
    write = LocalFileOpener.write

    def write_and_die(self: LocalFileOpener, data: bytes, *more: object) -> int:
        written = int(write(self, data[: len(data) // 2], *more))
        self.flush()
        os.kill(os.getpid(), signal.SIGKILL)
        return written

    LocalFileOpener.write = write_and_die


def kill_before_manifest() -> None:
    """The process dies after the ZIP is in its place, right before the manifest is written."""
    move = archive_storage.move

    def move_or_die(part: ObjectStoragePath, place: ObjectStoragePath, size: int) -> None:
        if place.name == archive.MANIFEST_NAME:
            os.kill(os.getpid(), signal.SIGKILL)
        move(part, place, size)

    vars(archive)["move"] = vars(archive_storage)["move"] = move_or_die


def main(mode: str, base: str, work: str, limit: str = "0") -> int:
    content = big_zip()
    download = killed_in_download(content) if mode == "killed in download" else as_zip(content)
    if mode == "killed while writing":
        kill_while_writing()
    if mode == "killed before the manifest":
        kill_before_manifest()
    if mode == "limited":
        resource.setrlimit(resource.RLIMIT_FSIZE, (int(limit), int(limit)))
    folder = a_folder(base)
    try:
        print(store(FakeSource(download), folder, work_dir=Path(work)).sha256)
    except ArchiveError as error:
        print(f"{error} | {visible(folder)} | {os.listdir(work)}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
