"""The operators: one for each thing that can be asked of an instance."""

from __future__ import annotations

import time
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import cast

from airflow.sdk import BaseOperator, Context
from airflow.sdk.exceptions import AirflowSkipException

from aem_guides import fields
from aem_guides.archive import (
    Provenance,
    archive_folder,
    default_archive_uri,
    iso_time,
    store_archive,
)
from aem_guides.batch_operator import AemGuidesProcessAssetsOperator
from aem_guides.hook import DEFAULT_CONNECTION, AemGuidesHook
from aem_guides.killed import settle_killed_wait
from aem_guides.links import ARCHIVE_LINKS, INSTANCE_LINKS
from aem_guides.memory import first_time, run_label
from aem_guides.protocol.errors import CancelUnconfirmedError, ConfigurationError, JobLostError, NotFoundError
from aem_guides.protocol.models import Job, JsonObject, JsonValue, ProcessingRequest
from aem_guides.protocol.pacing import Pacing
from aem_guides.protocol.procedures.cancel import CancelResult
from aem_guides.protocol.procedures.follow import find_job
from aem_guides.protocol.procedures.resume import resume_once
from aem_guides.protocol.procedures.verify import verify_assets
from aem_guides.protocol.requests import parse_path
from aem_guides.start_operator import AemGuidesStartProcessingOperator
from aem_guides.tasklog import LogBudget, show_event
from aem_guides.triggers import CANCEL_KEY

__all__ = [
    "AemGuidesArchiveLogsOperator",
    "AemGuidesCancelProcessingOperator",
    "AemGuidesCheckInstanceOperator",
    "AemGuidesHistoryOperator",
    "AemGuidesProcessAssetsOperator",
    "AemGuidesPullLogsOperator",
    "AemGuidesResumeProcessingOperator",
    "AemGuidesStartProcessingOperator",
    "AemGuidesVerifyAssetsOperator",
]

LISTED_FAILURES = 100


class _InstanceOperator(BaseOperator):
    """One who talks to an instance once.

    `enabled` false skips the task; it may be a template. `request` is what the run asked for, as
    `ProcessingRequest.to_json` gives it, where the task is part of such a run.
    """

    template_fields: Sequence[str] = ("aem_guides_conn_id", "enabled", "request")
    operator_extra_links = INSTANCE_LINKS
    ui_color = "#e8f1fb"

    def __init__(
        self,
        *,
        aem_guides_conn_id: str = DEFAULT_CONNECTION,
        enabled: bool | str = True,
        request: Mapping[str, JsonValue] | None = None,
        **kwargs: object,
    ) -> None:
        super().__init__(**kwargs)  # type: ignore[arg-type]  # BaseOperator's own arguments
        self.aem_guides_conn_id = aem_guides_conn_id
        self.enabled = enabled
        self.request = request

    def execute(self, context: Context) -> JsonValue:
        """Do it, with one hook that is closed in the end."""
        if not fields.flag("enabled", self.enabled):
            raise AirflowSkipException("Switched off for this run.")
        with AemGuidesHook(self.aem_guides_conn_id) as hook:
            return self.act(hook, context)

    @abstractmethod
    def act(self, hook: AemGuidesHook, context: Context) -> JsonValue:
        """What this operator does."""


class _JobOperator(_InstanceOperator):
    """One who deals with one job, by its id. Without an id, in a run where the job never started, it is skipped.

    `wait_task_id` names the task that waited for the job, in a run where one did.
    """

    template_fields: Sequence[str] = (*_InstanceOperator.template_fields, "processing_id")

    def __init__(self, *, processing_id: str, wait_task_id: str | None = None, **kwargs: object) -> None:
        super().__init__(**kwargs)  # type: ignore[arg-type]  # BaseOperator's own arguments
        self.processing_id = processing_id
        self.wait_task_id = wait_task_id

    def execute(self, context: Context) -> JsonValue:
        """Skip where there is no job."""
        if self.processing_id == "":
            raise AirflowSkipException("There is no job: it was not started.")
        fields.identifier("processing_id", self.processing_id)
        return super().execute(context)

    def settle(self, hook: AemGuidesHook, context: Context) -> None:
        """See that a job whose waiting task was killed does not run on."""
        if self.wait_task_id is None:
            return
        outcome = settle_killed_wait(hook, context, self.wait_task_id, self.processing_id)
        if outcome is not None:
            self.log.warning(outcome.in_words(self.processing_id))
            context["ti"].xcom_push(CANCEL_KEY, outcome.result.value)

    def find(self, hook: AemGuidesHook) -> Job:
        """The job. Raises JobLostError."""
        job = hook.drive(find_job(hook.talk, self.processing_id))
        if job is None:
            raise JobLostError(
                f"processing_id: {self.processing_id!r} is known neither to status nor to history. Check the id; the "
                "history shows the last few jobs only."
            )
        return job


