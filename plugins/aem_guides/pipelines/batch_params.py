"""The parameters of a batch: those of a processing run, and what many paths need besides."""

from __future__ import annotations

from airflow.sdk import Param

from aem_guides.pipelines.params import PATH_PATTERN, process_assets_params

MOST_PATHS_IN_FORM = 10_240

_WHAT = "What is processed"
_AGAIN = "What was processed before"
_OTHERS = "Other jobs on the instance"
_NOT_HERE = ("paths", "stream_logs", "max_log_lines")


def process_batch_params() -> dict[str, Param]:
    """The parameters of *aem_guides_process_batch*, in the order of the form."""
    shared = {name: param for name, param in process_assets_params().items() if name not in _NOT_HERE}
    return {**_paths(), **shared, **_queue(), **_again()}


def _paths() -> dict[str, Param]:
    return {
        "paths": Param(
            [],
            title="Paths",
            description_md="Folders or assets to process with all below them, one a line; or name a file below.",
            type=["array", "null"],
            items={"type": "string", "pattern": PATH_PATTERN, "maxLength": 2000},
            maxItems=MOST_PATHS_IN_FORM,
            uniqueItems=True,
            section=_WHAT,
        ),
        "paths_file": Param(
            None,
            title="File of paths",
            description_md="URI of a file in Airflow's object storage, such as *s3://bucket/paths.csv*: text with a "
            "path a line, CSV with the column *path* (and *excluded_paths*, separated by *|*), or a JSON list. A local "
            "file (*file://*, or a name alone) lies below the folder that *[aem_guides] paths_files_folder* names.",
            type=["null", "string"],
            minLength=1,
            maxLength=2000,
            section=_WHAT,
        ),
    }


def _queue() -> dict[str, Param]:
    return {
        "queue_hours": Param(
            168,
            title="Longest wait for a turn (hours)",
            description_md="How long a path may wait until it can be started.",
            type="number",
            exclusiveMinimum=0,
            maximum=8760,
            section=_OTHERS,
        ),
    }


def _again() -> dict[str, Param]:
    return {
        "batch_name": Param(
            None,
            title="Name of the batch",
            description_md="A new run of the same name leaves out what an earlier one processed well.",
            type=["null", "string"],
            minLength=1,
            maxLength=200,
            section=_AGAIN,
        ),
        "reprocess": Param(
            False,
            title="Process again",
            description_md="Process also what was processed well before, by a run of that name or before *Clear*.",
            type="boolean",
            section=_AGAIN,
        ),
    }
