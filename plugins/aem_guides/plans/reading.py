"""Turn a written entry into a plan, or into its problems: field, value, remedy and line."""

from __future__ import annotations

import difflib
from collections import ChainMap
from collections.abc import Iterator, Sequence
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from aem_guides.plans.file import Entry, PlanProblem, shortened
from aem_guides.plans.models import Plan


def read_plan(entry: Entry) -> Plan | list[PlanProblem]:
    """The plan of an entry, or all of its problems."""
    try:
        return Plan.model_validate(entry.data, context=entry)
    except ValidationError as error:
        # A value that is derived from a wrong field is not checked.
        errors = (one for one in error.errors() if one["type"] != "default_factory_not_called")
        return [_problem(entry, one) for one in errors]


def _problem(entry: Entry, error: ErrorDetails) -> PlanProblem:
    path = list(_written(entry.data, error["loc"]))
    description, _ = _described(path)
    match error["type"]:
        case "plan":
            what, remedy = error["ctx"]["what"], error["ctx"]["remedy"] or description
        case "missing":
            what, remedy = "it is missing.", description
        case "extra_forbidden":
            _, known = _described(path[:-1])
            close = difflib.get_close_matches(str(path[-1]), known, n=1)
            advice = f"Did you mean {close[0]}? " if close else ""
            what, remedy = "it is not known here.", f"{advice}Known are {', '.join(known)}."
        case _:
            rule = error["msg"].partition(" should ")[2].partition(" or instance of ")[0].partition(" after ")[0]
            what, remedy = f"{shortened(repr(error['input']))} should {rule}.", description
    field = ".".join(str(step) for step in path) or "plans"
    return PlanProblem(entry.line(path), field, what, " ".join(remedy.split()), entry.name)


def _written(data: object, loc: tuple[int | str, ...]) -> Iterator[int | str]:
    """The steps to a value as they are written: a text may stand for a mapping, and an item for a list."""
    for step in loc:
        if isinstance(data, dict) and isinstance(step, str):
            data = data.get(step)
            yield step
        elif isinstance(data, list) and isinstance(step, int):
            data = data[step] if step < len(data) else None
            yield step


def _described(path: Sequence[int | str]) -> tuple[str, list[str]]:
    """The schema's description of a field, or of the nearest described field above it; and the allowed values."""
    schema = Plan.model_json_schema()

    def opened(node: dict[str, Any]) -> ChainMap[str, Any]:
        found = [node, *node.get("anyOf", [])]
        found += [schema["$defs"][one["$ref"].rpartition("/")[2]] for one in found if "$ref" in one]
        return ChainMap(*found)

    node = opened(schema)
    text = node["description"]
    for step in path:
        node = opened((node.get("items") if isinstance(step, int) else node.get("properties", {}).get(step)) or {})
        text = node.get("description", text)
    return text, [*node.get("properties", [])]
