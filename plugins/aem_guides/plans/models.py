"""The fields of a file of plans: the models that read plans, and from which their JSON schema is generated.

The text below a field says what to write there: editors show it, and so does the message about a wrong value.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime, timedelta
from typing import Annotated, Any, Literal, TypeAlias, TypeVar

import pendulum
from airflow.sdk import Param
from croniter import croniter
from jsonschema import Draft202012Validator
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    JsonValue,
    Strict,
    ValidationError,
    ValidationInfo,
    WithJsonSchema,
    create_model,
    field_validator,
    model_validator,
)
from pydantic_core import InitErrorDetails, PydanticCustomError

from aem_guides.hooks.hook import DEFAULT_CONNECTION
from aem_guides.pipelines.batch_params import MOST_PATHS_IN_FORM, process_batch_params
from aem_guides.pipelines.incremental import FilterEnd
from aem_guides.pipelines.params import PATH_PATTERN, process_assets_params
from aem_guides.plans.file import Entry, shortened, steps
from aem_guides.protocol.errors import InvalidInputError
from aem_guides.protocol.hours import TIME_PATTERN, parse_only_between
from aem_guides.protocol.models import FILE_TYPES, JsonObject
from aem_guides.protocol.procedures.start import OnActiveJob
from aem_guides.protocol.requests import CONTENT_ROOT, parse_requests

PRESETS = ("@hourly", "@daily", "@weekly", "@monthly", "@quarterly", "@yearly")
UNTIMED = ("@once", "@continuous")

_FIELDS = ("paths", "paths_file", "excluded_paths", "file_types", "connection", "only_between")
"""The fields of a plan that are parameters of its runs."""
_OF_REQUESTS = ("paths", "excluded_paths", "file_types", "created_after", "created_before", "processing_type")
_OF_FORMS = frozenset({"title", "description_md", "section", "values_display", "examples", "const"})


def run_params(*, batch: bool) -> dict[str, Param]:
    """The parameters of a plan's runs: those of `aem_guides_process_batch` or `aem_guides_process_assets`."""
    return process_batch_params() if batch else process_assets_params()


def _wrong(what: str, remedy: str = "") -> PydanticCustomError:
    return PydanticCustomError("plan", "{what}", {"what": what, "remedy": remedy})


def _refuse(flaws: Iterable[tuple[Iterable[str | int], PydanticCustomError]]) -> None:
    """Raise ValidationError with all flaws, if there are any, each at its place below the validated value."""
    if found := [InitErrorDetails(type=wrong, loc=tuple(place), input=None) for place, wrong in flaws]:
        raise ValidationError.from_exception_data("plan", found)


_Flaw: TypeAlias = tuple[list[str | int], str, str]
"""The place of an error in a plan, the error, and its remedy."""


Count: TypeAlias = Annotated[int, Field(ge=0, le=1_000_000, description="Write a whole number.")]


def _zone(name: str) -> str:
    if name not in pendulum.timezones():
        close = difflib.get_close_matches(name, pendulum.timezones(), n=1)
        advice = f"Did you mean {close[0]}?" if close else "Write a name such as Europe/Paris."
        raise _wrong(f"{name!r} is not the name of a time zone.", advice)
    return name


def _cron(cron: str) -> str:
    if cron not in (*PRESETS, *UNTIMED) and not (len(cron.split()) == 5 and croniter.is_valid(cron)):
        remedy = f"Write five fields, such as '30 1 * * *', or one of {', '.join(PRESETS)}."
        raise _wrong(f"{cron!r} is not a cron expression.", remedy)
    return cron


def _once(items: list[str]) -> list[str]:
    if doubled := [repr(item) for item in dict.fromkeys(items) if items.count(item) > 1]:
        raise _wrong(f"it lists {', '.join(doubled)} more than once.", "List it once.")
    return items


def _without_context(kwargs: dict[str, object]) -> dict[str, object]:
    if "context" in kwargs:
        raise _wrong("Airflow itself passes an argument named context.", "Give the argument another name.")
    return kwargs


def _in_full(schedule: object) -> object:
    return {"cron": schedule} if isinstance(schedule, str) else schedule


def _in_list(said: object) -> object:
    return [said] if isinstance(said, dict) else said


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, use_attribute_docstrings=True)


class Span(_Part):
    """Write a length of time such as {hours: 6}, of days, hours and minutes."""

    days: Count = 0
    hours: Count = 0
    minutes: Count = 0


def _length(said: object) -> timedelta:
    length = timedelta(**Span.model_validate(said).model_dump())
    if not length:
        raise _wrong("the length of time is zero.", "Write a length of time such as {hours: 6}.")
    return length


