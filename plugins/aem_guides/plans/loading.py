"""Read `plans.yaml` and validate its plans. The file has a list `plans:`, described by `plans.schema.json`.

Each plan is checked on its own: an error in one is a `PlanProblem` and does not affect the others. `plan_dags` makes
DAGs of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from airflow.sdk.configuration import conf

from aem_guides.plans.file import Entry, PlanProblem, read_entries
from aem_guides.plans.models import Plan
from aem_guides.plans.reading import read_plan
from aem_guides.protocol.errors import ConfigurationError


class PlansError(ConfigurationError):
    """Plans that cannot be used. `problems` has all errors, one per line of the message."""

    def __init__(self, problems: Sequence[PlanProblem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in problems))


@dataclass(frozen=True)
class Plans:
    """The valid plans of a file, and the errors of the others."""

    file: str
    plans: tuple[Plan, ...] = ()
    problems: tuple[PlanProblem, ...] = ()


def plans_file() -> tuple[Path, bool]:
    """The file with the plans, and whether `[aem_guides] plans_file` names it. The default is beside the DAG folder."""
    if configured := conf.get("aem_guides", "plans_file", fallback=""):
        return Path(configured), True
    return Path(conf.get_mandatory_value("core", "dags_folder")).parent / "include" / "plans.yaml", False


def load_plans(file: Path, *, required: bool = True) -> Plans:
    """Read and check a file of plans. Without `required`, a missing file counts as empty."""
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
    problems: list[PlanProblem] = []
    plans: dict[str, Plan] = {}
    for entry in read_entries(text):
        match read_plan(entry) if isinstance(entry, Entry) else [entry]:
            case Plan() as plan if plan.name in plans:
                problems.append(_doubled(plan, plans[plan.name]))
            case Plan() as plan:
                plans[plan.name] = plan
            case found:
                problems += found
    in_order = sorted(problems, key=lambda problem: problem.line)
    return Plans(file, tuple(plans.values()), tuple(replace(problem, file=file) for problem in in_order))


def _doubled(plan: Plan, first: Plan) -> PlanProblem:
    what = f"{plan.name!r} is already the name of the plan at line {first.line('name')}."
    return PlanProblem(plan.line("name"), "name", what, "Give each plan a different name.", plan.name)


def _no_file(file: Path, what: str) -> Plans:
    remedy = "Set [aem_guides] plans_file to a file that every component can read."
    return Plans(str(file), problems=(PlanProblem(1, "plans_file", what, remedy, file=str(file)),))
