"""What an answer really is: a web page, a hibernated sandbox, a message about scopes or about time."""

from __future__ import annotations

import email.utils
import re
from urllib.parse import urlsplit

from aem_guides.protocol.json import clean_text, decoded
from aem_guides.protocol.steps import Reply


def is_html(reply: Reply) -> bool:
    declared = "html" in reply.headers.get("content-type", "").lower()
    return declared or reply.body[:200].lstrip(b"\xef\xbb\xbf \t\r\n")[:1] == b"<"


def title_of(reply: Reply) -> str:
    """The title of a web page, which shows its origin better than its first characters."""
    page = decoded(reply.body[:100_000], reply.headers)
    found = re.search(r"<title[^>]*>([^<]*)", page, re.IGNORECASE)
    return clean_text(" ".join(found[1].split())) if found else "without a title"


def is_hibernated(reply: Reply) -> bool:
    """A hibernated sandbox answers everything with a page or a redirect to one. Other answers may quote such a path."""
    if 300 <= reply.status < 400:
        return "hibernat" in reply.headers.get("location", "").partition("?")[0].lower()
    return is_html(reply) and b"hibernat" in reply.body[:100_000].lower()


def speaks_of_scopes(reply: Reply) -> bool:
    """A 403 about scopes means a wrong credential. A CSRF token does not help."""
    declared = reply.headers.get("content-type", "").lower()
    return "problem+json" in declared or b"scope" in reply.body[:10_000].lower()


def retry_after_of(reply: Reply, now: float) -> float | None:
    """`Retry-After` in seconds from now. The field is a number of seconds or a date (RFC 9110, 10.2.3)."""
    value = reply.headers.get("retry-after", "").strip()
    if not value:
        return None
    if value.isascii() and value.isdigit():
        return float(value[:9])
    try:
        return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - now)
    except (ValueError, TypeError, OverflowError):
        return None


def without_query(location: str) -> str:
    try:
        parts = urlsplit(location)
    except ValueError:
        return ""
    origin = f"{parts.scheme}://{parts.hostname}" if parts.hostname else ""
    return origin + parts.path
