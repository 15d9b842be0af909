"""What a task remembers over its tries, in Airflow's task state store.

The store outlives retries, crashes, Clear and success. Whether a try follows a failure or somebody's Clear is
told apart by `max_tries`: Clear raises it, a retry does not.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol, cast

from airflow.sdk import Context
from airflow.sdk.execution_time.context import NEVER_EXPIRE

from aem_guides.protocol.models import JsonObject, JsonValue, ids_before, strings
from aem_guides.protocol.procedures.intent import Intent
from aem_guides.protocol.procedures.off_peak import OffPeakState

_START_KEY = "aem_guides_start"
_WAIT_KEY = "aem_guides_wait"
_TIME_KEY = "aem_guides_first_time"
_RESUME_KEY = "aem_guides_resume"


class StateStore(Protocol):
    def get(self, key: str, default: JsonValue = None) -> JsonValue: ...

    def set(self, key: str, value: JsonValue, *, retention: object = None) -> None: ...


def generation(context: Context) -> int:
    """A number that Clear changes and a retry does not."""
    return int(getattr(context["ti"], "max_tries", 0) or 0)


def run_label(context: Context) -> str:
    """The run and try, as in "dag / run / task[3] try 2"."""
    ti = context["ti"]
    index = f"[{ti.map_index}]" if ti.map_index is not None and ti.map_index >= 0 else ""
    return f"{ti.dag_id} / {ti.run_id} / {ti.task_id}{index} try {ti.try_number}"


@dataclass
class StartMemory:
    """What `start_processing` remembers.

    `done`: an earlier try handed its job on. `doubtful`: an earlier try could not settle whether it had started
    a job, and a person was asked to look. `queue_until`: when its turn must have come, in seconds since the epoch;
    None while it has not queued.
    """

    generation: int
    intent: Intent | None = None
    done: bool = False
    doubtful: bool = False
    queue_until: float | None = None

    @classmethod
    def load(cls, context: Context) -> StartMemory:
        stored = _load(context, _START_KEY)
        if stored is None:
            return cls(generation(context))
        intent = stored.get("intent")
        return cls(
            generation=_whole(stored.get("generation")),
            intent=Intent.from_json(intent) if isinstance(intent, dict) else None,
            done=stored.get("done") is True,
            doubtful=stored.get("doubtful") is True,
            queue_until=_moment(stored.get("queue_until")),
        )

    @property
    def in_doubt(self) -> bool:
        """Whether a start was about to be sent, and what came of it is not known."""
        return self.intent is not None and self.intent.processing_id is None

    def was_cleared(self, context: Context) -> bool:
        """Whether this try comes of somebody's Clear since the last that was remembered."""
        return self.generation != generation(context)

    def save(self, context: Context) -> None:
        _save(
            context,
            _START_KEY,
            {
                "generation": generation(context),
                "intent": self.intent.to_json() if self.intent else None,
                "done": self.done,
                "doubtful": self.doubtful,
                "queue_until": self.queue_until,
            },
        )


@dataclass
class WaitMemory:
    """What `wait_for_processing` remembers of the job it waits for.

    `origin_id` is the id under which the job was started, `processing_id` the one under which it goes on, `earlier`
    those it had before a resume changed them, each with a log of its own; `deadline_at` is in seconds since the
    epoch. `resumes` counts all resumes, `resumes_left` those that are left since the start or the last Clear.
    `resume_intent`: a resume was about to be sent. `off_peak`: where the job is in its off-peak hours, where it is
    bound to such; resumes at their beginning are counted there. `doubtful`: it could not be settled whether the job was
    resumed, and a person was asked to look.
    """

    origin_id: str
    processing_id: str
    generation: int
    deadline_at: float
    resumes_left: int
    resumes: int = 0
    resume_intent: Intent | None = None
    off_peak: OffPeakState | None = None
    earlier: tuple[str, ...] = ()
    doubtful: bool = False

    @classmethod
    def load(cls, context: Context, origin_id: str) -> WaitMemory | None:
        """What is remembered of this very job; None for another one or the first try."""
        stored = _load(context, _WAIT_KEY)
        if stored is None or stored.get("origin_id") != origin_id:
            return None
        intent, off_peak = stored.get("resume_intent"), stored.get("off_peak")
        return cls(
            origin_id=origin_id,
            processing_id=str(stored.get("processing_id") or origin_id),
            generation=_whole(stored.get("generation")),
            deadline_at=_moment(stored.get("deadline_at")) or 0.0,
            resumes_left=_whole(stored.get("resumes_left")),
            resumes=_whole(stored.get("resumes")),
            resume_intent=Intent.from_json(intent) if isinstance(intent, dict) else None,
            off_peak=OffPeakState.from_json(off_peak) if isinstance(off_peak, dict) else None,
            earlier=strings(stored.get("earlier")),
            doubtful=stored.get("doubtful") is True,
        )

    def goes_on_as(self, processing_id: str) -> None:
        """The job was resumed, and has this id now."""
        self.earlier = ids_before(self.earlier, self.processing_id, processing_id)
        self.processing_id = processing_id

    def save(self, context: Context) -> None:
        _save(
            context,
            _WAIT_KEY,
            {
                "origin_id": self.origin_id,
                "processing_id": self.processing_id,
                "generation": self.generation,
                "deadline_at": self.deadline_at,
                "resumes_left": self.resumes_left,
                "resumes": self.resumes,
                "resume_intent": self.resume_intent.to_json() if self.resume_intent else None,
                "off_peak": self.off_peak.to_json() if self.off_peak else None,
                "earlier": list(self.earlier),
                "doubtful": self.doubtful,
            },
        )


def resume_intent(context: Context, processing_id: str) -> Intent | None:
    """The intent of an earlier try to resume this job. What came of it holds for a retry; Clear asks anew."""
    stored = _load(context, _RESUME_KEY)
    kept = stored.get("intent") if stored is not None else None
    if stored is None or stored.get("processing_id") != processing_id or not isinstance(kept, dict):
        return None
    intent = Intent.from_json(kept)
    cleared = stored.get("generation") != generation(context)
    return None if cleared and intent.processing_id is not None else intent


def keep_resume_intent(context: Context, processing_id: str, item: object) -> None:
    """Keep what a resume of this job emits, as far as it is an intent."""
    if isinstance(item, Intent):
        value: JsonObject = {
            "processing_id": processing_id,
            "generation": generation(context),
            "intent": item.to_json(),
        }
        _save(context, _RESUME_KEY, value)


def first_time(context: Context, processing_id: str, now: float) -> float:
    """When a task first dealt with a job, in seconds since the epoch: `now` at its first try, the same ever after."""
    stored = _load(context, _TIME_KEY)
    if stored is not None and stored.get("processing_id") == processing_id:
        at = _moment(stored.get("at"))
        if at is not None:
            return at
    _save(context, _TIME_KEY, {"processing_id": processing_id, "at": now})
    return now


def _store(context: Context) -> StateStore:
    return cast("StateStore", context["task_state_store"])


def _load(context: Context, key: str) -> Mapping[str, JsonValue] | None:
    stored = _store(context).get(key)
    return stored if isinstance(stored, dict) else None


def _save(context: Context, key: str, value: JsonObject) -> None:
    _store(context).set(key, value, retention=NEVER_EXPIRE)


def _moment(value: JsonValue) -> float | None:
    return float(value) if isinstance(value, int | float) else None


def _whole(value: JsonValue) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) else 0
