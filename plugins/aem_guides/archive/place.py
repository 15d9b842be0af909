"""A job's log archive in object storage: fetched, checked, and only then stored under its name.

The ZIP is streamed to a temporary file, and every entry is compared with its CRC-32. Then the ZIP is written to the
storage under a hidden name, read back, and moved to its name. The manifest is written last: an archive without a
manifest does not count and is fetched again.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO, cast

from airflow.sdk import ObjectStoragePath

from aem_guides.archive.check import ArchivedEntry, DamagedArchiveError, RefusedArchiveError, ZipLimits
from aem_guides.archive.fetch import LocalArchive, LogSource, fetch_archive
from aem_guides.archive.former import holds_all
from aem_guides.protocol.errors import ArchiveError, InvalidInputError, MalformedAnswerError, UnreachableError
from aem_guides.protocol.models import Job, JsonObject, JsonValue, milliseconds, number, strings, text
from aem_guides.protocol.wording import iso_time
from aem_guides.storage import (
    ABSENT,
    BLOCK_BYTES,
    ArchiveCondition,
    Content,
    beside,
    digest_of,
    move,
    remove,
    remove_leftovers,
    safe_name,
    storage_errors,
    write,
)

__all__ = [
    "ArchivedEntry",
    "DamagedArchiveError",
    "LogSource",
    "Provenance",
    "RefusedArchiveError",
    "StoredArchive",
    "ZipLimits",
    "archive_folder",
    "date_of_job",
    "store_archive",
    "verify_archive",
]

ARCHIVE_NAME = "logs.zip"
MANIFEST_NAME = "manifest.json"
MANIFEST_VERSION = 1

_DEFAULT_LIMITS = ZipLimits()
_PAUSE_SECONDS = 5.0

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class StoredArchive:
    """A stored archive. Sizes are in bytes; `sha256` and `size` are those of the ZIP."""

    uri: str
    manifest_uri: str
    sha256: str
    size: int
    entries: tuple[ArchivedEntry, ...]
    uncompressed_size: int
    warnings: tuple[str, ...] = ()
    """What is unusual about the ZIP, or could not be checked."""


@dataclass(frozen=True)
class Provenance:
    """The facts in the manifest besides the archive itself: whose log it is, and which run fetched it."""

    instance: str
    job: Job
    run: str | JsonObject | None = None
    request: JsonObject | None = None
    log_end: str | None = None
    """A digest of the end of the log (`late_lines.log_end`)."""


def archive_folder(base_uri: str, instance: str, when: datetime, processing_id: str) -> ObjectStoragePath:
    """`<base>/<instance host>/<yyyy>/<mm>/<dd>/<processing id made safe>`, the day in UTC.

    Give a time that stays the same over retries, such as the job's start: a stored archive is looked for here.
    """
    day = when.astimezone(UTC)
    names = (safe_name(instance.lower()), f"{day:%Y}", f"{day:%m}", f"{day:%d}", safe_name(processing_id))
    return ObjectStoragePath(base_uri).joinpath(*names)


def date_of_job(started_at: int | None, completed_at: int | None) -> datetime | None:
    """The date in the archive's folder, from the times of its job in epoch milliseconds. None if it has no time."""
    at = started_at or completed_at
    return datetime.fromtimestamp(at / 1000, tz=UTC) if at else None


def verify_archive(place: ObjectStoragePath | str, *, sha256: str | None = None) -> ArchiveCondition:
    """Read a stored archive again and compare it with its manifest, and with `sha256` if that is given.

    `place` is the folder, or the URI of its ZIP. Raises ArchiveError if the storage cannot be read; that does not mean
    that the archive is missing.
    """
    folder = ObjectStoragePath(place) if isinstance(place, str) else place
    if folder.name == ARCHIVE_NAME:
        folder = folder.parent
    with storage_errors("Reading a log archive again", folder):
        manifest = _read_manifest(folder)
        found = digest_of(folder / ARCHIVE_NAME)
    if manifest is None or found is None:
        return ArchiveCondition.MISSING
    same = found == (manifest.get("sha256"), manifest.get("size")) and sha256 in (None, found[0])
    return ArchiveCondition.OK if same else ArchiveCondition.DIFFERENT