class AemGuidesCheckInstanceOperator(_InstanceOperator):
    """See that the instance can be reached, accepts the credentials, and is fit for work.

    Returns `{"base_url", "jobs", "active", "is_database"}`. An instance that has no system status passes. Raises
    ConfigurationError where its database does not answer: Adobe's advice is to stop using the system then.
    """

    def act(self, hook: AemGuidesHook, context: Context) -> JsonValue:
        history = hook.get_history()
        for entry in history.unreadable:
            self.log.warning("The history has what cannot be read: %s", entry)
        is_database: bool | None = None
        try:
            status = hook.get_system_status()
        except NotFoundError:
            self.log.info("This instance does not tell its system status; going on without.")
        else:
            is_database = status.is_database
            if not status.is_fit:
                raise UnfitInstanceError(
                    f"{hook.settings.base_url}: its database connection check says {status.database_check!r}. Stop "
                    "using the system until its database works again."
                )
        active = sum(job.is_active for job in history.jobs)
        self.log.info(
            "%s is ready: %s jobs in its history, %s active", hook.settings.base_url, len(history.jobs), active
        )
        return {
            "base_url": hook.settings.base_url,
            "jobs": len(history.jobs),
            "active": active,
            "is_database": is_database,
        }


class UnfitInstanceError(ConfigurationError):
    """The instance says that its database does not work."""


class AemGuidesPullLogsOperator(_JobOperator):
    """Bring the job's whole log into this task's log, every line once; errors and warnings at their level.

    :param max_log_lines: show at most so many: beyond, head and tail with the count of what lies between.

    Returns `{"lines", "left_out"}`.
    """

    template_fields: Sequence[str] = (*_JobOperator.template_fields, "max_log_lines")

    def __init__(self, *, max_log_lines: int | str = 100_000, **kwargs: object) -> None:
        super().__init__(**kwargs)  # type: ignore[arg-type]  # BaseOperator's own arguments
        self.max_log_lines = max_log_lines

    def act(self, hook: AemGuidesHook, context: Context) -> JsonValue:
        self.settle(hook, context)
        most = fields.whole("max_log_lines", self.max_log_lines, least=2, most=10_000_000)
        self.log.info("The log of job %s, from its first line:", self.processing_id)
        budget = LogBudget(self.log, most)
        lines = hook.read_log(self.processing_id, budget.take)
        left_out = budget.finish()
        self.log.info("The log of job %s ends here: %s lines.", self.processing_id, f"{lines:,}")
        return {"lines": lines, "left_out": left_out}


class AemGuidesArchiveLogsOperator(_JobOperator):
    """Store the job's log ZIP in object storage, checked and with a manifest.

    :param archive_uri: where archives lie; default `[aem_guides] archive_uri`.

    Returns `{"uri", "manifest_uri", "sha256", "size", "entries"}`. Raises ArchiveError.
    """

    template_fields: Sequence[str] = (*_JobOperator.template_fields, "archive_uri")
    operator_extra_links = ARCHIVE_LINKS

    def __init__(self, *, archive_uri: str = "", **kwargs: object) -> None:
        super().__init__(**kwargs)  # type: ignore[arg-type]  # BaseOperator's own arguments
        self.archive_uri = archive_uri

    def act(self, hook: AemGuidesHook, context: Context) -> JsonValue:
        self.settle(hook, context)
        job = self.find(hook)
        instance = hook.settings.host
        folder = archive_folder(
            self.archive_uri or default_archive_uri(), instance, self._when(context, job), job.processing_id
        )
        provenance = Provenance(instance, job, run_label(context), self._asked(job))
        archive = store_archive(hook, provenance, folder, wait=time.sleep)
        self.log.info("Archived %s (%s bytes, SHA-256 %s)", archive.uri, f"{archive.size:,}", archive.sha256)
        return {
            "uri": archive.uri,
            "manifest_uri": archive.manifest_uri,
            "sha256": archive.sha256,
            "size": archive.size,
            "entries": len(archive.entries),
        }

    def _when(self, context: Context, job: Job) -> datetime:
        """The date of the archive's folder: a try after midnight must find what the one before it stored."""
        known = job.started_at or job.completed_at
        seconds = known / 1000 if known else first_time(context, job.processing_id, time.time())
        return datetime.fromtimestamp(seconds, tz=UTC)

    def _asked(self, job: Job) -> JsonObject | None:
        return dict(self.request) if self.request is not None else _request_of(job)


