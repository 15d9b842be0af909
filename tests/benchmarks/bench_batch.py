"""A batch of 2,000 paths, or of so many as the first argument says, on the real Airflow beside a stranger's jobs.

Run as `PYTHONPATH=include python -m tests.benchmarks.bench_batch`. It takes about an hour on two cores. Exits with 1
where more jobs were active by our doing than allowed, a path was not processed just once, a worker slot was in use
while all waited, or the triggerer grew.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from pathlib import Path

from aem_guides.pipelines.batch import IN_FLIGHT
from tests.support.airflow_stack import LiveAirflow
from tests.support.batch import (
    BATCH,
    Watcher,
    a_stranger_starting_jobs,
    start_as_stranger,
    starts_beyond,
    states_of_paths,
    virtual_folders,
)
from tests.support.emulator import EmulatorProcess

LIMIT = 4
ROOT = "/content/dam/bench"
STRANGERS = "/content/dam/bench-strangers"
MEGABYTE = 1_000_000
MOST_GROWTH = 1.2


def main(count: int) -> int:
    """Run the batch and print its figures; returns the exit status."""
    with tempfile.TemporaryDirectory() as folder, EmulatorProcess(Path(folder) / "emulator") as emulator:
        paths = virtual_folders(emulator, ROOT, count, files=3, rate=4)
        with LiveAirflow(emulator) as airflow:
            listed = airflow.paths_files_folder / "paths.txt"
            listed.write_text("\n".join(paths) + "\n")
            return _measure(airflow, paths, listed.name)


def _measure(airflow: LiveAirflow, paths: list[str], paths_file: str) -> int:
    emulator = airflow.emulator
    blockers = virtual_folders(emulator, STRANGERS, LIMIT, files=1_000_000, rate=0.1)
    for path in blockers:
        start_as_stranger(emulator, path)
    began = time.monotonic()
    run_id = airflow.rest.trigger(BATCH, {"paths_file": paths_file, "max_active_jobs": LIMIT, "verify_assets": False})
    waiting = min(len(paths), IN_FLIGHT)
    airflow.wait_until(lambda: states_of_paths(airflow, run_id, "deferred") == waiting, "all wait", within=900)
    slots = states_of_paths(airflow, run_id, "running", "queued")
    ramp = time.monotonic() - began
    for path in blockers:
        emulator.virtual_folder(path, 1_000_000, rate=100_000_000)
    watcher = Watcher(airflow)
    with a_stranger_starting_jobs(emulator, every=3.0, files=2, rate=2):
        state = airflow.rest.wait_for_run(BATCH, run_id, 30 + 10 * len(paths), look=watcher.look, every=10.0)
    seconds = time.monotonic() - began - ramp
    ours = [job for job in emulator.jobs() if job["path"].startswith(ROOT + "/")]
    once = sorted(job["path"] for job in ours) == paths and {job["state"] for job in ours} == {"SUCCESS"}
    beyond = starts_beyond(emulator, ROOT + "/", LIMIT)
    growth = watcher.late_growth("triggerer")
    figures = {
        "paths": f"{len(paths):,} ({state})",
        "until all who may wait do": f"{ramp:.0f} s for {waiting}",
        "worker slots in use then": slots,
        "from then on": f"{seconds:.0f} s, {len(paths) / seconds * 3600:,.0f} paths an hour",
        "history read": f"{len(emulator.requests('history')):,} times",
        "starts beyond the limit": len(beyond),
        "each processed just once": once,
        "triggerer": f"{watcher.samples['triggerer'][0] / MEGABYTE:.0f} MB at first, "
        f"{watcher.samples['triggerer'][-1] / MEGABYTE:.0f} MB at last, last third / second third {growth:.2f}",
    }
    for name, figure in figures.items():
        print(f"{name:28}{figure}")
    good = state == "success" and once and not beyond and not slots and growth <= MOST_GROWTH
    return 0 if good and airflow.rest.healthy() else 1


if __name__ == "__main__":
    os.environ.setdefault("AIRFLOW_HOME", tempfile.mkdtemp(prefix="aem-guides-bench-"))
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 2000))
