"""How long Airflow takes to read our DAG files, beside bare ones with as many tasks.

Run as `python -m tests.benchmarks.bench_parse`. It takes some seconds. As Airflow's DAG processor does, each file is
read by a fork of a process that has Airflow and its plugins loaded. Exits with 1 where ours take longer than the bound.
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from airflow.dag_processing.dagbag import DagBag

import aem_guides_plugin  # noqa: F401  # as the DAG processor loads it before it forks
from tests.benchmarks.figures import Figure, report

DAGS = Path(__file__).parents[2] / "dags"
ROUNDS = 9
MOST_RATIO = 4.0
MOST_SECONDS = 1.0

BARE = """
from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG, chain

with DAG("{name}", schedule=None):
    chain(*(EmptyOperator(task_id=f"task_{{n}}") for n in range({tasks})))
"""


def main() -> int:
    """Measure side by side; returns the exit status."""
    files = sorted(DAGS.glob("*.py"))
    figures = []
    with tempfile.TemporaryDirectory() as folder:
        took: dict[str, tuple[list[float], list[float]]] = {}
        for file in files:
            bare = Path(folder) / f"bare_{file.name}"
            bare.write_text(BARE.format(name=bare.stem, tasks=int(_in_a_fork(_count_tasks, file))))
            ours, theirs = took.setdefault(file.stem, ([], []))
            for number in range(ROUNDS + 1):
                pair = _in_a_fork(_read, file), _in_a_fork(_read, bare)
                if number:  # the first of each warms up the disk
                    ours.append(pair[0])
                    theirs.append(pair[1])
        medians = {name: (statistics.median(ours), statistics.median(theirs)) for name, (ours, theirs) in took.items()}
        slowest = max(medians, key=lambda name: medians[name][0])
        for name, (ours_s, theirs_s) in medians.items():
            print(f"{name:40}{ours_s * 1000:8.0f} ms{theirs_s * 1000:8.0f} ms bare")
        all_ours, all_bare = (sum(pair[which] for pair in medians.values()) for which in (0, 1))
        figures.append(Figure("f", "all DAG files beside bare ones", all_ours / all_bare, "ratio", MOST_RATIO))
        figures.append(Figure("f", f"the slowest, {slowest}", medians[slowest][0], "s", MOST_SECONDS))
    return report(*figures)


def _in_a_fork(do: Callable[[Path], float], file: Path) -> float:
    """What a function gives in a fork of this process."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        os.write(writing, repr(do(file)).encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as answer:
        told = answer.read()
    os.waitpid(child, 0)
    return float(told)


def _read(file: Path) -> float:
    """Seconds that reading a file takes."""
    began = time.perf_counter()
    bag = DagBag(str(file), bundle_path=file.parent)
    seconds = time.perf_counter() - began
    if bag.import_errors:
        raise SystemExit(f"{file}: {bag.import_errors}")
    return seconds


def _count_tasks(file: Path) -> float:
    bag = DagBag(str(file), bundle_path=file.parent)
    return float(sum(len(dag.tasks) for dag in bag.dags.values()))


if __name__ == "__main__":
    sys.exit(main())
