"""The operator that asks what became of every asset."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from airflow.sdk import Context, ObjectStoragePath

from aem_guides.archive.place import archive_folder
from aem_guides.hooks.bodies import surroundings
from aem_guides.hooks.hook import AemGuidesAsyncHook, AemGuidesHook
from aem_guides.operators.base import InstanceOperator
from aem_guides.operators.links import ARCHIVE_LINKS
from aem_guides.protocol.asset_patterns import parse_patterns
from aem_guides.protocol.asset_verdict import AssetQuestion
from aem_guides.protocol.conversation import IN_MID_RUN
from aem_guides.protocol.errors import AssetsAtWorkError, Retry
from aem_guides.protocol.models import Job, JsonObject, JsonValue, ProcessingRequest
from aem_guides.protocol.pacing import Pacing
from aem_guides.protocol.procedures.follow import find_job
from aem_guides.protocol.procedures.verify import FailureLimit, Patience, verify_assets
from aem_guides.protocol.requests import parse_path
from aem_guides.results.verification import as_json, check, find_out
from aem_guides.runtime import fields
from aem_guides.runtime.task_log import show_event
from aem_guides.storage import default_archive_uri
from aem_guides.triggers.base import AemGuidesTrigger, FollowingFailedError

RETURN_KEY = "return_value"
QUICK_SECONDS = 10.0
"""How long a worker looks before it leaves the waiting to the triggerer."""

QUICK_PACING = Pacing(shortest=0.5)
LAST_LOOK_SECONDS = 1800.0
"""An instance takes its time to find out about a million assets; nothing is waited for besides."""


class AemGuidesAssetsTrigger(AemGuidesTrigger):
    """Wait until no asset of a request is at work, or nothing changes; fire `{"ready": true}` or `{"error", "retry"}`.

    :param request: what was processed, as `ProcessingRequest.to_json` gives it.
    :param deadline_at: how long to wait, in seconds since the epoch.
    :param job: the job that worked on it, as `Job.to_json` gives it; None where it is not known.
    :param ignore: patterns of the assets that do not count.
    """

    def __init__(
        self,
        *,
        aem_guides_conn_id: str,
        request: JsonObject,
        deadline_at: float,
        job: JsonObject | None = None,
        ignore: Sequence[str] = (),
    ) -> None:
        super().__init__(
            aem_guides_conn_id=aem_guides_conn_id,
            request=request,
            deadline_at=deadline_at,
            job=job,
            ignore=list(ignore),
        )
        self.aem_guides_conn_id = aem_guides_conn_id
        self.deadline_at = deadline_at
        self.question = AssetQuestion(
            ProcessingRequest.from_json(request),
            Job.from_json(job) if job is not None else None,
            parse_patterns("ignore", ignore),
        )

    async def outcome(self) -> JsonObject:
        """Ask again and again, the more rarely the longer it takes."""
        async with AemGuidesAsyncHook(self.aem_guides_conn_id, retries=IN_MID_RUN) as hook:
            left = max(1.0, self.deadline_at - surroundings().now())
            steps = verify_assets(await hook.talk(), self.question, Patience(left, Pacing()))
            await hook.drive(steps, lambda event: show_event(self.log, event))
        return {"ready": True}


class AemGuidesVerifyAssetsOperator(InstanceOperator):
    """Ask what became of every asset below a path, and wait while some are still at work.

    The answer is held against the job: what it does not cover is not known, and that is never taken for zero. The
    instance is asked for a path and knows no filter: of a job with one, what failed below the path tells how many of
    its assets can have failed at the most. A job that had none is not asked for. Assets that stay PENDING while nothing
    changes for five minutes are left out, and named.

    :param request: what was processed; or give `path`.
    :param processing_id: the job; its archive folder gets the failures as CSV. Without it there is no CSV.
    :param fail_on_asset_failures: fail if at least so many assets were not processed, a count (`10`) or a share
        (`2.5%`), and if that cannot be told; None or "": only report it.
    :param verify_ignore: patterns of the paths of assets that do not count, such as `*/fragments/*`.
    :param within_minutes: how long to wait for assets that are still at work.
    :param archive_uri: where archives lie; default `[aem_guides] archive_uri`.
    :param deferrable: wait in the triggerer, which costs no worker slot.

    Returns `{"supported", "total", "succeeded", "failed", "failed_at_least", "failed_at_most", "not_known", "left_out",
    "ignored", "failures": [{"path", "reason"}, ...], "failures_uri", "too_many", "undecided"}` with the first 100
    failures; `failed` is None where it cannot be told, and `not_known` says why. An instance that cannot be asked is
    passed over (skipped), unless a limit is set.
    Raises VerificationError, AssetsAtWorkError, ArchiveError.
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
        """Look; leave the waiting to the triggerer where that may take long."""
        self._limit()
        seconds = fields.positive("within_minutes", self.within_minutes, most=60 * 24 * 7) * 60
        question = self._question(hook)
        goes_on = self.deferrable and seconds > QUICK_SECONDS
        try:
            patience = Patience(QUICK_SECONDS if goes_on else seconds, QUICK_PACING, goes_on=goes_on)
            return self._verify(hook, context, question, patience)
        except AssetsAtWorkError:
            if not goes_on:
                raise
        trigger = AemGuidesAssetsTrigger(
            aem_guides_conn_id=self.aem_guides_conn_id,
            request=question.request.to_json(),
            deadline_at=surroundings().now() + seconds - QUICK_SECONDS,
            job=question.job.to_json() if question.job is not None else None,
            ignore=question.ignore.patterns,
        )
        return self.defer(trigger=trigger, method_name="execute_complete")

    def execute_complete(self, context: Context, event: Mapping[str, JsonValue] | None = None) -> JsonValue:
        """Nothing is at work any more: take the answer."""
        match event:
            case {"error": str(error), "retry": str(retry)}:
                raise FollowingFailedError(error, Retry(retry))
            case {"ready": True}:
                with AemGuidesHook(self.aem_guides_conn_id, retries=IN_MID_RUN) as hook:
                    self.require_instance_of_path(hook, context)
                    # The trigger has seen that nothing changes any more.
                    patience = Patience(LAST_LOOK_SECONDS, QUICK_PACING, quiet_seconds=0.0)
                    return self._verify(hook, context, self._question(hook), patience)
        raise FollowingFailedError(f"The trigger fired what cannot be read: {event!r}", Retry.USEFUL)

    def _verify(self, hook: AemGuidesHook, context: Context, question: AssetQuestion, patience: Patience) -> JsonValue:
        limit = self._limit()
        found, uri = find_out(hook, self.log, question, patience, lambda: self._folder(hook, question.job))
        self.archived = uri
        result = as_json(found, limit, uri)
        context["ti"].xcom_push(RETURN_KEY, result)
        check(found, limit)
        if not found.asked:
            raise self.skipped(found.unknown)
        return result

    def _folder(self, hook: AemGuidesHook, job: Job | None) -> ObjectStoragePath | None:
        at = job and (job.started_at or job.completed_at)
        if job is None or not at:
            return None
        when = datetime.fromtimestamp(at / 1000, tz=UTC)
        return archive_folder(self.archive_uri or default_archive_uri(), hook.settings.host, when, job.processing_id)

    def _limit(self) -> FailureLimit | None:
        value = None if self.fail_on_asset_failures == "None" else self.fail_on_asset_failures
        return FailureLimit.parse("fail_on_asset_failures", value)

    def _question(self, hook: AemGuidesHook) -> AssetQuestion:
        ignore = parse_patterns("verify_ignore", self.verify_ignore)
        job = hook.drive(find_job(hook.talk, self.processing_id)) if self.processing_id else None
        return AssetQuestion(self._processed(), job, ignore)

    def _processed(self) -> ProcessingRequest:
        if self.request is not None:
            return ProcessingRequest.from_json(self.request)
        return ProcessingRequest(path=parse_path("path", self.path))
