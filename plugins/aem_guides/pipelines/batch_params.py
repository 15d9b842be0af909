"""The parameters of a batch: those of a processing run, and some for many paths."""

from __future__ import annotations

from airflow.sdk import Param

from aem_guides.pipelines.params import FLAG, OTHERS, PATH_PATTERN, WHAT, above_zero, in_section, process_assets_params

MOST_PATHS_IN_FORM = 10_240

_AGAIN = in_section("Paths that were processed before")
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
            "The folders or assets to process, with everything below them, one per line. Or give a file below.",
        ),
        "paths_file": WHAT(
            None,
            "File of paths",
            {"type": ["null", "string"], "minLength": 1, "maxLength": 2000},
            "The URI of a file in Airflow's object storage, such as *s3://bucket/paths.csv*: a text file with one "
            "path per line, a CSV file with the column *path* (and *excluded_paths*, separated by *|*), or a JSON "
            "list. A local file (*file://*, or only a name) must be below the folder of the option *[aem_guides] "
            "paths_files_folder*.",
        ),
    }


def _waiting() -> dict[str, Param]:
    return {
        "queue_hours": OTHERS(
            168,
            "Longest wait for a turn (hours)",
            above_zero(8760),
            "How long a path may wait before its job is started. After that it fails.",
        ),
        "batch_name": _AGAIN(
            None,
            "Name of the batch",
            {"type": ["null", "string"], "minLength": 1, "maxLength": 200},
            "A new run with the same name leaves out the paths that an earlier run processed successfully.",
        ),
        "reprocess": _AGAIN(
            False,
            "Process again",
            FLAG,
            "Also process paths that were processed successfully before, by a run with that name or before *Clear*.",
        ),
    }
