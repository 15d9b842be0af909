"""Make DAGs of plans: `aem_guides_plan_<name>`, with the tasks of `aem_guides_process_assets`, built by the same code.
A broken plan is an import error of a separate DAG file (`check_plans`).

Airflow unschedules every DAG of a file with an import error, so the file with the DAGs must not have one.
"""

from __future__ import annotations

import pkgutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TypeAlias

import pendulum
from airflow.sdk import (
    DAG,
    Context,
    CronDataIntervalTimetable,
    CronTriggerTimetable,
    DeltaDataIntervalTimetable,
    DeltaTriggerTimetable,
    Param,
)
from airflow.sdk.definitions.callback import AsyncCallback, SyncCallback
from airflow.sdk.definitions.deadline import BaseDeadlineReference, DeadlineAlert, DeadlineReference

from aem_guides.pipelines.batch import build_batch_tasks
from aem_guides.pipelines.incremental import FilterEnd
from aem_guides.pipelines.process import build_process_tasks, default_args
from aem_guides.plans.file import PlanProblem
from aem_guides.plans.loading import Plans, PlansError, load_plans, plans_file
from aem_guides.plans.models import UNTIMED, Deadline, Notification, Plan, Schedule, run_params
from aem_guides.protocol.errors import InvalidInputError

DAG_PREFIX = "aem_guides_plan_"

Timetable: TypeAlias = (
    CronDataIntervalTimetable | CronTriggerTimetable | DeltaDataIntervalTimetable | DeltaTriggerTimetable | str | None
)


BUILDERS: dict[bool, Callable[[FilterEnd | None], None]] = {
    False: build_process_tasks,
    True: build_batch_tasks,
}
"""The functions that build the tasks of a plan's DAG, by its field `batch`."""


@dataclass(frozen=True)
class PlanDags:
    """The DAGs by their ids, and the problems of the plans without one."""

    dags: dict[str, DAG] = field(default_factory=dict)
    problems: tuple[PlanProblem, ...] = ()


@dataclass(frozen=True)
class LazyNotifier:
    """A callback that imports and builds its notifier when it is called, not at every parse."""

    notification: Notification

    def __call__(self, context: Context) -> None:
        build = pkgutil.resolve_name(self.notification.notifier)
        build(**self.notification.kwargs)(context)


def load_plan_dags() -> PlanDags:
    """The DAGs of the configured file of plans."""
    file, chosen = plans_file()
    return build_plan_dags(load_plans(file, required=chosen))


def check_plans() -> None:
    """Raise PlansError with all problems of the configured plans, also with their imports.

    Only the check imports the notifiers of plans. A plan whose notifier cannot be imported still runs, but sends no
    notification.
    """
    file, chosen = plans_file()
    plans = load_plans(file, required=chosen)
    built = build_plan_dags(plans)
    reported = {(problem.plan, problem.field) for problem in built.problems}
    missing = (problem for plan in plans.plans for problem in _missing_imports(plans.file, plan))
    wrong = [*built.problems, *(problem for problem in missing if (problem.plan, problem.field) not in reported)]
    if wrong:
        raise PlansError(sorted(wrong, key=lambda problem: problem.line))


def _missing_imports(file: str, plan: Plan) -> Iterator[PlanProblem]:
    for name, path in plan.imports.items():
        try:
            found = pkgutil.resolve_name(path)
        except Exception as error:  # noqa: BLE001  # a module may fail in any way while it is imported
            what = f"{path!r} cannot be imported: {str(error).rstrip('.') or type(error).__name__}."
        else:
            if callable(found):
                continue
            what = f"{path!r} cannot be called."
        remedy = "Write the import path of a notifier or function that is installed where Airflow parses the DAGs."
        yield _refused(file, plan, name, what, remedy)


def build_plan_dags(plans: Plans) -> PlanDags:
    """One DAG for each enabled plan. If Airflow itself refuses a plan, only that plan has a problem."""
    dags: dict[str, DAG] = {}
    problems = list(plans.problems)
    for plan in plans.plans:
        if not plan.enabled:
            continue
        try:
            dag = build_dag(plan)
            dag.validate()  # type: ignore[no-untyped-call]  # Airflow's
        except InvalidInputError as error:
            problems.append(_refused(plans.file, plan, error.field, f"{error.value!r} is not valid.", error.remedy))
        except Exception as error:  # noqa: BLE001  # no error of one plan may affect the others
            what = f"Airflow refuses the plan: {str(error).rstrip('.')}."
            problems.append(_refused(plans.file, plan, "name", what, "Change what it names."))
        else:
            dags[dag.dag_id] = dag
    return PlanDags(dags, tuple(problems))


