"""An archive of 1 GB beside `curl`, `sha256sum` and `unzip -t`, and a log beside a bare loop over its pages.

Run as `python -m tests.benchmarks.bench_streams`. It takes about two minutes and 3 GB of disk. The instance is a small
server in a process of its own, which sends a file as fast as the kernel does. All forms take turns in one run, each in
a fresh process. Exits with 1 where a bound is passed.
"""

from __future__ import annotations

import asyncio
import json
import logging
import multiprocessing
import os
import random
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import zipfile
from datetime import UTC, datetime
from multiprocessing.connection import Connection
from pathlib import Path

import requests
from aiohttp import web

from aem_guides.archive.place import Provenance, archive_folder, store_archive
from aem_guides.hooks.hook import AemGuidesHook
from aem_guides.protocol.procedures.log_lines import PAGE_LINES
from aem_guides.runtime.task_log import LogBudget
from tests.benchmarks.figures import Figure, report

MEGABYTES = 1_000
LINES = 300_000
ROUNDS = 3
LINE = "2026-02-26 08:59:10:755: INFO: [BASELINE_MIGRATION] Processed /content/dam/bench/topic_{:07d}.dita in 43 ms"
MOST_OF_CURL, MOST_GROWTH_MIB, LEAST_OF_LOOP = 1.2, 16.0, 0.98
ID = "measured"
_BLOCK = 1_000_000
_PROCESS = "/bin/guides/v1/assets/process"


