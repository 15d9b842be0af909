"""A plan and its parts, as values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from aem_guides.pipelines.incremental import FilterEnd
from aem_guides.protocol.models import JsonObject


@dataclass(frozen=True)
class Schedule:
    """When runs start: by `cron` in `timezone`, every `interval`, by an Airflow word (`untimed`), or by hand only."""

    cron: str | None = None
    timezone: str = "UTC"
    interval: timedelta | None = None
    untimed: str | None = None

    @property
    def has_intervals(self) -> bool:
        return self.cron is not None or self.interval is not None


@dataclass(frozen=True)
class Notification:
    """An Airflow notifier by its import path, and its arguments."""

    notifier: str
    kwargs: JsonObject = field(default_factory=dict)


@dataclass(frozen=True)
class Deadline:
    """`callback` (an import path) is called when a run has not ended `interval` after its `reference`."""

    interval: timedelta
    callback: str
    kwargs: JsonObject
    reference: str
    runs_in: str
    name: str | None


@dataclass(frozen=True)
class Plan:
    """One plan, checked. `parameters` are the values of its runs' parameters that differ from the defaults."""

    name: str
    schedule: Schedule
    parameters: JsonObject
    enabled: bool = True
    description: str = ""
    start_date: datetime | None = None
    end_date: datetime | None = None
    catchup: bool = False
    tags: tuple[str, ...] = ()
    owner: str | None = None
    incremental: bool = False
    filter_end: FilterEnd = FilterEnd.EXCLUSIVE
    batch: bool = False
    on_success: tuple[Notification, ...] = ()
    on_failure: tuple[Notification, ...] = ()
    deadlines: tuple[Deadline, ...] = ()
    lines: Mapping[str, int] = field(default_factory=dict)

    def line(self, name: str) -> int:
        """The line of a field in the file of plans, such as `deadline.0.callback`; else the plan's."""
        return self.lines.get(name) or self.lines.get(name.partition(".")[0], self.lines.get("name", 1))

    @property
    def imports(self) -> dict[str, str]:
        """The import paths in the plan, by the names of their fields."""
        found = {f"deadline.{n}.callback": deadline.callback for n, deadline in enumerate(self.deadlines)}
        for when, told in (("on_success", self.on_success), ("on_failure", self.on_failure)):
            found |= {f"notifications.{when}.{n}.notifier": item.notifier for n, item in enumerate(told)}
        return found
