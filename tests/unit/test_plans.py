"""A file of plans: what is read, and how a broken plan is reported."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator
from yaml import safe_load

from aem_guides.pipelines.incremental import FilterEnd
from aem_guides.plans import schema as plan_schema
from aem_guides.plans.file import Entry, read_entries
from aem_guides.plans.loading import Plans, load_plans, parse_plans, plans_file
from aem_guides.plans.models import Plan, Schedule

ROOT = Path(__file__).resolve().parents[2]
GOOD = """
plans:
  - name: good
    schedule: "@daily"
    paths: [/content/dam/a]
"""


def one(text: str) -> Plan:
    """The plan of a text with exactly one plan and no error."""
    plans = parse_plans(text)
    assert plans.problems == ()
    (plan,) = plans.plans
    return plan


def with_fields(*fields: str) -> str:
    lines = ["plans:", "  - name: p", *(f"    {field}" for field in fields)]
    for needed in ("schedule: '@daily'", "paths: [/content/dam/a]"):
        if not any(field.startswith(needed.partition(":")[0] + ":") for field in fields):
            lines.append(f"    {needed}")
    return "\n".join(lines) + "\n"


def test_a_plan_is_read_whole() -> None:
    plan = one(
        with_fields(
            "schedule: {cron: '30 1 * * *', timezone: Europe/Paris}",
            "start_date: 2026-01-01",
            "end_date: 2026-02-01T06:00+00:00",
            "paths: [/content/dam/a, /content/dam/b]",
            "excluded_paths: [/content/dam/a/drafts]",
            "file_types: [DITAMAP]",
            "connection: other",
            "parameters: {max_active_jobs: 2, deadline_hours: 1.5}",
            "tags: [nightly]",
            "owner: docs",
            "incremental: true",
            "filter_end: inclusive",
            "only_between: {from: 22:00, to: '05:00', at_end: cancel}",
            "description: Every night",
            "notifications: {on_failure: [{notifier: a.b.C, kwargs: {to: x}}]}",
            "deadline: [{interval: {hours: 1, minutes: 30}, callback: a.b.C, reference: DAGRUN_LOGICAL_DATE}]",
        )
    )
    assert plan.schedule == Schedule(cron="30 1 * * *", timezone="Europe/Paris")
    assert plan.start_date == datetime(2025, 12, 31, 23, tzinfo=UTC)
    assert plan.end_date == datetime(2026, 2, 1, 6, tzinfo=UTC)
    assert plan.catchup is True
    assert plan.values == {
        "paths": ["/content/dam/a", "/content/dam/b"],
        "excluded_paths": ["/content/dam/a/drafts"],
        "file_types": ["DITAMAP"],
        "connection_id": "other",
        "max_active_jobs": 2,
        "deadline_hours": 1.5,
        "on_active_job": "queue",
        "only_between": {"from": "22:00", "to": "05:00", "timezone": "Europe/Paris", "at_end": "cancel"},
    }
    assert (plan.tags, plan.owner, plan.description) == (["nightly"], "docs", "Every night")
    assert (plan.incremental, plan.filter_end) == (True, FilterEnd.INCLUSIVE)
    assert plan.notifications.on_failure[0].notifier == "a.b.C"
    assert plan.deadline[0].interval == timedelta(hours=1.5)


@pytest.mark.parametrize(
    ("written", "schedule"),
    [
        ("'0 3 * * 1'", Schedule(cron="0 3 * * 1")),
        ("'@weekly'", Schedule(cron="@weekly")),
        ("'@once'", Schedule(cron="@once")),
        ("'@continuous'", Schedule(cron="@continuous")),
        ("null", None),
        ("{interval: {days: 1, hours: 6}}", Schedule.model_validate({"interval": {"hours": 30}})),
        ("{cron: '@daily', timezone: America/New_York}", Schedule(cron="@daily", timezone="America/New_York")),
    ],
)
def test_a_schedule_is_written_in_airflows_terms(written: str, schedule: Schedule | None) -> None:
    assert one(with_fields(f"schedule: {written}")).schedule == schedule


@pytest.mark.parametrize(("written", "value"), [("1", 1), ("'1'", "1"), ("2.5%", "2.5%")])
def test_a_limit_of_failures_may_be_a_count_without_quotes(written: str, value: object) -> None:
    plan = one(with_fields(f"parameters: {{fail_on_asset_failures: {written}}}"))
    assert plan.values["fail_on_asset_failures"] == value


def test_a_plan_that_is_not_incremental_makes_nothing_up_and_adopts_by_default() -> None:
    plan = one(GOOD)
    assert plan.catchup is False
    assert plan.values == {"paths": ["/content/dam/a"]}


@pytest.mark.parametrize(
    ("fields", "line", "field", "said"),
    [
        (["pathes: []"], 3, "pathes", "Did you mean paths?"),
        (["enabled: 3"], 3, "enabled", "Write true or false"),
        (["schedule: '30 1 * *'"], 3, "schedule", "Write five fields"),
        (["schedule: '61 1 * * *'"], 3, "schedule", "'61 1 * * *' is not a cron expression"),
        (["schedule: '@dayly'"], 3, "schedule", "@daily"),
        (["schedule: 5"], 3, "schedule", "Write a cron expression"),
        (["schedule:", "  cron: '0 1 * * *'", "  timezone: Europe/Pari"], 5, "schedule.timezone", "Europe/Paris?"),
        (["schedule: {timezone: UTC}"], 3, "schedule", "Write cron"),
        (["schedule: {interval: {hours: 1}, timezone: UTC}"], 3, "schedule", "Write either interval"),
        (["schedule: {interval: {hours: 0}}"], 3, "schedule.interval", "{hours: 6}"),
        (["schedule: {interval: {seconds: 9}}"], 3, "schedule.interval.seconds", "Known are days, hours, minutes"),
        (["start_date: yesterday"], 3, "start_date", "2026-01-31"),
        (["start_date: 2026-02-30"], 3, "start_date", "day is out of range"),
        (["start_date: 2026-02-02", "end_date: 2026-02-01"], 4, "end_date", "is not later than start_date"),
        (["catchup: true"], 3, "catchup", "Give start_date"),
        (["paths: []"], 3, "paths", "List absolute paths"),
        (["paths: null"], 3, "paths", "List absolute paths"),
        (["paths_file: s3://b/paths.csv"], 3, "paths_file", "Write batch: true, or"),
        (["parameters: {batch_name: all}"], 3, "parameters.batch_name", "it needs batch: true"),
        (["batch: true", "parameters:", "  stream_logs: true"], 5, "parameters.stream_logs", "it needs batch: false"),
        (["paths:", "  - /content/dam/a", "  - dam/b"], 5, "paths.1", "'dam/b' should match"),
        (["paths:", "  - /content/dam/a", "  - /content/dam/a/b"], 5, "paths.1", "lies below /content/dam/a"),
        (["excluded_paths: [/content/dam/b]"], 3, "excluded_paths.0", "must lie below a processed path"),
        (["file_types: [DOCX]"], 3, "file_types.0", "DITATOPIC"),
        (["parameters:", "  max_active_jobs: 0"], 4, "parameters.max_active_jobs", "0 is less than the minimum"),
        (["parameters: {fail_on_asset_failures: 0}"], 3, "parameters.fail_on_asset_failures", "A count such as"),
        (["parameters:", "  verify_ignore: [/a/*, fragments]"], 4, "parameters.verify_ignore.1", "does not match"),
        (["parameters: {deadline_hour: 2}"], 3, "parameters.deadline_hour", "Did you mean deadline_hours?"),
        (
            ["parameters: {created_before: '9999-12-31T23:59:59-12:00'}"],
            3,
            "parameters.created_before",
            "the year 10000",
        ),
        (["parameters: {created_after: 2026-02-31T00:00Z}"], 3, "parameters.created_after", "ISO 8601"),
        (["parameters: {paths: [/content/dam/b]}"], 3, "parameters.paths", "it is not known here"),
        (["tags: nightly"], 3, "tags", "List tags"),
        (["tags: [a, b, a]"], 3, "tags", "it lists 'a' more than once. List it once."),
        (["owner: null"], 3, "owner", "None should be a valid string"),
        (["schedule: {}"], 3, "schedule", "Write cron"),
        (["incremental: true", "start_date: 2026-01-01", "schedule: '@once'"], 3, "incremental", "cron or interval"),
        (["incremental: true"], 2, "catchup", "Give start_date"),
        (
            ["incremental: true", "catchup: false", "parameters: {created_before: 2026-01-01T00:00Z}"],
            5,
            "parameters.created_before",
            "Remove it",
        ),
        (["filter_end: maybe"], 3, "filter_end", "Write inclusive"),
        (["only_between: {from: '22:00'}"], 3, "only_between.to", "it is missing"),
        (["only_between: {from: '22:00', to: '22:00'}"], 3, "only_between.to", "Give another time"),
        (
            ["only_between:", "  - {from: '22:00', to: '05:00'}", "  - {from: '6:00', to: '07:00', at_end: cancel}"],
            5,
            "only_between.1.from",
            "'6:00' should match",
        ),
        (
            ["only_between:", "  - {from: '22:00', to: '05:00'}", "  - {from: '06:00', to: '07:00', at_end: cancel}"],
            3,
            "only_between",
            "Give the same at_end for all entries",
        ),
        (["only_between: []"], 3, "only_between", "a list of such"),
        (
            ["only_between:", "  - {from: '22:00', to: '05:00'}", "  - {from: '22:00', to: '05:00', weekdays: [son]}"],
            5,
            "only_between.1.weekdays.0",
            "sun",
        ),
        (["only_between:", "  - {from: '22:00', to: '05:00', timezone: X}"], 4, "only_between.0.timezone", "time zone"),
        (["only_between: {from: '22:00', to: '25:00'}"], 3, "only_between.to", "'HH:MM'"),
        (["only_between: {from: '22:00', to: '05:00', at_end: stop}"], 3, "only_between.at_end", "leave"),
        (
            ["only_between: {from: '22:00', to: '05:00', timezone: Mars}"],
            3,
            "only_between.timezone",
            "not the name of a time zone",
        ),
        (["notifications: {on_failure: [{notifier: Smtp}]}"], 3, "notifications.on_failure.0.notifier", "import path"),
        (["notifications: {on_retry: []}"], 3, "notifications.on_retry", "on_success"),
        (["deadline: [{callback: a.b}]"], 3, "deadline.0.interval", "it is missing"),
        (
            ["deadline: [{callback: a.b, interval: {hours: 1}, kwargs: {context: 1}}]"],
            3,
            "deadline.0.kwargs",
            "context",
        ),
        (
            ["deadline:", "  - {callback: a.b, interval: {hours: 1}}", "  - {callback: a.b, interval: {hours: 0}}"],
            5,
            "deadline.1.interval",
            "Write a length of time",
        ),
        (["deadline: [{callback: a.b, interval: {hours: -1}}]"], 3, "deadline.0.interval.hours", "whole number"),
        (["enabled: true", "enabled: false"], 4, "enabled", "it is written twice"),
        (["owner: !!python/name:os.system"], 3, "plans", "it is not YAML"),
    ],
)
def test_a_broken_plan_is_reported_with_file_line_field_and_remedy(
    fields: list[str], line: int, field: str, said: str
) -> None:
    plans = parse_plans(with_fields(*fields), "conf/plans.yaml")
    assert plans.plans == ()
    (problem,) = plans.problems
    assert (problem.line, problem.field) == (line, field)
    assert str(problem).startswith(f"conf/plans.yaml, line {line}:")
    assert f"field {field}: " in str(problem)
    assert said in str(problem)
    assert problem.remedy


@pytest.mark.parametrize(
    "broken",
    [
        "  - name: bad\n    schedule: '@daily\n    paths: [/content/dam/a]\n",
        "  - name: bad\n      schedule: x\n    paths\n",
        "  - name: bad\n\tschedule: x\n",
        "  - [\n",
        "  - name: bad\n    paths: *unknown\n",
        "  - just a text\n",
        "  - name: other\n",
        "  - name: good\n    schedule: '@daily'\n    paths: [/content/dam/b]\n",
    ],
)
def test_a_broken_plan_takes_no_other_along(broken: str) -> None:
    for text in (f"{GOOD}{broken}", f"{GOOD}{broken}  - name: last\n    schedule: null\n    paths: [/content/dam/c]\n"):
        plans = parse_plans(text)
        assert [plan.name for plan in plans.plans] == ["good", "last"][: 1 + ("last" in text)]
        assert plans.plans[0].values == {"paths": ["/content/dam/a"]}
        assert plans.problems
        assert all(6 <= problem.line <= 9 for problem in plans.problems)


def test_text_before_the_plans_does_not_count_as_a_plan() -> None:
    text = "x-common:\n  - /content/dam/x\nplans:\n- {name: a, schedule: null, paths: [/content/dam/a]}\n- {name: 'b\n"
    plans = parse_plans(text)
    assert [plan.name for plan in plans.plans] == ["a"]
    assert [problem.line for problem in plans.problems] == [5]


def test_every_fault_of_a_file_is_reported_at_once_in_order() -> None:
    plans = parse_plans(
        "plans:\n  - name: a\n    schedule: 5\n    paths: []\n"
        "  - schedule: null\n    paths: [/content/dam/a]\nextra: 1\n"
    )
    assert [(problem.line, problem.plan, problem.field) for problem in plans.problems] == [
        (3, "a", "schedule"),
        (4, "a", "paths"),
        (5, "", "name"),
        (7, "", "extra"),
    ]


def test_there_may_be_several_windows() -> None:
    plan = one(
        with_fields("only_between:", "  - {from: 22:00, to: 05:00}", "  - {from: 00:00, to: 23:59, weekdays: [sat]}")
    )
    assert plan.values["only_between"] == [
        {"from": "22:00", "to": "05:00", "timezone": "UTC", "at_end": "leave"},
        {"from": "00:00", "to": "23:59", "timezone": "UTC", "at_end": "leave", "weekdays": ["sat"]},
    ]


def test_a_plan_without_any_paths_is_reported() -> None:
    (problem,) = parse_plans("plans:\n  - name: p\n    schedule: null\n").problems
    assert (problem.line, problem.field) == (2, "paths")
    assert "name a paths_file" in problem.remedy


def test_a_batch_takes_more_paths_than_a_plan_of_single_paths() -> None:
    many = ", ".join(f"/content/dam/p{number}" for number in range(1001))
    text = f"plans:\n  - name: p\n    schedule: null\n    paths: [{many}]\n"
    (problem,) = parse_plans(text).problems
    assert problem.remedy == "List at most 1,000, or write batch: true."
    plan = one(text + "    batch: true\n    parameters: {batch_name: all}\n")
    assert plan.batch
    assert plan.values["batch_name"] == "all"


def test_each_missing_field_is_reported_once() -> None:
    problems = parse_plans("plans:\n  - {}\n").problems
    assert [(problem.line, problem.field, problem.what) for problem in problems] == [
        (2, field, "it is missing.") for field in ("name", "schedule")
    ]


@pytest.mark.parametrize("text", ["", "# nothing\n", "plans:\n", "plans: []\n"])
def test_a_file_without_plans_holds_none(text: str) -> None:
    assert parse_plans(text) == Plans("plans.yaml")


@pytest.mark.parametrize("text", ["- name: a\n", "plans: 5\n", "just a text\n", "plans: [\n"])
def test_a_file_of_another_shape_is_reported(text: str) -> None:
    (problem,) = parse_plans(text).problems
    assert problem.remedy


def test_anchors_are_shared_between_plans() -> None:
    text = "x-paths: &paths [/content/dam/a]\nplans:\n  - {name: a, schedule: null, paths: *paths}\n"
    assert one(text).values == {"paths": ["/content/dam/a"]}


def test_a_plan_that_contains_itself_is_reported() -> None:
    (problem,) = parse_plans("plans:\n  - &p\n    name: a\n    schedule: null\n    paths: *p\n").problems
    assert problem.remedy


def test_dates_and_times_are_texts() -> None:
    (entry,) = read_entries("plans: [{a: 2026-01-01, b: 22:00, c: 010, d: 7, e: 1.5}]")
    assert isinstance(entry, Entry)
    assert entry.data == {"a": "2026-01-01", "b": "22:00", "c": "010", "d": 7, "e": 1.5}


def test_the_file_is_found_from_the_configuration_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    assert plans_file() == (ROOT / "include" / "plans.yaml", False)
    monkeypatch.setenv("AIRFLOW__AEM_GUIDES__PLANS_FILE", "/srv/plans.yaml")
    assert plans_file() == (Path("/srv/plans.yaml"), True)


def test_a_file_that_was_chosen_must_exist_and_be_a_text(tmp_path: Path) -> None:
    missing = tmp_path / "plans.yaml"
    assert load_plans(missing, required=False) == Plans(str(missing))
    (problem,) = load_plans(missing).problems
    assert "does not exist" in str(problem)
    assert "[aem_guides] plans_file" in problem.remedy
    missing.write_bytes(b"plans: \xff\xfe")
    assert "cannot be read" in str(load_plans(missing).problems[0])


def test_the_shipped_schema_knows_the_parameters_of_a_run() -> None:
    shipped = plan_schema.SCHEMA_FILE.read_text(encoding="utf-8")
    assert shipped == plan_schema.render(), "write it anew: python -m aem_guides.plans.schema"
    Draft202012Validator.check_schema(json.loads(shipped))


def test_the_examples_are_right_and_do_nothing_until_enabled() -> None:
    file = ROOT / "include" / "plans.yaml"
    plans = load_plans(file)
    assert plans.problems == ()
    assert plans.plans
    assert not any(plan.enabled for plan in plans.plans)
    assert any(plan.incremental for plan in plans.plans)


def test_an_editor_that_reads_the_schema_accepts_what_we_accept() -> None:
    schema = json.loads(plan_schema.SCHEMA_FILE.read_text(encoding="utf-8"))
    Draft202012Validator(schema).validate(safe_load(GOOD))
    assert not Draft202012Validator(schema).is_valid(safe_load(GOOD.replace("paths", "pathes")))


@pytest.mark.parametrize(
    ("field", "value"), [("file_types", "[DOCX]"), ("created_after", "'9999-12-31T23:59:59-12:00'")]
)
def test_the_filter_of_a_plan_with_a_file_of_paths_alone_is_checked_too(field: str, value: str) -> None:
    filters = f"{field}: {value}" if field == "file_types" else f"parameters: {{{field}: {value}}}"
    reported = f"plans: [{{name: p, schedule: '@daily', batch: true, paths_file: p.csv, {filters}}}]"
    (problem,) = parse_plans(reported, "conf/plans.yaml").problems
    assert field in problem.field
