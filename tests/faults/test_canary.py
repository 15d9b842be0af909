"""Secrets reach no log, XCom, rendered field, database, archive or process argument, whatever fails."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import psutil
import psycopg2
from psycopg2 import sql

from tests.support.airflow_stack import DAG, LiveAirflow
from tests.support.emulator import PASSWORD, TOKEN

CANARIES = (PASSWORD, TOKEN)
KEPT_BY_THE_STACK = {"secrets.json", "passwords.json"}


def found_in_files(folder: Path) -> Iterator[str]:
    for file in folder.rglob("*"):
        if not file.is_file() or file.name in KEPT_BY_THE_STACK or "postgres" in file.relative_to(folder).parts[0]:
            continue
        content = file.read_bytes()
        yield from (f"{canary} in {file}" for canary in CANARIES if canary.encode() in content)


def found_in_database(uri: str) -> Iterator[str]:
    connection = psycopg2.connect(uri.replace("postgresql+psycopg2://", "postgresql://"))
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT table_name FROM information_schema.tables WHERE table_schema = 'public'")
            for (table,) in cursor.fetchall():
                for canary in CANARIES:
                    rows = sql.SQL("SELECT count(*) FROM {} t WHERE t::text LIKE %s").format(sql.Identifier(table))
                    cursor.execute(rows, (f"%{canary}%",))
                    row = cursor.fetchone()
                    if row and row[0]:
                        yield f"{canary} in table {table}"
    finally:
        connection.close()


def found_in_arguments(airflow: LiveAirflow) -> Iterator[str]:
    for program in airflow.stack.programs.running.values():
        process = psutil.Process(program.pid)
        for member in [process, *process.children(recursive=True)]:
            shown = " ".join(member.cmdline())
            yield from (f"{canary} in the arguments of {program.name}" for canary in CANARIES if canary in shown)


def test_a_run_with_failures_at_every_step_leaves_no_secret_anywhere(airflow: LiveAirflow) -> None:
    emulator = airflow.emulator
    echo = f"<html>you sent {PASSWORD}</html>"
    path = f"/content/dam/canary-{uuid.uuid4().hex[:8]}"
    emulator.virtual_folder(path, 30, rate=10, fail_at=0.5)
    emulator.settings(csrf=True)
    try:
        for endpoint in ("system_status", "history", "start", "status", "logs", "download", "resume"):
            emulator.fault(endpoint, "status", status=500, body=echo, acted=True)
        emulator.fault("asset_status", "status", status=400, body=echo, count=None)
        run_id, state = airflow.run({"paths": [path]}, within=240)
        _, refused_state = airflow.run({"paths": ["/content/dam/nowhere"]}, within=120)
    finally:
        emulator.delete("/emulator/faults")
        emulator.settings(csrf=False)
    assert refused_state == "failed"
    assert len(emulator.jobs(path)) == 1
    assert emulator.jobs(path)[0]["state"] == "SUCCESS"
    (row,) = airflow.rest.xcom(DAG, run_id, "report")
    assert row["archive_uri"]
    assert state in ("success", "failed")
    found = [
        *found_in_files(airflow.folder),
        *found_in_database(airflow.stack.environment["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"]),
        *found_in_arguments(airflow),
    ]
    assert found == []


def test_the_search_finds_what_is_there(airflow: LiveAirflow, tmp_path: Path) -> None:
    (tmp_path / "leak.log").write_text(f"oops {TOKEN}")
    assert list(found_in_files(tmp_path)) == [f"{TOKEN} in {tmp_path / 'leak.log'}"]
