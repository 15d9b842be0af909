"""Peak memory and time of archiving a log ZIP of 500 MB, or of so many MB as the first argument says.

Run as `python -m tests.benchmarks.bench_archive`. Each form of the download is archived by a fresh process, whose
peak resident memory is compared with what it held before it began. Exits with 1 where that is beyond the bound.
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
import zipfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from aem_guides.archive.place import Provenance, archive_folder, store_archive, verify_archive
from aem_guides.protocol.models import Job
from aem_guides.protocol.procedures.parts import ArchivePart
from aem_guides.protocol.states import JobState
from aem_guides.storage import ArchiveCondition

MEGABYTE = 1_000_000
BOUND_MIB = 32
FORMS = ("zip", "files")
ROOT = Path(__file__).parents[2]
BLOCK = 64 * 1024


class _Pipe:
    """The writing end of a ZIP that is never held whole: what is written goes straight to the consumer."""

    def __init__(self, consume: Callable[[bytes], None]) -> None:
        self._consume = consume

    def write(self, data: bytes, /) -> int:
        self._consume(data)
        return len(data)

    def flush(self) -> None:
        """Nothing is kept back."""

    def close(self) -> None:
        """There is nothing to close."""


def main(megabytes: int) -> int:
    """Measure every form and print its figures; returns the exit status."""
    worst = 0.0
    print(f"{'form':8}{'ZIP MB':>10}{'seconds':>10}{'MB/s':>8}{'idle MiB':>10}{'peak MiB':>10}{'grown MiB':>11}")
    for form in FORMS:
        figures = _measure_in_child(form, megabytes)
        grown = figures["peak"] - figures["idle"]
        worst = max(worst, grown)
        size, seconds = figures["size"] / MEGABYTE, figures["seconds"]
        rate = size / seconds
        print(
            f"{form:8}{size:10.1f}{seconds:10.1f}{rate:8.0f}{figures['idle']:10.1f}{figures['peak']:10.1f}{grown:11.1f}"
        )
    verdict = "within" if worst <= BOUND_MIB else "BEYOND"
    print(f"Peak memory grows by {worst:.1f} MiB at most: {verdict} the bound of {BOUND_MIB} MiB.")
    return 0 if worst <= BOUND_MIB else 1


def _measure_in_child(form: str, megabytes: int) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as home:
        environment = os.environ | {
            "PYTHONPATH": os.pathsep.join([str(ROOT / "plugins"), str(ROOT)]),
            "AIRFLOW_HOME": home,
        }
        command = [sys.executable, "-m", "tests.benchmarks.bench_archive", form, str(megabytes), home]
        done = subprocess.run(command, cwd=ROOT, env=environment, check=True, stdout=subprocess.PIPE, text=True)
    figures: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return figures


class _Generated:
    """A download of so many bytes that no packing makes smaller, as one ZIP or as single log files."""

    def __init__(self, form: str, size: int) -> None:
        self._form = form
        self._size = size

    def download_logs(self, processing_id: str, consume: Callable[[ArchivePart], None]) -> None:
        """Hand it on block by block."""
        if self._form == "files":
            self._write(lambda data: consume(ArchivePart(f"/logs/{processing_id}.log", data)))
            return
        pipe = _Pipe(lambda data: consume(ArchivePart(None, data)))
        with zipfile.ZipFile(pipe, "w") as pack, pack.open("job.log", "w", force_zip64=True) as entry:
            self._write(entry.write)

    def _write(self, write: Callable[[bytes], object]) -> None:
        chance = random.Random(self._size)
        for at in range(0, self._size, BLOCK):
            write(chance.randbytes(min(BLOCK, self._size - at)))


def _measure(form: str, megabytes: int, home: str) -> None:
    job = Job("measured", JobState.SUCCESS, "SUCCESS")
    folder = archive_folder(f"file://{home}/archive", "author", datetime.now(tz=UTC), job.processing_id)
    source = _Generated(form, megabytes * MEGABYTE)
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
    if len(sys.argv) > 3:
        _measure(sys.argv[1], int(sys.argv[2]), sys.argv[3])
    else:
        sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 500))
