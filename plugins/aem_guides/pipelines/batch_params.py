"""The parameters of a batch: those of a processing run, and what many paths need besides."""

from __future__ import annotations

from airflow.sdk import Param

from aem_guides.pipelines.params import FLAG, OTHERS, PATH_PATTERN, WHAT, above_zero, in_section, process_assets_params

MOST_PATHS_IN_FORM = 10_240

_AGAIN = in_section("What was processed before")
_NOT_HERE = ("paths", "stream_logs", "max_log_lines")


def process_batch_params() -> dict[str, Param]:
    """The parameters of *aem_guides_process_batch*, in the order of the form."""
    shared = {name: param for name, param in process_assets_params().items() if name not in _NOT_HERE}
    return {**_paths(), **shared, **_waiting()}


def _paths() -> dict[str, Param]:
    return {
        "paths": WHAT(
            [],
            "Paths",
            {
                "type": ["array", "null"],
                "items": {"type": "string", "pattern": PATH_PATTERN, "maxLength": 2000},
                "maxItems": MOST_PATHS_IN_FORM,
                "uniqueItems": True,
            },
            "Folders or assets to process with all below them, one a line; or name a file below.",
        ),
        "paths_file": WHAT(
            None,
            "File of paths",
            {"type": ["null", "string"], "minLength": 1, "maxLength": 2000},
            "URI of a file in Airflow's object storage, such as *s3://bucket/paths.csv*: text with a path a line, "
            "CSV with the column *path* (and *excluded_paths*, separated by *|*), or a JSON list. A local file "
            "(*file://*, or a name alone) lies below the folder that *[aem_guides] paths_files_folder* names.",
        ),
    }


def _waiting() -> dict[str, Param]:
    return {
        "queue_hours": OTHERS(
            168,
            "Longest wait for a turn (hours)",
            above_zero(8760),
            "How long a path may wait until it can be started.",
        ),
        "batch_name": _AGAIN(
            None,
            "Name of the batch",
            {"type": ["null", "string"], "minLength": 1, "maxLength": 200},
            "A new run of the same name leaves out what an earlier one processed well.",
        ),
        "reprocess": _AGAIN(
            False,
            "Process again",
            FLAG,
            "Process also what was processed well before, by a run of that name or before *Clear*.",
        ),
    }
