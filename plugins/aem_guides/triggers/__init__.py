"""What waits without a worker."""

from __future__ import annotations

from aem_guides.triggers.job import AemGuidesJobTrigger, AemGuidesTurnTrigger

__all__ = [
    "AemGuidesJobTrigger",
    "AemGuidesTurnTrigger",
]
