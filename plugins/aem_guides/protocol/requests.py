"""Build requests from the input of people and other programs.

Every check that does not need the instance is made here, before anything is sent. Each failure is an
`InvalidInputError` that names the field, the value and what would be right.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from datetime import datetime

from aem_guides.protocol.errors import InvalidInputError
from aem_guides.protocol.models import (
    ASSET_PROCESSING,
    FILE_TYPES,
    ProcessingRequest,
    is_below,
    milliseconds,
    same_path,
)

CONTENT_ROOT = "/content"


def parse_requests(
    paths: Sequence[str],
    *,
    excluded_paths: Sequence[str] = (),
    file_types: Sequence[str] = (),
    created_after: str | None = None,
    created_before: str | None = None,
    processing_type: str = ASSET_PROCESSING,
) -> list[ProcessingRequest]:
    """One request for each path, with the exclusions below that path.

    Times are ISO 8601 with an offset. Raises InvalidInputError for relative, repeated or nested paths, a path outside
    /content, an exclusion that is below none of the paths, an unknown file type, and an end before a start.
    """
    _require_list("paths", paths)
    _require_list("excluded_paths", excluded_paths)
    _require_list("file_types", file_types)
    if not paths:
        raise InvalidInputError("paths", list(paths), "Give at least one absolute path, such as /content/dam/manuals.")
    folders = [parse_path("paths", path) for path in paths]
    _reject_overlaps(folders)
    exclusions = [parse_exclusion(path, folders) for path in excluded_paths]
    after = parse_time("created_after", created_after)
    before = parse_time("created_before", created_before)
    if after is not None and before is not None and before <= after:
        raise InvalidInputError(
            "created_before", created_before, f"It must be later than created_after ({created_after})."
        )
    types = _parse_file_types(file_types)
    return [
        ProcessingRequest(
            path=folder,
            excluded_paths=tuple(sorted({path for path in exclusions if is_below(path, folder)})),
            file_types=types,
            created_after=after,
            created_before=before,
            processing_type=parse_processing_type(processing_type),
        )
        for folder in folders
    ]


def parse_path(field: str, value: object) -> str:
    """An absolute path below /content, without its trailing slash. Raises InvalidInputError."""
    if not isinstance(value, str) or not value.strip():
        raise InvalidInputError(field, value, "Give an absolute repository path, such as /content/dam/manuals.")
    if value != value.strip() or not value.isprintable():
        raise InvalidInputError(field, value, "Remove white space at its ends and characters that cannot be printed.")
    if not value.startswith("/"):
        raise InvalidInputError(field, value, "A repository path is absolute: begin it with a slash.")
    path = value.rstrip("/")
    parts = path.split("/")[1:]
    if "" in parts or "." in parts or ".." in parts:
        raise InvalidInputError(field, value, "Write the path without empty, '.' or '..' segments.")
    if path != CONTENT_ROOT and not is_below(path, CONTENT_ROOT):
        raise InvalidInputError(field, value, "Give a path below /content: only content can be processed.")
    return path


def parse_exclusion(value: object, folders: Sequence[str]) -> str:
    """An absolute exclusion below one of the folders; its leading slash may be missing. Raises InvalidInputError."""
    rooted = "/" + value if isinstance(value, str) and value and not value.startswith("/") else value
    path = parse_path("excluded_paths", rooted)
    if not any(is_below(path, folder) for folder in folders):
        shown = ", ".join(folders[:3]) + (", …" if len(folders) > 3 else "")
        raise InvalidInputError("excluded_paths", value, f"An exclusion must lie below a processed path ({shown}).")
    return path


def parse_time(field: str, value: object) -> int | None:
    """Convert ISO 8601 with an offset to epoch milliseconds. None and "" give None. Raises InvalidInputError."""
    if value is None or value == "":
        return None
    remedy = "Write ISO 8601 with an offset, such as 2026-03-01T00:00:00+01:00."
    if not isinstance(value, str):
        raise InvalidInputError(field, value, remedy)
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        raise InvalidInputError(field, value, remedy) from None
    if moment.tzinfo is None:
        raise InvalidInputError(field, value, "The offset is missing. " + remedy)
    epoch = milliseconds(round(moment.timestamp() * 1000))
    if epoch is None:
        raise InvalidInputError(
            field, value, "Give a time after 1970-01-01T00:00:00Z and before the year 10000, in UTC, or none."
        )
    return epoch


def parse_processing_type(value: object) -> str:
    """A processing type, in capitals. Raises InvalidInputError."""
    if not isinstance(value, str) or not value.strip():
        raise InvalidInputError("processing_type", value, f"Use {ASSET_PROCESSING}.")
    if value.strip().upper() != ASSET_PROCESSING:
        raise InvalidInputError("processing_type", value, f"Use {ASSET_PROCESSING}, the one type that is documented.")
    return ASSET_PROCESSING


def _require_list(field: str, value: object) -> None:
    if isinstance(value, str) or not isinstance(value, Sequence):
        raise InvalidInputError(field, value, "Give a list of strings.")


def _parse_file_types(values: Sequence[str]) -> tuple[str, ...]:
    for value in values:
        if value not in FILE_TYPES:
            raise InvalidInputError("file_types", value, f"Use any of {', '.join(FILE_TYPES)}.")
    return tuple(dict.fromkeys(values))


def _reject_overlaps(folders: Sequence[str]) -> None:
    """In sorted order an ancestor stands right before its descendants, so it is enough to compare neighbours."""
    keyed = sorted((same_path(folder).split("/"), folder) for folder in folders)
    for (upper_key, upper), (lower_key, lower) in itertools.pairwise(keyed):
        if upper_key == lower_key:
            raise InvalidInputError("paths", lower, "It is listed twice. List it once.")
        if lower_key[: len(upper_key)] == upper_key:
            raise InvalidInputError(
                "paths",
                lower,
                f"It lies below {upper}. Everything below {upper} is processed anyway: list only one of them.",
            )
