"""One plan, from what is written to what is meant: its shape is the schema's, its meaning is checked here."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import cast

import pendulum
from croniter import croniter
from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError

from aem_guides.pipelines.incremental import FilterEnd
from aem_guides.plans.file import Entry, Flaw
from aem_guides.plans.models import Deadline, Notification, Plan, Schedule
from aem_guides.plans.schema import FIELDS, load_schema, run_params
from aem_guides.protocol.errors import InvalidInputError
from aem_guides.protocol.models import JsonObject, JsonValue
from aem_guides.protocol.procedures.start import OnActiveJob
from aem_guides.protocol.requests import CONTENT_ROOT, parse_requests

PRESETS = ("@hourly", "@daily", "@weekly", "@monthly", "@quarterly", "@yearly")
UNTIMED = ("@once", "@continuous")

_Path = tuple[str | int, ...]


class PlanReader:
    """Reads plans by the schema of this installation."""

    def __init__(self) -> None:
        self._validator = Draft202012Validator({"$defs": load_schema()["$defs"], "$ref": "#/$defs/plan"})

    def read(self, entry: Entry) -> tuple[Plan | None, list[Flaw]]:
        """The plan, or what is wrong with it."""
        found = (flaw for error in self._validator.iter_errors(entry.data) for flaw in _flaws(entry, error))
        flaws = list(dict.fromkeys(found))
        plan = None if flaws else _plan(entry, flaws)
        return (None, flaws) if flaws else (plan, [])


def _dotted(path: Sequence[str | int]) -> str:
    return ".".join(str(step) for step in path) or "plans"


def _flaws(entry: Entry, error: ValidationError) -> Iterator[Flaw]:
    path = cast("_Path", tuple(error.absolute_path))
    schema = cast("Mapping[str, object]", error.schema)
    remedy = str(schema.get("description", ""))
    if error.validator == "additionalProperties":
        known = list(cast("Mapping[str, object]", schema.get("properties", {})))
        for name in sorted(set(map(str, cast("dict[str, object]", error.instance))) - set(known)):
            close = difflib.get_close_matches(name, known, n=1)
            advice = f"Did you mean {close[0]}? " if close else ""
            spot = (*path, name)
            yield Flaw(
                entry.line(spot), _dotted(spot), "it is not known here.", f"{advice}Known are {', '.join(known)}."
            )
        return
    if error.validator == "required":
        fields = cast("Mapping[str, Mapping[str, object]]", schema.get("properties", {}))
        for name in cast("list[str]", error.validator_value):
            if name not in cast("dict[str, object]", error.instance):
                remedy = str(fields[name].get("description", ""))
                yield Flaw(entry.line(path), _dotted((*path, name)), "it is missing.", remedy)
        return
    what = error.message if len(error.message) <= 300 else error.message[:300] + "…"
    yield Flaw(entry.line(path), _dotted(path), f"{what}.", remedy)


def _plan(entry: Entry, flaws: list[Flaw]) -> Plan | None:
    """The plan of an entry that has the schema's shape; what is wrong with its meaning is added to the flaws."""
    data = cast("dict[str, JsonValue]", entry.data)
    reading = _Reading(entry, data, flaws)
    schedule = reading.schedule()
    start, end = reading.moment("start_date", schedule), reading.moment("end_date", schedule)
    incremental = bool(data.get("incremental", False))
    catchup = bool(data.get("catchup", incremental))
    if catchup and data.get("start_date") is None:
        why = "it makes up for missed runs, and nothing says from when on."
        reading.flaw(("catchup",), why, "Give start_date, or set catchup to false.")
    if start and end and end <= start:
        reading.flaw(("end_date",), f"{data['end_date']!r} is not later than start_date.", "Give a later one.")
    parameters = reading.parameters(schedule)
    reading.check_names(parameters)
    if incremental:
        reading.check_incremental(schedule, parameters)
    reading.check_deadlines()
    notifications = cast("dict[str, list[JsonObject]]", data.get("notifications") or {})
    plan = Plan(
        name=str(data["name"]),
        schedule=schedule,
        parameters=parameters,
        enabled=bool(data.get("enabled", True)),
        description=str(data.get("description", "")),
        start_date=start,
        end_date=end,
        catchup=catchup,
        tags=tuple(cast("list[str]", data.get("tags") or [])),
        owner=cast("str | None", data.get("owner")),
        incremental=incremental,
        filter_end=FilterEnd(str(data.get("filter_end", FilterEnd.EXCLUSIVE))),
        batch=bool(data.get("batch", False)),
        on_success=_notifications("on_success", notifications),
        on_failure=_notifications("on_failure", notifications),
        deadlines=tuple(_deadline(item) for item in cast("list[JsonObject]", data.get("deadline") or [])),
        lines={name: entry.line((name,)) for name in data} | _lines_of_paths(entry, data),
    )
    return None if flaws else plan


