"""Off-peak hours: the hours of the day in which jobs may run, in the time zone of a place.

Hours are given as `{"from": "22:00", "to": "06:00", "timezone": "Europe/Paris"}`, optionally with `weekdays` (`["mon",
...]`: the days on which they begin) and `at_end`: `leave` a job that still runs at the end, or `cancel` it and resume
it when the next hours begin. A list gives several hours a day.

When clocks change, every night has its hours once. A time that occurs twice means its first occurrence. A time that is
skipped means the moment of the change. Hours that lie completely in the skipped time are moved behind it with their
whole length. Instants are seconds since the epoch.
"""

from __future__ import annotations

import enum
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from aem_guides.protocol.errors import InvalidInputError
from aem_guides.protocol.models import JsonObject, JsonValue

WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
TIME_PATTERN = r"^([01]\d|2[0-3]):[0-5]\d(:[0-5]\d)?$"

_FORM = '{"from": "22:00", "to": "06:00", "timezone": "Europe/Paris", "at_end": "cancel"}'
_KNOWN = ("from", "to", "timezone", "at_end", "weekdays")
_MOST_HOURS = 100
_DAYS_BACK, _DAYS_AHEAD = 2, 9
_ANY_WEEK = datetime(2024, 1, 1, tzinfo=UTC).timestamp()


class AtEnd(enum.StrEnum):
    """What happens to a job that still runs when the hours end."""

    LEAVE = "leave"
    CANCEL = "cancel"


@dataclass(frozen=True)
class DailyHours:
    """From one time of the day to another, possibly past midnight, on the weekdays (0 is Monday) on which it begins."""

    begin: time
    end: time
    zone: ZoneInfo
    weekdays: frozenset[int] = frozenset(range(7))

    def on(self, day: date) -> tuple[float, float] | None:
        """Begin and end of the hours that begin on this day. None if there are none."""
        if day.weekday() not in self.weekdays:
            return None
        begin = datetime.combine(day, self.begin)
        end = datetime.combine(day if self.begin < self.end else day + timedelta(days=1), self.end)
        begins, ends = _instant(begin, self.zone), _instant(end, self.zone)
        if begins < ends:
            return begins, ends
        behind = begin.replace(tzinfo=self.zone).timestamp()
        return behind, behind + (end - begin).total_seconds()

    def local_day(self, at: float) -> date:
        return datetime.fromtimestamp(at, self.zone).date()

    def __str__(self) -> str:
        days = "" if len(self.weekdays) == len(WEEKDAYS) else f" {', '.join(self._day_names())}"
        return f"{_short(self.begin)} to {_short(self.end)} {self.zone.key}{days}"

    def to_json(self) -> JsonObject:
        return {
            "from": self.begin.isoformat(),
            "to": self.end.isoformat(),
            "timezone": self.zone.key,
            "weekdays": [*self._day_names()],
        }

    def _day_names(self) -> list[str]:
        return [WEEKDAYS[day] for day in sorted(self.weekdays)]


@dataclass(frozen=True)
class OffPeakHours:
    """All hours in which jobs may run. Hours that overlap or follow each other without a gap are merged."""

    daily: tuple[DailyHours, ...]
    at_end: AtEnd = AtEnd.LEAVE

    def is_open(self, at: float) -> bool:
        return self.closes_at(at) is not None

    def closes_at(self, at: float) -> float | None:
        """When the hours that include this instant end. None outside of the hours."""
        return next((ends for begins, ends in self._stretches(at) if begins <= at < ends), None)

    def opens_at(self, at: float) -> float:
        """When jobs may run next: this instant if the hours include it, else the next beginning."""
        return max(at, next(begins for begins, ends in self._stretches(at) if at < ends))

    def describe(self, at: float) -> str:
        """An instant in the time zone of the hours, for people: "2026-11-24 22:00 Europe/Paris"."""
        zone = self.daily[0].zone
        local = datetime.fromtimestamp(at, zone)
        return f"{local:%Y-%m-%d %H:%M}{f':{local:%S}' if local.second else ''} {zone.key}"

    def __str__(self) -> str:
        return ", ".join(str(hours) for hours in self.daily)

    def to_json(self) -> list[JsonValue]:
        """The hours as `parse_only_between` reads them."""
        return [{**hours.to_json(), "at_end": str(self.at_end)} for hours in self.daily]

    def _stretches(self, at: float) -> list[tuple[float, float]]:
        """Beginnings and ends around an instant, in order and without overlap."""
        single = sorted(span for hours in self.daily for day in _days(hours, at) if (span := hours.on(day)))
        merged: list[tuple[float, float]] = []
        for begins, ends in single:
            if merged and begins <= merged[-1][1]:
                merged[-1] = (merged[-1][0], max(ends, merged[-1][1]))
            else:
                merged.append((begins, ends))
        return merged


