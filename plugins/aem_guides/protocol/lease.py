"""Who of several triggerers may start jobs just now, decided over a register that can only be read and written.

Fischer's protocol: who finds the register free writes his name, waits longer than any write takes, and has it if
his name still stands there. What a triggerer knows to be active is handed on with it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from aem_guides.protocol.models import JsonObject, JsonValue, text

TERM_SECONDS = 30.0
"""How long a lease lasts. Clocks of triggerers have to agree to a third of it."""

RENEW_SECONDS = 15.0
"""A lease with less than this left is renewed before it is used."""

SETTLE_SECONDS = 0.5
"""How long a new holder waits before it takes itself for the only one; what took longer to write does not count."""

YIELD_SECONDS = 6.0
"""How long a holder who gave way leaves the register to the other."""


@dataclass(frozen=True)
class Lease:
    """Who may start, until when (epoch seconds), the jobs known to be active, and who else wants to (and when)."""

    holder: str
    until: float
    active: Mapping[str, str | None] = field(default_factory=dict)

    def keeps_out(self, me: str, now: float) -> bool:
        """Whether somebody else holds it. One that ends unbelievably late is of a clock that is wrong."""
        return self.holder != me and now < self.until <= now + 3 * TERM_SECONDS

    def is_mine(self, me: str, now: float) -> bool:
        return self.holder == me and self.until > now

    def to_json(self) -> JsonObject:
        return {"holder": self.holder, "until": self.until, "active": dict(self.active)}

    @classmethod
    def from_json(cls, stored: JsonValue) -> Lease | None:
        """The stored lease; None for anything else, as if nobody held it."""
        match stored:
            case {"holder": str(holder), "until": int(until) | float(until), "active": dict(active)}:
                return cls(holder, float(until), {key: text(path) for key, path in active.items()})
        return None
