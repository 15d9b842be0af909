"""Names of files within a ZIP that every system can unpack."""

from __future__ import annotations

import re
from urllib.parse import unquote

_LONGEST_SEGMENT = 150
_MOST_SEGMENTS = 16


def entry_name(path: str) -> str:
    """The last segment of a path or URL path, decoded, in a form that every system can unpack."""
    decoded = unquote(path.partition("?")[0].partition("#")[0]).replace("\\", "/")
    return _harmless(decoded.rstrip("/").rpartition("/")[2]) or "log"


def entry_path(name: str) -> str:
    """The name of an entry in a form that every system can unpack, within the target folder. A suitable name does not
    change."""
    segments = [segment for segment in map(_harmless, name.replace("\\", "/").split("/")) if segment]
    return "/".join(segments[-_MOST_SEGMENTS:]) or "log"


def _harmless(segment: str) -> str:
    name = re.sub(r'[\x00-\x1f\x7f-\x9f<>:"|?*\u202a-\u202e\u2066-\u2069]|[\ud800-\udfff]', "_", segment).strip(". ")
    if len(name) <= _LONGEST_SEGMENT:
        return name
    stem, dot, suffix = name.rpartition(".")
    ending = dot + suffix if stem and len(suffix) <= 10 else ""
    return name[: _LONGEST_SEGMENT - len(ending)].rstrip(". ") + ending


class UnusedNames:
    """Gives each file of one ZIP a unique name. Upper and lower case count as equal."""

    def __init__(self) -> None:
        self._names: set[str] = set()

    def __len__(self) -> int:
        return len(self._names)

    def like(self, wanted: str) -> str:
        stem, dot, suffix = wanted.rpartition(".")
        number, name = 1, wanted
        while name.casefold() in self._names:
            number += 1
            name = f"{stem} ({number}){dot}{suffix}" if stem else f"{wanted} ({number})"
        self._names.add(name.casefold())
        return name
