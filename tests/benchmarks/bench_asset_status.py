"""What became of a million assets: memory, how long the event loop is blocked beside five other waits, and time.

Run it with a count of assets::

    python -m tests.benchmarks.bench_asset_status 1000000
"""

from __future__ import annotations

import asyncio
import json
import logging
import multiprocessing
import os
import resource
import sys
import tempfile
import time
from pathlib import Path

from airflow.sdk import ObjectStoragePath

from aem_guides.hooks.hook import AemGuidesAsyncHook, AemGuidesHook
from aem_guides.protocol.asset_verdict import AssetQuestion, Verification
from aem_guides.protocol.models import Job, ProcessingRequest
from aem_guides.protocol.pacing import Pacing
from aem_guides.protocol.procedures.verify import Patience, verify_assets
from aem_guides.protocol.states import JobState
from aem_guides.results.verification import find_out
from tests.benchmarks.asset_answers import blocks, serve
from tests.benchmarks.figures import Figure, report

MOST_GROWTH_MIB = 64
LONGEST_BLOCK_SECONDS = 0.1
OTHER_WAITS = 5
_TICK = 0.01
PATIENCE = Patience(3600, Pacing())


def question(count: int, every: int) -> AssetQuestion:
    """About a job that had so many assets, of which each `every`th failed."""
    path = f"/content/dam/bench/{count}-{every}"
    return AssetQuestion(ProcessingRequest(path), Job("p", JobState.SUCCESS, "SUCCESS", path, total_files=count))


def peak_mib() -> float:
    """The most memory that this process ever had."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


async def other_wait(late: list[float]) -> None:
    """A wait that wants to look every 10 ms, and notes how late it came to it."""
    while True:
        due = time.monotonic() + _TICK
        await asyncio.sleep(_TICK)
        late.append(time.monotonic() - due)


async def in_the_triggerer(count: int, late: list[float]) -> Verification:
    """Ask in an event loop with five other waits."""
    others = [asyncio.create_task(other_wait(late)) for _ in range(OTHER_WAITS)]
    async with AemGuidesAsyncHook() as hook:
        found = await hook.drive(verify_assets(await hook.talk(), question(count, 1_000), PATIENCE))
    for other in others:
        other.cancel()
    await asyncio.gather(*others, return_exceptions=True)
    return found


def in_a_worker(count: int, every: int, folder: str) -> tuple[Verification, str | None]:
    """Ask in a worker, which stores all failures as CSV."""
    with AemGuidesHook() as hook:
        place = ObjectStoragePath(f"file://{folder}")
        return find_out(hook, logging.getLogger("bench"), question(count, every), PATIENCE, lambda: place)


def measure(what: str, count: int) -> bool:
    """One of the two forms in this process, after the same on a small answer; whether it is as it should be."""
    logging.disable()
    late: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        if what == "triggerer":
            asyncio.run(in_the_triggerer(1_000, late))
        else:
            in_a_worker(1_000, 1, folder)
        late.clear()
        idle, began, cpu = peak_mib(), time.monotonic(), time.process_time()
        if what == "triggerer":
            found, uri = asyncio.run(in_the_triggerer(count, late)), None
        else:
            found, uri = in_a_worker(count, 1, folder)
        seconds, cpu, growth = time.monotonic() - began, time.process_time() - cpu, peak_mib() - idle
        sheet = Path(uri.removeprefix("file://")).stat().st_size / 1e6 if uri else 0.0
    assert found.succeeded + found.failed == count, found
    print(
        f"{what}: {count:,} assets, {found.failed:,} failed: {seconds:.1f} s ({cpu:.1f} s of CPU), "
        f"idle {idle:.0f} MiB, +{growth:.1f} MiB" + (f", CSV of {sheet:.0f} MB" if uri else "")
    )
    figures = [
        Figure("h", f"{count:,} assets in the {what}", seconds, "s"),
        Figure("h", f"{count:,} assets in the {what}, memory above idle", growth, "MiB", MOST_GROWTH_MIB),
    ]
    if late:
        longest = max(late)
        ordered = sorted(late)
        print(
            f"{what}: {len(late):,} looks of {OTHER_WAITS} other waits, the latest {longest * 1000:.0f} ms late, "
            f"99% of them at most {ordered[int(len(ordered) * 0.99)] * 1000:.1f} ms"
        )
        most = LONGEST_BLOCK_SECONDS * 1000
        figures.append(Figure("h", f"{count:,} assets, longest block of the loop", longest * 1000, "ms", most))
    return report(*figures) == 0


def main(count: int) -> int:
    """Measure each form in a process of its own; the exit status."""
    spawn = multiprocessing.get_context("spawn")
    mine, theirs = multiprocessing.Pipe()
    server = spawn.Process(target=serve, args=(theirs,), daemon=True)
    server.start()
    told = {"conn_type": "aem_guides", "host": f"http://127.0.0.1:{mine.recv()}", "login": "admin", "password": "x"}
    os.environ["AIRFLOW_CONN_AEM_GUIDES_DEFAULT"] = json.dumps(told)
    print(
        f"the answer has {sum(map(len, blocks(count, 1_000))) / 1e6:.0f} MB, and {os.getloadavg()[0]:.1f} is the load"
    )
    try:
        with spawn.Pool(1, maxtasksperchild=1) as pool:
            well = [pool.apply(measure, (what, count)) for what in ("triggerer", "worker")]
    finally:
        server.terminate()
    return 0 if all(well) else 1


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000))