@dataclass(frozen=True)
class _Reading:
    """A plan while it is read: what it says, where it says it, and what is found wrong."""

    entry: Entry
    data: JsonObject
    flaws: list[Flaw]

    def flaw(self, path: _Path, what: str, remedy: str) -> None:
        self.flaws.append(Flaw(self.entry.line(path), _dotted(path), what, remedy))

    def schedule(self) -> Schedule:
        said = self.data["schedule"]
        if said is None:
            return Schedule()
        if isinstance(said, str):
            return Schedule(untimed=said) if said in UNTIMED else self._cron(("schedule",), said, "UTC")
        told = cast("JsonObject", said)
        path: _Path = ("schedule",)
        if "interval" in told:
            if len(told) > 1:
                self.flaw(path, "an interval stands with other fields.", "Write either interval, or cron and timezone.")
            interval = _span(told["interval"])
            if not interval:
                self.flaw((*path, "interval"), "it is no time at all.", "Write a length of time such as {hours: 6}.")
            return Schedule(interval=interval)
        if "cron" not in told:
            self.flaw(path, "it has no cron expression.", "Write cron: '30 1 * * *' beside timezone.")
            return Schedule()
        zone = str(told.get("timezone", "UTC"))
        self.check_zone((*path, "timezone"), zone)
        return self._cron((*path, "cron"), str(told["cron"]), zone)

    def _cron(self, path: _Path, cron: str, zone: str) -> Schedule:
        if cron not in PRESETS and not (len(cron.split()) == 5 and croniter.is_valid(cron)):
            remedy = f"Write five fields, such as '30 1 * * *', or one of {', '.join(PRESETS)}."
            self.flaw(path, f"{cron!r} is not a cron expression.", remedy)
        return Schedule(cron=cron, timezone=zone)

    def check_zone(self, path: _Path, zone: str) -> bool:
        if zone in pendulum.timezones():
            return True
        close = difflib.get_close_matches(zone, pendulum.timezones(), n=1)
        advice = f"Did you mean {close[0]}?" if close else "Write a name such as Europe/Paris."
        self.flaw(path, f"{zone!r} is not the name of a time zone.", advice)
        return False

    def moment(self, name: str, schedule: Schedule) -> datetime | None:
        said = self.data.get(name)
        if said is None:
            return None
        try:
            moment = datetime.fromisoformat(str(said))
            zone = schedule.timezone if schedule.timezone in pendulum.timezones() else "UTC"
            return pendulum.instance(moment, tz=pendulum.timezone(zone))
        except ValueError as error:
            self.flaw((name,), f"{said!r} is not a date: {error}.", "Write one such as 2026-01-31.")
            return None

    def parameters(self, schedule: Schedule) -> JsonObject:
        values: JsonObject = dict(cast("JsonObject", self.data.get("parameters") or {}))
        for name, parameter in FIELDS.items():
            if self.data.get(name) is not None:
                values[parameter] = self.data[name]
        if "only_between" in values:
            values["only_between"] = self._windows(values["only_between"], schedule)
        paths = cast("list[str]", values.get("paths") or [])
        if not paths:
            if "paths_file" not in values:
                self.flaw(("paths",), "it is missing.", "List absolute paths below /content, or name a paths_file.")
                return values
            paths = [CONTENT_ROOT]  # what else is asked for can be checked before the file is read
        try:
            parse_requests(
                paths,
                excluded_paths=cast("list[str]", values.get("excluded_paths") or []),
                file_types=cast("list[str]", values.get("file_types") or []),
                created_after=cast("str | None", values.get("created_after")),
                created_before=cast("str | None", values.get("created_before")),
            )
        except InvalidInputError as error:
            self.flaw(self._place(error), f"{error.value!r} is not valid.", error.remedy)
        return values

    def _place(self, error: InvalidInputError) -> _Path:
        """Where the value of a request stands in the plan."""
        if error.field not in self.data:
            return ("parameters", error.field)
        listed = self.data[error.field]
        if isinstance(listed, list) and error.value in listed:
            last = len(listed) - 1 - listed[::-1].index(cast("JsonValue", error.value))
            return (error.field, last)
        return (error.field,)

    def _windows(self, said: JsonValue, schedule: Schedule) -> JsonValue:
        path: _Path = ("only_between",)
        if isinstance(said, list):
            return [self._window((*path, n), cast("JsonObject", item), schedule) for n, item in enumerate(said)]
        return self._window(path, cast("JsonObject", said), schedule)

    def _window(self, path: _Path, said: JsonObject, schedule: Schedule) -> JsonObject:
        zone = str(said.get("timezone", schedule.timezone))
        if "timezone" in said:
            self.check_zone((*path, "timezone"), zone)
        if said["from"] == said["to"]:
            self.flaw((*path, "to"), f"{said['to']!r} is from, too.", "Give another time; it may be the next day's.")
        return {"at_end": "leave", **said, "timezone": zone}

    def check_names(self, parameters: JsonObject) -> None:
        """Single paths and batches have parameters that the other does not have."""
        batch = bool(self.data.get("batch", False))
        known = run_params(batch=batch)
        for name in parameters:
            if name not in known:
                place: _Path = (name,) if name in self.data else ("parameters", name)
                if name == "only_between":
                    why = "batches do not know off-peak hours."
                    self.flaw(place, why, "Remove only_between, or set batch: false.")
                    continue
                self.flaw(place, f"it needs batch: {str(not batch).lower()}.", "Set batch, or remove the field.")
        paths = cast("list[str]", parameters.get("paths") or [])
        most = int(cast("int", known["paths"].schema["maxItems"]))
        if len(paths) > most:
            more = "write batch: true" if not batch else "split the plan"
            self.flaw(("paths",), f"it has {len(paths):,} paths.", f"List at most {most:,}, or {more}.")

    def check_deadlines(self) -> None:
        """A deadline without a length would be missed by every run."""
        for number, item in enumerate(cast("list[JsonObject]", self.data.get("deadline") or [])):
            if _span(item["interval"]) <= timedelta():
                remedy = "Write a length of time such as {hours: 6}."
                self.flaw(("deadline", number, "interval"), "it is no time at all.", remedy)

    def check_incremental(self, schedule: Schedule, parameters: JsonObject) -> None:
        """Its times are the data interval's; its runs queue, since each is a request of its own on the same paths."""
        if not schedule.has_intervals:
            self.flaw(("incremental",), "the schedule has no data interval.", "Write a schedule with cron or interval.")
        for name in ("created_after", "created_before"):
            if parameters.get(name) is not None:
                self.flaw(
                    ("parameters", name), "an incremental plan takes its times from the data interval.", "Remove it."
                )
        parameters.setdefault("on_active_job", str(OnActiveJob.QUEUE))


