"""Odd replies through both bodies: only errors of ours, flat memory, no call longer than it may be.

Run it with a count of replies and a seed::

    python -m tests.benchmarks.bench_odd_replies 100000 0

The waits between calls take no time: odd replies often ask for long ones.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import multiprocessing
import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator

import psutil

from aem_guides.hooks import bodies
from aem_guides.hooks.hook import AemGuidesAsyncHook, AemGuidesHook
from aem_guides.protocol import contract
from aem_guides.protocol.conversation import Conversation, RetrySettings
from aem_guides.protocol.errors import AemGuidesError
from aem_guides.protocol.limits import longest_answer
from aem_guides.protocol.models import ProcessingRequest
from aem_guides.protocol.procedures.download import download_log
from aem_guides.protocol.steps import Steps
from tests.benchmarks.figures import Figure, report
from tests.benchmarks.odd_replies import serve
from tests.support.clocks import SkippingClock

ONCE = RetrySettings(attempts=1)
READ_TIMEOUT = 10.0
MOST_GROWTH_MIB = 80
WARM_UP = 300
CALLS: list[Callable[[Conversation], Steps[object]]] = [
    lambda talk: talk.call(contract.history()),
    lambda talk: talk.call(contract.status("a")),
    lambda talk: talk.call(contract.logs("a", offset=0, limit=100)),
    lambda talk: talk.call(contract.system_status()),
    lambda talk: talk.call(contract.asset_status("a")),
    lambda talk: talk.call(contract.csrf_token()),
    lambda talk: talk.call(contract.start(ProcessingRequest("/content/dam/a"))),
    lambda talk: talk.call(contract.cancel("a")),
    lambda talk: talk.call(contract.resume("a")),
    lambda talk: download_log(talk, "a", base_url="http://127.0.0.1"),
]


class Figures:
    """What became of the calls of one body."""

    def __init__(self) -> None:
        self.outcomes: Counter[str] = Counter()
        self.strange: list[str] = []
        self.longest = 0.0
        self.idle = 0
        self.most = 0

    @contextlib.contextmanager
    def counted(self, number: int) -> Iterator[None]:
        """Around one call."""
        began = time.monotonic()
        try:
            yield
            self.outcomes["read"] += 1
        except AemGuidesError as error:
            self.outcomes[type(error).__name__] += 1
        except Exception as error:
            logging.getLogger(__name__).exception("call %s", number)
            self.strange.append(f"call {number}: {type(error).__name__}: {error!r}"[:300])
        self.longest = max(self.longest, time.monotonic() - began)
        if number == WARM_UP:
            self.idle = psutil.Process().memory_info().rss
        if number > WARM_UP and number % 100 == 0:
            self.most = max(self.most, psutil.Process().memory_info().rss)

    def shown(self, body: str) -> list[Figure]:
        """Print what became of the calls; returns the figures."""
        growth = (self.most - self.idle) / 1024 / 1024 if self.most else 0.0
        print(f"{body}: {sum(self.outcomes.values())} replies: {dict(self.outcomes.most_common())}")
        for line in self.strange[:10]:
            print(f"  {line}")
        name = f"odd replies, {body} body"
        return [
            Figure("i", f"{name}: errors that are not ours", len(self.strange), "", 0),
            Figure("i", f"{name}: the longest call", self.longest, "s", longest_answer(READ_TIMEOUT)),
            Figure("i", f"{name}: memory above idle", growth, "MiB", MOST_GROWTH_MIB),
        ]


def ask_blocking(count: int) -> Figures:
    """So many calls through the blocking body."""
    figures = Figures()
    with AemGuidesHook(retries=ONCE) as hook:
        for number in range(count):
            with figures.counted(number):
                hook.drive(CALLS[number % len(CALLS)](hook.talk), lambda _item: None)
    return figures


async def ask_asynchronous(count: int) -> Figures:
    """So many through the asynchronous one."""
    figures = Figures()
    async with AemGuidesAsyncHook(retries=ONCE) as hook:
        for number in range(count):
            with figures.counted(number):
                await hook.drive(CALLS[number % len(CALLS)](await hook.talk()), lambda _item: None)
    return figures


def main(count: int, seed: int) -> int:
    """Ask; the exit status."""
    mine, theirs = multiprocessing.Pipe()
    server = multiprocessing.get_context("spawn").Process(target=serve, args=(theirs, seed), daemon=True)
    server.start()
    url = f"http://127.0.0.1:{mine.recv()}"
    extra = {"read_timeout": READ_TIMEOUT}
    told = {"conn_type": "aem_guides", "host": url, "login": "admin", "password": "x", "extra": extra}
    os.environ["AIRFLOW_CONN_AEM_GUIDES_DEFAULT"] = json.dumps(told)
    logging.getLogger("aem_guides").setLevel(logging.CRITICAL)
    bodies.REAL_SURROUNDINGS = SkippingClock().surroundings
    try:
        figures = ask_blocking(count // 2).shown("blocking")
        figures += asyncio.run(ask_asynchronous(count - count // 2)).shown("asynchronous")
        return report(*figures)
    finally:
        server.terminate()


if __name__ == "__main__":
    sys.exit(main(*(int(given) for given in sys.argv[1:]), *(2_000, 0)[len(sys.argv) - 1 :]))