def serve(ready: Connection, archive: str) -> None:
    """Be an instance with one job: its log, and the archive of it."""
    pages = [
        json.dumps({"lines": [LINE.format(at + n) for n in range(PAGE_LINES)], "limit": PAGE_LINES, "hasMore": more})
        for at in range(0, LINES, PAGE_LINES)
        for more in [at + PAGE_LINES < LINES]
    ]
    job = {"processingId": ID, "path": "/content/dam/bench", "status": "SUCCESS", "completedAt": 1_760_000_000_000}

    async def page(request: web.Request) -> web.Response:
        at = int(request.query["offset"]) // PAGE_LINES
        text = pages[at] if at < len(pages) else json.dumps({"lines": [], "hasMore": False})
        return web.Response(text=text, content_type="application/json")

    async def download(_request: web.Request) -> web.FileResponse:
        return web.FileResponse(archive, headers={"content-type": "application/zip"})

    async def status(_request: web.Request) -> web.Response:
        return web.json_response(job)

    async def run() -> None:
        application = web.Application()
        application.router.add_get(f"{_PROCESS}/status", status)
        application.router.add_get(f"{_PROCESS}/logs", page)
        application.router.add_get(f"{_PROCESS}/logs/download", download)
        runner = web.AppRunner(application, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        ready.send(runner.addresses[0][1])
        await asyncio.Event().wait()

    asyncio.run(run())


def make_archive(place: Path) -> None:
    """A ZIP of so many megabytes that no packing makes smaller."""
    chance = random.Random(MEGABYTES)
    with zipfile.ZipFile(place, "w") as pack, pack.open("job.log", "w", force_zip64=True) as entry:
        for _ in range(MEGABYTES):
            entry.write(chance.randbytes(_BLOCK))


def archive_it(folder: str) -> dict[str, float]:
    """Archive the job as a task does; seconds, and by how much the peak memory grew."""
    with AemGuidesHook() as hook:
        job = hook.get_status(ID)
        place = archive_folder(f"file://{folder}", "bench", datetime.now(UTC), ID)
        idle, began = _peak_mib(), time.monotonic()
        stored = store_archive(hook, Provenance("bench", job), place, wait=time.sleep)
        seconds = time.monotonic() - began
    if stored.size < MEGABYTES * _BLOCK:
        raise SystemExit(f"{stored.uri} has {stored.size:,} bytes")
    return {"seconds": seconds, "grown": _peak_mib() - idle}


def pull_it(_folder: str) -> dict[str, float]:
    """Bring the log into a task log, with the budget that a task has."""
    with AemGuidesHook() as hook:
        hook.get_status(ID)
        idle, began = _peak_mib(), time.monotonic()
        budget = LogBudget(_log(), LINES)
        lines = hook.read_log(ID, budget.take)
        budget.finish()
        seconds = time.monotonic() - began
    if lines != LINES:
        raise SystemExit(f"{lines:,} lines were read, not {LINES:,}")
    return {"seconds": seconds, "grown": _peak_mib() - idle}


def loop_over_it(_folder: str) -> dict[str, float]:
    """The bare loop: page after page, line after line into such a log."""
    address = json.loads(os.environ["AIRFLOW_CONN_AEM_GUIDES_DEFAULT"])["host"] + f"{_PROCESS}/logs"
    task, at, more = _log(), 0, True
    with requests.Session() as session:
        session.auth = ("admin", "x")
        session.get(address, params={"processingId": ID, "offset": "0", "limit": str(PAGE_LINES)}, timeout=60)
        idle, began = _peak_mib(), time.monotonic()
        while more:
            asked = {"processingId": ID, "offset": str(at), "limit": str(PAGE_LINES)}
            page = session.get(address, params=asked, timeout=60).json()
            for line in page["lines"]:
                task.info("%s", line)
            at, more = at + len(page["lines"]), page["hasMore"]
        seconds = time.monotonic() - began
    return {"seconds": seconds, "grown": _peak_mib() - idle}


FORMS = {"archive": archive_it, "pull": pull_it, "loop": loop_over_it}


def _log() -> logging.Logger:
    """A log that writes its lines to nowhere."""
    log = logging.Logger("task")
    log.addHandler(logging.FileHandler(os.devnull))
    return log


def _peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _in_a_fresh_process(form: str, folder: Path) -> dict[str, float]:
    command = [sys.executable, "-m", "tests.benchmarks.bench_streams", form, str(folder)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    figures: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return figures


def _timed(*command: str) -> float:
    began = time.monotonic()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.monotonic() - began


def _by_hand(address: str, folder: Path) -> tuple[float, float, float]:
    """Seconds of curl, sha256sum and unzip for the same archive."""
    place = folder / "by-hand.zip"
    fetched = _timed("curl", "-sS", "-u", "admin:x", "-o", str(place), f"{address}{_PROCESS}/logs/download")
    summed, tested = _timed("sha256sum", str(place)), _timed("unzip", "-tq", str(place))
    place.unlink()
    return fetched, summed, tested


def main() -> int:
    """Measure all forms in turn; returns the exit status."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        archive = folder / "served.zip"
        make_archive(archive)
        mine, theirs = multiprocessing.Pipe()
        server = multiprocessing.get_context("spawn").Process(target=serve, args=(theirs, str(archive)), daemon=True)
        server.start()
        address = f"http://127.0.0.1:{mine.recv()}"
        told = {"conn_type": "aem_guides", "host": address, "login": "admin", "password": "x"}
        os.environ |= {"AIRFLOW_CONN_AEM_GUIDES_DEFAULT": json.dumps(told), "AIRFLOW_HOME": str(folder / "airflow")}
        try:
            return _judge(*_rounds(address, folder))
        finally:
            server.terminate()


def _rounds(address: str, folder: Path) -> tuple[dict[str, list[dict[str, float]]], list[tuple[float, float, float]]]:
    found: dict[str, list[dict[str, float]]] = {form: [] for form in FORMS}
    by_hand = []
    for number in range(ROUNDS):
        by_hand.append(_by_hand(address, folder))
        for form, figures in found.items():
            figures.append(_in_a_fresh_process(form, folder / f"{form}-{number}"))
            shutil.rmtree(folder / f"{form}-{number}", ignore_errors=True)
    return found, by_hand


def _judge(found: dict[str, list[dict[str, float]]], by_hand: list[tuple[float, float, float]]) -> int:
    seconds = {form: statistics.median(one["seconds"] for one in figures) for form, figures in found.items()}
    grown = {form: max(one["grown"] for one in figures) for form, figures in found.items()}
    fetched, summed, tested = (statistics.median(one[which] for one in by_hand) for which in range(3))
    print(f"archive {seconds['archive']:.1f} s; curl {fetched:.1f} s, sha256sum {summed:.1f} s, unzip {tested:.1f} s")
    print(f"log: {LINES / seconds['pull']:,.0f} lines/s; the bare loop {LINES / seconds['loop']:,.0f} lines/s")
    beside, with_test = seconds["archive"] / (fetched + summed), seconds["archive"] / (fetched + summed + tested)
    return report(
        Figure("d", f"archive of {MEGABYTES:,} MB beside curl and sha256sum", beside, "ratio", MOST_OF_CURL),
        Figure("d", "the same beside curl, sha256sum and unzip -t", with_test, "ratio"),
        Figure("d", "memory above idle", grown["archive"], "MiB", MOST_GROWTH_MIB),
        Figure(
            "e",
            "log lines a second beside the bare loop",
            seconds["loop"] / seconds["pull"],
            "ratio",
            None,
            LEAST_OF_LOOP,
        ),
        Figure("e", "memory above idle", grown["pull"], "MiB", 32.0),
    )


if __name__ == "__main__":
    if len(sys.argv) > 1:
        print(json.dumps(FORMS[sys.argv[1]](sys.argv[2])))
    else:
        sys.exit(main())
