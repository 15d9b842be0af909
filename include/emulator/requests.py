"""Read and check the body of a start request."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from emulator.checks import BadInputError, check_choice
from emulator.parsing import FILE_TYPES

_TYPES = ("ASSET_PROCESSING",)


@dataclass(frozen=True)
class StartRequest:
    """A folder or an asset to be processed. Exclusions are kept unchanged."""

    path: str
    excluded: tuple[str, ...] = ()
    filter: dict[str, object] | None = None

    @classmethod
    def from_json(cls, body: Mapping[str, object]) -> StartRequest:
        """Read the body of a start request. Raises BadInputError."""
        path = body.get("path")
        if not isinstance(path, str) or not (path + "/").startswith("/content/"):
            raise BadInputError("path", path, "Give an absolute path below /content.")
        check_choice("type", body.get("type"), _TYPES)
        return cls(path.rstrip("/"), _strings("excludedPaths", body.get("excludedPaths", [])), _filter(body))


def _strings(name: str, value: object) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(entry, str) for entry in value):
        raise BadInputError(name, value, "Give a list of strings.")
    return tuple(value)


def _filter(body: Mapping[str, object]) -> dict[str, object] | None:
    chosen = body.get("filter")
    if chosen is None:
        return None
    if not isinstance(chosen, dict):
        raise BadInputError("filter", chosen, "Give an object.")
    for entry in _strings("filter.fileTypes", chosen.get("fileTypes", [])):
        check_choice("filter.fileTypes", entry, FILE_TYPES)
    for name in ("startTime", "endTime"):
        value = chosen.get(name, 0)
        if not isinstance(value, int) or isinstance(value, bool):
            raise BadInputError(f"filter.{name}", value, "Give epoch milliseconds.")
    return chosen
