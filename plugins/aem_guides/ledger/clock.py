"""Our clock, as the ledger counts."""

from __future__ import annotations

from aem_guides.hooks.bodies import surroundings


def now_ms() -> int:
    """Our clock, in epoch milliseconds."""
    return int(surroundings().now() * 1000)
