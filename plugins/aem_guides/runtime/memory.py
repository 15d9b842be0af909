"""What a task with one job stores for its later tries, in Airflow's task state store.

The store outlives retries, crashes, Clear and success. `max_tries` shows whether a try follows a failure or a Clear:
Clear raises it, a retry does not.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Protocol, cast

from airflow.sdk import Context
from airflow.sdk.execution_time.context import NEVER_EXPIRE

from aem_guides.protocol.errors import DoubtfulStartError
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
    """The intent of an earlier try to resume this job. A retry uses it. A Clear resumes again if it is known what came
    of the earlier try, or if that try left it to a person."""
    stored = _load(context, _RESUME_KEY)
    kept = stored.get("intent") if stored is not None else None
    if stored is None or stored.get("processing_id") != processing_id or not isinstance(kept, dict):
        return None
    intent = Intent.from_json(kept)
    is_decided = intent.processing_id is not None or stored.get("doubtful") is True
    return None if is_decided and stored.get("generation") != clear_count(context) else intent


@contextlib.contextmanager
def resume_kept(context: Context, processing_id: str) -> Iterator[Callable[[Intent], None]]:
    """What stores an intent to resume this job. If the resume ends in doubt, that is stored, too: a person settles it.

    Raises DoubtfulStartError with what to do.
    """

    def keep(intent: Intent) -> None:
        kept: JsonObject = {
            "processing_id": processing_id,
            "generation": clear_count(context),
            "intent": intent.to_json(),
        }
        _save(context, _RESUME_KEY, kept)

    try:
        yield keep
    except DoubtfulStartError as doubt:
        kept = _load(context, _RESUME_KEY) or {}
        _save(context, _RESUME_KEY, {**kept, "generation": clear_count(context), "doubtful": True})
        raise DoubtfulStartError(f"{doubt} If the job was not resumed, clear this task: then it is.") from doubt


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


def _load(context: Context, key: str) -> JsonObject | None:
    stored = _store(context).get(key)
    return stored if isinstance(stored, dict) else None


def _save(context: Context, key: str, value: JsonObject) -> None:
    _store(context).set(key, value, retention=NEVER_EXPIRE)


def _moment(value: JsonValue) -> float | None:
    return float(value) if isinstance(value, int | float) else None
