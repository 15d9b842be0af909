"""Which triggerer may start jobs now. The decision needs only a store that can be read and written.

Fischer's protocol: a triggerer that finds the key free writes its id, waits longer than any write takes, and holds the
lease if its id is still there. The lease also passes on the jobs that are known to be active.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from aem_guides.protocol.earlier_end import EarlierEnd
from aem_guides.protocol.models import JsonObject, JsonValue, text

TERM_SECONDS = 30.0
"""How long a lease lasts. The clocks of the triggerers must agree to a third of it."""

RENEW_SECONDS = 15.0
"""A lease with less than this left is renewed before it is used."""

SETTLE_SECONDS = 0.5
"""How long a new holder waits before it uses the lease. A write that took longer does not count."""

YIELD_SECONDS = 6.0
"""How long a holder that gave way does not ask for the lease again."""


@dataclass(frozen=True)
class Lease:
    """The holder, until when it may start jobs (epoch seconds), and the known active jobs with their paths.

    `earlier_ends`: the ends from which jobs were just resumed, by the ids of the jobs. The window may still show them.
    """

    holder: str
    until: float
    active: Mapping[str, str | None] = field(default_factory=dict)
    earlier_ends: Mapping[str, EarlierEnd] = field(default_factory=dict)

    def keeps_out(self, me: str, now: float) -> bool:
        """Whether another triggerer holds it. A lease that ends far too late comes from a wrong clock and is
        ignored."""
        return self.holder != me and now < self.until <= now + 3 * TERM_SECONDS

    def is_mine(self, me: str, now: float) -> bool:
        return self.holder == me and self.until > now

    def to_json(self) -> JsonObject:
        ends: JsonObject = {key: end.to_json() for key, end in self.earlier_ends.items()}
        return {"holder": self.holder, "until": self.until, "active": dict(self.active), "earlier_ends": ends}

    @classmethod
    def from_json(cls, stored: JsonValue) -> Lease | None:
        """The stored lease; None for anything else, so that the lease counts as free."""
        match stored:
            case {"holder": str(holder), "until": int(until) | float(until), "active": dict(active)}:
                paths = {key: text(path) for key, path in active.items()}
                return cls(holder, float(until), paths, _ends(stored))
        return None


def _ends(stored: JsonValue) -> dict[str, EarlierEnd]:
    """The ends in a stored lease. Those of earlier versions have none, and what cannot be read is left out."""
    match stored:
        case {"earlier_ends": dict(ends)}:
            read = {key: EarlierEnd.from_json(value) for key, value in ends.items()}
            return {key: end for key, end in read.items() if end is not None}
    return {}
