"""Tables of the pages, from the code itself: parameters, fields of plans, options."""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import cast

from airflow.sdk import Param

from aem_guides import plans
from aem_guides.pipelines.batch_params import process_batch_params
from aem_guides.pipelines.params import control_params, process_assets_params, reconcile_params
from aem_guides.plans.loading import parse_plans
from aem_guides.provider_info import get_provider_info

Node = Mapping[str, object]


def parameters() -> str:
    """The parameters of the four DAGs. For a batch, only those that a single run does not have."""
    single = process_assets_params()
    batch = {name: param for name, param in process_batch_params().items() if name == "paths" or name not in single}
    parts = [
        ("## A single run", "`aem_guides_process_assets`, and plans.", single),
        (
            "## A batch",
            "`aem_guides_process_batch`, and plans with `batch: true`. It also has the parameters of a single run, "
            f"but for {_listed(name for name in single if name not in process_batch_params())}.",
            batch,
        ),
        ("## One job by hand", "`aem_guides_control_job`.", control_params()),
        ("## The reconciliation", "`aem_guides_reconcile_history`.", reconcile_params()),
    ]
    return "\n\n".join(f"{title}\n\n{about}\n\n{_params(params)}" for title, about, params in parts)


def plan_fields() -> str:
    """The fields of a plan, from the schema that editors and the check use."""
    (file,) = Path(plans.__file__).parent.glob("*.schema.json")
    schema = cast("Node", json.loads(file.read_text(encoding="utf-8")))
    listed = cast("Node", cast("Node", schema["properties"])["plans"])
    definitions = cast("Mapping[str, Node]", schema["$defs"])
    plan = _definition(definitions, listed)
    fields = cast("Mapping[str, Node]", plan["properties"])
    required = cast("list[str]", plan["required"])
    rows = (
        (f"`{name}`", "**needed**" if name in required else _value(node.get("default")), _described(definitions, node))
        for name, node in fields.items()
    )
    return _table(("field", "default", "what to write"), rows)


def plan_error() -> str:
    """The message about a wrong plan."""
    lines = ["plans:", *("  # ..." for _ in range(8)), "  - name: weekly", "    schedule: '@weekly'", "    paths:"]
    (problem,) = parse_plans("\n".join([*lines, "      - content/x"]), "/opt/airflow/include/plans.yaml").problems
    return "```\n" + textwrap.fill(str(problem), 118, break_long_words=False, break_on_hyphens=False) + "\n```"


def options() -> str:
    """The options of `[aem_guides]`, as the provider describes them to Airflow."""
    config = cast("Mapping[str, Mapping[str, Mapping[str, Mapping[str, str]]]]", get_provider_info()["config"])
    options = config["aem_guides"]["options"]
    rows = (
        (f"`{name}`", _value(option["default"] or None), _plain(option["description"]))
        for name, option in options.items()
    )
    return _table(("option", "default", "meaning"), rows)


def _params(params: Mapping[str, Param]) -> str:
    rows = (
        (f"`{name}`", _value(param.value), _values(param.schema), "*{title}.* {description_md}".format(**param.schema))
        for name, param in params.items()
    )
    return _table(("parameter", "default", "values", "meaning"), rows)


def _values(schema: Node) -> str:
    """The allowed values of a parameter, in words."""
    chosen = _choices(schema)
    if chosen:
        return chosen
    kinds = schema.get("type")
    names = [str(kind) for kind in (kinds if isinstance(kinds, list) else [kinds]) if kind != "null"]
    words = {"array": "list", "boolean": "true, false", "integer": "whole number", "object": "JSON", "string": "text"}
    return " or ".join(words.get(name, name) for name in names) + _bounds(schema)


def _choices(schema: Node) -> str:
    items = schema.get("items")
    within = items if isinstance(items, dict) else {}
    some = ", ".join(f"`{choice}`" for choice in cast("list[str]", within.get("enum", [])))
    one = ", ".join(f"`{choice}`" for choice in cast("list[str]", schema.get("enum", [])))
    return f"some of {some}" if some else one


def _bounds(schema: Node) -> str:
    kind = schema.get("type")
    if "minItems" in schema and kind == "array":
        return f", {schema['minItems']} to {schema['maxItems']:,}"
    if kind in ("integer", "number"):
        least = schema.get("minimum", f"more than {schema.get('exclusiveMinimum')}")
        return f", {least} to {schema['maximum']:,}"
    return ""


def _value(value: object) -> str:
    """A default, or "" if it is empty."""
    if value is None or value in ([], "") or (isinstance(value, dict) and not any(value.values())):
        return ""
    return f"`{value}`" if isinstance(value, str) else f"`{json.dumps(value)}`"


def _listed(names: Iterable[str]) -> str:
    *first, last = (f"`{name}`" for name in names)
    return f"{', '.join(first)} and {last}" if first else last


def _described(definitions: Mapping[str, Node], field: Node) -> str:
    """The description of a field, or else that of its definition."""
    description = field.get("description") or _definition(definitions, field).get("description")
    if not description:
        raise ValueError(f"The schema of plans does not describe {field!r}.")
    return _plain(description)


def _definition(definitions: Mapping[str, Node], node: object) -> Node:
    """The first definition that a part of the schema refers to."""
    found = next(_references(node), None)
    if found is None:
        raise ValueError(f"The schema of plans names no definition in {node!r}.")
    return definitions[found.rpartition("/")[2]]


def _references(node: object) -> Iterator[str]:
    if isinstance(node, dict):
        if isinstance(node.get("$ref"), str):
            yield node["$ref"]
        for value in node.values():
            yield from _references(value)
    elif isinstance(node, list):
        for value in node:
            yield from _references(value)


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join("| " + " | ".join(_cell(cell) for cell in line) + " |" for line in lines)


def _plain(text: object) -> str:
    """A text without Markdown, so that its asterisks are shown."""
    return re.sub(r"(?<!`)\*(?!`)", r"\\*", str(text))


def _cell(text: str) -> str:
    """A text for a table cell: without line breaks, bars and tags."""
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")
