"""What the task of a batch's path remembers over its tries, in Airflow's task state store."""

from __future__ import annotations

from dataclasses import dataclass

from airflow.sdk.execution_time.context import NEVER_EXPIRE

from aem_guides.protocol.batch import PathNote
from aem_guides.protocol.models import JsonObject, ProcessingRequest
from aem_guides.runtime.memory import StateStore

_MEMORY_KEY = "aem_guides_path"


@dataclass
class PathMemory:
    """What the task of a path remembers over its tries: its note, and the row of a path that came to a good end.

    `is_first`: no try remembered anything before.
    """

    note: PathNote
    generation: int
    resumes_before: int = 0
    row: JsonObject | None = None
    is_first: bool = False

    @classmethod
    def load(cls, store: StateStore, request: ProcessingRequest, now: int) -> PathMemory:
        stored = store.get(_MEMORY_KEY)
        known = stored if isinstance(stored, dict) else {}
        note = PathNote.read(known.get("note"), request)
        if note is None:
            return cls(PathNote(request.fingerprint()), now, is_first=not known)
        row, before, kept = known.get("row"), known.get("resumes_before"), known.get("generation")
        return cls(
            note,
            kept if isinstance(kept, int) else now,
            before if isinstance(before, int) else 0,
            row if isinstance(row, dict) else None,
        )

    def save(self, store: StateStore) -> None:
        value: JsonObject = {
            "note": self.note.to_json(),
            "generation": self.generation,
            "resumes_before": self.resumes_before,
            "row": self.row,
        }
        store.set(_MEMORY_KEY, value, retention=NEVER_EXPIRE)
