"""The end that a job had before it was resumed, which an instance may go on to show for a while."""

from __future__ import annotations

from dataclasses import dataclass

from aem_guides.protocol.models import Job

RESUME_LAG_SECONDS = 60.0
"""How long a pod of the author, or its window, may go on to show the end that a job had before it was resumed."""


@dataclass(frozen=True)
class EarlierEnd:
    """The end that a job had before it was resumed at `resumed_at` (seconds since the epoch)."""

    processing_id: str
    status_word: str
    completed_at: int | None
    resumed_at: float

    @classmethod
    def of(cls, job: Job, resumed_at: float) -> EarlierEnd:
        """The end in which this job is."""
        return cls(job.processing_id, job.status_word, job.completed_at, resumed_at)

    def is_shown_by(self, job: Job, now: float) -> bool:
        """Whether the job is shown as it was before the resume, and that is not believed yet."""
        return self == EarlierEnd.of(job, self.resumed_at) and now - self.resumed_at < RESUME_LAG_SECONDS
