"""Scheduled work as configuration: `plans.yaml` to validated plans.

The file holds `plans:`, a list; `plans.schema.json` describes it. Each plan is checked for itself: what is wrong with
one is a `PlanProblem` and leaves the others alone. `plan_dags` makes DAGs of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from airflow.sdk.configuration import conf

from aem_guides.plans.file import Entry, Flaw, read_entries
from aem_guides.plans.models import Plan
from aem_guides.plans.reading import PlanReader
from aem_guides.protocol.errors import ConfigurationError


@dataclass(frozen=True)
class PlanProblem:
    """What is wrong with a plan. As a text it names file, line, plan, field, value and remedy."""

    file: str
    line: int
    plan: str
    field: str
    what: str
    remedy: str

    def __str__(self) -> str:
        plan = f" plan {self.plan!r}," if self.plan else ""
        return f"{self.file}, line {self.line}:{plan} field {self.field}: {self.what} {self.remedy}".rstrip()


class PlansError(ConfigurationError):
    """Plans that cannot be carried out: `problems` are all of them, one a line of the message."""

    def __init__(self, problems: Sequence[PlanProblem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in problems))


@dataclass(frozen=True)
class Plans:
    """The good plans of a file, and what is wrong with the others."""

    file: str
    plans: tuple[Plan, ...] = ()
    problems: tuple[PlanProblem, ...] = ()


def plans_file() -> tuple[Path, bool]:
    """The file with the plans, and whether it was chosen: by `[aem_guides] plans_file`, else beside the DAG folder."""
    if configured := conf.get("aem_guides", "plans_file", fallback=""):
        return Path(configured), True
    return Path(conf.get_mandatory_value("core", "dags_folder")).parent / "include" / "plans.yaml", False


def load_plans(file: Path, *, required: bool = True) -> Plans:
    """Read and check a file of plans. Without `required`, a file that does not exist holds none."""
    try:
        text = file.read_text(encoding="utf-8")
    except FileNotFoundError:
        if not required:
            return Plans(str(file))
        return _no_file(file, "the file does not exist.")
    except (OSError, UnicodeDecodeError) as error:
        return _no_file(file, f"the file cannot be read: {error}.")
    return parse_plans(text, str(file))


def parse_plans(text: str, file: str = "plans.yaml") -> Plans:
    """Check the text of a file of plans; `file` names it in problems."""
    entries, flaws = read_entries(text)
    problems = [_problem(file, "", flaw) for flaw in flaws]
    reader = PlanReader()
    plans: dict[str, Plan] = {}
    for entry in entries:
        plan, found = reader.read(entry)
        if plan is not None and plan.name in plans:
            found = [_doubled(plan, plans[plan.name])]
        problems += [_problem(file, _name_of(entry), flaw) for flaw in found]
        if plan is not None and not found:
            plans[plan.name] = plan
    return Plans(file, tuple(plans.values()), tuple(sorted(problems, key=lambda problem: problem.line)))


def _doubled(plan: Plan, first: Plan) -> Flaw:
    what = f"{plan.name!r} is the name of the plan at line {first.line('name')} already."
    return Flaw(plan.line("name"), "name", what, "Give each plan a name of its own.")


def _no_file(file: Path, what: str) -> Plans:
    remedy = "Set [aem_guides] plans_file to a file that every component can read."
    return Plans(str(file), problems=(PlanProblem(str(file), 1, "", "plans_file", what, remedy),))


def _problem(file: str, plan: str, flaw: Flaw) -> PlanProblem:
    return PlanProblem(file, flaw.line, plan, flaw.field, flaw.what, flaw.remedy)


def _name_of(entry: Entry) -> str:
    name = entry.data.get("name") if isinstance(entry.data, dict) else None
    return str(name) if name is not None else ""
