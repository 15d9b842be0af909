"""The triggers of versions before 0.2. A task that one of them holds continues in this version."""

from __future__ import annotations

from aem_guides.protocol.errors import Retry
from aem_guides.protocol.models import JsonObject
from aem_guides.triggers.base import AemGuidesTrigger


class _HandOverTrigger(AemGuidesTrigger):
    """Ends at once. The next try of its task finds the job and follows it."""

    async def outcome(self) -> JsonObject:
        """An event after which the task is retried."""
        why = "The task was deferred by an earlier version. Its next try finds the job and follows it."
        return {"error": why, "kind": "HandOver", "retry": Retry.USEFUL.value}


class AemGuidesJobTrigger(_HandOverTrigger):
    """Waited for a job."""


class AemGuidesTurnTrigger(_HandOverTrigger):
    """Waited until nothing prevented a start."""


class AemGuidesPathTrigger(_HandOverTrigger):
    """Took one path of a batch to its end."""