def _refused(file: str, plan: Plan, name: str, what: str, remedy: str) -> PlanProblem:
    return PlanProblem(plan.line(name), name, what, remedy, plan.name, file)


def build_dag(plan: Plan) -> DAG:
    """The DAG of a plan. It is not registered with Airflow: the DAG file must hold it."""
    arguments = default_args()
    if plan.owner:
        arguments["owner"] = plan.owner
    with DAG(
        dag_id=DAG_PREFIX + plan.name,
        dag_display_name=f"AEM Guides plan: {plan.name}",
        description=plan.description or f"The plan {plan.name} of AEM Guides processing",
        doc_md=_documentation(plan),
        schedule=timetable(plan.schedule, incremental=plan.incremental),
        start_date=plan.start_date,
        end_date=plan.end_date,
        catchup=plan.catchup,
        params=plan_params(plan.values, batch=plan.batch),
        default_args=arguments,
        max_active_runs=1,
        tags=["aem-guides", *plan.tags],
        on_success_callback=_callbacks(plan.notifications.on_success),
        on_failure_callback=_callbacks(plan.notifications.on_failure),
        deadline=[_alert(number, deadline) for number, deadline in enumerate(plan.deadline)] or None,
        auto_register=False,
    ) as dag:
        BUILDERS[plan.batch](plan.filter_end if plan.incremental else None)
    return dag


def timetable(schedule: Schedule | None, *, incremental: bool) -> Timetable:
    """The timetable of a schedule. Only runs of an incremental plan have data intervals, which are adjacent."""
    if schedule is None:
        return None
    if schedule.interval is not None:
        every: timedelta = schedule.interval
        return DeltaDataIntervalTimetable(every) if incremental else DeltaTriggerTimetable(every)
    if schedule.cron in UNTIMED:
        return schedule.cron
    zone = pendulum.timezone(schedule.timezone)
    return (CronDataIntervalTimetable if incremental else CronTriggerTimetable)(schedule.cron, zone)


def plan_params(values: Mapping[str, object], *, batch: bool) -> dict[str, Param]:
    """The parameters of a plan's runs, with its values as their defaults."""
    params = run_params(batch=batch)
    for name, value in values.items():
        params[name].value = value
    return params


def _documentation(plan: Plan) -> str:
    what = f"\n{plan.description}\n" if plan.description else ""
    times = "the assets created in the data interval of a run" if plan.incremental else "all assets"
    paths: object = plan.values.get("paths") or [f"the paths of {plan.values.get('paths_file')}"]
    tasks = "aem_guides_process_batch" if plan.batch else "aem_guides_process_assets"
    shown = ", ".join(f"`{path}`" for path in paths[:10]) if isinstance(paths, list) else ""
    more = f" and {len(paths) - 10} more paths" if isinstance(paths, list) and len(paths) > 10 else ""
    return f"""### Plan {plan.name}
{what}
Processes {times} below {shown}{more}. It has the tasks of `{tasks}`; the documentation of that
DAG says what to do if a task fails. The values of the plan are the defaults of the parameters.
"""


def _callbacks(notifications: Sequence[Notification]) -> list[Callable[[Context], None]] | None:
    return [LazyNotifier(notification) for notification in notifications] or None


def _alert(number: int, deadline: Deadline) -> DeadlineAlert:
    make = AsyncCallback if deadline.runs_in == "triggerer" else SyncCallback
    try:
        callback = make(deadline.callback, dict(deadline.kwargs))
    except (AttributeError, ValueError) as error:
        remedy = "Give a notifier or an asynchronous function, or write runs_in: executor for a synchronous callable."
        raise InvalidInputError(f"deadline.{number}.callback", deadline.callback, remedy) from error
    return DeadlineAlert(_reference(deadline.reference), deadline.interval, callback, deadline.name or None)


def _reference(name: str) -> BaseDeadlineReference:
    references = {
        "DAGRUN_QUEUED_AT": DeadlineReference.DAGRUN_QUEUED_AT,
        "DAGRUN_LOGICAL_DATE": DeadlineReference.DAGRUN_LOGICAL_DATE,
        "AVERAGE_RUNTIME": DeadlineReference.AVERAGE_RUNTIME(),
    }
    return references[name]
