"""The end that a job had before a resume. An instance may still show it for a while."""

from __future__ import annotations

from dataclasses import dataclass

from aem_guides.protocol.models import Job

RESUME_LAG_SECONDS = 60.0
"""For this long after a resume, a pod of the author, or its window, may still show the earlier end."""


@dataclass(frozen=True)
class EarlierEnd:
    """The end that a job had before it was resumed at `resumed_at` (seconds since the epoch)."""

    processing_id: str
    status_word: str
    completed_at: int | None
    resumed_at: float

    @classmethod
    def of(cls, job: Job, resumed_at: float) -> EarlierEnd:
        """The current end of this job."""
        return cls(job.processing_id, job.status_word, job.completed_at, resumed_at)

    def is_shown_by(self, job: Job, now: float) -> bool:
        """Whether the job is shown as before the resume, so soon after it that this is not believed."""
        return self == EarlierEnd.of(job, self.resumed_at) and now - self.resumed_at < RESUME_LAG_SECONDS
