"""The operator that reads the outcome of every asset."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from airflow.sdk import Context, ObjectStoragePath

from aem_guides.archive.place import archive_folder, date_of_job
from aem_guides.hooks.bodies import surroundings
from aem_guides.hooks.hook import AemGuidesHook
from aem_guides.operators.base import InstanceOperator
from aem_guides.operators.links import ARCHIVE_LINKS
from aem_guides.protocol.asset_patterns import parse_patterns
from aem_guides.protocol.asset_verdict import AssetQuestion, Verification
from aem_guides.protocol.conversation import IN_MID_RUN
from aem_guides.protocol.errors import AssetsAtWorkError, Retry
from aem_guides.protocol.models import Job, JsonValue, ProcessingRequest
from aem_guides.protocol.pacing import Pacing
from aem_guides.protocol.procedures.follow import find_job
from aem_guides.protocol.procedures.verify import FailureLimit, Patience
from aem_guides.protocol.requests import parse_path
from aem_guides.results.handed_on import RETURN_KEY
from aem_guides.results.verification import Folder, as_json, check, find_out
from aem_guides.runtime import fields
from aem_guides.runtime.task_log import TaskLog
from aem_guides.storage import default_archive_uri
from aem_guides.triggers.assets import AemGuidesAssetsTrigger
from aem_guides.triggers.base import FollowingFailedError

QUICK_SECONDS = 10.0
"""How long a worker waits for the answer to its one look, before the triggerer takes over the wait."""

QUICK_PACING = Pacing(shortest=0.25)
LAST_LOOK_SECONDS = 1800.0
"""An instance may need long to collect the states of a million assets. Nothing else is waited for."""


@dataclass(frozen=True)
class AssetsTask:
    """A task that reads the outcome of the assets of a job. It looks in the worker, and waits in the triggerer.

    `seconds`: how long to wait for assets that are at work. `deferrable` false: wait in the worker, too.
    """

    hook: AemGuidesHook
    log: TaskLog
    seconds: float
    deferrable: bool

    def find_out(
        self, question: AssetQuestion, folder: Folder, event: Mapping[str, JsonValue] | None
    ) -> tuple[Verification, str | None] | AemGuidesAssetsTrigger:
        """The verification and the URI of its CSV; or the trigger for which the task is to be deferred.

        `event`: what that trigger fired if it did not fail; None before. Raises AssetsAtWorkError, ArchiveError, and
        what a call raises.
        """
        until, patience, now = self._patience(event)
        try:
            return find_out(self.hook, self.log, question, patience, folder)
        except AssetsAtWorkError:
            if not patience.goes_on or now >= until:
                raise
        return AemGuidesAssetsTrigger(
            aem_guides_conn_id=self.hook.aem_guides_conn_id,
            request=question.request.to_json(),
            deadline_at=until,
            job=question.job.to_json() if question.job is not None else None,
            ignore=question.ignore.patterns,
            instance=self.hook.settings.instance,
        )

    def _patience(self, event: Mapping[str, JsonValue] | None) -> tuple[float, Patience, float]:
        now = surroundings().now()
        match event:
            case None:
                goes_on = self.deferrable and self.seconds > QUICK_SECONDS
                within = QUICK_SECONDS if goes_on else self.seconds
                return now + self.seconds, Patience(within, QUICK_PACING, goes_on=goes_on), now
            case {"ready": True}:
                # The trigger saw that nothing changes any more. If assets are at work again, the triggerer waits again.
                until = event.get("deadline_at")
                patience = Patience(LAST_LOOK_SECONDS, QUICK_PACING, quiet_seconds=0.0, goes_on=True)
                return (until if isinstance(until, int | float) else now), patience, now
        raise FollowingFailedError(f"Unexpected trigger event: {event!r}", Retry.USEFUL)


def require_no_failure(event: Mapping[str, JsonValue] | None) -> None:
    """Raise FollowingFailedError if the trigger could not wait until the assets were done."""
    match event:
        case {"error": str(error), "retry": str(retry)}:
            raise FollowingFailedError(error, Retry(retry))


class AemGuidesVerifyAssetsOperator(InstanceOperator):
    """Read the outcome of every asset below a path, and wait while some are still at work.

    The answer is compared with the job: assets that it does not cover are unknown, and unknown never counts as zero.
    The instance's answer covers the whole path and no filter. So for a job with a filter, the failures below the path
    are only an upper limit for the failures of the job. A job without assets is not verified. Assets that stay PENDING
    while nothing changes for five minutes count as left out, and are listed.

    :param request: what was processed; or give `path`.
    :param processing_id: the job. Its archive folder gets the failures as CSV. Without it there is no CSV.
    :param fail_on_asset_failures: fail if at least so many assets were not processed, a count (`10`) or a share
        (`2.5%`), or if that is unknown; None or "": only report it.
    :param verify_ignore: patterns of the paths of assets that do not count, such as `*/fragments/*`.
    :param within_minutes: how long to wait for assets that are still at work.
    :param archive_uri: where archives are stored; default `[aem_guides] archive_uri`.
    :param deferrable: wait in the triggerer, without a worker slot.

    Returns `{"supported", "total", "succeeded", "failed", "failed_at_least", "failed_at_most", "not_known", "left_out",
    "ignored", "all_done", "processing_id", "completed_at", "failures": [{"path", "reason"}, ...], "failures_uri",
    "too_many", "undecided"}` with the first 100 failures. `failed` is None if their number is unknown, and `not_known`
    gives the reason. Without an asset status endpoint the task is skipped, unless a limit is set. Raises
    VerificationError, AssetsAtWorkError, ArchiveError.
    """

    template_fields: Sequence[str] = (
        *InstanceOperator.template_fields,
        "path",
        "processing_id",
        "fail_on_asset_failures",
        "verify_ignore",
        "within_minutes",
        "archive_uri",
    )
    operator_extra_links = ARCHIVE_LINKS
    archived: str | None = None

    def __init__(
        self,
        *,
        path: str | None = None,
        processing_id: str | None = None,
        fail_on_asset_failures: int | str | None = None,
        verify_ignore: Sequence[str] | str | None = None,
        within_minutes: float | str = 60,
        archive_uri: str = "",
        deferrable: bool = True,
        **kwargs: object,
    ) -> None:
        super().__init__(**kwargs)  # type: ignore[arg-type]  # BaseOperator's own arguments
        self.path = path
        self.processing_id = processing_id
        self.fail_on_asset_failures = fail_on_asset_failures
        self.verify_ignore = verify_ignore
        self.within_minutes = within_minutes
        self.archive_uri = archive_uri
        self.deferrable = deferrable

    def act(self, hook: AemGuidesHook, context: Context) -> JsonValue:
        """Look once. If assets are at work, the triggerer waits for them."""
        return self._verify(hook, context, None)

    def execute_complete(self, context: Context, event: Mapping[str, JsonValue] | None = None) -> JsonValue:
        """No asset is at work any more: take the answer."""
        require_no_failure(event)
        with AemGuidesHook(self.aem_guides_conn_id, retries=IN_MID_RUN) as hook:
            self.require_instance_of_path(hook, context)
            return self._verify(hook, context, event or {})

    def _verify(self, hook: AemGuidesHook, context: Context, event: Mapping[str, JsonValue] | None) -> JsonValue:
        limit = self._limit()
        seconds = fields.positive("within_minutes", self.within_minutes, most=60 * 24 * 7) * 60
        question, task = self._question(hook, context), AssetsTask(hook, self.log, seconds, self.deferrable)
        outcome = task.find_out(question, lambda: self._folder(hook, question.job), event)
        if isinstance(outcome, AemGuidesAssetsTrigger):
            self.defer(trigger=outcome, method_name="execute_complete")
        found, uri = outcome
        self.archived = uri
        result = as_json(found, limit, uri, self.processing_id or None, question.job)
        context["ti"].xcom_push(RETURN_KEY, result)
        check(found, limit)
        if not found.asked:
            raise self.skipped(found.unknown)
        return result

    def _folder(self, hook: AemGuidesHook, job: Job | None) -> ObjectStoragePath | None:
        when = date_of_job(job.started_at, job.completed_at) if job is not None else None
        if job is None or when is None:
            return None
        return archive_folder(self.archive_uri or default_archive_uri(), hook.settings.host, when, job.processing_id)

    def _limit(self) -> FailureLimit | None:
        return FailureLimit.parse("fail_on_asset_failures", self.fail_on_asset_failures)

    def _question(self, hook: AemGuidesHook, context: Context) -> AssetQuestion:
        ignore = parse_patterns("verify_ignore", self.verify_ignore)
        return AssetQuestion(self._processed(), self._job(hook, context), ignore)

    def _job(self, hook: AemGuidesHook, context: Context) -> Job | None:
        """The job as the instance shows it, or as last seen if the instance has forgotten it."""
        if not self.processing_id:
            return None
        job, store = hook.drive(find_job(hook.talk, self.processing_id)), self._path_store(context)
        state = store.load() if job is None and store is not None else None
        return job or (state.job if state is not None and state.processing_id == self.processing_id else None)

    def _processed(self) -> ProcessingRequest:
        if self.request is not None:
            return ProcessingRequest.from_json(self.request)
        return ProcessingRequest(path=parse_path("path", self.path))
