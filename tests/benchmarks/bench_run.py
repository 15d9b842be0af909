"""What a run takes beyond its job: beside a chain of four plain HTTP tasks, and as a batch of one path.

Run as `PYTHONPATH=include python -m tests.benchmarks.bench_run`. It takes about five minutes. The job takes one second,
and the first look does not see its end. Exits with 1 where a bound is passed: a run takes more than twice the chain,
or a batch of one path more than 1.2 of a run.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

from tests.benchmarks.figures import Figure, report
from tests.support.airflow_stack import DAG, LiveAirflow
from tests.support.batch import BATCH
from tests.support.emulator import EmulatorProcess

CHAIN = "plain_chain"
ROUNDS = 5
MOST_OF_CHAIN, MOST_OF_RUN, MOST_SECONDS = 2.0, 1.2, 10.0

CHAIN_OF_FOUR = f'''
from airflow.providers.http.operators.http import HttpOperator
from airflow.sdk import DAG, chain

with DAG("{CHAIN}", schedule=None):
    chain(*(
        HttpOperator(task_id=f"call_{{n}}", http_conn_id="plain", endpoint="emulator/health", method="GET")
        for n in range(4)
    ))
'''


def main() -> int:
    """Measure all three in turn, print the figures; returns the exit status."""
    with tempfile.TemporaryDirectory() as folder, EmulatorProcess(Path(folder) / "emulator") as emulator:
        airflow = LiveAirflow(emulator, {"AIRFLOW_CONN_PLAIN": emulator.url})
        (airflow.folder / "dags" / "plain_chain.py").write_text(CHAIN_OF_FOUR)
        with airflow:
            airflow.wait_until(lambda: airflow.rest.has_dag(CHAIN), "the chain")
            seconds: dict[str, list[float]] = {CHAIN: [], DAG: [], BATCH: []}
            for number in range(ROUNDS + 1):
                for dag_id, taken in seconds.items():
                    path = f"/content/dam/bench/{dag_id}-{number}"
                    emulator.virtual_folder(path, 20, rate=20)
                    took = _run(airflow, dag_id, {} if dag_id == CHAIN else {"paths": [path]})
                    if number:  # the first of each warms up
                        taken.append(took)
    chain, run, batch = (statistics.median(seconds[dag_id]) for dag_id in (CHAIN, DAG, BATCH))
    of_chain, of_run = run / chain, batch / run
    return report(
        Figure("c", "a chain of four plain HTTP tasks", chain, "s"),
        Figure("c", "a run with a job of one second", run, "s", MOST_SECONDS),
        Figure("c", "the run beside the chain", of_chain, "ratio", MOST_OF_CHAIN),
        Figure("c", "a batch of one path beside the run", of_run, "ratio", MOST_OF_RUN),
    )


def _run(airflow: LiveAirflow, dag_id: str, conf: Mapping[str, object]) -> float:
    """The seconds that a run takes, as Airflow has them."""
    run_id = airflow.rest.trigger(dag_id, dict(conf))
    state = airflow.end_of(dag_id, run_id)
    if state != "success":
        raise SystemExit(f"{dag_id} {run_id}: {state}")
    run = airflow.rest.request("GET", f"/dags/{dag_id}/dagRuns/{run_id}")
    begin, end = (datetime.fromisoformat(str(run[name])) for name in ("start_date", "end_date"))
    return (end - begin).total_seconds()


if __name__ == "__main__":
    sys.exit(main())