def _span(value: JsonValue) -> timedelta:
    parts = cast("dict[str, int]", value)
    return timedelta(days=parts.get("days", 0), hours=parts.get("hours", 0), minutes=parts.get("minutes", 0))


def _notifications(when: str, said: Mapping[str, Sequence[JsonObject]]) -> tuple[Notification, ...]:
    return tuple(
        Notification(str(item["notifier"]), cast("JsonObject", item.get("kwargs") or {})) for item in said.get(when, ())
    )


def _lines_of_paths(entry: Entry, data: JsonObject) -> dict[str, int]:
    """The lines of what is imported by its path, by the names that `Plan.imports` has for them."""
    places: list[_Path] = [
        ("deadline", n, "callback") for n, _ in enumerate(cast("list[object]", data.get("deadline") or []))
    ]
    for when, items in cast("dict[str, list[object]]", data.get("notifications") or {}).items():
        places += [("notifications", when, n, "notifier") for n, _ in enumerate(items)]
    return {_dotted(place): entry.line(place) for place in places}


def _deadline(item: JsonObject) -> Deadline:
    return Deadline(
        interval=_span(item["interval"]),
        callback=str(item["callback"]),
        kwargs=cast("JsonObject", item.get("kwargs") or {}),
        reference=str(item.get("reference", "DAGRUN_QUEUED_AT")),
        runs_in=str(item.get("runs_in", "triggerer")),
        name=cast("str | None", item.get("name")),
    )
