"""The parameters of a processing run: the UI shows them as a form, and the API checks a REST call against them."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from airflow.sdk import Param

from aem_guides.hooks.hook import DEFAULT_CONNECTION
from aem_guides.protocol.admission import MAX_ACTIVE_JOBS
from aem_guides.protocol.asset_patterns import LONGEST_PATTERN, MOST_PATTERNS
from aem_guides.protocol.hours import TIME_PATTERN as HOURS_PATTERN
from aem_guides.protocol.hours import WEEKDAYS, AtEnd
from aem_guides.protocol.models import ASSET_PROCESSING, FILE_TYPES, JsonObject, JsonValue
from aem_guides.protocol.procedures.start import OnActiveJob
from aem_guides.results.outcome import OnDeadline

PATH_PATTERN = r"^/content(/[^/]+)*/?$"
TIME_PATTERN = r"^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}(:\d{2}(\.\d+)?)?(Z|[+-]\d{2}:\d{2})$"

FAILURES_PATTERN = r"^([1-9]\d{0,8}|(100|[1-9]?\d)(\.\d{1,6})?%)?$"

ASSET_PATTERN = r"^[/*?\[].*[^*?/].*$"
"""A pattern of asset paths that can match some, but not all. `asset_patterns` checks the rest."""

# The schema of one entry of `only_between`. `protocol.hours` checks what a schema cannot express.
_HOURS = {
    "properties": {
        "from": {"type": "string", "pattern": HOURS_PATTERN},
        "to": {"type": "string", "pattern": HOURS_PATTERN},
        "timezone": {"type": "string", "minLength": 1},
        "at_end": {"type": "string", "enum": [*map(str, AtEnd)]},
        "weekdays": {
            "type": "array",
            "items": {"type": "string", "enum": [*WEEKDAYS]},
            "minItems": 1,
            "uniqueItems": True,
        },
    },
    "required": ["from", "to", "timezone"],
    "additionalProperties": False,
}
FLAG = {"type": "boolean"}
ID = {"type": "string", "minLength": 1, "maxLength": 250}
_TIME = {"type": ["null", "string"], "format": "date-time", "pattern": TIME_PATTERN}


def above_zero(most: int) -> JsonObject:
    """The schema of a number above 0."""
    return {"type": "number", "exclusiveMinimum": 0, "maximum": most}


def _whole(least: int, most: int) -> JsonObject:
    return {"type": "integer", "minimum": least, "maximum": most}


def in_section(name: str) -> Callable[[JsonValue, str, Mapping[str, object], str], Param]:
    """A function that makes parameters in a section of the form, from default, title, JSON schema and description
    (Markdown)."""

    def param(default: JsonValue, title: str, schema: Mapping[str, object], description: str) -> Param:
        return Param(default, schema={"title": title, "description_md": description, **schema, "section": name})

    return param


WHAT = in_section("What is processed")
OTHERS = in_section("Other jobs on the instance")
_COURSE = in_section("While the job runs")
_AFTER = in_section("Afterwards")
_JOB = in_section("The job")
_LOOK = in_section("What is reconciled")


def process_assets_params() -> dict[str, Param]:
    """The parameters of *aem_guides_process_assets*, in the order of the form."""
    return {
        "paths": WHAT(
            [],
            "Paths",
            {
                "type": "array",
                "items": {"type": "string", "pattern": PATH_PATTERN, "maxLength": 2000},
                "minItems": 1,
                "maxItems": 1000,
                "uniqueItems": True,
            },
            "The folders or assets to process, with everything below them, one per line. Absolute paths, such as "
            "*/content/dam/manuals*.",
        ),
        "excluded_paths": WHAT(
            [],
            "Excluded paths",
            {
                "type": ["array", "null"],
                "items": {"type": "string", "minLength": 1, "maxLength": 2000},
                "maxItems": 1000,
            },
            "Folders or assets to leave out, one per line. Each must be below one of the paths.",
        ),
        "file_types": WHAT(
            [],
            "File types",
            {
                "type": ["array", "null"],
                "items": {"type": "string", "enum": [*FILE_TYPES]},
                "examples": [*FILE_TYPES],
                "values_display": {"HTML/CSS": "HTML and CSS", "OTHERS": "All other types"},
                "uniqueItems": True,
            },
            "Only these file types. Empty: all. Needs AEM Guides 2026.01 or later.",
        ),
        "created_after": WHAT(
            None, "Created after", _TIME, "Only assets created at or after this time. Over REST: ISO 8601 with offset."
        ),
        "created_before": WHAT(
            None, "Created before", _TIME, "Only assets created before this time. Over REST: ISO 8601 with offset."
        ),
        "processing_type": WHAT(
            ASSET_PROCESSING,
            "Processing type",
            {"type": "string", "enum": [ASSET_PROCESSING]},
            "The feature type of the Bulk Processor.",
        ),
        "connection_id": WHAT(
            DEFAULT_CONNECTION, "Connection", ID, "The Airflow connection (type *AEM Guides*) of the instance."
        ),
        "on_active_job": OTHERS(
            str(OnActiveJob.ADOPT),
            "If a job is already active on a path",
            {
                "type": "string",
                "enum": [*map(str, OnActiveJob)],
                "values_display": {
                    "adopt": "adopt it if it is the same request",
                    "queue": "wait until it has ended",
                    "fail": "fail",
                },
            },
            "**adopt**: follow the active job if it has the same request. **queue**: wait until it has ended, then "
            "start. **fail**: fail the task.",
        ),
        "max_active_jobs": OTHERS(
            MAX_ACTIVE_JOBS,
            "Most active jobs",
            _whole(1, 100),
            "Start a job only while fewer jobs are active on the instance. Jobs of other users count too.",
        ),
        "only_between": OTHERS(
            None,
            "Only in off-peak hours",
            {
                "type": ["object", "array", "null"],
                "items": {"type": "object", **_HOURS},
                "minItems": 1,
                "maxItems": 100,
                **_HOURS,
            },
            'Start and resume jobs only in these hours. Empty: at any time. Example: *{"from": "22:00", "to": '
            '"06:00", "timezone": "Europe/Paris", "at_end": "cancel"}*, or a list of such objects. **at_end** says '
            "what happens to a job that still runs at the end: **leave** lets it run. **cancel** cancels it, and "
            'resumes it from its checkpoint when the hours begin again. With *"weekdays": ["sat", "sun"]* the hours '
            "begin only on these days.",
        ),
        "max_resumes": _COURSE(
            2, "Most resumes", _whole(0, 10), "How often a retry of the task resumes a failed job from its checkpoint."
        ),
        "deadline_hours": _COURSE(
            24,
            "Deadline in hours",
            above_zero(720),
            "The most time for one job, with its resumes and restarts. Time outside the off-peak hours, while the "
            "job is held back, does not count.",
        ),
        "on_deadline": _COURSE(
            str(OnDeadline.CANCEL),
            "At the deadline",
            {"type": "string", "enum": [*map(str, OnDeadline)]},
            "**cancel** the job, or **leave** it running. The run fails in both cases. An adopted job is left "
            "running unless *Cancel adopted jobs* is on.",
        ),
        "cancel_adopted": _COURSE(
            False,
            "Cancel adopted jobs",
            FLAG,
            "Also cancel a job that this run only adopted: when the run is stopped, at its deadline, and at the end "
            "of its off-peak hours.",
        ),
        "stall_minutes": _COURSE(
            30,
            "Warn without progress after (minutes)",
            above_zero(10080),
            "Log a warning if the job makes no progress for this time. The job keeps running.",
        ),
        "stream_logs": _COURSE(
            True,
            "Show the job's log while it runs",
            FLAG,
            "Show its first 2,000 lines in the log of *wait_for_processing*.",
        ),
        "max_log_lines": _AFTER(
            100_000,
            "Most log lines",
            _whole(2, 10_000_000),
            "The most lines that *pull_logs* shows. Of a longer log, it shows the beginning and the end.",
        ),
        "archive_logs": _AFTER(
            True, "Archive the log", FLAG, "Store the log ZIP and a manifest, after a check that it is complete."
        ),
        "verify_assets": _AFTER(True, "Verify the assets", FLAG, "Read the state of every asset after the job."),
        "fail_on_asset_failures": _AFTER(
            None,
            "Fail if so many assets failed",
            # The form uses the first type that is not null, and shares need its text field.
            {"type": ["null", "string", "integer"], "pattern": FAILURES_PATTERN, "minimum": 1, "maximum": 999_999_999},
            "A count such as *1*, or a share such as *2.5%*. The run fails if at least this many assets failed, or "
            "if their number is not known. Empty: failed assets are only reported. With a filter (file types, "
            "created times) the instance does not show which assets the job processed.",
        ),
        "verify_ignore": _AFTER(
            [],
            "Assets that do not count",
            {
                "type": ["array", "null"],
                "items": {
                    "type": "string",
                    "pattern": ASSET_PATTERN,
                    "maxLength": LONGEST_PATTERN,
                    "description": "Give a pattern that matches some asset paths, not all, such as */fragments/*.",
                },
                "maxItems": MOST_PATTERNS,
            },
            "Patterns of asset paths that *verify_assets* ignores, one per line, such as "
            "*/content/dam/site/fragments/\\** or *\\*/translation-output/\\**. A star stands for any characters, "
            "including slashes.",
        ),
    }


def control_params() -> dict[str, Param]:
    """The parameters of *aem_guides_control_job*."""
    return {
        "processing_id": _JOB(
            "",
            "Execution ID",
            {"type": ["string", "null"], "minLength": 1, "maxLength": 1000},
            "The *processingId* of the job: the execution ID in the Bulk Processor. **settle**: the job that came of "
            "the start; none if no job did.",
        ),
        "action": _JOB(
            "inspect",
            "Action",
            {"type": "string", "enum": ["inspect", "cancel", "resume", "archive", "settle", "forget"]},
            "**inspect**: show the job. **cancel**: stop it. **resume**: resume it from its checkpoint. **archive**: "
            "store its log. The page *AEM Guides* uses two more. **settle**: store which job came of a start in doubt. "
            "**forget**: nothing waits for that any more.",
        ),
        "doubt": _JOB(
            None,
            "Doubt",
            {"type": ["null", "string"], "maxLength": 200},
            "For **settle** and **forget**: the name of the doubt, which the page *AEM Guides* gives.",
        ),
        "max_active_jobs": _JOB(
            MAX_ACTIVE_JOBS,
            "Most active jobs",
            _whole(1, 100),
            "For **resume**: only while fewer jobs are active on the instance. Jobs of other users count too.",
        ),
        "connection_id": _JOB(
            DEFAULT_CONNECTION, "Connection", ID, "The Airflow connection (type *AEM Guides*) of the instance."
        ),
    }


def reconcile_params() -> dict[str, Param]:
    """The parameters of *aem_guides_reconcile_history*."""
    return {
        "dry_run": _LOOK(False, "Dry run", FLAG, "Only report. The ledger is not changed, and no remedy is applied."),
        "connection_ids": _LOOK(
            None,
            "Connections",
            {"type": ["array", "null"], "items": ID},
            "The connections of the instances, one per line. Empty: those of the option *[aem_guides] "
            "reconcile_connections*.",
        ),
    }
