"""Write the jobs of a run to the ledger.

A ledger that is down delays no job and loses nothing: the notes wait in the archive, and the next reconciliation writes
them.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from airflow.sdk import Context

from aem_guides.ledger.clock import now_ms
from aem_guides.ledger.notes import Note, Outcome
from aem_guides.ledger.records import RunKey
from aem_guides.ledger.waiting import let_wait
from aem_guides.protocol.errors import AemGuidesError
from aem_guides.protocol.models import JsonValue, number, text
from aem_guides.protocol.procedures.path_state import PathState
from aem_guides.protocol.procedures.start import Origin

LOCK_SECONDS = 3
"""Seconds that a run waits for the ledger. After that its note waits instead."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class StartedPath:
    """The task that starts a job, and the values for its note. `map_index` is -1 for a task that is not mapped."""

    dag_id: str
    run_id: str
    task_id: str
    map_index: int
    connection_id: str
    wants_archive: bool


def note_path(by: StartedPath, state: PathState) -> None:
    """Record the job of a path once it is active. Never raises."""
    note = Note(
        instance=state.instance or "",
        connection_id=by.connection_id,
        processing_id=state.processing_id or "",
        request=state.request.to_json(),
        run=RunKey(by.dag_id, by.run_id),
        task_id=by.task_id,
        map_index=by.map_index,
        at=now_ms(),
        adopted=not state.is_ours,
        wants_archive=by.wants_archive,
        continues=state.earlier_ids[-1] if state.earlier_ids else None,
    )
    record([note])


def note_outcomes(
    context: Context,
    connection_id: str,
    start_task_id: str,
    started: Sequence[Mapping[str, JsonValue] | None],
    rows: Sequence[Mapping[str, JsonValue]],
) -> None:
    """Record the rows of a run's report, with what the start task returned for each. Never raises."""
    ti, notes = context["ti"], []
    for index, (start, row) in enumerate(zip(started, rows, strict=True)):
        if start is None or not row.get("processing_id"):
            continue
        place = TaskPlace(RunKey(ti.dag_id, ti.run_id), start_task_id, index)
        note = _note(context, connection_id, start, place)
        if row["processing_id"] != note.processing_id:
            note = replace(note, processing_id=str(row["processing_id"]), continues=note.processing_id)
        notes.append(replace(note, outcome=_outcome_of(row)))
    if notes:
        record(notes)


@dataclass(frozen=True)
class TaskPlace:
    """The task that started a job. `map_index` is -1 for a task that is not mapped."""

    run: RunKey
    task_id: str
    map_index: int


def _note(context: Context, connection_id: str, started: Mapping[str, JsonValue], place: TaskPlace) -> Note:
    request = started["request"]
    params: Mapping[str, object] = context.get("params") or {}
    return Note(
        instance=str(started["instance"]),
        connection_id=connection_id,
        processing_id=str(started["processing_id"]),
        request=request if isinstance(request, dict) else {},
        run=place.run,
        task_id=place.task_id,
        map_index=place.map_index,
        at=now_ms(),
        adopted=started.get("origin") == Origin.ADOPTED,
        wants_archive=bool(params.get("archive_logs", True)),
    )


def _outcome_of(row: Mapping[str, JsonValue]) -> Outcome:
    """The outcome in a row of the report."""
    return Outcome(
        state=str(row["state"]),
        total_files=number(row.get("total_files")),
        triggered_count=number(row.get("triggered_count")),
        started_at=_ms(row.get("started_at")),
        completed_at=_ms(row.get("completed_at")),
        resumes=number(row.get("resumes")) or 0,
        archive_uri=text(row.get("archive_uri")),
        sha256=text(row.get("sha256")),
    )


def record(notes: Sequence[Note]) -> None:
    """Write notes to the ledger, or store them until it is available. Never raises: a job must not fail because of
    the ledger."""
    left = list(notes)
    try:
        _write(left)
    except AemGuidesError as error:
        log.warning("%s The note is stored and written to the ledger by the next reconciliation.", error)
    except Exception:  # any error of a database or a note
        log.exception(
            "A note could not be written to the ledger. The note is stored and written by the next reconciliation."
        )
    for note in left:
        let_wait(note)


def _write(left: list[Note]) -> None:
    """Write the notes, and remove each from the list when it is written."""
    from aem_guides.ledger.database import open_engine  # late: the import of the library takes time
    from aem_guides.ledger.store import Ledger

    with Ledger(open_engine(lock_seconds=LOCK_SECONDS)) as ledger:
        while left:
            ledger.take_note(left[0])
            left.pop(0)


def _ms(value: JsonValue) -> int | None:
    if not isinstance(value, str):
        return None
    try:
        return round(datetime.fromisoformat(value).timestamp() * 1000)
    except ValueError:
        return None
