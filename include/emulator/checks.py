"""Checks of the emulator's input. Every refusal names the field, the value and the remedy."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Collection, Mapping
from typing import Any


class BadInputError(ValueError):
    """Invalid input. The text names field, value and remedy."""

    def __init__(self, name: str, value: object, remedy: str) -> None:
        super().__init__(f"{name}: {value!r} cannot be taken. {remedy}")


def check_names(given: Collection[str], known: Collection[str], what: str) -> None:
    """Raises BadInputError for a name that is not known."""
    for name in given:
        if name not in known:
            raise BadInputError(name, name, f"It is no {what}. Use one of {', '.join(sorted(known))}.")


def check_kind(name: str, value: object, sample: object) -> None:
    """Raises BadInputError if a value does not have the type of the sample. A whole number is accepted for a
    fraction."""
    kinds: tuple[type, ...] = (int, float) if isinstance(sample, float) else (type(sample),)
    if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
        raise BadInputError(name, value, f"Give a value of type {type(sample).__name__}.")


def check_choice(name: str, value: object, choices: Collection[object]) -> None:
    """Raises BadInputError for a value that is not one of the choices."""
    if value not in choices or isinstance(value, bool):
        raise BadInputError(name, value, f"Use one of {', '.join(str(choice) for choice in choices)}.")


def check_least(name: str, value: float, least: float) -> None:
    """Raises BadInputError for a number that is too small."""
    if not value >= least:
        raise BadInputError(name, value, f"Give a number of at least {least}.")


def read_object(text: bytes) -> dict[str, Any]:
    """Read a JSON object. Raises BadInputError for anything else, also for text that is no Unicode."""
    try:
        data = json.loads(text)
        json.dumps(data, ensure_ascii=False).encode()
    except (ValueError, RecursionError):
        raise BadInputError("body", text[:80], "Send a JSON object.") from None
    if not isinstance(data, dict):
        raise BadInputError("body", data, "Send a JSON object.")
    return data


def check_fields(sample: Any, data: Mapping[str, object]) -> None:
    """Check names and kinds of the fields of a dataclass against a sample of it. Raises BadInputError."""
    known = {entry.name: getattr(sample, entry.name) for entry in dataclasses.fields(sample)}
    check_names(list(data), known, "field here")
    for name, value in data.items():
        check_kind(name, value, known[name])