class AemGuidesVerifyAssetsOperator(_InstanceOperator):
    """Ask what became of every asset below a path, and wait while some are still at work.

    :param request: what was processed; or give `path`.
    :param within_minutes: how long to wait for assets that are still at work.

    Returns `{"total", "succeeded", "failed", "unclear", "failures": [{"path", "reason"}, ...]}` with the first 100
    failures; an instance that cannot be asked is passed over (skipped).
    """

    template_fields: Sequence[str] = (*_InstanceOperator.template_fields, "path", "within_minutes")

    def __init__(
        self,
        *,
        path: str | None = None,
        within_minutes: float | str = 60,
        **kwargs: object,
    ) -> None:
        super().__init__(**kwargs)  # type: ignore[arg-type]  # BaseOperator's own arguments
        self.path = path
        self.within_minutes = within_minutes

    def act(self, hook: AemGuidesHook, context: Context) -> JsonValue:
        minutes = fields.positive("within_minutes", self.within_minutes, most=60 * 24 * 7)
        request = self._processed()
        steps = verify_assets(hook.talk, request, within_seconds=minutes * 60, pacing=Pacing(shortest=0.5))
        verification = hook.drive(steps, lambda event: show_event(self.log, event))
        if verification is None:
            raise AirflowSkipException("This instance has no asset status: what became of each asset is not known.")
        for asset in verification.failed[:LISTED_FAILURES]:
            self.log.error("Not processed: %s (%s)", asset.path, asset.reason or asset.status_word)
        if len(verification.failed) > LISTED_FAILURES:
            self.log.error("... and %s more", f"{len(verification.failed) - LISTED_FAILURES:,}")
        self.log.info(
            "%s: %s assets, %s processed, %s failed, %s unclear",
            request.path,
            f"{verification.total:,}",
            f"{verification.succeeded:,}",
            f"{len(verification.failed):,}",
            f"{verification.unclear:,}",
        )
        return {
            "total": verification.total,
            "succeeded": verification.succeeded,
            "failed": len(verification.failed),
            "unclear": verification.unclear,
            "failures": [
                {"path": asset.path, "reason": asset.reason} for asset in verification.failed[:LISTED_FAILURES]
            ],
        }

    def _processed(self) -> ProcessingRequest:
        if self.request is not None:
            return ProcessingRequest.from_json(self.request)
        return ProcessingRequest(path=parse_path("path", self.path))


class AemGuidesCancelProcessingOperator(_JobOperator):
    """Cancel a job and see it end.

    :param within_seconds: how long to look for its end.

    Returns `{"processing_id", "result"}`, the result being "cancelled" or "already finished". Raises
    CancelUnconfirmedError where neither was seen in time.
    """

    template_fields: Sequence[str] = (*_JobOperator.template_fields, "within_seconds")

    def __init__(self, *, within_seconds: float | str = 120, **kwargs: object) -> None:
        super().__init__(**kwargs)  # type: ignore[arg-type]  # BaseOperator's own arguments
        self.within_seconds = within_seconds

    def act(self, hook: AemGuidesHook, context: Context) -> JsonValue:
        self.find(hook)
        seconds = fields.positive("within_seconds", self.within_seconds, most=3600)
        outcome = hook.cancel_processing(self.processing_id, within_seconds=seconds)
        if outcome.result is CancelResult.UNKNOWN:
            raise CancelUnconfirmedError(outcome.in_words(self.processing_id), outcome.job)
        self.log.info(outcome.in_words(self.processing_id))
        return {"processing_id": self.processing_id, "result": outcome.result.value}


class AemGuidesResumeProcessingOperator(_JobOperator):
    """Resume a cancelled or failed job from its checkpoint.

    Returns `{"processing_id", "resumed_from"}`: the id under which it goes on and the one it had. Raises
    JobFailedError where the instance does not resume it.
    """

    def act(self, hook: AemGuidesHook, context: Context) -> JsonValue:
        job = self.find(hook)
        request = ProcessingRequest(path=job.path or "/", excluded_paths=job.excluded_paths or ())
        goes_on_as = hook.drive(resume_once(hook.talk, job, request, run=run_label(context)))
        self.log.info("Job %s goes on as %s", job.processing_id, goes_on_as)
        return {"processing_id": goes_on_as, "resumed_from": job.processing_id}


class AemGuidesHistoryOperator(_InstanceOperator):
    """The window: the last jobs of the instance, whoever started them.

    Returns a list of jobs as `Job.to_json` gives them, in the instance's order.
    """

    def act(self, hook: AemGuidesHook, context: Context) -> JsonValue:
        history = hook.get_history()
        for job in history.jobs:
            self.log.info(
                "%s  %s  %s  by %s, started %s",
                job.processing_id,
                job.status_word,
                job.path,
                job.created_by,
                iso_time(job.started_at),
            )
        for entry in history.unreadable:
            self.log.warning("The history has what cannot be read: %s", entry)
        return [cast("JsonValue", job.to_json()) for job in history.jobs]


def _request_of(job: Job) -> JsonObject | None:
    if job.path is None:
        return None
    chosen = job.job_filter
    return ProcessingRequest(
        path=job.path,
        excluded_paths=job.excluded_paths or (),
        file_types=chosen.file_types if chosen else (),
        created_after=chosen.created_after if chosen else None,
        created_before=chosen.created_before if chosen else None,
        processing_type=job.processing_type or "",
    ).to_json()
