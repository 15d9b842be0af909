"""The trigger that waits for the assets of an ended job, some of which may still be at work."""

from __future__ import annotations

from collections.abc import Sequence

from aem_guides.hooks.bodies import surroundings
from aem_guides.hooks.connection import require_instance
from aem_guides.hooks.hook import AemGuidesAsyncHook
from aem_guides.protocol.asset_patterns import parse_patterns
from aem_guides.protocol.asset_verdict import AssetQuestion
from aem_guides.protocol.conversation import IN_MID_RUN
from aem_guides.protocol.models import Job, JsonObject, ProcessingRequest
from aem_guides.protocol.pacing import Pacing
from aem_guides.protocol.procedures.verify import Patience, verify_assets
from aem_guides.runtime.task_log import show_event
from aem_guides.triggers.base import AemGuidesTrigger


class AemGuidesAssetsTrigger(AemGuidesTrigger):
    """Wait until no asset of a request is at work, or nothing changes any more.

    The event is `{"ready": true, "deadline_at"}`, or `{"error", "kind", "retry"}`. The job has already ended, so a kill
    has nothing to cancel. A restarted triggerer begins again, with the remaining time.

    :param request: what was processed, as `ProcessingRequest.to_json` gives it.
    :param deadline_at: until when to wait, in seconds since the epoch.
    :param job: the job of the request, as `Job.to_json` gives it; None if unknown.
    :param ignore: patterns of the assets that do not count.
    :param instance: the earlier address of the connection; None: not checked.
    """

    def __init__(
        self,
        *,
        aem_guides_conn_id: str,
        request: JsonObject,
        deadline_at: float,
        job: JsonObject | None = None,
        ignore: Sequence[str] = (),
        instance: str | None = None,
    ) -> None:
        super().__init__(
            aem_guides_conn_id=aem_guides_conn_id,
            request=request,
            deadline_at=deadline_at,
            job=job,
            ignore=list(ignore),
            instance=instance,
        )
        self.aem_guides_conn_id = aem_guides_conn_id
        self.deadline_at = deadline_at
        self.instance = instance
        self.question = AssetQuestion(
            ProcessingRequest.from_json(request),
            Job.from_json(job) if job is not None else None,
            parse_patterns("ignore", ignore),
        )

    async def outcome(self) -> JsonObject:
        """Look repeatedly, less often the longer it takes."""
        async with AemGuidesAsyncHook(self.aem_guides_conn_id, retries=IN_MID_RUN) as hook:
            require_instance((await hook.settings()).instance, self.instance)
            left = max(1.0, self.deadline_at - surroundings().now())
            steps = verify_assets(await hook.talk(), self.question, Patience(left, Pacing()))
            await hook.drive(steps, lambda event: show_event(self.log, event))
        return {"ready": True, "deadline_at": self.deadline_at}
