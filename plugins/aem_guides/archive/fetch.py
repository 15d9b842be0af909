"""A job's log as one ZIP in a local temporary file: written block by block, then checked."""

from __future__ import annotations

import contextlib
import hashlib
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import IO, BinaryIO, Protocol

from aem_guides.archive.check import ArchivedEntry, DamagedArchiveError, RefusedArchiveError, ZipLimits, check_zip
from aem_guides.archive.names import UnusedNames, entry_name
from aem_guides.protocol.procedures.parts import ArchivePart
from aem_guides.storage import storage_errors


class LogSource(Protocol):
    """A source of a job's log. Each call gives the log block by block, from its beginning.

    Raises UnreachableError if the body is cut off, and the other errors of `protocol.errors`.
    """

    def download_logs(self, processing_id: str, consume: Callable[[ArchivePart], None]) -> None: ...


@dataclass(frozen=True)
class LocalArchive:
    """A checked ZIP in a file without a name, which disappears when it is closed. `size` is in bytes."""

    file: BinaryIO
    sha256: str
    size: int
    entries: tuple[ArchivedEntry, ...]
    warnings: tuple[str, ...]


@contextlib.contextmanager
def fetch_archive(
    source: LogSource, processing_id: str, *, dated: datetime, work_dir: Path | None, limits: ZipLimits
) -> Iterator[LocalArchive]:
    """Download the log into a temporary file and check it. Single log files are packed into a ZIP with the date
    `dated`.

    Raises DamagedArchiveError, RefusedArchiveError, ArchiveError if the temporary folder has no room for it, and what
    `download_logs` raises.
    """
    folder = Path(work_dir or tempfile.gettempdir())
    doing = f"Fetching the log archive of job {processing_id}"
    with storage_errors(doing, folder):
        # The file has no name, so a killed process leaves nothing behind. It has no buffer, so a full disk is noticed
        # at once.
        file = tempfile.TemporaryFile(dir=folder, buffering=0)  # noqa: SIM115  # closed right below
    with file:
        output = _DigestingOutput(file, lambda: storage_errors(doing, folder))
        receiver = _Receiver(output, dated, limits.largest_uncompressed)
        try:
            source.download_logs(processing_id, receiver.take)
        finally:
            receiver.finish()
        with storage_errors(doing, folder):
            checked = check_zip(file, receiver.size, limits, packed_here=receiver.is_packing)
            file.seek(0)
        yield LocalArchive(file, receiver.sha256, receiver.size, checked.entries, checked.warnings)


class _Receiver:
    """Writes a download, either the ZIP unchanged or single files packed into one, and computes its SHA-256."""

    def __init__(self, output: _DigestingOutput, dated: datetime, largest: int) -> None:
        self._output = output
        self._dated = dated
        self._largest = largest
        self._received = 0
        self._pack: zipfile.ZipFile | None = None
        self._entry: IO[bytes] | None = None
        self._file: tuple[int, str] | None = None
        self._names = UnusedNames()

    @property
    def is_packing(self) -> bool:
        return self._pack is not None

    @property
    def size(self) -> int:
        return self._output.size

    @property
    def sha256(self) -> str:
        return self._output.digest.hexdigest()

    def take(self, part: ArchivePart) -> None:
        """Raises RefusedArchiveError if the download is larger than an archive may be, because it may never end."""
        self._received += len(part.block)
        if self._received > self._largest:
            raise RefusedArchiveError(
                f"The download was stopped: it is larger than {self._largest:,} bytes. Look at the job's log on the "
                "instance."
            )
        if (part.name is None) == self.is_packing and self.size + len(self._names):
            raise DamagedArchiveError(
                "The instance changed from a ZIP to single log files, or back, during the download."
            )
        if part.name is None:
            self._output.write(part.block)
            return
        self._entry_for(part.position, part.name).write(part.block)

    def finish(self) -> None:
        try:
            self._close_entry()
        finally:
            if self._pack is not None:
                self._pack.close()

    def _entry_for(self, position: int, path: str) -> IO[bytes]:
        if self._pack is None:
            self._pack = zipfile.ZipFile(self._output, "w", zipfile.ZIP_DEFLATED)
        if self._entry is None or (position, path) != self._file:
            self._close_entry()
            self._file = position, path
            self._entry = self._pack.open(self._new_entry(path), "w", force_zip64=True)
        return self._entry

    def _new_entry(self, path: str) -> zipfile.ZipInfo:
        # The date is the job's, so packing the same log twice gives the same bytes.
        date = self._dated.timetuple()[:6] if 1980 <= self._dated.year <= 2107 else (1980, 1, 1, 0, 0, 0)
        entry = zipfile.ZipInfo(self._names.like(entry_name(path)), date)
        entry.compress_type = zipfile.ZIP_DEFLATED
        return entry

    def _close_entry(self) -> None:
        if self._entry is not None:
            entry, self._entry = self._entry, None
            entry.close()


class _DigestingOutput:
    """A stream that cannot be rewound, so each byte is digested exactly once."""

    def __init__(self, target: IO[bytes], guard: Callable[[], contextlib.AbstractContextManager[None]]) -> None:
        self._target = target
        self._guard = guard
        self.digest = hashlib.sha256()
        self.size = 0

    def write(self, data: bytes, /) -> int:
        """Write all of it. Raises ArchiveError."""
        rest = memoryview(data)
        with self._guard():
            while rest:
                rest = rest[self._target.write(rest) :]
        self.digest.update(data)
        self.size += len(data)
        return len(data)

    def flush(self) -> None:
        """Do nothing: there is no buffer."""

    def close(self) -> None:
        """Do nothing: the caller that opened the target closes it."""
