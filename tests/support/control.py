"""The reconciliation, the control of single jobs, and somebody who works on the instance beside Airflow."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpx
from sqlalchemy import make_url

from aem_guides.hooks.hook import AemGuidesHook
from aem_guides.ledger.database import open_engine
from aem_guides.ledger.findings import Remedy
from aem_guides.ledger.settings import read_settings
from aem_guides.ledger.store import Ledger
from aem_guides.reconciliation.remedies import take_snapshot
from tests.support.airflow_stack import LEDGER, LiveAirflow
from tests.support.emulator import PASSWORD, EmulatorProcess
from tests.support.instances import Instance

RECONCILE = "aem_guides_reconcile_history"
CONTROL = "aem_guides_control_job"


class _Turns:
    """Who asks the ledger through Airflow, all at once, and who locks it, alone."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._asking = 0
        self._locked = False

    @contextmanager
    def ask(self) -> Iterator[None]:
        with self._changed:
            self._changed.wait_for(lambda: not self._locked)
            self._asking += 1
        try:
            yield
        finally:
            with self._changed:
                self._asking -= 1
                self._changed.notify_all()

    @contextmanager
    def lock(self) -> Iterator[None]:
        with self._changed:
            self._locked = True
            self._changed.wait_for(lambda: not self._asking)
        try:
            yield
        finally:
            with self._changed:
                self._locked = False
                self._changed.notify_all()


LEDGER_TURNS = _Turns()
_RECONCILING = threading.Lock()


def start_foreign(emulator: EmulatorProcess, path: str) -> str:
    """As a person with curl; the job's id."""
    answer = httpx.post(
        f"{emulator.url}/bin/guides/v1/assets/process",
        json={"path": path, "type": "ASSET_PROCESSING"},
        auth=("admin", PASSWORD),
        trust_env=False,
    )
    return str(answer.raise_for_status().json()["processingId"])


@dataclass(frozen=True)
class Reconciliation:
    """A run of the reconciliation's DAG: how it ended, the log of its report, and the last stored report after it."""

    run_id: str
    state: str
    report: str
    latest: Mapping[str, str]


def reconcile(airflow: LiveAirflow, *instances: Instance, **conf: object) -> Reconciliation:
    """Run the reconciliation of these instances. Airflow has one run of it at a time."""
    given = {"connection_ids": [instance.connection_id for instance in instances]}
    with LEDGER_TURNS.ask(), _RECONCILING:
        run_id, state = airflow.run_dag(RECONCILE, {**given, **conf})
        stored = (airflow.folder / "archive" / "reconciliations").glob("latest.*")
        latest = {file.suffix: file.read_text() for file in stored}
    report = "\n".join(airflow.rest.log_events(RECONCILE, run_id, "write_report", 1))
    if state != "success":
        print(f"{run_id} is {state}: {airflow.account(run_id, dag_id=RECONCILE)}", report, sep="\n")
    return Reconciliation(run_id, state, report, latest)


def new_findings(instance: Instance) -> list[str]:
    """What a reconciliation finds that none has found before, in words: what the DAG does, without its tasks."""
    airflow, name = instance.airflow, instance.connection_id
    url = make_url(airflow.stack.environment[LEDGER])
    os.environ[f"AIRFLOW_CONN_{name.upper()}"] = instance.connection(instance.emulator)
    with LEDGER_TURNS.ask(), Ledger(open_engine(url)) as ledger, AemGuidesHook(name) as hook:
        shown = take_snapshot(hook, ledger, name, lambda run: airflow.rest.run_state(run.dag_id, run.run_id))
        found = ledger.reconcile(shown, read_settings().policy, frozenset(Remedy), run_id="by-hand", dry_run=False)
    return [finding.text for finding in found.opened]


def control(airflow: LiveAirflow, action: str, processing_id: str, **conf: object) -> tuple[str, Any, str]:
    """One action on one job: the run's state, what the task returned, and its log."""
    with LEDGER_TURNS.ask():
        run_id, state = airflow.run_dag(CONTROL, {"action": action, "processing_id": processing_id, **conf})
    log = airflow.whole_log(run_id, "control_job", dag_id=CONTROL)
    result = airflow.rest.xcom(CONTROL, run_id, "control_job") if state == "success" else None
    return state, result, log
