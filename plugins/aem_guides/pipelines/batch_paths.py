"""The paths of a batch, from a parameter or from a file in object storage, checked before anything is sent."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass

from airflow.sdk import ObjectStoragePath
from fsspec.implementations.local import LocalFileSystem  # type: ignore[import-untyped]  # fsspec has no types

from aem_guides.protocol.errors import InvalidInputError
from aem_guides.protocol.models import JsonValue, is_below, same_path
from aem_guides.protocol.requests import parse_path
from aem_guides.runtime.local_files import paths_files_folder, within
from aem_guides.storage import ABSENT, storage_errors

LARGEST_FILE_BYTES = 64 * 1024 * 1024
_FIELD = "paths_file"
_SEPARATOR = "|"
_FORMS = (
    "Give a text file (one path per line), a CSV file with a column `path` (and optionally `excluded_paths`, "
    "separated by |), or a JSON list of paths or of objects with `path` and `excluded_paths`."
)


@dataclass(frozen=True)
class PathList:
    """Paths to process and paths to exclude, as they were written.

    `places` and `excluded_places` say where each of them stands in a file, such as "paths_file (p.txt, line 3)".
    """

    paths: tuple[str, ...]
    excluded_paths: tuple[str, ...] = ()
    places: tuple[str, ...] = ()
    excluded_places: tuple[str, ...] = ()

    def located(self, error: InvalidInputError) -> InvalidInputError:
        """The error of one value. A value from the file is named by its place there, and never shown."""
        excluded = error.field == "excluded_paths"
        paths, places = (self.excluded_paths, self.excluded_places) if excluded else (self.paths, self.places)
        value = same_path(str(error.value))
        its = [place for path, place in zip(paths, places, strict=True) if same_path(path) == value]
        above = [place for path, place in zip(self.paths, self.places, strict=True) if is_below(value, path)]
        remedy = error.remedy
        if excluded and self.paths:
            remedy = "An excluded path must be an absolute path below a processed path."
        elif above and not excluded:
            remedy = (
                f"It lies below the path in {above[0]}. Everything below that path is processed anyway: list only one "
                "of them."
            )
        if its:
            return FileOfPathsError(" and ".join(its), remedy)
        return InvalidInputError(error.field, error.value, remedy)


class FileOfPathsError(InvalidInputError):
    """An entry of a file of paths is not usable.

    The message does not show it, because a user who may trigger a DAG can name a file that this user may not read.
    """

    def __init__(self, place: str, remedy: str) -> None:
        super().__init__(place, None, remedy)
        self.args = (f"{place}: this entry is not valid. {remedy}",)


def read_paths(uri: str) -> PathList:
    """Read a file of paths. The ending of its name determines its form: `.csv`, `.json`, or text.

    Raises InvalidInputError, which names the line, and ArchiveError if the storage cannot be read.
    """
    place = _place(uri)
    with storage_errors("Reading the file of paths", uri):
        try:
            data = _read(uri, place)
        except ABSENT:
            raise InvalidInputError(_FIELD, uri, "There is no such file. Check the URI.") from None
    if len(data) > LARGEST_FILE_BYTES:
        raise InvalidInputError(_FIELD, uri, f"The file is larger than {LARGEST_FILE_BYTES:,} bytes. Split it.")
    try:
        content = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise InvalidInputError(_FIELD, uri, "The file is not UTF-8. Save it as UTF-8.") from None
    return parse_paths(place.name, content)


def _read(uri: str, place: ObjectStoragePath) -> bytes:
    if not isinstance(place.fs, LocalFileSystem):
        with place.fs.open(place.path, "rb") as file:
            return bytes(file.read(LARGEST_FILE_BYTES + 1))
    folder = paths_files_folder()
    local = within(folder, place.path)
    if local is None:
        remedy = (
            f"A local file must lie below {folder} ([aem_guides] paths_files_folder). Move the file there, or give "
            "the URI of a file in object storage."
        )
        raise InvalidInputError(_FIELD, uri, remedy)
    if not local.is_file():
        remedy = (
            f"There is no such file below {folder} ([aem_guides] paths_files_folder). Put the file there, or give the "
            "URI of a file in object storage."
        )
        raise InvalidInputError(_FIELD, uri, remedy)
    with local.open("rb") as file:
        return file.read(LARGEST_FILE_BYTES + 1)


def parse_paths(name: str, content: str) -> PathList:
    """Read the content of a file of paths with this name. Raises InvalidInputError."""
    ending = name.lower().rpartition(".")[2]
    entries = {"csv": _from_csv, "json": _from_json}.get(ending, _from_text)(name, content)
    if not entries:
        raise InvalidInputError(_FIELD, name, f"It has no paths. {_FORMS}")
    for where, path, _ in entries:
        _check(where, path)
    excluded = {path: where for where, _, excluded in reversed(entries) for path in reversed(excluded)}
    return PathList(
        paths=tuple(path for _, path, _ in entries),
        excluded_paths=tuple(reversed(excluded)),
        places=tuple(where for where, _, _ in entries),
        excluded_places=tuple(reversed(excluded.values())),
    )


def _check(where: str, path: str) -> None:
    try:
        parse_path(where, path)
    except InvalidInputError as error:
        raise FileOfPathsError(where, error.remedy) from None


_Entry = tuple[str, str, Sequence[str]]


def _from_text(name: str, content: str) -> list[_Entry]:
    lines = ((number, line.strip()) for number, line in enumerate(content.splitlines(), 1))
    return [(_where(name, f"line {number}"), line, ()) for number, line in lines if line and not line.startswith("#")]


def _from_csv(name: str, content: str) -> list[_Entry]:
    reader = csv.DictReader(io.StringIO(content, newline=""))
    entries: list[_Entry] = []
    try:
        if "path" not in (reader.fieldnames or ()):
            raise InvalidInputError(_FIELD, name, f"Its first line has no column `path`. {_FORMS}")
        for row in reader:
            excluded = (row.get("excluded_paths") or "").split(_SEPARATOR)
            where = _where(name, f"line {reader.line_num}")
            entries.append((where, row["path"] or "", [path.strip() for path in excluded if path.strip()]))
    except csv.Error as error:
        where = _where(name, f"line {reader.reader.line_num}")
        raise FileOfPathsError(where, f"It cannot be read as CSV ({error}). {_FORMS}") from None
    return entries


def _from_json(name: str, content: str) -> list[_Entry]:
    try:
        data: JsonValue = json.loads(content)
    except json.JSONDecodeError as error:
        raise InvalidInputError(_FIELD, name, f"It is not valid JSON from line {error.lineno} on. {_FORMS}") from None
    except (ValueError, RecursionError):
        raise InvalidInputError(_FIELD, name, f"It is not valid JSON. {_FORMS}") from None
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
    raise FileOfPathsError(where, "Give a path, or an object with `path` and `excluded_paths`.")


def _where(name: str, place: str) -> str:
    return f"{_FIELD} ({name}, {place})"


def _place(uri: str) -> ObjectStoragePath:
    try:
        return ObjectStoragePath(uri)
    except (ValueError, ImportError) as error:
        remedy = f"Give a URI of Airflow's object storage, such as s3://bucket/paths.txt ({error})."
        raise InvalidInputError(_FIELD, uri, remedy) from None
