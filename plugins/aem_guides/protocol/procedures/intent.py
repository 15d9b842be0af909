"""The intent: what is stored before a request that must not be sent twice, and how the history shows its result.

The API has no idempotency key. So the intent is stored before the request: what is asked for, the instance's time, and
the jobs that the window shows. A later job with the same request that was not in that window is the result of the
request. It is certain that there is no such job only while the window still shows a job that was in it before: then the
window shows everything newer than that job.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from aem_guides.protocol.models import History, Job, JsonObject, JsonValue, Match, ProcessingRequest, newest_first

SMALLEST_WINDOW = 5
"""The product's own window shows the last five jobs. No known instance shows fewer."""

CLOCK_TOLERANCE_MS = 300_000
"""How far the clock of the `Date` header may differ from the clock that stamps jobs (CDN and cluster nodes)."""


class Fate(enum.Enum):
    """What the history shows of an unanswered request."""

    FOUND = "found"
    NOT_SEEN = "not seen"
    UNCLEAR = "unclear"


@dataclass(frozen=True)
class Sighting:
    """The result of one look at the history. `job` is the job that was found, or the job that leaves the result
    unclear."""

    fate: Fate
    job: Job | None = None


@dataclass(frozen=True)
class Intent:
    """A request that is about to be sent.

    `at` is the instance's time in epoch milliseconds. `window` maps the id of each job in the history to its start
    (None: not started). `run` names the run and try. `processing_id` is the id of the resulting job, once known.
    `resumes` is the job to resume, as it was before.
    """

    fingerprint: str
    at: int
    window: Mapping[str, int | None]
    run: str
    processing_id: str | None = None
    adopted: bool = False
    resumes: Job | None = None

    @classmethod
    def before(
        cls, request: ProcessingRequest, history: History, now: int, run: str, active: Iterable[str] = ()
    ) -> Intent:
        """Build the intent to send `request`, right after the history was read.

        `active`: jobs that are known to be active from other sources. None of them can be the result of the request.
        """
        window: dict[str, int | None] = dict.fromkeys(active)
        window |= {job.processing_id: job.started_at for job in history.jobs}
        return cls(request.fingerprint(), now, window, run)

    def settled(self, processing_id: str, *, adopted: bool = False) -> Intent:
        return replace(self, processing_id=processing_id, adopted=adopted)

    def look(self, request: ProcessingRequest, history: History) -> Sighting:
        """Look for the job that resulted from this intent."""
        fresh = [job for job in newest_first(history.jobs) if job.processing_id not in self.window]
        alike = [job for job in fresh if job.path is None or job.match(request) is not Match.OTHER]
        if not alike:
            return Sighting(Fate.NOT_SEEN)
        alike.sort(key=lambda job: not job.is_active)
        for job in alike:
            if job.match(request) is Match.SAME and self._began_after(job):
                return Sighting(Fate.FOUND, job)
        return Sighting(Fate.UNCLEAR, alike[0])

    def proves_absence(self, history: History) -> bool:
        """Whether a job that this history does not show cannot have been started since the intent."""
        if history.unreadable:
            return False
        if not self.window:
            return len(history.jobs) < SMALLEST_WINDOW
        return any(self._was_there(job) for job in history.jobs)

    def to_json(self) -> JsonObject:
        """The intent as plain JSON, for a state store; `from_json` reads it back."""
        return {
            "fingerprint": self.fingerprint,
            "at": self.at,
            "window": dict(self.window),
            "run": self.run,
            "processing_id": self.processing_id,
            "adopted": self.adopted,
            "resumes": self.resumes.to_json() if self.resumes else None,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, JsonValue]) -> Intent:
        """Read what `to_json` wrote. Raises ValueError for anything else."""
        match data:
            case {"fingerprint": str(fingerprint), "at": int(at), "window": dict(window), "run": str(run)}:
                processing_id, resumes = data.get("processing_id"), data.get("resumes")
                return cls(
                    fingerprint,
                    at,
                    {key: value if isinstance(value, int) else None for key, value in window.items()},
                    run,
                    processing_id if isinstance(processing_id, str) else None,
                    data.get("adopted") is True,
                    Job.from_json(resumes) if isinstance(resumes, dict) else None,
                )
        raise ValueError(f"not a stored intent: it has {sorted(data)}")

    def _began_after(self, job: Job) -> bool:
        return job.started_at is None or job.started_at >= self.at - CLOCK_TOLERANCE_MS

    def _was_there(self, job: Job) -> bool:
        """A job that was resumed since then has a new start. So it does not show how far back the window reaches."""
        if job.processing_id not in self.window:
            return False
        before = self.window[job.processing_id]
        return before is None or before == job.started_at
