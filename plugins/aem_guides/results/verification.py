"""What became of every asset, told: up to a limit in the log, whole as CSV beside the archive, by the task's state."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from airflow.sdk import ObjectStoragePath

from aem_guides.protocol.errors import VerificationError
from aem_guides.protocol.models import AssetStatus, Job, JsonObject, JsonValue, ProcessingRequest
from aem_guides.protocol.procedures.verify import FailureLimit, Verification
from aem_guides.runtime.sheets import as_csv
from aem_guides.runtime.task_log import TaskLog
from aem_guides.storage import write

LISTED_FAILURES = 100
CSV_NAME = "failed-assets.csv"
_INFO, _WARNING, _ERROR = 20, 30, 40


def without_asking(job: Job | None) -> Verification | None:
    """What is known of the assets without a question: that there were none; None where there may be some."""
    return Verification(0, 0, (), 0) if job is not None and job.had_no_assets else None


def of_job(found: Verification, request: ProcessingRequest, job: Job | None) -> Verification:
    """Say whether all that was found is the job's: the instance knows no filter when it is asked for a path's assets.

    A job with a filter that had as many assets as there are had all of them.
    """
    filtered = request.has_filter() or (job is not None and job.has_filter)
    had_all = job is not None and job.total_files == found.total
    return replace(found, of_job=had_all or not filtered)


def tell(log: TaskLog, request: ProcessingRequest, found: Verification) -> None:
    """Show the failures, the first hundred of them, and the counts."""
    level = _ERROR if found.of_job else _WARNING
    if found.failed and not found.of_job:
        log.log(
            level,
            "What follows is below the whole path, since the instance cannot say which of them this job processed; "
            "it decides nothing.",
        )
    for asset in found.failed[:LISTED_FAILURES]:
        log.log(level, "Not processed: %s (%s)", asset.path, asset.reason or asset.status_word)
    if len(found.failed) > LISTED_FAILURES:
        log.log(level, "... and %s more", f"{len(found.failed) - LISTED_FAILURES:,}")
    counts = (found.total, found.succeeded, len(found.failed), found.unclear)
    log.log(
        _INFO,
        "%s%s: %s assets, %s processed, %s failed, %s unclear",
        "" if found.of_job else "Below the whole path ",
        request.path,
        *(f"{count:,}" for count in counts),
    )


def as_json(found: Verification, limit: FailureLimit | None, csv_uri: str | None) -> JsonObject:
    """The result for other tasks: counts, the first failures, and whether they are too many."""
    failures: list[JsonValue] = [
        {"path": asset.path, "reason": asset.reason} for asset in found.failed[:LISTED_FAILURES]
    ]
    return {
        "supported": True,
        "total": found.total,
        "succeeded": found.succeeded,
        "failed": found.failed_of_job,
        "unclear": found.unclear,
        "failures": failures,
        "failures_uri": csv_uri,
        "too_many": _is_too_many(found, limit),
    }


def check(found: Verification, limit: FailureLimit | None) -> None:
    """Raise VerificationError where too many assets failed."""
    if _is_too_many(found, limit):
        raise VerificationError(
            f"{len(found.failed):,} of {found.total:,} assets failed, and fail_on_asset_failures is {limit}. Mend what "
            "the log of this task and its CSV name, then process those paths again."
        )


def _is_too_many(found: Verification, limit: FailureLimit | None) -> bool:
    failed = found.failed_of_job
    return limit is not None and failed is not None and limit.is_reached(failed, found.total)


def store_failures(folder: ObjectStoragePath, found: Verification) -> str | None:
    """Write all failures as CSV into the job's archive folder; its URI, None where nothing failed.

    Columns: path, uuid, status, reason. Raises ArchiveError.
    """
    if not found.failed:
        return None
    return write(folder / CSV_NAME, _as_csv(found.failed), "Storing the list of failed assets")


def _as_csv(assets: Iterable[AssetStatus]) -> bytes:
    rows = ((asset.path, asset.uuid, asset.status_word, asset.reason) for asset in assets)
    return as_csv((("path", "uuid", "status", "reason"), *rows)).encode("utf-8", errors="replace")
