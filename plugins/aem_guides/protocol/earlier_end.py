"""The end that a job had before a resume. An instance may still show it for a while."""

from __future__ import annotations

from dataclasses import dataclass

from aem_guides.protocol.models import Job, JsonObject, JsonValue

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

    def to_json(self) -> JsonObject:
        """The same as plain JSON. `from_json` reads it back."""
        return {
            "processing_id": self.processing_id,
            "status_word": self.status_word,
            "completed_at": self.completed_at,
            "resumed_at": self.resumed_at,
        }

    @classmethod
    def from_json(cls, stored: JsonValue) -> EarlierEnd | None:
        """Read what `to_json` wrote. None for anything else."""
        match stored:
            case {
                "processing_id": str(processing_id),
                "status_word": str(word),
                "completed_at": int() | None as completed_at,
                "resumed_at": int(resumed_at) | float(resumed_at),
            }:
                return cls(processing_id, word, completed_at, float(resumed_at))
        return None

    def is_shown_by(self, job: Job, now: float) -> bool:
        """Whether the job is shown as before the resume, so soon after it that this is not believed."""
        return self == EarlierEnd.of(job, self.resumed_at) and now - self.resumed_at < RESUME_LAG_SECONDS
