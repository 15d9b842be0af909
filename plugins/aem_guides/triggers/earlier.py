"""The triggers of versions before 0.2, so that a task that one of them holds continues in this version."""

from __future__ import annotations

from aem_guides.protocol.errors import Retry
from aem_guides.protocol.models import JsonObject
from aem_guides.triggers.base import AemGuidesTrigger


class _HandOverTrigger(AemGuidesTrigger):
    """Hands its task over at once: the next try of it takes up the job where it is."""

    async def outcome(self) -> JsonObject:
        """An event that has the task retried."""
        why = "The task was deferred by an earlier version. Its next try finds the job and follows it."
        return {"error": why, "kind": "HandOver", "retry": Retry.USEFUL.value}


class AemGuidesJobTrigger(_HandOverTrigger):
    """Waited for a job."""


class AemGuidesTurnTrigger(_HandOverTrigger):
    """Waited until nothing was in the way of a start."""


class AemGuidesPathTrigger(_HandOverTrigger):
    """Brought one path of a batch to its end."""
