"""Names that a database can index. Pure."""

from __future__ import annotations

import hashlib

from aem_guides.protocol.json import clean_text

LONGEST_NAME = 500
"""In characters. PostgreSQL's index entries are limited to 2,704 bytes."""


def storable_name(value: str, longest: int = LONGEST_NAME) -> str:
    """A name without characters that cannot be stored. A name that is too long becomes its beginning and a digest of
    all of it."""
    if len(value) <= longest:
        return clean_text(value)
    digest = hashlib.sha256(value.encode("utf-8", errors="surrogatepass")).hexdigest()[:32]
    return clean_text(f"{value[: max(0, longest - 33)]}…{digest}"[-longest:])
