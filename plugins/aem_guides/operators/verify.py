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
from aem_guides.protocol.conversation import IN_MID_RUN
from aem_guides.protocol.errors import AssetsAtWorkError, Retry
from aem_guides.protocol.models import Job, JsonObject, JsonValue, ProcessingRequest
from aem_guides.protocol.pacing import Pacing
from aem_guides.protocol.procedures.follow import find_job
from aem_guides.protocol.procedures.verify import FailureLimit, Verification, verify_assets
from aem_guides.protocol.requests import parse_path
from aem_guides.results.verification import as_json, check, of_job, store_failures, tell, without_asking
from aem_guides.runtime import fields
from aem_guides.runtime.task_log import show_event
from aem_guides.storage import default_archive_uri
from aem_guides.triggers.base import AemGuidesTrigger, FollowingFailedError

RETURN_KEY = "return_value"
QUICK_SECONDS = 10.0
"""How long a worker looks before it leaves the waiting to the triggerer."""

LAST_LOOK_SECONDS = 300.0


class AemGuidesAssetsTrigger(AemGuidesTrigger):
    """Wait until no asset of a request is at work, and fire `{"ready": true}`, or `{"error", "retry"}`.

    :param request: what was processed, as `ProcessingRequest.to_json` gives it.
    :param within_seconds: how long to wait.
    """

    def __init__(self, *, aem_guides_conn_id: str, request: JsonObject, deadline_at: float) -> None:
        super().__init__(aem_guides_conn_id=aem_guides_conn_id, request=request, deadline_at=deadline_at)
        self.aem_guides_conn_id = aem_guides_conn_id
        self.request = request
        self.deadline_at = deadline_at

    async def outcome(self) -> JsonObject:
        """Ask again and again, the more rarely the longer it takes."""
        request = ProcessingRequest.from_json(self.request)
        async with AemGuidesAsyncHook(self.aem_guides_conn_id, retries=IN_MID_RUN) as hook:
            left = max(1.0, self.deadline_at - surroundings().now())
            steps = verify_assets(await hook.talk(), request, within_seconds=left, pacing=Pacing())
            await hook.drive(steps, lambda event: show_event(self.log, event))
        return {"ready": True}


class AemGuidesVerifyAssetsOperator(InstanceOperator):
    """Ask what became of every asset below a path, and wait while some are still at work.

    The instance is asked for a path and knows no filter: of a job with one, failures below the path are told and
    decide nothing, unless it had as many assets as there are. A job that had none is not asked for.

    :param request: what was processed; or give `path`.
    :param processing_id: the job; its archive folder gets the failures as CSV. Without it there is no CSV.
    :param fail_on_asset_failures: fail if at least so many assets failed, a count (`10`) or a share (`2.5%`); None or
        "": only tell.
    :param within_minutes: how long to wait for assets that are still at work.
    :param archive_uri: where archives lie; default `[aem_guides] archive_uri`.
    :param deferrable: wait in the triggerer, which costs no worker slot.

    Returns `{"supported", "total", "succeeded", "failed", "unclear", "failures": [{"path", "reason"}, ...],
    "failures_uri", "too_many"}` with the first 100 failures; `failed` is None where it cannot be told which are the
    job's; an instance that cannot be asked is passed over (skipped).
    Raises VerificationError, AssetsAtWorkError, ArchiveError.
    """

    template_fields: Sequence[str] = (
        *InstanceOperator.template_fields,
        "path",
        "processing_id",
        "fail_on_asset_failures",
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
        within_minutes: float | str = 60,
        archive_uri: str = "",
        deferrable: bool = True,
        **kwargs: object,
    ) -> None:
        super().__init__(**kwargs)  # type: ignore[arg-type]  # BaseOperator's own arguments
        self.path = path
        self.processing_id = processing_id
        self.fail_on_asset_failures = fail_on_asset_failures
        self.within_minutes = within_minutes
        self.archive_uri = archive_uri
        self.deferrable = deferrable

    def act(self, hook: AemGuidesHook, context: Context) -> JsonValue:
        """Look; leave the waiting to the triggerer where that may take long."""
        self._limit()
        seconds = fields.positive("within_minutes", self.within_minutes, most=60 * 24 * 7) * 60
        try:
            return self._verify(hook, context, min(QUICK_SECONDS, seconds) if self.deferrable else seconds)
        except AssetsAtWorkError:
            if not self.deferrable or seconds <= QUICK_SECONDS:
                raise
        trigger = AemGuidesAssetsTrigger(
            aem_guides_conn_id=self.aem_guides_conn_id,
            request=self._processed().to_json(),
            deadline_at=surroundings().now() + seconds - QUICK_SECONDS,
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
                    return self._verify(hook, context, LAST_LOOK_SECONDS)
        raise FollowingFailedError(f"The trigger fired what cannot be read: {event!r}", Retry.USEFUL)

    def _verify(self, hook: AemGuidesHook, context: Context, seconds: float) -> JsonValue:
        request, limit = self._processed(), self._limit()
        job = hook.drive(find_job(hook.talk, self.processing_id)) if self.processing_id else None
        found = without_asking(job)
        if found is None:
            steps = verify_assets(hook.talk, request, within_seconds=seconds, pacing=Pacing(shortest=0.5))
            found = hook.drive(steps, lambda event: show_event(self.log, event))
        if found is None:
            context["ti"].xcom_push(RETURN_KEY, {"supported": False})
            raise self.skipped("This instance has no asset status: what became of each asset is not known.")
        found = of_job(found, request, job)
        tell(self.log, request, found)
        uri = self._store(hook, job, found)
        result = as_json(found, limit, uri)
        context["ti"].xcom_push(RETURN_KEY, result)
        check(found, limit)
        return result

    def _store(self, hook: AemGuidesHook, job: Job | None, found: Verification) -> str | None:
        folder = self._folder(hook, job) if found.failed else None
        uri = store_failures(folder, found) if folder is not None else None
        if uri is not None:
            self.log.info("All failures are in %s", uri)
        self.archived = uri
        return uri

    def _folder(self, hook: AemGuidesHook, job: Job | None) -> ObjectStoragePath | None:
        at = job and (job.started_at or job.completed_at)
        if job is None or not at:
            return None
        when = datetime.fromtimestamp(at / 1000, tz=UTC)
        return archive_folder(self.archive_uri or default_archive_uri(), hook.settings.host, when, job.processing_id)

    def _limit(self) -> FailureLimit | None:
        value = None if self.fail_on_asset_failures == "None" else self.fail_on_asset_failures
        return FailureLimit.parse("fail_on_asset_failures", value)

    def _processed(self) -> ProcessingRequest:
        if self.request is not None:
            return ProcessingRequest.from_json(self.request)
        return ProcessingRequest(path=parse_path("path", self.path))
