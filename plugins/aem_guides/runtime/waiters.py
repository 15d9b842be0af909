"""What processes store of those who wait, as JSON."""

from __future__ import annotations

import msgspec

from aem_guides.protocol.models import JsonObject, JsonValue
from aem_guides.protocol.waiters import Waiters

_DECODER = msgspec.json.Decoder(Waiters)
"""Made at import: two threads that both need it for the first time crash the process (msgspec)."""


def encoded(waiters: Waiters) -> JsonObject:
    """As plain JSON; `decoded` reads it back."""
    value: JsonObject = msgspec.json.decode(msgspec.json.encode(waiters))
    return value


def decoded(stored: JsonValue) -> Waiters | None:
    """What was stored; None for anything else."""
    try:
        return _DECODER.decode(msgspec.json.encode(stored))
    except msgspec.ValidationError:
        return None
