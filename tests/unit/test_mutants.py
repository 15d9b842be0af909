"""The mutants of the protocol, and how they are identified over versions of the source."""

from __future__ import annotations

import json
from pathlib import Path

from tests.mutation.sampling import Mutant

ROOT = Path(__file__).resolve().parents[2]
BEFORE = "def f(a):\n    b = 1\n    c = a + b\n    return c"


def mutant(after: str) -> Mutant:
    return Mutant("m.x_f__mutmut_1", "m", "f", BEFORE, after)


def test_a_change_has_the_lines_that_differ_and_not_where_they_stand() -> None:
    changed = mutant(BEFORE.replace("a + b", "a - b"))
    assert changed.change == "- c = a + b\n+ c = a - b"
    assert "@@" not in changed.diff


def test_a_mutant_without_effect_is_listed_as_a_change_of_a_function_of_the_protocol() -> None:
    for reported in json.loads((ROOT / "tests" / "mutation" / "equivalent.json").read_text(encoding="utf-8")):
        module, _, function = reported["function"].rpartition(".")
        source = (ROOT / "plugins" / f"{module.replace('.', '/')}.py").read_text(encoding="utf-8")
        assert f"def {function}(" in source
        before = reported["change"].partition("\n+ ")[0].removeprefix("- ")
        assert before in source
