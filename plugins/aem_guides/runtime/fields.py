"""Operator fields after rendering: a template returns strings, also for numbers and flags."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeVar

from aem_guides.protocol.errors import InvalidInputError

E = TypeVar("E", bound=str)


def whole(field: str, value: object, *, least: int, most: int) -> int:
    """A whole number between the bounds. Raises InvalidInputError."""
    remedy = f"Give a whole number from {least:,} to {most:,}."
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise InvalidInputError(field, value, remedy)
    try:
        number = int(value)
    except ValueError:
        raise InvalidInputError(field, value, remedy) from None
    if not least <= number <= most:
        raise InvalidInputError(field, value, remedy)
    return number


def positive(field: str, value: object, *, most: float) -> float:
    """A number above zero. Raises InvalidInputError."""
    remedy = f"Give a number above 0, and at most {most:g}."
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise InvalidInputError(field, value, remedy)
    try:
        number = float(value)
    except ValueError:
        raise InvalidInputError(field, value, remedy) from None
    if not 0 < number <= most:
        raise InvalidInputError(field, value, remedy)
    return number


def flag(field: str, value: object) -> bool:
    """True or false, also as a string. Raises InvalidInputError."""
    if isinstance(value, bool):
        return value
    known = {"true": True, "false": False}
    if isinstance(value, str) and value.lower() in known:
        return known[value.lower()]
    raise InvalidInputError(field, value, "Give true or false.")


def choice(field: str, value: object, choices: type[E]) -> E:
    """A member of a string enum. Raises InvalidInputError."""
    try:
        return choices(str(value))
    except ValueError:
        names = ", ".join(str(member) for member in choices)  # type: ignore[attr-defined]
        raise InvalidInputError(field, value, f"Use one of {names}.") from None


def identifier(field: str, value: object) -> str:
    """A processing id. Raises InvalidInputError."""
    if not isinstance(value, str) or not value.strip():
        raise InvalidInputError(field, value, "Give the processingId of a job, as the history shows it.")
    return value


def texts(field: str, value: object) -> tuple[str, ...]:
    """A list of strings; None is an empty list. Raises InvalidInputError."""
    if value is None:
        return ()
    if isinstance(value, str | Mapping) or not isinstance(value, Sequence):
        raise InvalidInputError(field, value, "Give a list of strings.")
    if not all(isinstance(item, str) for item in value):
        raise InvalidInputError(field, value, "Give a list of strings.")
    return tuple(value)
