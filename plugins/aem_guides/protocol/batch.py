"""One path of a batch: what is written down of it, what its next try does, and how far the whole batch is."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, replace

from aem_guides.protocol.models import Job, JsonObject, JsonValue, ProcessingRequest, ids_before, number, strings, text
from aem_guides.protocol.procedures.intent import Intent
from aem_guides.protocol.procedures.start import Origin
from aem_guides.protocol.states import Verdict
from aem_guides.protocol.wording import in_words


@dataclass(frozen=True)
class PathNote:
    """What is known of the job of one path; written down before every request that must not be sent twice.

    `start` is the intent to start it, `processing_id` the id under which it goes on. `resume_from` is the job that is
    to be resumed, `resume` the intent to do so, `earlier` the ids that the job had before a resume changed them.
    `deadline_at` is in seconds since the epoch, None until the job runs. `doubtful`: it could not be settled whether
    a job was started or resumed, and a person was asked to look.
    """

    fingerprint: str
    start: Intent | None = None
    processing_id: str | None = None
    origin: Origin | None = None
    resume_from: str | None = None
    resume: Intent | None = None
    resumes: int = 0
    deadline_at: float | None = None
    doubtful: bool = False
    earlier: tuple[str, ...] = ()

    @property
    def is_ours(self) -> bool:
        """Whether the job was started for this path, rather than adopted."""
        return self.origin is not Origin.ADOPTED

    @property
    def unsettled(self) -> bool:
        """Whether a start was about to be sent, and what came of it is not known."""
        return self.start is not None and self.processing_id is None

    def started(self, processing_id: str, origin: Origin, deadline_at: float) -> PathNote:
        return replace(self, processing_id=processing_id, origin=origin, deadline_at=deadline_at, doubtful=False)

    def resumed(self, processing_id: str, deadline_at: float) -> PathNote:
        return replace(
            self,
            processing_id=processing_id,
            resume_from=None,
            resume=None,
            resumes=self.resumes + 1,
            deadline_at=self.deadline_at or deadline_at,
            earlier=ids_before(self.earlier, self.resume_from or self.processing_id, processing_id),
        )

    def settled_by_a_person(self) -> PathNote:
        """Without what was in doubt: a start anew where no job is known, else its resume is asked for anew."""
        if self.processing_id is None:
            return PathNote(self.fingerprint)
        return replace(self, resume=None, doubtful=False)

    def to_json(self) -> JsonObject:
        """The note as plain JSON; `from_json` reads it back."""
        return {
            "fingerprint": self.fingerprint,
            "start": self.start.to_json() if self.start else None,
            "processing_id": self.processing_id,
            "origin": str(self.origin) if self.origin else None,
            "resume_from": self.resume_from,
            "resume": self.resume.to_json() if self.resume else None,
            "resumes": self.resumes,
            "deadline_at": self.deadline_at,
            "doubtful": self.doubtful,
            "earlier": list(self.earlier),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, JsonValue]) -> PathNote:
        """Read what `to_json` wrote. Raises ValueError where it is something else."""
        fingerprint = text(data.get("fingerprint"))
        if fingerprint is None:
            raise ValueError(f"not the note of a path: it has {sorted(data)}")
        origin, deadline = text(data.get("origin")), data.get("deadline_at")
        return cls(
            fingerprint=fingerprint,
            start=_intent(data.get("start")),
            processing_id=text(data.get("processing_id")),
            origin=Origin(origin) if origin else None,
            resume_from=text(data.get("resume_from")),
            resume=_intent(data.get("resume")),
            resumes=number(data.get("resumes")) or 0,
            deadline_at=float(deadline) if isinstance(deadline, int | float) else None,
            doubtful=data.get("doubtful") is True,
            earlier=strings(data.get("earlier")),
        )

    @classmethod
    def read(cls, stored: JsonValue, request: ProcessingRequest) -> PathNote | None:
        """The stored note, None where there is none or it is of another request."""
        if not isinstance(stored, dict):
            return None
        note = cls.from_json(stored)
        return note if note.fingerprint == request.fingerprint() else None


class Act(enum.Enum):
    """What a try does for its path."""

    START = "start"
    FOLLOW = "follow"
    RESUME = "resume"


def next_act(note: PathNote, job: Job | None, *, cleared: bool, later_try: bool, resumes_left: int) -> Act:
    """What this try does; `job` is the noted one as the instance shows it now, None where it does not know it.

    A try after a failure resumes a failed job; only a person's Clear resumes a cancelled one, and only that starts
    anew where there is nothing to resume.
    """
    if note.processing_id is None:
        return Act.START
    if note.resume_from is not None:
        return Act.RESUME
    verdict = job.verdict if job is not None else None
    if verdict in (Verdict.ACTIVE, Verdict.SUCCEEDED, Verdict.WITH_ERRORS, Verdict.ENDED_UNCLEAR):
        return Act.FOLLOW
    if job is not None and job.resumable and note.is_ours:
        again = verdict is Verdict.FAILED and later_try and resumes_left > 0
        return Act.RESUME if cleared or again else Act.FOLLOW
    return Act.START if cleared else Act.FOLLOW


@dataclass(frozen=True)
class BatchCounts:
    """How many paths of a batch there are, and what they are at. `done` and `failed` exclude each other."""

    total: int
    done: int
    failed: int
    running: int | None

    @property
    def ended(self) -> int:
        return self.done + self.failed

    def in_words(self, seconds_left: float | None) -> str:
        """Progress for people, as in "312 of 2,000 paths, 4 running, 3 failed, about 5 h left"."""
        parts = [f"{self.ended:,} of {self.total:,} paths"]
        if self.running is not None:
            parts.append(f"{self.running:,} running")
        parts.append(f"{self.failed:,} failed")
        if seconds_left is not None and self.ended < self.total:
            parts.append(f"about {in_words(seconds_left)} left")
        return ", ".join(parts)


@dataclass
class BatchSpeed:
    """What remains of a batch, by the pace since it was first looked at; told after the first paths have ended."""

    _ended_first: int | None = None
    _at_first: float = 0.0

    def seconds_left(self, counts: BatchCounts, now: float) -> float | None:
        if self._ended_first is None:
            self._ended_first, self._at_first = counts.ended, now
        fresh = counts.ended - self._ended_first
        if fresh <= 0 or now <= self._at_first:
            return None
        return (counts.total - counts.ended) * (now - self._at_first) / fresh


def _intent(stored: JsonValue) -> Intent | None:
    return Intent.from_json(stored) if isinstance(stored, dict) else None
