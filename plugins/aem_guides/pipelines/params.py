"""The parameters of a processing run: what the form in the UI shows, and what a REST call is checked against."""

from __future__ import annotations

from airflow.sdk import Param

from aem_guides.hooks.hook import DEFAULT_CONNECTION
from aem_guides.protocol.asset_patterns import LONGEST_PATTERN, MOST_PATTERNS
from aem_guides.protocol.hours import TIME_PATTERN as HOURS_PATTERN
from aem_guides.protocol.hours import WEEKDAYS, AtEnd
from aem_guides.protocol.models import ASSET_PROCESSING, FILE_TYPES
from aem_guides.protocol.procedures.start import OnActiveJob
from aem_guides.results.outcome import OnDeadline

PATH_PATTERN = r"^/content(/[^/]+)*/?$"
TIME_PATTERN = r"^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}(:\d{2}(\.\d+)?)?(Z|[+-]\d{2}:\d{2})$"

FAILURES_PATTERN = r"^([1-9]\d{0,8}|(100|[1-9]?\d)(\.\d{1,6})?%)?$"

ASSET_PATTERN = r"^[/*?\[].*[^*?/].*$"
"""A pattern of asset paths: one that can match some, and not all. What else there is to it, `asset_patterns` checks."""

_WHAT = "What is processed"
_OTHERS = "Other jobs on the instance"
_COURSE = "While the job runs"
_AFTER = "Afterwards"

# The schema of one entry of `only_between`; what it cannot say is checked by `protocol.hours`.
_ENTRY_REQUIRED = ["from", "to", "timezone"]
_ENTRY_PROPERTIES = {
    "from": {"type": "string", "pattern": HOURS_PATTERN},
    "to": {"type": "string", "pattern": HOURS_PATTERN},
    "timezone": {"type": "string", "minLength": 1},
    "at_end": {"type": "string", "enum": [str(choice) for choice in AtEnd]},
    "weekdays": {
        "type": "array",
        "items": {"type": "string", "enum": list(WEEKDAYS)},
        "minItems": 1,
        "uniqueItems": True,
    },
}


def process_assets_params() -> dict[str, Param]:
    """The parameters of *aem_guides_process_assets*, in the order of the form."""
    return {**_what(), **_others(), **_course(), **_after()}


def _what() -> dict[str, Param]:
    return {
        "paths": Param(
            [],
            title="Paths",
            description_md="Folders or assets to process with all below them, one a line: absolute, such as "
            "*/content/dam/manuals*.",
            type="array",
            items={"type": "string", "pattern": PATH_PATTERN, "maxLength": 2000},
            minItems=1,
            maxItems=1000,
            uniqueItems=True,
            section=_WHAT,
        ),
        "excluded_paths": Param(
            [],
            title="Excluded paths",
            description_md="What to leave out, one a line. Each must lie below one of the paths.",
            type=["array", "null"],
            items={"type": "string", "minLength": 1, "maxLength": 2000},
            maxItems=1000,
            section=_WHAT,
        ),
        "file_types": Param(
            [],
            title="File types",
            description_md="Only these types; none chosen means all. Instances before 2026.01 do not know this filter.",
            type=["array", "null"],
            items={"type": "string", "enum": list(FILE_TYPES)},
            examples=list(FILE_TYPES),
            values_display={"HTML/CSS": "HTML and CSS", "OTHERS": "All other types"},
            uniqueItems=True,
            section=_WHAT,
        ),
        "created_after": Param(
            None,
            title="Created after",
            description_md="Only assets created at or after this time. Over REST: ISO 8601 with offset.",
            type=["null", "string"],
            format="date-time",
            pattern=TIME_PATTERN,
            section=_WHAT,
        ),
        "created_before": Param(
            None,
            title="Created before",
            description_md="Only assets created before this time. Over REST: ISO 8601 with offset.",
            type=["null", "string"],
            format="date-time",
            pattern=TIME_PATTERN,
            section=_WHAT,
        ),
        "processing_type": Param(
            ASSET_PROCESSING,
            title="Processing type",
            description_md="The feature type of the Bulk Processor.",
            type="string",
            enum=[ASSET_PROCESSING],
            section=_WHAT,
        ),
        "connection_id": Param(
            DEFAULT_CONNECTION,
            title="Connection",
            description_md="The Airflow connection (type *AEM Guides*) of the instance.",
            type="string",
            minLength=1,
            maxLength=250,
            section=_WHAT,
        ),
    }


def _others() -> dict[str, Param]:
    return {
        "on_active_job": Param(
            str(OnActiveJob.ADOPT),
            title="If a job is active on a path",
            description_md="**adopt**: take it up if it asks for the same; **queue**: wait, then start; **fail**.",
            type="string",
            enum=[str(choice) for choice in OnActiveJob],
            values_display={
                "adopt": "adopt it if it is the same request",
                "queue": "queue behind it",
                "fail": "fail",
            },
            section=_OTHERS,
        ),
        "max_active_jobs": Param(
            4,
            title="Most active jobs",
            description_md="Start only while fewer jobs are active on the instance, whoever started them.",
            type="integer",
            minimum=1,
            maximum=100,
            section=_OTHERS,
        ),
        "only_between": Param(
            None,
            title="Only in off-peak hours",
            description_md="Start and resume only in these hours; empty: at any time. For one span of hours: "
            '*{"from": "22:00", "to": "06:00", "timezone": "Europe/Paris", "at_end": "cancel"}*; for several, a list '
            "of such. What still runs when they are over goes on with **leave**; with **cancel** it is cancelled, and "
            'resumed from its checkpoint when the next ones begin. With *"weekdays": ["sat", "sun"]* they begin on '
            "these days only.",
            type=["object", "array", "null"],
            items={
                "type": "object",
                "properties": _ENTRY_PROPERTIES,
                "required": _ENTRY_REQUIRED,
                "additionalProperties": False,
            },
            minItems=1,
            maxItems=100,
            section=_OTHERS,
            properties=_ENTRY_PROPERTIES,
            required=_ENTRY_REQUIRED,
            additionalProperties=False,
        ),
    }


