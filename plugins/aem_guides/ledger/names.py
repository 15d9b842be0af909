"""Names that a database can find things by. Pure."""

from __future__ import annotations

import hashlib

from aem_guides.protocol.json import clean_text

LONGEST_NAME = 500
"""Characters of what an index holds: PostgreSQL takes 2,704 bytes for a row of one."""


def storable_name(value: str, longest: int = LONGEST_NAME) -> str:
    """A name without what cannot be stored; of one that is too long the beginning, and a digest of all of it."""
    if len(value) <= longest:
        return clean_text(value)
    digest = hashlib.sha256(value.encode("utf-8", errors="surrogatepass")).hexdigest()[:32]
    return clean_text(f"{value[: max(0, longest - 33)]}…{digest}"[-longest:])
