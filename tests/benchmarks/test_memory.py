"""Memory stays flat, however large the archive and however long the log. Figures are printed; run with `make bench`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

from tests.support.emulator import PASSWORD, EmulatorProcess

ROOT = Path(__file__).resolve().parents[2]
LARGEST_GROWTH_MIB = 32
MIB = 1024 * 1024

CHILD = """
import json, logging, os, resource, sys, time
from datetime import UTC, datetime
from aem_guides.archive.place import Provenance, archive_folder, store_archive
from aem_guides.hooks.hook import AemGuidesHook
from aem_guides.protocol.models import ProcessingRequest
from aem_guides.runtime.task_log import LogBudget

what, processing_id, target = sys.argv[1:4]
logging.basicConfig(filename=os.devnull, level=logging.INFO)

def peak_mib():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

with AemGuidesHook() as hook:
    job = hook.get_status(processing_id)
    small = os.environ["WARM_UP_ID"]
    def archive(name, folder):
        warm = hook.get_status(name)
        place = archive_folder(folder, "bench", datetime.now(UTC), name)
        return store_archive(hook, Provenance("bench", warm), place, wait=time.sleep)
    def pull(name):
        budget = LogBudget(logging.getLogger("task"), 100_000)
        lines = hook.read_log(name, budget.take)
        budget.finish()
        return lines
    archive(small, "file://" + target + "/warm") if what == "archive" else pull(small)
    idle = peak_mib()
    began = time.monotonic()
    done = archive(processing_id, "file://" + target).size if what == "archive" else pull(processing_id)
    print(json.dumps({"idle": idle, "peak": peak_mib(), "seconds": time.monotonic() - began, "done": done}))
"""


def measure(emulator: EmulatorProcess, what: str, processing_id: str, warm_up: str, folder: Path) -> dict[str, float]:
    """Do it in a fresh process, after doing it once on a small job; peaks in MiB."""
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT / "plugins"),
        "AIRFLOW_CONN_AEM_GUIDES_DEFAULT": emulator.connection(read_timeout=120),
        "WARM_UP_ID": warm_up,
    }
    done = subprocess.run(
        [sys.executable, "-c", CHILD, what, processing_id, str(folder)],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    figures: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return figures


def finished_job(emulator: EmulatorProcess, path: str, files: int, **folder: object) -> str:
    """A job that has run to its end on a virtual folder."""
    emulator.virtual_folder(path, files, rate=1_000_000, **folder)
    answer = httpx.post(
        f"{emulator.url}/bin/guides/v1/assets/process",
        json={"path": path, "type": "ASSET_PROCESSING"},
        auth=("admin", PASSWORD),
        trust_env=False,
    )
    processing_id = str(answer.json()["processingId"])
    deadline = time.monotonic() + 120
    while emulator.jobs(path)[0]["state"] != "SUCCESS":
        assert time.monotonic() < deadline
        time.sleep(0.1)
    return processing_id


@pytest.fixture(scope="module")
def warm_up(emulator: EmulatorProcess) -> str:
    return finished_job(emulator, "/content/dam/small", 10)


def test_archiving_500_mb_needs_no_more_memory_than_archiving_little(
    emulator: EmulatorProcess, warm_up: str, tmp_path: Path
) -> None:
    job = finished_job(emulator, "/content/dam/large-zip", 10, zip_padding_bytes=500_000_000)
    figures = measure(emulator, "archive", job, warm_up, tmp_path)
    size = figures["done"] / 1e6
    print(f"\narchive of {size:.0f} MB: {size / figures['seconds']:.0f} MB/s, {_memory(figures)}")
    assert size >= 500
    assert figures["peak"] - figures["idle"] <= LARGEST_GROWTH_MIB


def test_pulling_300_000_lines_needs_little_more_memory_than_pulling_few(
    emulator: EmulatorProcess, warm_up: str, tmp_path: Path
) -> None:
    job = finished_job(emulator, "/content/dam/long-log", 100_000, log_lines=3)
    figures = measure(emulator, "pull", job, warm_up, tmp_path)
    print(
        f"\nlog of {figures['done']:,} lines: {figures['done'] / figures['seconds']:,.0f} lines/s, {_memory(figures)}"
    )
    assert figures["done"] >= 300_000
    assert figures["peak"] - figures["idle"] <= LARGEST_GROWTH_MIB


def _memory(figures: dict[str, float]) -> str:
    grown = figures["peak"] - figures["idle"]
    return f"idle {figures['idle']:.1f} MiB, peak {figures['peak']:.1f} MiB, grown {grown:.1f} MiB"