def store_archive(
    source: LogSource,
    provenance: Provenance,
    folder: ObjectStoragePath,
    *,
    wait: Callable[[float], None],
    now: Callable[[], datetime] = lambda: datetime.now(tz=UTC),
    attempts: int = 3,
    work_dir: Path | None = None,
    limits: ZipLimits = _DEFAULT_LIMITS,
) -> StoredArchive:
    """Fetch, check and store the log of a job.

    An existing archive is kept if it is intact and matches the current job. Incomplete and damaged downloads are
    fetched again, `attempts` times in all, with `wait` (seconds) in between. The existing archive stays until a
    complete one replaces it. `work_dir` is the folder of the temporary file, which is as large as the ZIP. Raises
    ArchiveError, and what `download_logs` raises if another download does not help.
    """
    if attempts < 1:
        raise InvalidInputError("attempts", attempts, "Give at least 1.")
    there = _intact_archive(folder, provenance)
    if there is not None:
        return there
    processing_id, attempt = provenance.job.processing_id, 1
    while True:
        try:
            with fetch_archive(
                source, processing_id, dated=_date_of(provenance.job), work_dir=work_dir, limits=limits
            ) as archive:
                for warning in archive.warnings:
                    log.warning(
                        "The log archive of job %s is stored unchanged, with a warning. %s", processing_id, warning
                    )
                return _put_in_place(archive, folder, provenance, now())
        except RefusedArchiveError as error:
            raise RefusedArchiveError(f"The log of job {processing_id} was not archived. {error}") from error
        except (DamagedArchiveError, UnreachableError, MalformedAnswerError) as error:
            if attempt >= attempts:
                raise _given_up(processing_id, attempts, error) from error
            pause = _PAUSE_SECONDS * attempt
            log.warning("Download %s of %s: %s Again in %.0f s.", attempt, attempts, error, pause)
            wait(pause)
            attempt += 1


def _given_up(processing_id: str, attempts: int, error: Exception) -> ArchiveError:
    times = "1 download" if attempts == 1 else f"{attempts} downloads"
    return ArchiveError(
        f"The log archive of job {processing_id} was still incomplete after {times}, so nothing was stored. Last "
        f"error: {error} Run the task again later. If that does not help, download the log in the Bulk Processor."
    )


def _intact_archive(folder: ObjectStoragePath, provenance: Provenance) -> StoredArchive | None:
    """The archive that an earlier try stored, or None. If the log has grown since, as after a resume, it is fetched
    again."""
    job = provenance.job
    with storage_errors(f"Looking for the log archive of job {job.processing_id}", folder):
        manifest = _read_manifest(folder)
        if manifest is None or any(manifest.get(key) != value for key, value in _identity(job).items()):
            return None
        if has_grown(text(manifest.get("log_end")), provenance.log_end):
            return None
        if digest_of(folder / ARCHIVE_NAME) != (manifest.get("sha256"), manifest.get("size")):
            return None
        return _archive_of(folder, manifest)


def _put_in_place(
    archive: LocalArchive, folder: ObjectStoragePath, provenance: Provenance, at: datetime
) -> StoredArchive:
    stored = StoredArchive(
        uri=str(folder / ARCHIVE_NAME),
        manifest_uri=str(folder / MANIFEST_NAME),
        sha256=archive.sha256,
        size=archive.size,
        entries=archive.entries,
        uncompressed_size=sum(entry.size for entry in archive.entries),
        warnings=archive.warnings,
    )
    with storage_errors(f"Storing the log archive of job {provenance.job.processing_id}", folder):
        folder.fs.makedirs(folder.path, exist_ok=True)
        remove_leftovers(folder / ARCHIVE_NAME)
        remove_leftovers(folder / MANIFEST_NAME)
        former = _former(folder, archive)
        manifest = _manifest(stored, provenance, at) | ({"replaces": former} if former else {})
        data = json.dumps(manifest, indent=2, ensure_ascii=False).encode(errors="replace")
        with beside(folder / ARCHIVE_NAME, Content(archive.file, archive.sha256, archive.size)) as part:
            # From here until the new manifest is written, the folder has no valid archive.
            remove(folder / MANIFEST_NAME)
            move(part, folder / ARCHIVE_NAME, archive.size)
        write(folder / MANIFEST_NAME, data, "Storing the manifest")
    return stored


