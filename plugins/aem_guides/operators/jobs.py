"""The operators that act on one job or on the whole instance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, cast

from airflow.sdk import Context

from aem_guides.archive.job import archive_job
from aem_guides.hooks.hook import AemGuidesHook
from aem_guides.ledger.records import request_of
from aem_guides.operators.base import InstanceOperator, JobOperator, first_seen_by
from aem_guides.operators.links import ARCHIVE_LINKS
from aem_guides.protocol.admission import MAX_ACTIVE_JOBS
from aem_guides.protocol.errors import CancelUnconfirmedError, ConfigurationError, NotFoundError
from aem_guides.protocol.models import Job, JsonObject, JsonValue, ProcessingRequest
from aem_guides.protocol.procedures.cancel import CancelResult
from aem_guides.protocol.procedures.download import has_no_log
from aem_guides.protocol.states import Verdict
from aem_guides.protocol.wording import iso_time
from aem_guides.results.handed_on import RETURN_KEY
from aem_guides.results.verification import DONE_KEY, ENDED_KEY, JOB_KEY
from aem_guides.runtime import fields
from aem_guides.runtime.memory import resume_intent, resume_kept, run_label
from aem_guides.runtime.notes import NOTES
from aem_guides.runtime.task_log import LogBudget
from aem_guides.runtime.task_states import SUCCEEDED, TaskKey, states_in_task
from aem_guides.triggers.turn import Resume, resume_job

if TYPE_CHECKING:
    from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance


class AemGuidesCheckInstanceOperator(InstanceOperator):
    """Check that the instance can be reached, accepts the credentials, and can process.

    Returns `{"base_url", "jobs", "active", "is_database"}`. An instance without a system status passes. Raises
    ConfigurationError if the check of its database failed: Adobe advises to stop using the system then.
    """

    def act(self, hook: AemGuidesHook, context: Context) -> JsonValue:
        history = hook.get_history()
        for entry in history.unreadable:
            self.log.warning("Ignored an unreadable entry of the history: %s", entry)
        is_database: bool | None = None
        try:
            status = hook.get_system_status()
        except NotFoundError:
            self.log.info("This instance has no system-status endpoint (404). The check is skipped.")
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
    """The instance reports that the check of its database failed."""


class LogOperator(JobOperator):
    """Takes the log of a job.

    :param verify_task_id: the task that verified the assets: where it saw that all are done, no lines are waited for.
    """

    def __init__(self, *, verify_task_id: str | None = None, **kwargs: object) -> None:
        super().__init__(**kwargs)  # type: ignore[arg-type]  # BaseOperator's own arguments
        self.verify_task_id = verify_task_id

    def assets_done(self, context: Context, job: Job) -> bool:
        """Whether all assets of the job are known to be done.

        Those of a job that failed were not verified. A verification from before a Clear is of another job, or of an
        earlier end of the same one. Only the result of this path is read: all paths of a run may have left megabytes,
        and a task that succeeded left one.
        """
        if self.verify_task_id is None or job.verdict not in (Verdict.SUCCEEDED, Verdict.WITH_ERRORS):
            return False
        ti = cast("RuntimeTaskInstance", context["ti"])
        verified = replace(TaskKey.of(ti), task_id=self.verify_task_id)
        if SUCCEEDED not in states_in_task(verified):
            return False
        found = ti.xcom_pull(task_ids=verified.task_id, key=RETURN_KEY, map_indexes=verified.map_index)
        if not isinstance(found, dict) or found.get(DONE_KEY) is not True:
            return False
        return (found.get(JOB_KEY), found.get(ENDED_KEY)) == (self.processing_id, iso_time(job.completed_at))


class AemGuidesPullLogsOperator(LogOperator):
    """Show the job's whole log in the log of this task, every line once. Errors and warnings keep their level.

    A job that was resumed under another id has a log for each id. They are shown one after the other. An ended job
    without a log adds no lines, if both the job and its download show that there is none.

    :param max_log_lines: the most lines that are shown of a log. Of a longer log, its head, its tail and the number of
        lines between them are shown.

    Returns `{"lines", "left_out"}`.
    """

    template_fields: Sequence[str] = (*LogOperator.template_fields, "max_log_lines")

    def __init__(self, *, max_log_lines: int | str = 100_000, **kwargs: object) -> None:
        super().__init__(**kwargs)  # type: ignore[arg-type]  # BaseOperator's own arguments
        self.max_log_lines = max_log_lines

    def act(self, hook: AemGuidesHook, context: Context) -> JsonValue:
        most = fields.whole("max_log_lines", self.max_log_lines, least=2, most=10_000_000)
        jobs = [*self.jobs_before(hook), self.find(hook)]
        pulled = [self._pull(hook, job, most, assets_done=self.assets_done(context, job)) for job in jobs]
        return {"lines": sum(lines for lines, _ in pulled), "left_out": sum(left_out for _, left_out in pulled)}

    def _pull(self, hook: AemGuidesHook, job: Job, most: int, *, assets_done: bool) -> tuple[int, int]:
        """The number of lines of the log, and how many of them are not shown."""
        self.log.info("The log of job %s, from its first line:", job.processing_id)
        budget = LogBudget(self.log, most)
        if hook.drive(has_no_log(hook.talk, job)):
            self.log.warning("The instance says that job %s has no log.", job.processing_id)
            return 0, 0
        lines = hook.read_settled_log(job, budget.take, assets_done=assets_done)
        left_out = budget.finish()
        self.log.info("The log of job %s ends here: %s lines.", job.processing_id, f"{lines:,}")
        return lines, left_out


class AemGuidesArchiveLogsOperator(LogOperator):
    """Store the job's log ZIP in object storage, checked and with a manifest.

    A job that was resumed under another id has a ZIP for each id. Each ZIP is stored in the folder of its id, and the
    last one is returned.

    :param archive_uri: where archives are stored; default `[aem_guides] archive_uri`.

    Returns `{"uri", "manifest_uri", "sha256", "size", "entries"}`. `uri` is None if an ended job has no log, as both
    the job and its download show. Raises ArchiveError.
    """

    template_fields: Sequence[str] = (*LogOperator.template_fields, "archive_uri")
    operator_extra_links = ARCHIVE_LINKS
    archived: str | None = None

    def __init__(self, *, archive_uri: str = "", **kwargs: object) -> None:
        super().__init__(**kwargs)  # type: ignore[arg-type]  # BaseOperator's own arguments
        self.archive_uri = archive_uri

    def act(self, hook: AemGuidesHook, context: Context) -> JsonValue:
        for job in self.jobs_before(hook):
            self._archive(hook, context, job)
        return self._archive(hook, context, self.find(hook))

    def _archive(self, hook: AemGuidesHook, context: Context, job: Job) -> JsonValue:
        archive = archive_job(
            hook,
            job,
            run=run_label(context),
            request=self._asked(job),
            first_seen=first_seen_by(context, job),
            base_uri=self.archive_uri,
            assets_done=self.assets_done(context, job),
        )
        if archive is None:
            return {"uri": None, "manifest_uri": None, "sha256": None, "size": 0, "entries": 0}
        self.archived = archive.uri
        return {
            "uri": archive.uri,
            "manifest_uri": archive.manifest_uri,
            "sha256": archive.sha256,
            "size": archive.size,
            "entries": len(archive.entries),
        }

    def _asked(self, job: Job) -> JsonObject | None:
        if self.request is not None:
            return dict(self.request)
        request = request_of(job)
        return request.to_json() if request else None


class AemGuidesCancelProcessingOperator(JobOperator):
    """Cancel a job and wait until it has ended.

    :param within_seconds: how long to wait for its end.

    Returns `{"processing_id", "result"}`. The result is "cancelled" or "already finished". Raises
    CancelUnconfirmedError if the job did not end in time.
    """

    template_fields: Sequence[str] = (*JobOperator.template_fields, "within_seconds")

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


class AemGuidesResumeProcessingOperator(JobOperator):
    """Resume a cancelled or failed job from its checkpoint, once, in turn with all other starts and resumes. A retry
    finds the resume that an earlier try sent.

    :param max_active_jobs: resume the job only while fewer jobs are active on the instance. The task waits for a
        minute in its worker, then it fails, and a retry waits again.

    Returns `{"processing_id", "resumed_from"}`: the new id and the old one. They are the same if the job runs already,
    or if somebody else has resumed it; nothing is sent then. Raises NoTurnError if too many jobs are active, and
    JobFailedError if the instance does not resume the job.
    """

    template_fields: Sequence[str] = (*JobOperator.template_fields, "max_active_jobs")

    def __init__(self, *, max_active_jobs: int | str = MAX_ACTIVE_JOBS, **kwargs: object) -> None:
        kwargs.setdefault("inlets", [NOTES])
        super().__init__(**kwargs)  # type: ignore[arg-type]  # BaseOperator's own arguments
        self.max_active_jobs = max_active_jobs

    def act(self, hook: AemGuidesHook, context: Context) -> JsonValue:
        most = fields.whole("max_active_jobs", self.max_active_jobs, least=1, most=1000)
        job = self.find(hook)
        request = request_of(job) or ProcessingRequest(path="/")
        intent = resume_intent(context, job.processing_id)
        with resume_kept(context, job.processing_id) as keep:
            goes_on_as = resume_job(hook, Resume(job, request, most, run_label(context), intent), keep, self.log)
        if goes_on_as is None:
            said = "Job %s runs already, or somebody else has resumed it. Nothing was sent."
            self.log.info(said, job.processing_id)
        else:
            self.log.info("Job %s was resumed. Its id is now %s", job.processing_id, goes_on_as)
        return {"processing_id": goes_on_as or job.processing_id, "resumed_from": job.processing_id}


class AemGuidesHistoryOperator(InstanceOperator):
    """The window: the last jobs of the instance, also those of other users.

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
            self.log.warning("Ignored an unreadable entry of the history: %s", entry)
        return [cast("JsonValue", job.to_json()) for job in history.jobs]
