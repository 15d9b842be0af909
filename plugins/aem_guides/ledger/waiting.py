"""Notes that wait in the archive for a ledger that was down, and notes that no ledger can read.

A note is `<archive_uri>/ledger-notes/<time>-<number>.json`, where every worker can write. A note that cannot be read or
written to the ledger is moved below `set-aside/`. There it blocks no other note, and stays until a person has looked at
it.
"""

from __future__ import annotations

import json
import logging
import uuid
from collections.abc import Iterator
from contextlib import contextmanager

from airflow.sdk import ObjectStoragePath

from aem_guides.ledger.notes import Note
from aem_guides.protocol.json import JsonError, clean_text, read_json
from aem_guides.storage import ABSENT, default_archive_uri, storage_errors, write

WAITING_FOLDER = "ledger-notes"
SET_ASIDE_FOLDER = "set-aside"
MOST_NAMED = 20
"""The most notes set aside that are named one by one."""

log = logging.getLogger(__name__)


@contextmanager
def waiting_notes() -> Iterator[Iterator[tuple[Note | str, ObjectStoragePath]]]:
    """The waiting notes with their places, the oldest first. A text in place of a note that cannot be read."""
    folder = _folder()
    with storage_errors("Reading notes that wait for the ledger", folder):
        yield _read_all(folder)


def forget(place: ObjectStoragePath) -> None:
    """Remove a note that was written to the ledger."""
    with storage_errors("Removing a note that the ledger has", place):
        place.fs.rm_file(place.path)


def set_aside(place: ObjectStoragePath, why: str) -> None:
    """Move a note that cannot be written to the ledger, so that it blocks no other note."""
    aside = place.parent / SET_ASIDE_FOLDER
    with storage_errors("Setting a note aside", place):
        aside.fs.makedirs(aside.path, exist_ok=True)
        place.fs.mv(place.path, (aside / place.name).path)
    log.error("A note for the ledger cannot be read. It was moved to %s: %s", aside / place.name, why)


def notes_set_aside() -> tuple[str, ...]:
    """Where notes that were set aside are stored, the oldest first, up to a limit."""
    folder = _folder() / SET_ASIDE_FOLDER
    with storage_errors("Looking for notes that were set aside", folder):
        return tuple(clean_text(str(folder / name)) for name in _names(folder)[:MOST_NAMED])


def let_wait(note: Note) -> None:
    """Store a note until the ledger can take it. Never raises."""
    content = json.dumps(note.to_json(), default=str)
    try:
        write(_folder() / f"{note.at}-{uuid.uuid4().hex}.json", content.encode(), "Storing a note for the ledger")
    except Exception:  # a job must not fail because of its note
        log.exception(
            "Job %s could not be written to the ledger or stored as a note. Only this log has it: %s",
            note.processing_id,
            content,
        )


def _folder() -> ObjectStoragePath:
    return ObjectStoragePath(default_archive_uri()) / WAITING_FOLDER


def _names(folder: ObjectStoragePath) -> list[str]:
    folder.fs.invalidate_cache()
    try:
        names = sorted(str(path).rpartition("/")[2] for path in folder.fs.ls(folder.path, detail=False))
    except ABSENT:
        return []
    return [name for name in names if name.endswith(".json")]


def _read_all(folder: ObjectStoragePath) -> Iterator[tuple[Note | str, ObjectStoragePath]]:
    for name in _names(folder):
        place = folder / name
        try:
            data = read_json(place.fs.cat_file(place.path), {})
            if not isinstance(data, dict):
                raise ValueError("it is no JSON object")
            yield Note.from_json(data), place
        except FileNotFoundError:  # another reconciliation has already taken it
            continue
        except (JsonError, ValueError) as error:
            yield str(error), place
