"""What waiting for a job costs, and how late its end is seen: in virtual time, beside a look every minute.

Run as `python -m tests.benchmarks.bench_wait`. It takes some seconds. Jobs take 1 min to 24 h, and say truly, roughly
or not at all how long they still take. Exits with 1 where a bound is passed: 250 requests for a job of 6 h and 400 for
one of 24 h, with the pages of its log; its end seen within 2 s where it says when it comes, and within 15 s where rate
and count of its files do.
"""

from __future__ import annotations

import statistics
import sys

from aem_guides.protocol.pacing import MOST_LOOKS
from tests.benchmarks.figures import Figure, report
from tests.support.virtual_jobs import Told, VirtualJob, watched, watched_by_a_fixed_poll

MINUTE, HOUR = 60.0, 3600.0
LENGTHS = {"1 min": MINUTE, "10 min": 10 * MINUTE, "1 h": HOUR, "6 h": 6 * HOUR, "24 h": 24 * HOUR}
ROUNDS = 20
MOST_LAG = {Told.COUNTS: 15.0, Told.WAVES: 15.0, Told.NOTHING: None}
WITH_ETA_LAG = 2.0
LOG_LINES = 100_000


def main() -> int:
    """Follow all kinds of jobs, print the figures; returns the exit status."""
    heads = ("looks", "log pages", "60 s poll", "lag s, mean", "most", "60 s poll")
    print(f"{'job':8}{'says':24}" + "".join(f"{head:>13}" for head in heads))
    table = list[Figure]()
    for name, seconds in LENGTHS.items():
        for told in Told:
            # Their ends lie differently to the looks. An estimate without a count beside it is the harder case.
            jobs = [VirtualJob(seconds * (1 - n / 200), told, counts=told in MOST_LAG, seed=n) for n in range(ROUNDS)]
            found = [watched(job, log_lines=LOG_LINES) for job in jobs]
            polled = [watched_by_a_fixed_poll(job, MINUTE) for job in jobs]
            looks, pages = (max(getattr(one, what) for one in found) for what in ("looks", "log_pages"))
            lags = [one.lag for one in found]
            counts = looks, pages, max(one.looks for one in polled)
            late = statistics.mean(lags), max(lags), statistics.mean(one.lag for one in polled)
            figures = [f"{count:13}" for count in counts] + [f"{lag:13.1f}" for lag in late]
            print(f"{name:8}{told:24}" + "".join(figures))
            most_lag, most = MOST_LAG.get(told, WITH_ETA_LAG), MOST_LOOKS.get(seconds)
            # Of what says nothing, a line may come at any time: its pages are read at every look.
            requests = looks if told is Told.NOTHING else looks + pages
            table.append(Figure("a", f"{name}, {told}: the end is seen after", max(lags), "s", most_lag))
            if most is not None:
                table.append(Figure("a", f"{name}, {told}: requests", requests, "", most))
                polls = max(one.looks for one in polled)
                table.append(Figure("a", f"{name}, {told}: looks beside a poll every 60 s", looks / polls, "ratio"))
    return report(*table)


if __name__ == "__main__":
    sys.exit(main())
