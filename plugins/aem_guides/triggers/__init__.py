"""The triggers: they wait without a worker."""

from __future__ import annotations

from aem_guides.triggers.earlier import AemGuidesJobTrigger, AemGuidesTurnTrigger
from aem_guides.triggers.lifecycle import AemGuidesLifecycleTrigger

__all__ = [
    "AemGuidesJobTrigger",
    "AemGuidesLifecycleTrigger",
    "AemGuidesTurnTrigger",
]
