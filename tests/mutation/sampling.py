"""The mutants of the protocol, and the sample of them that is always the same for the same source."""

from __future__ import annotations

import ast
import difflib
import hashlib
import json
import math
import textwrap
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

LEAST_OF_A_MODULE = 3


@dataclass(frozen=True)
class Mutant:
    """One change of one function. `name` is mutmut's name, which shifts with the source; `change` does not."""

    name: str
    module: str
    function: str
    before: str
    after: str

    @property
    def change(self) -> str:
        """The lines that differ, each once before and once after the change."""
        lines = difflib.unified_diff(self.before.splitlines(), self.after.splitlines(), lineterm="", n=0)
        return "\n".join(
            line[0] + " " + line[1:].strip() for line in lines if not line.startswith(("---", "+++", "@@"))
        )

    @property
    def diff(self) -> str:
        lines = difflib.unified_diff(self.before.splitlines(), self.after.splitlines(), lineterm="", n=2)
        return "\n".join(line for line in lines if not line.startswith(("---", "+++", "@@")))

    @property
    def only_words_differently(self) -> bool:
        """Whether only a text for people differs: a string with a space in it."""
        return _without_wording(self.before) == _without_wording(self.after)


def undecorate_properties(source: str) -> str:
    """Write `name = property(name)` below a method instead of a decorator, because mutmut ignores decorated methods."""
    lines = source.splitlines()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef) and [ast.unparse(d) for d in node.decorator_list] == ["property"]:
            lines[node.decorator_list[0].lineno - 1] = ""
            lines[(node.end_lineno or 0) - 1] += f"\n{' ' * node.col_offset}{node.name} = property({node.name})"
    return "\n".join(lines) + "\n"


def mutants_in(mutated_file: Path, module: str) -> list[Mutant]:
    """The mutants of one module, from mutmut's file and its index of their lines."""
    lines = mutated_file.read_text(encoding="utf-8").splitlines()
    spans = json.loads(mutated_file.with_name(f"{mutated_file.name}.spans").read_text(encoding="utf-8"))["spans"]
    texts = {name: textwrap.dedent("\n".join(lines[first - 1 : last])) for name, (first, last) in spans.items()}
    mutants = []
    for name, after in texts.items():
        mangled, _, number = name.rpartition("__mutmut_")
        function = mangled.removeprefix("x_").removeprefix("xǁ").replace("ǁ", ".")
        if number != "orig":
            before = texts[f"{mangled}__mutmut_orig"].replace(f"{mangled}__mutmut_orig", function.rpartition(".")[2])
            changed = after.replace(name, function.rpartition(".")[2])
            mutants.append(Mutant(f"{module}.{name}", module, function, before.strip(), changed.strip()))
    return mutants


def sample(mutants: Iterable[Mutant], size: int, seed: int) -> list[Mutant]:
    """At least `size` mutants, with a share for each module, selected by a hash."""
    modules: dict[str, list[Mutant]] = defaultdict(list)
    for mutant in mutants:
        modules[mutant.module].append(mutant)
    total = sum(map(len, modules.values()))

    def lot(mutant: Mutant) -> str:
        reported = "\n".join((str(seed), mutant.module, mutant.function, mutant.change, mutant.name.rpartition("_")[2]))
        return hashlib.sha256(reported.encode()).hexdigest()

    chosen = []
    for found in modules.values():
        share = max(LEAST_OF_A_MODULE, math.ceil(size * len(found) / total))
        chosen.extend(sorted(found, key=lot)[:share])
    return chosen


class _Wordless(ast.NodeTransformer):
    def visit_Constant(self, node: ast.Constant) -> ast.Constant:
        return ast.Constant("") if isinstance(node.value, str) and " " in node.value else node


def _without_wording(source: str) -> str:
    return ast.dump(_Wordless().visit(ast.parse(source)))