T = TypeVar("T")
Text: TypeAlias = Annotated[str, Field(min_length=1, max_length=250)]
Uri: TypeAlias = Annotated[str, Field(min_length=1, max_length=2000)]
Tag: TypeAlias = Annotated[str, Field(min_length=1, max_length=100)]
Path: TypeAlias = Annotated[str, Field(pattern=PATH_PATTERN, max_length=2000)]
FileType: TypeAlias = Annotated[str, Field(json_schema_extra={"enum": [*FILE_TYPES]})]  # parse_requests checks them
Time: TypeAlias = Annotated[str, Field(pattern=TIME_PATTERN)]
Moment: TypeAlias = Annotated[str, Field(pattern=r"^\d{4}-\d{2}-\d{2}([T ]\d{2}:\d{2}(:\d{2})?(Z|[+-]\d{2}:\d{2})?)?$")]
Zone: TypeAlias = Annotated[str, AfterValidator(_zone)]
ImportPath: TypeAlias = Annotated[str, Field(pattern=r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*)+$")]
Length: TypeAlias = Annotated[timedelta, BeforeValidator(_length, json_schema_input_type=Span)]
Once: TypeAlias = Annotated[list[T], AfterValidator(_once), Field(json_schema_extra={"uniqueItems": True})]


class Schedule(_Part):
    """When runs start: by `cron` in `timezone`, or every `interval`."""

    cron: Annotated[str, AfterValidator(_cron)] = ""
    """Write a cron expression of five fields, such as '30 1 * * *', or one of Airflow's own, such as @daily."""
    timezone: Zone = "UTC"
    """Write the name of a time zone, such as Europe/Paris."""
    interval: Length | None = None

    @model_validator(mode="after")
    def _is_one(self) -> Schedule:
        if self.interval and len(self.model_fields_set) > 1:
            raise _wrong(
                "interval is given together with other fields.", "Write either interval, or cron and timezone."
            )
        if not self.interval and not self.cron:
            raise _wrong("it has no cron expression.", "Write cron: '30 1 * * *' beside timezone.")
        return self


class Window(_Part):
    """Write {from: '22:00', to: '05:00'}."""

    begin: Time = Field(alias="from")
    """Write the time from which jobs may start, as 'HH:MM'."""
    to: Time
    """Write the time after which no job is started, as 'HH:MM'. It may be on the next day."""
    timezone: Zone = ""
    """Write the name of a time zone, such as Europe/Paris. Default: the time zone of the schedule."""
    at_end: Literal["leave", "cancel"] = "leave"
    """Write leave to let a job run after the hours, or cancel to cancel it then and resume it in the next hours."""
    weekdays: Annotated[Once[Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]], Field(min_length=1)] = []
    """List the days on which the hours begin: mon, tue, wed, thu, fri, sat, sun. Default: all days."""


Windows: TypeAlias = Annotated[list[Window], Field(min_length=1, max_length=100)]


class Notification(_Part):
    """Write {notifier: import path, kwargs: {...}}."""

    notifier: ImportPath
    """Write the import path of an Airflow notifier, such as airflow.providers.smtp.notifications.smtp.SmtpNotifier."""
    kwargs: dict[str, object] = {}
    """Write the notifier's arguments by name. Secrets belong in an Airflow connection."""


class Notifications(_Part):
    """Write on_success and on_failure, each a list of notifiers."""

    on_success: list[Notification] = []
    """List notifiers, each with its import path and its arguments."""
    on_failure: list[Notification] = []
    """List notifiers, each with its import path and its arguments."""


class Deadline(_Part):
    """Write {interval: {hours: 6}, callback: import path, kwargs: {...}}."""

    name: Text = ""
    """Write a name that no other deadline of the plan has."""
    reference: Literal["DAGRUN_QUEUED_AT", "DAGRUN_LOGICAL_DATE", "AVERAGE_RUNTIME"] = "DAGRUN_QUEUED_AT"
    """Write what the interval counts from: DAGRUN_QUEUED_AT, DAGRUN_LOGICAL_DATE or AVERAGE_RUNTIME (of past runs)."""
    interval: Length
    callback: ImportPath
    """Write the import path of the callback: an Airflow notifier, or a function at the top level of a module."""
    kwargs: Annotated[dict[str, object], AfterValidator(_without_context)] = {}
    """Write the callback's arguments by name. The name context is reserved."""
    runs_in: Literal["triggerer", "executor"] = "triggerer"
    """Write triggerer for an asynchronous callback, executor for a synchronous one."""


