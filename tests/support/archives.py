"""Shared parts of the archive's tests and their child processes: ZIPs, log sources, a job."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path

from airflow.sdk import ObjectStoragePath

from aem_guides.archive.place import Provenance, StoredArchive, archive_folder, store_archive
from aem_guides.protocol.errors import UnreachableError
from aem_guides.protocol.models import Job
from aem_guides.protocol.procedures.parts import ArchivePart
from aem_guides.protocol.states import JobState

ID = "0f6c1e9a-51f4-4d37-9a4e-6f2b8f1b7c11"
STARTED = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)
NOW = datetime(2026, 3, 4, 9, 0, tzinfo=UTC)
LINES = b"".join(b"2026-03-04 05:06:07 INFO processed /content/dam/topic-%d.dita\n" % number for number in range(2000))
Download = Iterable[ArchivePart | Exception]


def a_job(**changes: object) -> Job:
    reported: dict[str, object] = {
        "processing_id": ID,
        "state": JobState.SUCCESS,
        "status_word": "SUCCESS",
        "path": "/content/dam/docs",
        "started_at": int(STARTED.timestamp() * 1000),
        "completed_at": int(STARTED.timestamp() * 1000) + 60_000,
        "created_by": "author",
    }
    return Job(**(reported | changes))  # type: ignore[arg-type]  # the fields of Job


def a_zip(files: dict[str, bytes] | None = None, method: int = zipfile.ZIP_DEFLATED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, content in ({"job.log": LINES} if files is None else files).items():
            archive.writestr(zipfile.ZipInfo(name), content, method)
    return buffer.getvalue()


def as_zip(content: bytes, block: int = 4096) -> list[ArchivePart | Exception]:
    return [ArchivePart(None, content[at : at + block]) for at in range(0, len(content), block)]


def torn(content: bytes) -> list[ArchivePart | Exception]:
    return [*as_zip(content), UnreachableError("GET …/logs/download", "the body was cut off", sent=True, attempts=1)]


def as_files(*files: tuple[str, bytes], block: int = 4096) -> list[ArchivePart | Exception]:
    parts: list[ArchivePart | Exception] = []
    for position, (name, content) in enumerate(files):
        parts.append(ArchivePart(name, b"", position))
        parts += [ArchivePart(name, content[at : at + block], position) for at in range(0, len(content), block)]
    return parts


class FakeSource:
    """Returns the given downloads one after the other, the last one again and again. Exceptions among them are
    raised."""

    def __init__(self, *downloads: Download) -> None:
        self._downloads: Sequence[Download] = downloads
        self.count = 0

    def download_logs(self, processing_id: str, consume: Callable[[ArchivePart], None]) -> None:
        assert processing_id == ID
        download = self._downloads[min(self.count, len(self._downloads) - 1)]
        self.count += 1
        for part in download:
            if isinstance(part, Exception):
                raise part
            consume(part)


def a_folder(base: Path | str) -> ObjectStoragePath:
    return archive_folder(str(base) if "://" in str(base) else f"file://{base}", "author.example.com", STARTED, ID)


def store(
    source: FakeSource,
    folder: ObjectStoragePath,
    *,
    job: Job | None = None,
    waits: list[float] | None = None,
    attempts: int = 3,
    work_dir: Path | None = None,
    log_end: str | None = None,
) -> StoredArchive:
    """Store with a stopped clock. `waits` gets the pauses."""
    return store_archive(
        source,
        Provenance(
            "author.example.com", job or a_job(), "dag / run / task try 1", {"path": "/content/dam/docs"}, log_end
        ),
        folder,
        wait=(waits if waits is not None else []).append,
        now=lambda: NOW,
        attempts=attempts,
        work_dir=work_dir,
    )


def visible(folder: ObjectStoragePath) -> list[str]:
    """All names in a local folder, also hidden ones."""
    path = Path(folder.path)
    return sorted(entry.name for entry in path.iterdir()) if path.exists() else []


def archived_lines(base: Path) -> list[str]:
    """The lines of every log archive below a folder."""
    lines: list[str] = []
    for place in sorted(base.rglob("logs.zip")):
        with zipfile.ZipFile(place) as stored:
            for name in stored.namelist():
                lines.extend(stored.read(name).decode().splitlines())
    return lines
