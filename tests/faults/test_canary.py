"""Secrets reach no log, XCom, rendered field, database, archive or process argument, whatever fails."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import psutil

from tests.support.airflow_stack import DAG, DATABASE, LEDGER, PATIENCE, LiveAirflow
from tests.support.instances import FAST, Instance
from tests.support.logins import CANARIES, ISSUED, LOGINS, SETTINGS
from tests.support.runs import Run
from tests.support.together import Played, Scenario, Stage, lasting, scenarios

KEPT_BY_THE_STACK = {"secrets.json", "passwords.json"}
READS = ("system_status", "history", "status", "logs", "download", "token_oauth", "token_jwt")
WRITES = ("start", "resume")
NOWHERE = "/content/dam/nowhere"


def found_in_files(folder: Path) -> Iterator[str]:
    for file in folder.rglob("*"):
        if not file.is_file() or file.name in KEPT_BY_THE_STACK or "postgres" in file.relative_to(folder).parts[0]:
            continue
        try:
            content = file.read_bytes()
        except FileNotFoundError:  # others are at work meanwhile
            continue
        yield from (f"{canary} in {file}" for canary in CANARIES if canary.encode() in content)


def found_in_database(airflow: LiveAirflow, database: str) -> Iterator[str]:
    named = "SELECT table_schema, table_name FROM information_schema.tables WHERE table_schema NOT IN %s"
    wanted = [f"%{canary}%" for canary in CANARIES]
    for schema, table in airflow.ask_database(named, ("pg_catalog", "information_schema"), database=database):
        like = f'SELECT t::text FROM "{schema}"."{table}" t WHERE t::text LIKE ANY(%s)'  # noqa: S608  # its own names
        for (row,) in airflow.ask_database(like, wanted, database=database):
            yield from (f"{canary} in table {table}" for canary in CANARIES if canary in str(row))


def found_in_arguments(airflow: LiveAirflow) -> Iterator[str]:
    for program in list(airflow.stack.programs.running.values()):
        with contextlib.suppress(psutil.NoSuchProcess):
            for member in [(leader := psutil.Process(program.pid)), *leader.children(recursive=True)]:
                with contextlib.suppress(psutil.NoSuchProcess):
                    shown = " ".join(member.cmdline())
                    yield from (
                        f"{canary} in the arguments of {program.name}" for canary in CANARIES if canary in shown
                    )


def begin(instance: Instance) -> Run:
    """Start a run whose instance repeats in every answer what it was sent.

    A fault strikes a write at its second call, because the first lacks the CSRF token.
    """
    emulator = instance.emulator
    for endpoint in READS:
        emulator.fault(endpoint, "echo", status=500)
    for endpoint in WRITES:
        emulator.fault(endpoint, "echo", status=500, acted=True, after=1)
    emulator.fault("csrf", "echo", status=500, after=1)
    emulator.fault("asset_status_start", "echo", status=400, count=None, after=1)
    path = instance.folder(30, rate=FAST, fail_at=0.5)
    done, _ = Run.begin_on(instance, [path, NOWHERE], files=30)
    return done


def check(run: Run, seen: set[str]) -> None:
    """The job was done once and archived, the other path was refused, and no process argument showed a secret."""
    airflow = run.airflow

    def look() -> None:
        seen.update(found_in_arguments(airflow))

    assert airflow.rest.wait_for_run(DAG, run.run_id, PATIENCE, look) == "failed"
    (job,) = run.instance.emulator.jobs()
    assert (job["path"], job["state"], job["resumes"]) == (run.path, "SUCCESS", 1)
    done, refused = airflow.rest.xcom(DAG, run.run_id, "report")
    assert done["archive_uri"]
    assert refused["state"] == "NOT_STARTED"
    struck = {fault["endpoint"] for fault in run.instance.emulator.get("/emulator/faults") if fault["struck"]}
    assert {"system_status", "history", "status", "logs", "download", *WRITES, "asset_status_start"} <= struck


@lasting
def runs_with_failures_at_every_step_leave_no_secret_anywhere(stage: Stage) -> None:
    airflow, seen = stage.airflow, set[str]()
    with contextlib.ExitStack() as stack:
        made = [stack.enter_context(stage.instances.new(SETTINGS, login.connection)) for login in LOGINS]
        runs = [begin(instance) for instance in made]
        for run in runs:
            check(run, seen)
        called = {request["endpoint"] for run in runs for request in run.instance.emulator.requests()}
        assert {"token_oauth", "token_jwt", "csrf"} <= called
    shown = "".join(file.read_text() for file in (airflow.folder / "airflow" / "logs").rglob("*.log"))
    for masked in ("authorization: Basic ***", "authorization: Bearer ***", "csrf-token: ***", "client_secret=***"):
        assert masked in shown, "what was sent was echoed, and shown without its secret"
    seen.update(found_in_files(airflow.folder))
    for database in (DATABASE, LEDGER):
        seen.update(found_in_database(airflow, database))
    assert seen == set()


@scenarios(runs_with_failures_at_every_step_leave_no_secret_anywhere)
def test_no_secret_is_shown(played: Played, scenario: Scenario) -> None:
    played.result(scenario)


def test_the_search_finds_what_is_there(airflow: LiveAirflow, tmp_path: Path) -> None:
    (tmp_path / "leak.log").write_text(f"oops {ISSUED}77")
    assert list(found_in_files(tmp_path)) == [f"{ISSUED} in {tmp_path / 'leak.log'}"]
    key = "search-that-finds"
    airflow.rest.request("POST", "/variables", json={"key": key, "value": "x", "description": f"oops {ISSUED}77"})
    try:
        assert f"{ISSUED} in table variable" in set(found_in_database(airflow, DATABASE))
    finally:
        airflow.ask_database("DELETE FROM variable WHERE key = %s", key)
        airflow.ask_database("DELETE FROM log WHERE extra LIKE %s", f"%{key}%")
