"""The outcome of every asset: some in the log, all as CSV in the archive, and the counts for other tasks."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable
from typing import BinaryIO, cast

from airflow.sdk import ObjectStoragePath

from aem_guides.hooks.hook import AemGuidesHook
from aem_guides.protocol.asset_verdict import LEFT_OUT, AssetQuestion, Verification
from aem_guides.protocol.errors import VerificationError
from aem_guides.protocol.models import AssetStatus, Job, JsonObject, JsonValue
from aem_guides.protocol.procedures.verify import (
    FailureLimit,
    LookBegins,
    NotProcessed,
    Patience,
    Standing,
    verify_assets,
)
from aem_guides.protocol.wording import iso_time
from aem_guides.runtime.sheets import as_csv
from aem_guides.runtime.task_log import TaskLog, show_event
from aem_guides.storage import BLOCK_BYTES, Content, beside, move, storage_errors

DONE_KEY, JOB_KEY, ENDED_KEY = "all_done", "processing_id", "completed_at"
CSV_NAME = "failed-assets.csv"
_COLUMNS = ("path", "uuid", "status", "reason")
_MOST_IN_MEMORY = 1024 * 1024
_INFO, _WARNING, _ERROR = 20, 30, 40

Folder = Callable[[], ObjectStoragePath | None]
"""Returns the archive folder of the job, or None if it has none."""


class FailureSheet:
    """Writes all assets that were not processed as CSV into a given file."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.count = 0

    def take(self, event: object) -> None:
        """Add the results of a look. A new look starts the sheet again."""
        if isinstance(event, LookBegins):
            self._file.seek(0)
            self._file.truncate()
            self.count = 0
        elif isinstance(event, NotProcessed):
            rows = ((asset.path, asset.uuid, asset.status_word, asset.reason) for asset in event.assets)
            head = () if self.count else (_COLUMNS,)
            self._file.write(as_csv((*head, *rows)).encode("utf-8", errors="replace"))
            self.count += len(event.assets)

    def store(self, folder: ObjectStoragePath) -> str:
        """Store the sheet in the job's archive folder and return its URI. Raises ArchiveError."""
        digest, size = hashlib.sha256(), 0
        self._file.seek(0)
        while block := self._file.read(BLOCK_BYTES):
            digest.update(block)
            size += len(block)
        self._file.seek(0)
        place = folder / CSV_NAME
        with storage_errors("Storing the list of failed assets", place):
            place.fs.makedirs(folder.path, exist_ok=True)
            with beside(place, Content(self._file, digest.hexdigest(), size)) as part:
                move(part, place, size)
        return str(place)


def find_out(
    hook: AemGuidesHook, log: TaskLog, question: AssetQuestion, patience: Patience, folder: Folder
) -> tuple[Verification, str | None]:
    """Read the state of the assets, show it, and store all failures as CSV. Returns the verification and the URI of the
    CSV.

    Raises AssetsAtWorkError, ArchiveError, and what a call raises.
    """
    with tempfile.SpooledTemporaryFile(max_size=_MOST_IN_MEMORY) as file:
        sheet = FailureSheet(cast("BinaryIO", file))

        def consume(event: object) -> None:
            sheet.take(event)
            show_event(log, event)

        found = hook.drive(verify_assets(hook.talk, question, patience), consume)
        show(log, question.request.path, found)
        place = folder() if sheet.count else None
        uri = sheet.store(place) if place is not None else None
    if uri is not None:
        log.log(_INFO, "All failures are in %s", uri)
    return found, uri


def show(log: TaskLog, path: str, found: Verification) -> None:
    """Show the first hundred failures, the assets that were left out, the unknown ones, and the counts."""
    if found.failed and not found.of_job:
        log.log(
            _WARNING,
            "The following counts are for all assets below the path, because the instance does not show which of "
            "them this job processed.",
        )
    _list(log, _ERROR if found.of_job else _WARNING, "Not processed", found.listed, found.failed)
    if found.left_out:
        log.log(_WARNING, "%s assets are left out. %s", f"{found.left_out:,}", LEFT_OUT)
        _list(log, _WARNING, "Left out", found.listed_left_out, found.left_out)
    counts = [f"{found.succeeded:,} processed", f"{found.failed:,} failed"]
    if found.left_out:
        counts.append(f"{found.left_out:,} left out")
    if found.ignored:
        counts.append(f"{found.ignored:,} do not count (verify_ignore)")
    where = path if found.of_job else f"Below the whole path {path}"
    log.log(_INFO, "%s", f"{where}: {', '.join(counts)}")
    if found.unknown:
        log.log(_WARNING, "%s", f"{path}: the outcome of {_of_how_many(found)} is not known. {found.unknown}")


def as_json(
    found: Verification, limit: FailureLimit | None, csv_uri: str | None, processing_id: str | None, job: Job | None
) -> JsonObject:
    """The result for other tasks: counts, the first failures, how they compare with the limit, and of which job."""
    standing = limit.standing(found) if limit is not None else Standing.WELL
    failures: list[JsonValue] = [{"path": asset.path, "reason": asset.reason} for asset in found.listed]
    return {
        "supported": found.asked,
        "total": found.total,
        "succeeded": found.succeeded,
        "failed": found.failed_of_job,
        "failed_at_least": found.least,
        "failed_at_most": found.most,
        "not_known": found.unknown or None,
        "left_out": found.left_out,
        "ignored": found.ignored,
        DONE_KEY: found.all_done,
        JOB_KEY: processing_id,
        ENDED_KEY: iso_time(job.completed_at) if job is not None else None,
        "failures": failures,
        "failures_uri": csv_uri,
        "too_many": standing is Standing.TOO_MANY,
        "undecided": standing is Standing.UNDECIDED,
    }


def check(found: Verification, limit: FailureLimit | None) -> None:
    """Raise VerificationError if too many assets failed, or if a limit is set and the number is unknown."""
    standing = limit.standing(found) if limit is not None else Standing.WELL
    if standing is Standing.TOO_MANY:
        raise VerificationError(
            f"{found.least:,} of {found.total:,} assets failed, and fail_on_asset_failures is {limit}. Correct the "
            "assets that the log of this task and its CSV name, then process those paths again."
        )
    if standing is Standing.UNDECIDED:
        raise VerificationError(
            f"It is not known whether too many assets failed (fail_on_asset_failures is {limit}): the outcome of "
            f"{_of_how_many(found)} is not known. {found.unknown} Check these assets on the instance, then clear this "
            "task to read them again. Without a limit this is only a warning."
        )


def _of_how_many(found: Verification) -> str:
    """The assets with an unknown state, in words."""
    if found.most is None:
        return "the assets"
    return f"{found.most - found.least:,} of {found.total:,} assets"


def _list(log: TaskLog, level: int, what: str, listed: tuple[AssetStatus, ...], count: int) -> None:
    for asset in listed:
        log.log(level, "%s: %s (%s)", what, asset.path, asset.reason or asset.status_word)
    if count > len(listed):
        log.log(level, "... and %s more", f"{count - len(listed):,}")
