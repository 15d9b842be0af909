"""What the address of a page asks for, read with patience: what cannot be meant is left out, and said."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import TypeVar

from aem_guides.ledger.lookup import Mark, Order, Search, Starter
from aem_guides.ledger.records import LOST
from aem_guides.protocol.json import clean_text
from aem_guides.protocol.models import LARGEST_NUMBER
from aem_guides.protocol.states import JobState

LONGEST = 2_000
ACTIVE = "active"
_STATES = {*map(str, JobState), LOST}
E_ = TypeVar("E_", bound=StrEnum)


def words(query: Mapping[str, str], name: str, longest: int = LONGEST) -> str | None:
    """A text; None where it is empty. One that is longer than anything there is is cut: nothing begins with it."""
    return clean_text(query.get(name, "").strip()[:longest]) or None


def one_of(query: Mapping[str, str], name: str, kind: type[E_], complaints: list[str]) -> E_ | None:
    told = words(query, name)
    if told is None:
        return None
    try:
        return kind(told)
    except ValueError:
        complaints.append(f"{name}: {_short(told)} is none of {', '.join(kind)}; it is left out.")
        return None


def day(query: Mapping[str, str], name: str, complaints: list[str], *, after: bool = False) -> int | None:
    """The beginning of a day, or its end if `after`, in the zone that `offset` names: minutes as JavaScript counts."""
    told = words(query, name)
    if told is None:
        return None
    try:
        parsed = datetime.strptime(told, "%Y-%m-%d").replace(tzinfo=UTC) + timedelta(days=1 if after else 0)
        return max(0, int(parsed.timestamp() * 1000) + offset(query) * 60_000)
    except (ValueError, OverflowError):
        complaints.append(f"{name}: {_short(told)} is no day such as 2026-05-31; it is left out.")
        return None


def offset(query: Mapping[str, str]) -> int:
    """How far the zone is behind UTC, in minutes as JavaScript counts them; 0 where it is not told."""
    told = query.get("offset", "")
    return max(-1_440, min(1_440, int(told))) if told.lstrip("-").isdecimal() and len(told) < 6 else 0


def search(query: Mapping[str, str], complaints: list[str]) -> Search:
    """The jobs that are asked for; what cannot be meant is added to the complaints."""
    state = words(query, "state")
    if state is not None and state != ACTIVE and state not in _STATES:
        complaints.append(f"state: {_short(state)} is no state; it is left out.")
        state = None
    return Search(
        instance=words(query, "instance"),
        path=words(query, "path"),
        state=None if state == ACTIVE else state,
        active=state == ACTIVE,
        starter=one_of(query, "starter", Starter, complaints),
        since=day(query, "since", complaints),
        until=day(query, "until", complaints, after=True),
        name=words(query, "name"),
        order=one_of(query, "order", Order, complaints) or Order.NEWEST,
    )


def written(mark: Mark | None) -> str | None:
    """A mark as a part of an address."""
    if mark is None:
        return None
    return base64.urlsafe_b64encode(json.dumps(mark).encode()).decode()


def mark(query: Mapping[str, str], complaints: list[str]) -> Mark | None:
    """The mark in an address."""
    told = query.get("from")
    if not told:
        return None
    try:
        value, instance, name, back = json.loads(base64.urlsafe_b64decode(told.encode()))
        if isinstance(value, int) and abs(value) <= LARGEST_NUMBER and isinstance(back, bool):
            return Mark(value, clean_text(str(instance)), clean_text(str(name)), back)
    except (ValueError, TypeError, RecursionError, binascii.Error):
        pass
    complaints.append("The place in the list cannot be read: this is its beginning.")
    return None


def _short(told: str) -> str:
    return repr(told if len(told) <= 60 else told[:60] + "…")
