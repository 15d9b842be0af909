"""Many jobs that are waited for in one triggerer's event loop, on one instance whose window shows 50 of them.

Run as `PYTHONPATH=include python -m tests.benchmarks.bench_wait_crowd`. It takes about three minutes. The triggers are
those of a run, each with its own hook and state; what they store lies in memory. The instance is a small server in a
process of its own. Exits with 1 where a bound is passed, for 1,000 or for 10,000: 5 requests a second, a quarter of a
core, 300 MiB for the triggers, and an event loop that answers within 50 ms in 99 % of the time.
"""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import os
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection

import psutil
from aiohttp import web

from aem_guides.protocol.models import ProcessingRequest
from aem_guides.protocol.procedures.path_state import PathState, Phase
from aem_guides.protocol.procedures.start import Origin
from tests.benchmarks.figures import Figure, report
from tests.support.notes import KeptNotes
from tests.support.path_triggers import path_trigger

CROWDS = tuple(int(c) for c in sys.argv[1:]) or (1_000, 10_000)
WINDOW = 50
HOURS = 6
COME_A_SECOND = 500
SETTLE_SECONDS, MEASURE_SECONDS = 15.0, 40.0
MEBIBYTE = 1024 * 1024
MOST_REQUESTS, MOST_CORE, MOST_MEBIBYTES, MOST_LAG_MS = 5.0, 25.0, 300.0, 50.0
_TICK = 0.01


def serve(ready: Connection, count: int) -> None:
    """Be an instance on which so many jobs are at work, and count what it is asked for."""
    asked = [0]
    began = time.time()

    def job(number: int) -> dict[str, object]:
        passed = time.time() - began
        return {
            "processingId": f"job-{number}",
            "path": f"/content/dam/crowd/{number}",
            "status": "RUNNING",
            "triggeredCount": int(passed * 20),
            "startedAt": int(began * 1000) + number,
            "migrationSet": {"totalFiles": HOURS * 3600 * 20, "calculationStatus": "SUCCESS"},
            "eta": {"value": int(HOURS * 3600 - passed), "unit": "SECONDS"},
        }

    async def history(_request: web.Request) -> web.Response:
        asked[0] += 1
        return web.json_response({"executionHistory": [job(count - 1 - number) for number in range(WINDOW)]})

    async def status(request: web.Request) -> web.Response:
        asked[0] += 1
        return web.json_response(job(int(request.query["processingId"].rpartition("-")[2])))

    async def count_of(_request: web.Request) -> web.Response:
        return web.json_response(asked[0])

    async def run() -> None:
        application = web.Application()
        application.router.add_get("/bin/guides/v1/assets/process/history", history)
        application.router.add_get("/bin/guides/v1/assets/process/status", status)
        application.router.add_get("/asked", count_of)
        runner = web.AppRunner(application, access_log=None)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        ready.send(runner.addresses[0][1])
        await asyncio.Event().wait()

    asyncio.run(run())


@dataclass(frozen=True)
class Figures:
    """What a crowd costs: requests a second, percent of a core, mebibytes of its own, and the loop's lag in ms."""

    waiting: int
    requests: float
    core: float
    mebibytes: float
    lag: float
    worst_lag: float

    def in_table(self) -> list[Figure]:
        """Each with its bound."""
        who = f"{self.waiting:,} waiting jobs"
        return [
            Figure("b", f"{who}, requests", self.requests, "1/s", MOST_REQUESTS),
            Figure("b", f"{who}, processor time", self.core, "% of a core", MOST_CORE),
            Figure("b", f"{who}, memory", self.mebibytes, "MiB", MOST_MEBIBYTES),
            Figure("b", f"{who}, lag of the loop, 99 %", self.lag, "ms", MOST_LAG_MS),
            Figure("b", f"{who}, lag of the loop, worst", self.worst_lag, "ms"),
        ]


async def _lags(seconds: float) -> Sequence[float]:
    """By how many milliseconds the loop was late, a hundred times a second."""
    lags, ends = [], time.monotonic() + seconds
    while (now := time.monotonic()) < ends:
        await asyncio.sleep(_TICK)
        lags.append((time.monotonic() - now - _TICK) * 1000)
    return lags


async def _asked(port: int) -> int:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET /asked HTTP/1.0\r\n\r\n")
    answer = await reader.read()
    writer.close()
    return int(json.loads(answer.rpartition(b"\r\n\r\n")[2]))


async def wait_together(count: int, port: int) -> Figures:
    """Let so many wait, and measure while they do."""
    process, notes = psutil.Process(), KeptNotes()
    before = process.memory_info().rss
    waiting = list[asyncio.Task[PathState]]()
    for number in range(count):
        path = f"/content/dam/crowd/{number}"
        state = PathState(
            ProcessingRequest(path), Phase.FOLLOWING, processing_id=f"job-{number}", origin=Origin.STARTED
        )
        trigger = path_trigger(notes, path, number, state, job_seconds=HOURS * 7200.0, longest_look=900.0)
        waiting.append(asyncio.create_task(trigger.go_on()))
        if number % (COME_A_SECOND // 10) == 0:
            await asyncio.sleep(0.1)
    await asyncio.sleep(SETTLE_SECONDS)
    used, began, asked = process.cpu_times(), time.monotonic(), await _asked(port)
    lags = await _lags(MEASURE_SECONDS)
    passed, now = time.monotonic() - began, process.cpu_times()
    requests = (await _asked(port) - asked) / passed
    ended = [task for task in waiting if task.done()]
    if ended:
        raise SystemExit(f"{len(ended)} of {count} do not wait any more: {ended[0]}")
    figures = Figures(
        count,
        requests,
        100 * (now.user + now.system - used.user - used.system) / passed,
        (process.memory_info().rss - before) / MEBIBYTE,
        statistics.quantiles(lags, n=100)[98],
        max(lags),
    )
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    return figures


def measure(results: Connection, count: int) -> None:
    """Measure one crowd, in a process of its own: its memory is nobody else's."""
    context = multiprocessing.get_context("spawn")
    mine, theirs = context.Pipe()
    server = context.Process(target=serve, args=(theirs, count), daemon=True)
    server.start()
    theirs.close()
    try:
        port = mine.recv()
        told = {"conn_type": "aem_guides", "host": f"http://127.0.0.1:{port}", "login": "admin", "password": "x"}
        os.environ["AIRFLOW_CONN_AEM_GUIDES_DEFAULT"] = json.dumps(told)
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # where the triggers log
        results.send(asyncio.run(wait_together(count, port)))
    finally:
        server.terminate()


def main() -> int:
    """Measure all crowds, print the figures; returns the exit status."""
    found = list[Figure]()
    context = multiprocessing.get_context("spawn")
    for count in CROWDS:
        mine, theirs = context.Pipe()
        process = context.Process(target=measure, args=(theirs, count))
        process.start()
        theirs.close()
        figures: Figures = mine.recv()
        process.join()
        found.extend(figures.in_table())
    return report(*found)


if __name__ == "__main__":
    sys.exit(main())
