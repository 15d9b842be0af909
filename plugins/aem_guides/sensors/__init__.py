"""The sensors."""

from __future__ import annotations

from aem_guides.sensors.wait import AemGuidesProcessingSensor

__all__ = [
    "AemGuidesProcessingSensor",
]
