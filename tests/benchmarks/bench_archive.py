"""Peak memory and time of archiving a log that comes as single files, of 500 MB or as many as the argument says.

Run as `python -m tests.benchmarks.bench_archive`. It is archived by a fresh process, whose peak resident memory is
compared with what it held before it began. Exits with 1 where that is beyond the bound. A log that comes as a ZIP is
measured by `bench_streams`.
"""

from __future__ import annotations

import json
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from aem_guides.archive.place import Provenance, archive_folder, store_archive, verify_archive
from aem_guides.protocol.models import Job
from aem_guides.protocol.procedures.parts import ArchivePart
from aem_guides.protocol.states import JobState
from aem_guides.storage import ArchiveCondition
from tests.benchmarks.figures import Figure, report

MEGABYTE = 1_000_000
BOUND_MIB = 32.0
ROOT = Path(__file__).parents[2]
BLOCK = 64 * 1024


def main(megabytes: int) -> int:
    """Measure, show the figures; returns the exit status."""
    figures = _measure_in_child(megabytes)
    return report(
        Figure("d", f"archive of {megabytes:,} MB that comes as files", figures["seconds"], "s"),
        Figure("d", "its memory above idle", figures["peak"] - figures["idle"], "MiB", BOUND_MIB),
    )


def _measure_in_child(megabytes: int) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as home:
        environment = os.environ | {
            "PYTHONPATH": os.pathsep.join([str(ROOT / "plugins"), str(ROOT)]),
            "AIRFLOW_HOME": home,
        }
        command = [sys.executable, "-m", "tests.benchmarks.bench_archive", str(megabytes), home]
        done = subprocess.run(command, cwd=ROOT, env=environment, check=True, stdout=subprocess.PIPE, text=True)
    figures: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return figures


class _Generated:
    """A download of so many bytes that no packing makes smaller, as single log files."""

    def __init__(self, size: int) -> None:
        self._size = size

    def download_logs(self, processing_id: str, consume: Callable[[ArchivePart], None]) -> None:
        """Hand it on block by block."""
        chance = random.Random(self._size)
        for at in range(0, self._size, BLOCK):
            consume(ArchivePart(f"/logs/{processing_id}.log", chance.randbytes(min(BLOCK, self._size - at))))


def _measure(megabytes: int, home: str) -> None:
    job = Job("measured", JobState.SUCCESS, "SUCCESS")
    folder = archive_folder(f"file://{home}/archive", "author", datetime.now(tz=UTC), job.processing_id)
    source = _Generated(megabytes * MEGABYTE)
    if verify_archive(folder) is not ArchiveCondition.MISSING:
        raise SystemExit(f"{folder} is not empty")
    idle = _peak_mib()
    began = time.monotonic()
    stored = store_archive(source, Provenance("author", job), folder, wait=time.sleep, work_dir=Path(home))
    seconds, peak = time.monotonic() - began, _peak_mib()
    if verify_archive(folder) is not ArchiveCondition.OK:
        raise SystemExit(f"{stored.uri} is not intact")
    print(json.dumps({"size": stored.size, "seconds": seconds, "idle": idle, "peak": peak}))


def _peak_mib() -> float:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1024 * 1024 if sys.platform == "darwin" else 1024)


if __name__ == "__main__":
    if len(sys.argv) > 2:
        _measure(int(sys.argv[1]), sys.argv[2])
    else:
        sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 500))
