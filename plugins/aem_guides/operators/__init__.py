"""The operators: one for each action on an instance."""

from __future__ import annotations

from aem_guides.operators.jobs import (
    AemGuidesArchiveLogsOperator,
    AemGuidesCancelProcessingOperator,
    AemGuidesCheckInstanceOperator,
    AemGuidesHistoryOperator,
    AemGuidesPullLogsOperator,
    AemGuidesResumeProcessingOperator,
)
from aem_guides.operators.process import AemGuidesProcessAssetsOperator
from aem_guides.operators.start import AemGuidesStartProcessingOperator
from aem_guides.operators.verify import AemGuidesVerifyAssetsOperator

__all__ = [
    "AemGuidesArchiveLogsOperator",
    "AemGuidesCancelProcessingOperator",
    "AemGuidesCheckInstanceOperator",
    "AemGuidesHistoryOperator",
    "AemGuidesProcessAssetsOperator",
    "AemGuidesPullLogsOperator",
    "AemGuidesResumeProcessingOperator",
    "AemGuidesStartProcessingOperator",
    "AemGuidesVerifyAssetsOperator",
]
