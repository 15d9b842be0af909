"""Read a file of plans: every plan as plain data, with the line of every field.

Read as YAML 1.2: times and dates are strings, and `22:00` is not a number.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import yaml

_TOP = "plans"
_ITEM = re.compile(r"^( *)- ")
_HOW = "Write `plans:` and below it a list, each plan beginning with `- name:`."


class _Loader(yaml.SafeLoader):
    """YAML's safe loader without the types that only version 1.1 guesses."""


_GUESSED = {f"tag:yaml.org,2002:{kind}" for kind in ("timestamp", "int", "float")}
_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag not in _GUESSED]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver("tag:yaml.org,2002:int", re.compile(r"^[-+]?(0|[1-9][0-9]*)$"), list("-+0123456789"))
_Loader.add_implicit_resolver("tag:yaml.org,2002:float", re.compile(r"^[-+]?[0-9]+\.[0-9]+$"), list("-+0123456789"))


def steps(field: str) -> list[str | int]:
    """The path to a field, such as `deadline.0.callback`."""
    return [int(step) if step.isdigit() else step for step in field.split(".")]


def shortened(text: str) -> str:
    """A text of at most 300 characters, because a value in a message may have any length."""
    return text if len(text) <= 300 else text[:300] + "…"


@dataclass(frozen=True)
class PlanProblem:
    """A problem at a line of a file (the first line is 1). `remedy` says what would be right.

    As a text it names file, line, plan, field, value and remedy.
    """

    line: int
    field: str
    what: str
    remedy: str
    plan: str = ""
    file: str = ""

    def __str__(self) -> str:
        plan = f" plan {self.plan!r}," if self.plan else ""
        return f"{self.file}, line {self.line}:{plan} field {self.field}: {self.what} {self.remedy}".rstrip()


@dataclass(frozen=True)
class Entry:
    """One plan as it is written: plain data, and the lines of its fields."""

    data: object
    node: yaml.Node

    @property
    def name(self) -> str:
        """The name of the plan, or "" if it has none."""
        return str(self.data.get("name", "")) if isinstance(self.data, dict) else ""

    def line(self, path: Sequence[str | int] = ()) -> int:
        """The line of a field, or of the nearest written field above it."""
        node, line = self.node, self.node.start_mark.line + 1
        for step in path:
            found = _below(node, step)
            if found is None:
                return line
            line, node = found
        return line


def read_entries(text: str) -> list[Entry | PlanProblem]:
    """The plans of a file, and the problems of what could not be read.

    If the file is not valid YAML, it is read plan by plan, so that a typing error affects only one plan.
    """
    try:
        root: yaml.Node | None = yaml.compose(text, _Loader)
    except yaml.YAMLError as error:
        found = list(_apart(text))
        is_found = any(isinstance(item, PlanProblem) for item in found)
        return found if is_found else [*found, _unreadable(error)]
    if root is None:
        return []
    if not isinstance(root, yaml.MappingNode):
        return [PlanProblem(root.start_mark.line + 1, _TOP, "the file has no plans.", _HOW)]
    return list(_listed(root))


def _listed(root: yaml.MappingNode) -> Iterator[Entry | PlanProblem]:
    for key, value in root.value:
        line = key.start_mark.line + 1
        if key.value != _TOP:
            if not str(key.value).startswith("x-"):
                remedy = _HOW + " The names of your own fields must begin with x-."
                yield PlanProblem(line, str(key.value), "it is not known here.", remedy)
        elif isinstance(value, yaml.SequenceNode):
            yield from map(_entry, value.value)
        elif value.tag != "tag:yaml.org,2002:null":
            yield PlanProblem(line, _TOP, "it is not a list.", _HOW)


def _apart(text: str) -> Iterator[Entry | PlanProblem]:
    """Each plan on its own, at its line. Anchors of other plans are not known then."""
    lines = text.split("\n")
    head = next((number for number, line in enumerate(lines) if line.startswith(f"{_TOP}:")), 0)
    items = [(number, match[1]) for number, line in enumerate(lines) if number > head and (match := _ITEM.match(line))]
    starts = [number for number, indent in items if indent == items[0][1]]
    for start, stop in zip(starts, [*starts[1:], len(lines)], strict=False):
        try:
            root = yaml.compose("\n" * start + "\n".join(lines[start:stop]) + "\n", _Loader)
        except yaml.YAMLError as error:
            yield _unreadable(error)
        else:
            if isinstance(root, yaml.SequenceNode):
                yield from map(_entry, root.value)


def _entry(node: yaml.Node) -> Entry | PlanProblem:
    line = node.start_mark.line + 1
    for where, key in _doubled_keys(node):
        return PlanProblem(where, key, "it is written twice.", "Write it once.")
    loader = _Loader("")
    try:
        return Entry(loader.construct_document(node), node)
    except yaml.YAMLError as error:
        return _unreadable(error, line)
    except RecursionError:
        return PlanProblem(line, _TOP, "the plan contains itself.", "Remove the alias that refers back to it.")
    finally:
        loader.dispose()


def _doubled_keys(node: yaml.Node, above: tuple[yaml.Node, ...] = ()) -> Iterator[tuple[int, str]]:
    if node in above:
        return
    if isinstance(node, yaml.SequenceNode):
        for item in node.value:
            yield from _doubled_keys(item, (*above, node))
    if isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key, value in node.value:
            if isinstance(key, yaml.ScalarNode):
                if key.value in seen:
                    yield key.start_mark.line + 1, str(key.value)
                seen.add(key.value)
            yield from _doubled_keys(value, (*above, node))


def _below(node: yaml.Node, step: str | int) -> tuple[int, yaml.Node] | None:
    """The line and the node of a key or an item."""
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if key.value == step:
                return key.start_mark.line + 1, value
    if isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value):
        item = node.value[step]
        return item.start_mark.line + 1, item
    return None


def _unreadable(error: yaml.YAMLError, line: int = 1) -> PlanProblem:
    what = str(error)
    if isinstance(error, yaml.MarkedYAMLError):
        at_end = "end of stream" in str(error.problem)
        mark = (error.context_mark if at_end else None) or error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else line
        what = f"{error.context}: {error.problem}" if error.context else str(error.problem)
    return PlanProblem(line, _TOP, f"it is not YAML: {what}.", "Look at indentation, quotes and colons of this plan.")
