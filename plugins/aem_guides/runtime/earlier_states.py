"""Read what versions before 0.2 stored of a path of a batch as a state of this version."""

from __future__ import annotations

from collections.abc import Mapping

from aem_guides.protocol.models import JsonValue, ProcessingRequest, number, strings, text
from aem_guides.protocol.procedures.intent import Intent
from aem_guides.protocol.procedures.path_state import PathState, Phase
from aem_guides.protocol.procedures.start import Origin


def state_of_note(note: Mapping[str, JsonValue], request: ProcessingRequest | None) -> PathState | None:
    """The state of the path; None if the stored value belongs to another request."""
    if request is None or note.get("fingerprint") != request.fingerprint():
        return None
    start, resume = _intent(note.get("start")), _intent(note.get("resume"))
    processing_id, origin, deadline = text(note.get("processing_id")), text(note.get("origin")), note.get("deadline_at")
    phase = Phase.FOLLOWING if processing_id else Phase.QUEUED
    if start is not None and processing_id is None:
        phase = Phase.STARTING
    elif text(note.get("resume_from")) is not None:
        phase = Phase.RESUMING
    return PathState(
        request,
        phase,
        intent=resume if phase is Phase.RESUMING else start if phase is Phase.STARTING else None,
        processing_id=processing_id,
        origin=Origin(origin) if origin else None,
        earlier_ids=strings(note.get("earlier")),
        resumes=number(note.get("resumes")) or 0,
        deadline_at=float(deadline) if isinstance(deadline, int | float) else None,
        doubtful=note.get("doubtful") is True,
        job=resume.resumes if phase is Phase.RESUMING and resume is not None else None,
    )


def _intent(stored: JsonValue) -> Intent | None:
    return Intent.from_json(stored) if isinstance(stored, dict) else None
