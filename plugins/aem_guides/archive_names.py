"""Names of files within a ZIP that every system can unpack."""

from __future__ import annotations

import re
from urllib.parse import unquote

_LONGEST_ENTRY_NAME = 150


def entry_name(path: str) -> str:
    """The last segment of a path or URL path, decoded, in a form that every system can unpack."""
    decoded = unquote(path.partition("?")[0].partition("#")[0]).replace("\\", "/")
    last = decoded.rstrip("/").rpartition("/")[2]
    name = re.sub(r'[\x00-\x1f\x7f<>:"|?*]|[\ud800-\udfff]', "_", last).strip(". ")
    if len(name) > _LONGEST_ENTRY_NAME:
        stem, dot, suffix = name.rpartition(".")
        ending = dot + suffix if stem and len(suffix) <= 10 else ""
        name = name[: _LONGEST_ENTRY_NAME - len(ending)] + ending
    return name or "log"


class UnusedNames:
    """Gives each file of one ZIP a name of its own; upper and lower case do not count."""

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