def _parameter(param: Param) -> tuple[object, object]:
    """A field whose values are checked by the schema of a run's parameter, which also describes it to editors."""
    schema = {key: value for key, value in param.schema.items() if key not in _OF_FORMS}

    def check(value: object) -> object:
        errors = Draft202012Validator(schema).iter_errors(value)
        _refuse((error.absolute_path, _wrong(f"{shortened(error.message)}.")) for error in errors)
        return value

    text: str = param.schema.get("description_md") or param.schema["title"]
    kind = Annotated[JsonValue, AfterValidator(check), WithJsonSchema(schema)]
    return kind, Field(default=param.value, description=text)


_PARAMETERS = create_model(  # type: ignore[call-overload]  # it cannot know the names
    "Parameters",
    __base__=_Part,
    **{
        name: _parameter(param)
        for name, param in (run_params(batch=False) | run_params(batch=True)).items()
        if name not in {*_FIELDS, "connection_id"}
    },
)


class Plan(_Part):
    """A plan has at least name, schedule, and paths or paths_file."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]*$", max_length=200)]
    """Write letters, digits, underscores, hyphens and dots, at most 200; the DAG is called aem_guides_plan_<name>."""
    enabled: bool = True
    """Write true or false. A plan that is not enabled is checked, but has no DAG."""
    description: Annotated[str, Field(max_length=2000)] = ""
    """Write one or a few sentences for the DAG list and its documentation."""
    schedule: Annotated[Schedule | None, BeforeValidator(_in_full, json_schema_input_type=str | Schedule | None)]
    """Write a cron expression such as '30 1 * * *' (UTC), {cron: '30 1 * * *', timezone: Europe/Paris},
    {interval: {hours: 6}}, one of @hourly, @daily, @weekly, @monthly, @quarterly, @yearly, @once, @continuous, or null
    for runs started by hand only."""
    start_date: datetime | None = None
    """No run has an earlier logical date. Required if catchup is true. Write an ISO 8601 date or time such as
    2026-01-31 or 2026-01-31T01:30; without an offset it is in the time zone of the schedule."""
    end_date: datetime | None = None
    """No run has a later logical date. Write an ISO 8601 date or time such as 2026-01-31 or 2026-01-31T01:30;
    without an offset it is in the time zone of the schedule."""
    paths: Annotated[list[Path], Field(min_length=1, max_length=MOST_PATHS_IN_FORM)] = []
    """List absolute paths below /content, such as /content/dam/manuals. Everything below each path is processed."""
    paths_file: Uri = ""
    """Write the URI of a text file (one path per line), CSV file or JSON file of paths in Airflow's object storage.
    Only for a batch."""
    excluded_paths: Annotated[list[Uri], Field(max_length=1000)] = []
    """List the folders or assets to leave out, each below one of the paths."""
    file_types: Once[FileType] = []
    """List the file types to process. Default: all."""
    connection: Text = DEFAULT_CONNECTION
    """Write the id of an Airflow connection of type AEM Guides."""
    parameters: Annotated[
        JsonObject,
        BeforeValidator(
            lambda said: _PARAMETERS.model_validate(said).model_dump(exclude_unset=True),
            json_schema_input_type=_PARAMETERS,
        ),
    ] = {}
    """Write parameters of aem_guides_process_assets, or for a batch of aem_guides_process_batch. Leave out those
    that are fields of a plan."""
    tags: Once[Tag] = []
    """List tags of 1 to 100 characters. The tag aem-guides is added."""
    owner: Annotated[str, Field(min_length=1, max_length=500)] = ""
    """Write the owner of the plan. Airflow shows it."""
    incremental: bool = False
    """Write true to process only the assets created in the run's data interval."""
    catchup: bool = Field(default_factory=lambda read: read["incremental"])
    """Write true to run the intervals that were missed since start_date, else false. Default: true for an
    incremental plan, whose assets would be missed otherwise, and false for other plans."""
    filter_end: Annotated[FilterEnd, Strict(False)] = FilterEnd.EXCLUSIVE
    """Write inclusive if the instance includes an asset that was created exactly at filter.endTime, else exclusive."""
    batch: bool = False
    """Write true for hundreds of paths or more. The plan then has the tasks of aem_guides_process_batch."""
    only_between: Annotated[Windows, BeforeValidator(_in_list, json_schema_input_type=Window | Windows)] = []
    """Write {from: '22:00', to: '05:00', timezone: Europe/Paris, at_end: leave}, or a list of such."""
    notifications: Notifications = Notifications()
    """Write on_success and on_failure, each a list of notifiers."""
    deadline: list[Deadline] = []
    """List callbacks for runs that are not done in time."""
    _entry: Entry  # from which the plan was read

    def model_post_init(self, context: Any) -> None:
        self._entry = context

    def line(self, name: str) -> int:
        """The line of a field in the file of plans, such as `deadline.0.callback`, or of what is nearest above it."""
        return self._entry.line(steps(name))

    @property
    def imports(self) -> dict[str, str]:
        """The import paths in the plan, by the names of their fields."""
        found = {f"deadline.{n}.callback": deadline.callback for n, deadline in enumerate(self.deadline)}
        for when, items in self.notifications:
            found |= {f"notifications.{when}.{n}.notifier": item.notifier for n, item in enumerate(items)}
        return found

    @property
    def values(self) -> JsonObject:
        """The values of its runs' parameters that differ from the defaults."""
        values: JsonObject = self.parameters | {
            name: getattr(self, name) for name in _FIELDS if name in self.model_fields_set
        }
        if "connection" in values:
            values["connection_id"] = values.pop("connection")
        if self.only_between:
            zone = self.schedule.timezone if self.schedule else "UTC"
            assumed: JsonObject = {"timezone": zone, "at_end": "leave"}
            windows = [assumed | window.model_dump(by_alias=True, exclude_unset=True) for window in self.only_between]
            values["only_between"] = [*windows] if len(windows) > 1 else windows[0]
        if self.incremental:  # its runs queue, since each is a request of its own on the same paths
            values.setdefault("on_active_job", str(OnActiveJob.QUEUE))
        return values

    @field_validator("start_date", "end_date", mode="before", json_schema_input_type=Moment)
    @classmethod
    def _moment(cls, said: Any, info: ValidationInfo) -> datetime:
        schedule: Schedule | None = info.data.get("schedule")
        try:
            moment = datetime.fromisoformat(said)
        except (TypeError, ValueError) as error:
            raise _wrong(f"{said!r} is not a date: {error}.", "Write one such as 2026-01-31.") from None
        return pendulum.instance(moment, tz=pendulum.timezone(schedule.timezone if schedule else "UTC"))

    @model_validator(mode="after")
    def _can_run(self) -> Plan:
        flaws = (*self._flaws_of_times(), *self._flaws_of_requests(), *self._flaws_of_names())
        _refuse((place, _wrong(what, remedy)) for place, what, remedy in flaws)
        return self

    def _flaws_of_times(self) -> Iterator[_Flaw]:
        if self.catchup and not self.start_date:
            why = "catchup is true, but start_date is missing."
            yield ["catchup"], why, "Give start_date, or set catchup to false."
        if self.start_date and self.end_date and self.end_date <= self.start_date:
            yield ["end_date"], f"'{self.end_date}' is not later than start_date.", "Give a later one."
        if self.incremental and (self.schedule is None or self.schedule.cron in UNTIMED):
            yield ["incremental"], "the schedule has no data interval.", "Write a schedule with cron or interval."
        for name in ("created_after", "created_before"):
            if self.incremental and self.parameters.get(name) is not None:
                why = "an incremental plan takes its times from the data interval."
                yield ["parameters", name], why, "Remove it."

    def _flaws_of_requests(self) -> Iterator[_Flaw]:
        values = self.values
        if not self.paths and not self.paths_file:
            yield ["paths"], "it is missing.", "List absolute paths below /content, or name a paths_file."
        asked = {name: values[name] for name in _OF_REQUESTS if name in values}
        if not self.paths:
            asked["paths"] = [CONTENT_ROOT]  # what else is asked for can be checked before the file is read
        checks: dict[Callable[..., object], JsonObject] = {
            parse_requests: asked,
            parse_only_between: {"value": values.get("only_between")},
        }
        for check, said in checks.items():
            try:
                check(**said)
            except InvalidInputError as error:
                yield self._place(error), f"{shortened(repr(error.value))} is not valid.", error.remedy

    def _place(self, error: InvalidInputError) -> list[str | int]:
        """The place of a request's value in the plan."""
        field, *below = steps(error.field.replace("[", ".").replace("]", ""))
        if field not in type(self).model_fields:
            return ["parameters", field]
        listed = getattr(self, str(field))
        if error.value in listed:
            return [field, len(listed) - 1 - listed[::-1].index(error.value)]
        return [field, *below]

    def _flaws_of_names(self) -> Iterator[_Flaw]:
        """Report parameters that belong only to single paths, or only to batches."""
        known = run_params(batch=self.batch)
        other = f"batch: {str(not self.batch).lower()}"
        for name in self.values:
            if name not in known:
                above = () if name in type(self).model_fields else ("parameters",)
                yield [*above, name], f"it needs {other}.", f"Write {other}, or remove the field."
        most: int = known["paths"].schema["maxItems"]
        if len(self.paths) > most:
            more = "write batch: true" if not self.batch else "split the plan"
            yield ["paths"], f"it has {len(self.paths):,} paths.", f"List at most {most:,}, or {more}."
