"""Frozen dataclasses as the plain JSON that Airflow's state store takes, and back."""

from __future__ import annotations

from typing import Generic, TypeVar, cast

import msgspec

from aem_guides.protocol.models import JsonObject, JsonValue

T = TypeVar("T")


class Codec(Generic[T]):
    """Writes and reads the records of one class. Build it at import.

    Two threads that both build a decoder for the first time crash the process (msgspec).
    """

    def __init__(self, kind: type[T]) -> None:
        self._decoder = msgspec.json.Decoder(kind)

    def encoded(self, record: T) -> JsonObject:
        """The record as plain JSON. `decoded` reads it back."""
        return cast("JsonObject", msgspec.json.decode(msgspec.json.encode(record)))

    def read(self, stored: object) -> T:
        """The stored record. Raises msgspec.ValidationError."""
        return self._decoder.decode(msgspec.json.encode(stored))

    def decoded(self, stored: JsonValue) -> T | None:
        """The stored record; None for anything else."""
        try:
            return self.read(stored)
        except msgspec.ValidationError:
            return None
