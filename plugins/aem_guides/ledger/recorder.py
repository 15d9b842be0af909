"""What a run writes of its own jobs. A ledger that is down delays no job and loses nothing: notes wait in the archive.

A note that cannot be written is stored as `<archive_uri>/ledger-notes/<time>-<number>.json`, where every worker can
write; the next reconciliation takes it in and removes it.
"""

from __future__ import annotations

import json
import logging
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime

from airflow.sdk import Context, ObjectStoragePath

from aem_guides.archive import default_archive_uri
from aem_guides.archive_storage import ABSENT, storage_errors
from aem_guides.bodies import surroundings
from aem_guides.ledger.notes import Note, Outcome
from aem_guides.ledger.records import RunKey
from aem_guides.protocol.errors import AemGuidesError
from aem_guides.protocol.models import JsonObject, JsonValue, number, text
from aem_guides.protocol.procedures.start import Origin

WAITING_FOLDER = "ledger-notes"
LOCK_SECONDS = 3
"""A run does not wait longer for the ledger: its note can wait instead."""

log = logging.getLogger(__name__)


def note_start(context: Context, connection_id: str, started: Mapping[str, JsonValue]) -> None:
    """Record what the start task returns. Never raises."""
    ti = context["ti"]
    place = TaskPlace(RunKey(ti.dag_id, ti.run_id), ti.task_id, -1 if ti.map_index is None else ti.map_index)
    record([_note(context, connection_id, started, place)])


def note_outcomes(
    context: Context,
    connection_id: str,
    start_task_id: str,
    started: Sequence[Mapping[str, JsonValue] | None],
    rows: Sequence[Mapping[str, JsonValue]],
) -> None:
    """Record the rows of a run's report, beside what the start task returned for each. Never raises."""
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
    """The task that started a job; `map_index` is -1 for one that is not mapped."""

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
    """Write notes to the ledger, or where they wait for it. Never raises: what a job comes to does not hang on it."""
    from aem_guides.ledger.database import open_engine  # a task that starts a job waits for no database library
    from aem_guides.ledger.store import Ledger

    left = list(notes)
    try:
        with Ledger(open_engine(lock_seconds=LOCK_SECONDS)) as ledger:
            while left:
                ledger.take_note(left[0])
                left.pop(0)
    except AemGuidesError as error:
        log.warning("%s The next reconciliation catches up.", error)
    for note in left:
        _let_wait(note)


@contextmanager
def waiting_notes() -> Iterator[Iterator[tuple[Note | str, ObjectStoragePath]]]:
    """The notes that wait, each with its place, the oldest first; a text where one cannot be read."""
    folder = _folder()
    with storage_errors("Reading notes that wait for the ledger", folder):
        yield _read_all(folder)


def forget(place: ObjectStoragePath) -> None:
    """Remove a note that was taken in."""
    with storage_errors("Removing a note that the ledger has", place):
        place.fs.rm_file(place.path)


def now_ms() -> int:
    """Our clock, in epoch milliseconds."""
    return int(surroundings().now() * 1000)


def _folder() -> ObjectStoragePath:
    return ObjectStoragePath(default_archive_uri()) / WAITING_FOLDER


def _read_all(folder: ObjectStoragePath) -> Iterator[tuple[Note | str, ObjectStoragePath]]:
    folder.fs.invalidate_cache()
    try:
        names = sorted(str(path) for path in folder.fs.ls(folder.path, detail=False))
    except ABSENT:
        return
    for name in names:
        if not name.endswith(".json"):
            continue
        place = folder / name.rpartition("/")[2]
        try:
            data: JsonObject = json.loads(place.fs.cat_file(place.path))
            yield Note.from_json(data), place
        except ValueError as error:
            yield f"{place}: {error}", place


def _let_wait(note: Note) -> None:
    name = f"{note.at}-{uuid.uuid4().hex}"
    folder = _folder()
    try:
        with storage_errors("Storing a note for the ledger", folder):
            folder.fs.makedirs(folder.path, exist_ok=True)
            part = folder / f".{name}.part"
            part.fs.pipe_file(part.path, json.dumps(note.to_json()).encode())
            part.fs.mv(part.path, (folder / f"{name}.json").path)
    except AemGuidesError as error:
        log.error("Job %s is noted nowhere but here: %s. %s", note.processing_id, json.dumps(note.to_json()), error)


def _ms(value: JsonValue) -> int | None:
    if not isinstance(value, str):
        return None
    try:
        return round(datetime.fromisoformat(value).timestamp() * 1000)
    except ValueError:
        return None
