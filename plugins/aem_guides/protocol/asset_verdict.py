"""What is known and not known of a job's assets: the counts of an answer, compared with the job."""

from __future__ import annotations

from dataclasses import dataclass, field

from aem_guides.protocol.asset_patterns import AssetPatterns
from aem_guides.protocol.asset_tally import AssetTally
from aem_guides.protocol.models import AssetStatus, Job, ProcessingRequest

LEFT_OUT = (
    "These assets stay PENDING, or no longer exist. The instance does not process the paths in "
    "ignored.post.processing.paths (by default the translation output below /content/dam/projects). If "
    "enabled.post.processing.paths is set, it processes only those paths."
)
"""The usual reasons why assets stay PENDING forever."""

_NOTHING_PROCESSED = (
    "No asset was processed, and nothing changes: processing may be switched off on the instance "
    "(enable.asset.processing.scheduler), or its queue may hang."
)
_SILENT = "The answer of the instance has no assets, and the number of assets of the job is not known."
_UNREADABLE = "the answer of the instance does not show their outcome"
_FILTERED = (
    "the job had a filter, and the instance shows the state of all assets below the path, but not which of them the "
    "job processed"
)


@dataclass(frozen=True)
class AssetQuestion:
    """The question: the state of the assets of a request, without those that do not count.

    `job` is the job of the request, or None if it is unknown. Then the answer is not compared with a job.
    """

    request: ProcessingRequest
    job: Job | None = None
    ignore: AssetPatterns = field(default_factory=AssetPatterns)

    @property
    def filtered(self) -> bool:
        """Whether the job was to process only some of the assets below its path."""
        return self.request.has_filter() or (self.job is not None and self.job.has_filter)

    @property
    def job_files(self) -> int | None:
        """How many assets the job had, or None if it does not show that. It had at least as many as it handed over."""
        shown = (self.job.total_files, self.job.triggered_count) if self.job is not None else ()
        return max((count for count in shown if count is not None), default=None)


@dataclass(frozen=True)
class Verification:
    """What is known of the assets that count.

    `total` = `succeeded` + `failed` + the unknown ones. `failed`: not processed, whatever the status word. Of the job's
    own assets, at least `least` and at most `most` were not processed; `most` is None if no upper limit is known.
    `unknown` is the reason why the two differ, or "". `left_out`: assets that stay PENDING or no longer exist.
    `ignored`: assets that match `verify_ignore`. The first 100 are in `listed` and `listed_left_out`. `of_job` is False
    if some of the assets may not belong to the job.
    """

    total: int
    succeeded: int
    failed: int
    least: int
    most: int | None
    unknown: str = ""
    left_out: int = 0
    ignored: int = 0
    listed: tuple[AssetStatus, ...] = ()
    listed_left_out: tuple[AssetStatus, ...] = ()
    of_job: bool = True
    asked: bool = True
    """False if the instance has no asset status endpoint."""
    total_at_least: int | None = None
    """Set if `total` may have assets that do not count: how many of them do count for certain."""

    @property
    def failed_of_job(self) -> int | None:
        """How many of the job's own assets were not processed. None if that is unknown."""
        return self.least if self.least == self.most else None

    @property
    def all_done(self) -> bool:
        """Whether it is known of every asset what came of it, so that none is processed any more.

        It is not known of the assets that do not count: they are not waited for.
        """
        return self.asked and not self.unknown and not self.left_out and not self.ignored


def without_asking(question: AssetQuestion) -> Verification | None:
    """The result without a question if the job had no assets. None if it may have some."""
    return Verification(0, 0, 0, 0, 0) if question.job is not None and question.job.had_no_assets else None


def not_known(question: AssetQuestion, why: str, *, asked: bool = True) -> Verification:
    """The result if nothing is known of any asset, with the reason."""
    files = question.job_files
    return Verification(files or 0, 0, 0, 0, files, why, of_job=not question.filtered, asked=asked)


def uncovered(question: AssetQuestion, tally: AssetTally) -> int:
    """How many assets of the job are missing in an answer: it lists fewer than the job had."""
    return max(0, (question.job_files or 0) - tally.counts.seen)


def conclude_assets(question: AssetQuestion, tally: AssetTally) -> Verification:
    """The result of an answer after which nothing changes any more."""
    counts = tally.counts
    if not counts.seen and question.job_files is None:
        return not_known(question, _SILENT)
    missing = uncovered(question, tally)
    failed = counts.not_processed + counts.strange
    stuck = counts.pending if counts.pending and not counts.processed and not failed else 0
    open_ = counts.unreadable + missing + stuck
    why = []
    if stuck:
        why.append(_NOTHING_PROCESSED)
    if missing:
        why.append(f"The answer of the instance has {counts.seen:,} assets, but the job had {question.job_files:,}.")
    if counts.unreadable:
        why.append(f"Of {counts.unreadable:,} assets {_UNREADABLE}.")
    total, least, most = counts.processed + failed + open_, failed, failed + open_
    at_least = total
    of_job = not question.filtered or question.job_files == counts.seen
    if not of_job:
        files = question.job_files
        rest = counts.processed + counts.pending - stuck + counts.gone + counts.ignored
        least = max(0, files - rest - open_) if files is not None else 0
        most = min(most, files) if files is not None else most
        total = files if files is not None else total
        at_least = max(most, (files or 0) - counts.ignored - counts.pending + stuck - counts.gone)
        if least != most:
            why.append(f"{failed:,} assets below the path were not processed, but {_FILTERED}.")
    left = [asset for kind in ("pending", "gone") for asset in tally.listed.get(kind, [])]
    listed = [asset for kind in ("not_processed", "strange") for asset in tally.listed.get(kind, [])]
    return Verification(
        total=total,
        succeeded=counts.processed,
        failed=failed,
        least=least,
        most=most,
        unknown=" ".join(why) if least != most else "",
        left_out=counts.pending - stuck + counts.gone,
        ignored=counts.ignored,
        listed=tuple(listed),
        listed_left_out=tuple(left) if not stuck else tuple(tally.listed.get("gone", [])),
        of_job=of_job,
        total_at_least=at_least if at_least != total else None,
    )