def parse_only_between(value: object, field: str = "only_between") -> OffPeakHours | None:
    """The hours that a parameter or a plan gives: an object, a list of objects, or either as JSON text.

    None, an empty text and "null" mean no restriction. Raises InvalidInputError.
    """
    if isinstance(value, str):
        value = _read_text(field, value)
    if value is None:
        return None
    entries = value if isinstance(value, list | tuple) else [value]
    if not 0 < len(entries) <= _MOST_HOURS:
        raise InvalidInputError(field, value, f"Give one to {_MOST_HOURS} hours, such as {_FORM}, or null for none.")
    named = [(f"{field}[{n}]" if len(entries) > 1 else field, entry) for n, entry in enumerate(entries)]
    parsed = [_parse_entry(name, entry) for name, entry in named]
    choices = {at_end for _, at_end in parsed}
    if len(choices) > 1:
        raise InvalidInputError(f"{field}.at_end", sorted(choices), "Give the same at_end for all entries of the list.")
    hours = OffPeakHours(tuple(daily for daily, _ in parsed), choices.pop())
    if _never_closes(hours):
        raise InvalidInputError(
            field, value, "Together these are all hours: remove some of them, or remove only_between."
        )
    return hours


def _never_closes(hours: OffPeakHours) -> bool:
    closes = hours.closes_at(_ANY_WEEK)
    return closes is not None and closes >= _ANY_WEEK + timedelta(days=7).total_seconds()


def _read_text(field: str, value: str) -> object:
    if not value.strip():
        return None
    try:
        read: object = json.loads(value)
    except ValueError:
        raise InvalidInputError(field, value, f"Give an object such as {_FORM}, or a list of such objects.") from None
    return read


def _parse_entry(field: str, entry: object) -> tuple[DailyHours, AtEnd]:
    if not isinstance(entry, Mapping):
        raise InvalidInputError(field, entry, f"Give an object such as {_FORM}, or a list of such objects.")
    for name in entry:
        if name not in _KNOWN:
            raise InvalidInputError(f"{field}.{name}", entry[name], f"Use {', '.join(_KNOWN)}.")
    begin, end = _parse_time(f"{field}.from", entry.get("from")), _parse_time(f"{field}.to", entry.get("to"))
    if begin == end:
        raise InvalidInputError(
            f"{field}.to",
            entry["to"],
            "It is the same time as from. Give another time, or remove only_between to allow all hours.",
        )
    zone = _parse_zone(f"{field}.timezone", entry.get("timezone"))
    weekdays = _parse_weekdays(f"{field}.weekdays", entry.get("weekdays"))
    return DailyHours(begin, end, zone, weekdays), _parse_at_end(f"{field}.at_end", entry.get("at_end"))


def _parse_time(field: str, value: object) -> time:
    if isinstance(value, str) and re.fullmatch(TIME_PATTERN, value):
        return time.fromisoformat(value)
    raise InvalidInputError(
        field, value, 'Give a time from "00:00" to "23:59" as HH:MM or HH:MM:SS, in YAML with quotation marks.'
    )


def _parse_zone(field: str, value: object) -> ZoneInfo:
    remedy = 'Give a time zone by its IANA name, such as "Europe/Paris" or "UTC".'
    if not isinstance(value, str) or not value:
        raise InvalidInputError(field, value, remedy)
    try:
        return ZoneInfo(value)
    except (KeyError, ValueError, OSError):
        raise InvalidInputError(field, value, remedy) from None


def _parse_weekdays(field: str, value: object) -> frozenset[int]:
    if value is None:
        return frozenset(range(7))
    if not isinstance(value, list | tuple) or not value or any(day not in WEEKDAYS for day in value):
        raise InvalidInputError(
            field, value, f"Give a list with some of {', '.join(WEEKDAYS)}, or remove it to allow all days."
        )
    return frozenset(WEEKDAYS.index(day) for day in value)


def _parse_at_end(field: str, value: object) -> AtEnd:
    try:
        return AtEnd.LEAVE if value is None else AtEnd(str(value))
    except ValueError:
        raise InvalidInputError(field, value, f"Use one of {', '.join(AtEnd)}.") from None


def _days(hours: DailyHours, at: float) -> Iterable[date]:
    today = hours.local_day(at)
    return (today + timedelta(days=number) for number in range(-_DAYS_BACK, _DAYS_AHEAD))


def _instant(wall: datetime, zone: ZoneInfo) -> float:
    """When the clocks of the zone first show this time or, if they skip it, the moment when they skip it."""
    local = wall.replace(tzinfo=zone)
    instant = local.timestamp()
    if datetime.fromtimestamp(instant, zone).replace(tzinfo=None) == wall:
        return instant
    before, after = round(local.replace(fold=1).timestamp()), round(instant)
    offset = _offset(before, zone)
    while after - before > 1:
        middle = (before + after) // 2
        before, after = (middle, after) if _offset(middle, zone) == offset else (before, middle)
    return float(after)


def _offset(at: float, zone: ZoneInfo) -> timedelta | None:
    return datetime.fromtimestamp(at, zone).utcoffset()


def _short(value: time) -> str:
    return value.isoformat(timespec="seconds" if value.second else "minutes")
