"""The paths of a batch, from a parameter or from a file in object storage, checked before anything is sent."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass

from airflow.sdk import ObjectStoragePath

from aem_guides.archive_storage import ABSENT, storage_errors
from aem_guides.protocol.errors import InvalidInputError
from aem_guides.protocol.models import JsonValue, is_below, same_path
from aem_guides.protocol.requests import parse_path

LARGEST_FILE_BYTES = 64 * 1024 * 1024
_FIELD = "paths_file"
_SEPARATOR = "|"
_FORMS = (
    "Give a text file (a path a line), a CSV file with a column `path` (and, if wanted, `excluded_paths`, "
    "separated by |), or a JSON list of paths or of objects with `path` and `excluded_paths`."
)


@dataclass(frozen=True)
class PathList:
    """Paths to process and paths to leave out, as they were written.

    `places` and `excluded_places` have for each where in which file it stands, such as "paths_file (p.txt, line 3)".
    """

    paths: tuple[str, ...]
    excluded_paths: tuple[str, ...] = ()
    places: tuple[str, ...] = ()
    excluded_places: tuple[str, ...] = ()

    def located(self, error: InvalidInputError) -> InvalidInputError:
        """The error of a value among others, with the places in the file of what it is about."""
        excluded = error.field == "excluded_paths"
        paths, places = (self.excluded_paths, self.excluded_places) if excluded else (self.paths, self.places)
        value = same_path(str(error.value))
        its = [place for path, place in zip(paths, places, strict=True) if same_path(path) == value]
        above = [place for path, place in zip(self.paths, self.places, strict=True) if is_below(value, path)]
        remedy = error.remedy
        if above and not excluded:
            remedy = f"{remedy} That one is in {above[0]}."
        return InvalidInputError(" and ".join(its) or error.field, error.value, remedy)


def read_paths(uri: str) -> PathList:
    """Read a file of paths; its name's ending tells its form: `.csv`, `.json`, anything else is text.

    Raises InvalidInputError, which names the line, and ArchiveError where the storage cannot be asked.
    """
    place = _place(uri)
    with storage_errors("Reading the file of paths", uri):
        try:
            with place.fs.open(place.path, "rb") as file:
                data = file.read(LARGEST_FILE_BYTES + 1)
        except ABSENT:
            raise InvalidInputError(_FIELD, uri, "There is no such file. Check the URI.") from None
    if len(data) > LARGEST_FILE_BYTES:
        raise InvalidInputError(_FIELD, uri, f"It is larger than {LARGEST_FILE_BYTES:,} bytes. Split it.")
    try:
        content = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise InvalidInputError(_FIELD, uri, "It is not UTF-8. Save it as UTF-8.") from None
    return parse_paths(place.name, content)


def parse_paths(name: str, content: str) -> PathList:
    """Read the content of a file of paths with this name. Raises InvalidInputError."""
    ending = name.lower().rpartition(".")[2]
    entries = {"csv": _from_csv, "json": _from_json}.get(ending, _from_text)(name, content)
    if not entries:
        raise InvalidInputError(_FIELD, name, f"It has no paths. {_FORMS}")
    for where, path, _ in entries:
        parse_path(where, path)
    excluded = {path: where for where, _, excluded in reversed(entries) for path in reversed(excluded)}
    return PathList(
        paths=tuple(path for _, path, _ in entries),
        excluded_paths=tuple(reversed(excluded)),
        places=tuple(where for where, _, _ in entries),
        excluded_places=tuple(reversed(excluded.values())),
    )


_Entry = tuple[str, str, Sequence[str]]


def _from_text(name: str, content: str) -> list[_Entry]:
    lines = ((number, line.strip()) for number, line in enumerate(content.splitlines(), 1))
    return [(_where(name, f"line {number}"), line, ()) for number, line in lines if line and not line.startswith("#")]


def _from_csv(name: str, content: str) -> list[_Entry]:
    reader = csv.DictReader(io.StringIO(content, newline=""))
    if "path" not in (reader.fieldnames or ()):
        raise InvalidInputError(_FIELD, name, f"Its first line has no column `path`. {_FORMS}")
    entries: list[_Entry] = []
    for row in reader:
        excluded = (row.get("excluded_paths") or "").split(_SEPARATOR)
        where = _where(name, f"line {reader.line_num}")
        entries.append((where, row["path"] or "", [path.strip() for path in excluded if path.strip()]))
    return entries


def _from_json(name: str, content: str) -> list[_Entry]:
    try:
        data: JsonValue = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise InvalidInputError(_FIELD, name, f"It is not JSON ({error}). {_FORMS}") from None
    if not isinstance(data, list):
        raise InvalidInputError(_FIELD, name, f"It is not a JSON list. {_FORMS}")
    return [_json_entry(_where(name, f"entry {number}"), entry) for number, entry in enumerate(data, 1)]


def _json_entry(where: str, entry: JsonValue) -> _Entry:
    match entry:
        case str(path):
            return where, path, ()
        case {"path": str(path), **rest} if set(rest) <= {"excluded_paths"}:
            excluded = rest.get("excluded_paths", [])
            if isinstance(excluded, list) and all(isinstance(item, str) for item in excluded):
                return where, path, [str(item) for item in excluded]
    raise InvalidInputError(where, entry, "Give a path, or an object with `path` and `excluded_paths`.")


def _where(name: str, place: str) -> str:
    return f"{_FIELD} ({name}, {place})"


def _place(uri: str) -> ObjectStoragePath:
    try:
        return ObjectStoragePath(uri)
    except (ValueError, ImportError) as error:
        remedy = f"Give a URI of Airflow's object storage, such as s3://bucket/paths.txt ({error})."
        raise InvalidInputError(_FIELD, uri, remedy) from None