def _former(folder: ObjectStoragePath, archive: LocalArchive) -> list[JsonValue]:
    """The entries of the manifest about replaced archives, the latest last.

    A replaced archive that is not completely contained in the new one is kept beside it, with its manifest.
    """
    manifest, place = _read_manifest(folder), folder / ARCHIVE_NAME
    if manifest is None or digest_of(place) != (manifest.get("sha256"), manifest.get("size")):
        return []
    replaced = manifest.get("replaces")
    before = list(replaced) if isinstance(replaced, list) else []
    if manifest.get("sha256") == archive.sha256:
        return before
    said: JsonObject = {name: manifest.get(name) for name in ("sha256", "size", "archived_at")}
    with place.fs.open(place.path, "rb", block_size=BLOCK_BYTES) as former:
        is_held = holds_all(archive.file, former)
    archive.file.seek(0)
    if is_held:
        return [*before, said | {"is_held_whole": True, "kept_as": None}]
    kept = f"logs-{str(manifest['sha256'])[:16]}.zip"
    with place.fs.open(place.path, "rb", block_size=BLOCK_BYTES) as former:
        content = Content(cast("BinaryIO", former), str(manifest["sha256"]), number(manifest.get("size")) or 0)
        with beside(folder / kept, content) as part:
            move(part, folder / kept, content.size)
    write(folder / kept.replace(".zip", ".json"), json.dumps(manifest, indent=2).encode(), "Keeping the manifest")
    log.warning("The log has not all that was archived of it before: that archive is kept as %s", folder / kept)
    return [*before, said | {"is_held_whole": False, "kept_as": kept}]


def log_end_of(archive_uri: str) -> str | None:
    """The digest of the log's end when it was archived, or None if the manifest has none. Raises ArchiveError."""
    folder = ObjectStoragePath(archive_uri).parent
    with storage_errors("Reading the manifest of a log archive", folder):
        return text((_read_manifest(folder) or {}).get("log_end"))


def has_grown(before: str | None, now: str | None) -> bool:
    """Whether the end of a log has changed. False if one of the two digests is unknown."""
    return None not in (before, now) and before != now


def times_of(archive_uri: str) -> tuple[int, ...]:
    """When the log was archived, each time, in epoch milliseconds; none if no archive is there. Raises ArchiveError."""
    with storage_errors("Reading the manifest of a log archive", archive_uri):
        manifest = _read_manifest(ObjectStoragePath(archive_uri).parent) or {}
    replaced = manifest.get("replaces")
    told = [*(replaced if isinstance(replaced, list) else []), manifest]
    times = (_moment(entry.get("archived_at")) for entry in told if isinstance(entry, dict))
    return tuple(at for at in times if at is not None)


def _moment(told: JsonValue) -> int | None:
    try:
        return int(datetime.fromisoformat(told).timestamp() * 1000) if isinstance(told, str) else None
    except (ValueError, OverflowError):
        return None


def _manifest(archive: StoredArchive, provenance: Provenance, at: datetime) -> JsonObject:
    job = provenance.job
    return {
        "version": MANIFEST_VERSION,
        "instance": provenance.instance,
        **_identity(job),
        "path": job.path,
        "created_by": job.created_by,
        "request": provenance.request,
        "run": provenance.run,
        "sha256": archive.sha256,
        "size": archive.size,
        "uncompressed_size": archive.uncompressed_size,
        "entries": [cast("JsonValue", asdict(entry)) for entry in archive.entries],
        "warnings": list(archive.warnings),
        **({"log_end": provenance.log_end} if provenance.log_end else {}),
        "archived_at": at.astimezone(UTC).isoformat(timespec="seconds"),
    }


def _identity(job: Job) -> JsonObject:
    return {
        "processing_id": job.processing_id,
        "state": str(job.state),
        "started_at": iso_time(job.started_at),
        "completed_at": iso_time(job.completed_at),
    }


def _read_manifest(folder: ObjectStoragePath) -> JsonObject | None:
    folder.fs.invalidate_cache()
    try:
        data = json.loads(folder.fs.cat_file((folder / MANIFEST_NAME).path))
    except (*ABSENT, ValueError):
        return None
    return data if isinstance(data, dict) and _archive_of(folder, data) else None


def _archive_of(folder: ObjectStoragePath, manifest: JsonObject) -> StoredArchive | None:
    sha256, size, listed = text(manifest.get("sha256")), number(manifest.get("size")), manifest.get("entries")
    if sha256 is None or size is None or not isinstance(listed, list):
        return None
    entries = tuple(
        ArchivedEntry(str(entry.get("name")), number(entry.get("size")) or 0, str(entry.get("crc32")))
        for entry in listed
        if isinstance(entry, dict)
    )
    total = sum(entry.size for entry in entries)
    uris = str(folder / ARCHIVE_NAME), str(folder / MANIFEST_NAME)
    return StoredArchive(*uris, sha256, size, entries, total, strings(manifest.get("warnings")))


def _date_of(job: Job) -> datetime:
    return datetime.fromtimestamp((milliseconds(job.completed_at) or milliseconds(job.started_at) or 0) / 1000, tz=UTC)
