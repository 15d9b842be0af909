"""Patterns for the paths of assets that do not count."""

from __future__ import annotations

import fnmatch
import json
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, field

from aem_guides.protocol.errors import InvalidInputError

MOST_PATTERNS = 100
LONGEST_PATTERN = 1000

_REMEDY = (
    "Give patterns of whole asset paths, such as /content/dam/site/fragments/* or */translation-output/*. * stands "
    "for any characters, including slashes; ? for one character; [ab] for one of these."
)

_ANY_PATHS = ("/content/dam/a b-1/QZ.dita", "/content/dam/xk_7.png", "/content/dam/ü/w/0")
"""All assets are below `/content/dam`. A pattern that matches these two paths matches every asset."""


@dataclass(frozen=True)
class AssetPatterns:
    """Patterns of paths, as `fnmatch` reads them. `*` matches any characters, including slashes. Case matters."""

    patterns: tuple[str, ...] = ()
    _matches: re.Pattern[str] | None = field(default=None, repr=False, compare=False)

    def match(self, path: str) -> bool:
        """Whether a pattern matches this path. Unicode spellings of the same letter are equal."""
        return self._matches is not None and self._matches.match(_same_letters(path)) is not None


def parse_patterns(name: str, given: object) -> AssetPatterns:
    """Read the patterns of a field: a list, or its JSON from a template. None and "" give an empty list.

    Raises InvalidInputError, which shows field, value and remedy.
    """
    values = _list_of(name, given)
    if len(values) > MOST_PATTERNS:
        raise InvalidInputError(name, f"{len(values)} patterns", f"Give at most {MOST_PATTERNS}.")
    patterns = tuple(dict.fromkeys(_checked(name, value) for value in values))
    if not patterns:
        return AssetPatterns()
    return AssetPatterns(patterns, re.compile("|".join(fnmatch.translate(_same_letters(each)) for each in patterns)))


def _list_of(name: str, given: object) -> Sequence[object]:
    values = given or ()
    if isinstance(given, str) and given:
        try:
            values = json.loads(given) or ()
        except ValueError:
            values = given
    if isinstance(values, str) or not isinstance(values, Sequence):
        raise InvalidInputError(name, given, f"Give a list. {_REMEDY}")
    return values


def _checked(name: str, value: object) -> str:
    pattern = value.strip() if isinstance(value, str) else ""
    if not pattern or len(pattern) > LONGEST_PATTERN:
        raise InvalidInputError(name, value, f"{_REMEDY} At most {LONGEST_PATTERN:,} characters each.")
    if not pattern.startswith(("/", "*", "?", "[")):
        raise InvalidInputError(name, value, f"It would match no asset: their paths begin with a slash. {_REMEDY}")
    matches = re.compile(fnmatch.translate(_same_letters(pattern)))
    if all(matches.match(path) for path in _ANY_PATHS):
        raise InvalidInputError(
            name, value, f"It matches every asset. To verify none, switch verify_assets off. {_REMEDY}"
        )
    return pattern


def _same_letters(path: str) -> str:
    return path if path.isascii() else unicodedata.normalize("NFC", path)