def _course() -> dict[str, Param]:
    return {
        "max_resumes": Param(
            2,
            title="Most resumes",
            description_md="How often a failed job is resumed from its checkpoint by a retry.",
            type="integer",
            minimum=0,
            maximum=10,
            section=_COURSE,
        ),
        "deadline_hours": Param(
            24,
            title="Deadline in hours",
            description_md="How long one job may take, resumes and restarts included. The time for which it is held "
            "back for off-peak hours does not count.",
            type="number",
            exclusiveMinimum=0,
            maximum=720,
            section=_COURSE,
        ),
        "on_deadline": Param(
            str(OnDeadline.CANCEL),
            title="At the deadline",
            description_md="**cancel** the job, or **leave** it running; the run fails either way. An adopted "
            "job is left running unless *Cancel adopted jobs* is on.",
            type="string",
            enum=[str(choice) for choice in OnDeadline],
            section=_COURSE,
        ),
        "cancel_adopted": Param(
            False,
            title="Cancel adopted jobs",
            description_md="Whether stopping this run, its deadline or the end of its off-peak hours may cancel "
            "a job that somebody else started.",
            type="boolean",
            section=_COURSE,
        ),
        "stall_minutes": Param(
            30,
            title="Warn without progress after (minutes)",
            description_md="A warning in the log of *wait_for_processing*; the job goes on.",
            type="number",
            exclusiveMinimum=0,
            maximum=10080,
            section=_COURSE,
        ),
        "stream_logs": Param(
            True,
            title="Show the job's log as it runs",
            description_md="Its first 2,000 lines appear in the log of *wait_for_processing*.",
            type="boolean",
            section=_COURSE,
        ),
    }


def _after() -> dict[str, Param]:
    return {
        "max_log_lines": Param(
            100000,
            title="Most log lines",
            description_md="Lines that *pull_logs* shows; of a longer log, its head and its tail.",
            type="integer",
            minimum=2,
            maximum=10000000,
            section=_AFTER,
        ),
        "archive_logs": Param(
            True,
            title="Archive the log",
            description_md="Store the log ZIP, checked and with a manifest.",
            type="boolean",
            section=_AFTER,
        ),
        "verify_assets": Param(
            True,
            title="Verify the assets",
            description_md="Ask for the state of every asset after the job.",
            type="boolean",
            section=_AFTER,
        ),
        "fail_on_asset_failures": Param(
            None,
            title="Fail if so many assets failed",
            description_md="A count such as *1*, or a share such as *2.5%*: the run fails if at least so many assets "
            "failed, or if that cannot be told. Empty: they are reported only. With a filter (file types, created "
            "times) the instance cannot say which of the assets below the path the job had.",
            # The form takes the first type that is not null, and shares need its text field.
            type=["null", "string", "integer"],
            pattern=FAILURES_PATTERN,
            minimum=1,
            maximum=999999999,
            section=_AFTER,
        ),
        "verify_ignore": Param(
            [],
            title="Assets that do not count",
            description_md="Patterns of asset paths that *verify_assets* leaves out, one a line, such as "
            "*/content/dam/site/fragments/\\** or *\\*/translation-output/\\**. A star stands for any letters, slashes "
            "too.",
            type=["array", "null"],
            items={
                "type": "string",
                "pattern": ASSET_PATTERN,
                "maxLength": LONGEST_PATTERN,
                "description": "Give a pattern of whole asset paths, and not of all, such as */fragments/*.",
            },
            maxItems=MOST_PATTERNS,
            section=_AFTER,
        ),
    }


_JOB = "The job"
_LOOK = "What is reconciled"


def control_params() -> dict[str, Param]:
    """The parameters of *aem_guides_control_job*."""
    return {
        "processing_id": Param(
            "",
            title="Execution ID",
            description_md="The *processingId* of the job: the execution ID in the Bulk Processor.",
            type="string",
            minLength=1,
            maxLength=1000,
            section=_JOB,
        ),
        "action": Param(
            "inspect",
            title="Action",
            description_md="**inspect**: show what is known of it. **cancel**: stop it. **resume**: go on from its "
            "checkpoint. **archive**: store its log.",
            type="string",
            enum=["inspect", "cancel", "resume", "archive"],
            section=_JOB,
        ),
        "connection_id": Param(
            DEFAULT_CONNECTION,
            title="Connection",
            description_md="The Airflow connection (type *AEM Guides*) of the instance.",
            type="string",
            minLength=1,
            maxLength=250,
            section=_JOB,
        ),
    }


def reconcile_params() -> dict[str, Param]:
    """The parameters of *aem_guides_reconcile_history*."""
    return {
        "dry_run": Param(
            False,
            title="Dry run",
            description_md="Only look and report: nothing is written to the ledger, nothing is mended.",
            type="boolean",
            section=_LOOK,
        ),
        "connection_ids": Param(
            None,
            title="Connections",
            description_md="The instances, one connection a line; empty: as *[aem_guides] reconcile_connections* says.",
            type=["array", "null"],
            items={"type": "string", "minLength": 1, "maxLength": 250},
            section=_LOOK,
        ),
    }
