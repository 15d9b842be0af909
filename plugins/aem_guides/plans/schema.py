"""The JSON schema of plans, for the check at parse time and for editors.

`python -m aem_guides.plans.schema` writes the parameters of a processing run anew into `plans.schema.json`.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import cast

from airflow.sdk import Param

from aem_guides.pipelines.batch_params import process_batch_params
from aem_guides.pipelines.params import process_assets_params
from aem_guides.protocol.models import JsonObject, JsonValue

SCHEMA_FILE = Path(__file__).with_name("plans.schema.json")

FIELDS = {
    "paths": "paths",
    "paths_file": "paths_file",
    "excluded_paths": "excluded_paths",
    "file_types": "file_types",
    "connection": "connection_id",
    "only_between": "only_between",
}
"""The fields of a plan that are parameters of its runs, and what they are called there."""

_OF_FORMS = frozenset({"title", "description_md", "section", "values_display", "examples", "const"})


def run_params(*, batch: bool) -> dict[str, Param]:
    """The parameters of a plan's runs: those of `aem_guides_process_batch` or `aem_guides_process_assets`."""
    return process_batch_params() if batch else process_assets_params()


def load_schema() -> JsonObject:
    """The shipped schema, with the parameters as they are in this installation."""
    schema = cast("JsonObject", json.loads(SCHEMA_FILE.read_text(encoding="utf-8")))
    plan = cast("dict[str, dict[str, JsonObject]]", schema["$defs"])["plan"]
    cast("JsonObject", plan["properties"]["parameters"])["properties"] = cast("JsonValue", _parameters())
    return schema


def render() -> str:
    """What the shipped file holds."""
    return json.dumps(load_schema(), indent=2, ensure_ascii=False) + "\n"


def _parameters() -> JsonObject:
    described: JsonObject = {}
    for name, param in {**run_params(batch=True), **run_params(batch=False)}.items():
        if name in FIELDS.values():
            continue
        kept = {key: value for key, value in param.schema.items() if key not in _OF_FORMS}
        text = str(param.schema.get("description_md") or param.schema.get("title") or name)
        described[name] = {"description": text, **kept, "default": param.value}
    return described


if __name__ == "__main__":
    SCHEMA_FILE.write_text(render(), encoding="utf-8")
