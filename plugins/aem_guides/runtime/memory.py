"""What a task with one job stores for its later tries, in Airflow's task state store.

The store outlives retries, crashes, Clear and success. `max_tries` shows whether a try follows a failure or a Clear:
Clear raises it, a retry does not.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol, cast

from airflow.sdk import Context
from airflow.sdk.execution_time.context import NEVER_EXPIRE

from aem_guides.protocol.models import JsonObject, JsonValue
from aem_guides.protocol.procedures.intent import Intent

_TIME_KEY = "aem_guides_first_time"
_RESUME_KEY = "aem_guides_resume"


class StateStore(Protocol):
    def get(self, key: str, default: JsonValue = None) -> JsonValue: ...

    def set(self, key: str, value: JsonValue, *, retention: object = None) -> None: ...


def clear_count(context: Context) -> int:
    """A number that Clear changes and a retry does not."""
    return int(getattr(context["ti"], "max_tries", 0) or 0)


def run_label(context: Context) -> str:
    """The run and try, as in "dag / run / task[3] try 2"."""
    ti = context["ti"]
    index = f"[{ti.map_index}]" if ti.map_index is not None and ti.map_index >= 0 else ""
    return f"{ti.dag_id} / {ti.run_id} / {ti.task_id}{index} try {ti.try_number}"


def resume_intent(context: Context, processing_id: str) -> Intent | None:
    """The intent of an earlier try to resume this job. A retry uses it; a Clear resumes again."""
    stored = _load(context, _RESUME_KEY)
    kept = stored.get("intent") if stored is not None else None
    if stored is None or stored.get("processing_id") != processing_id or not isinstance(kept, dict):
        return None
    intent = Intent.from_json(kept)
    cleared = stored.get("generation") != clear_count(context)
    return None if cleared and intent.processing_id is not None else intent


def keep_resume_intent(context: Context, processing_id: str, item: object) -> None:
    """Store what a resume of this job emits, if it is an intent."""
    if isinstance(item, Intent):
        value: JsonObject = {
            "processing_id": processing_id,
            "generation": clear_count(context),
            "intent": item.to_json(),
        }
        _save(context, _RESUME_KEY, value)


def first_time(context: Context, processing_id: str, now: float) -> float:
    """When a task first saw a job, in seconds since the epoch: `now` at its first try, and the same value later."""
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
