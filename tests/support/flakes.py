"""Run the end-to-end part repeatedly under load, to find tests that fail now and then.

As a program: `FOLDER RUNS LOOPS PYTEST-ARGUMENTS...`. This many busy loops keep the cores at work, and the tests have a
lower priority. The folder keeps the output of each run. The program shows which test failed in which run. The exit
status is 1 if a test failed.
"""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

BUSY = "while True: pass"
POLITENESS = 5
_FAILED = re.compile(r"^(?:FAILED|ERROR) (\S.*?)(?: - .*)?$", re.MULTILINE)


@contextmanager
def load(loops: int) -> Iterator[None]:
    """So many busy loops."""
    running = [subprocess.Popen([sys.executable, "-c", BUSY]) for _ in range(loops)]
    try:
        yield
    finally:
        for loop in running:
            loop.kill()
            loop.wait()


def failed_in(output: str) -> list[str]:
    """The tests that the short summary of a session names."""
    return sorted(set(_FAILED.findall(output)))


def run_once(log: Path, loops: int, arguments: Sequence[str]) -> list[str]:
    """Do one run under load. Returns the failed tests, or how the run ended if there is no summary."""
    command = ["nice", "-n", str(POLITENESS), sys.executable, "-m", "pytest", *arguments]
    with load(loops), log.open("wb") as output:
        session = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT)
        try:
            status = session.wait()
        except BaseException:
            session.send_signal(signal.SIGTERM)
            session.wait()
            raise
    failed = failed_in(log.read_text(errors="replace"))
    return failed or ([f"the session, with exit status {status}"] if status else [])


def summary(failed: Mapping[int, Sequence[str]]) -> Iterator[str]:
    """The lines to show at the end: each test that failed, and in which runs."""
    runs: dict[str, list[int]] = defaultdict(list)
    for run, names in failed.items():
        for name in names:
            runs[name].append(run)
    yield f"{len(failed)} runs, {sum(bool(names) for names in failed.values())} with failures"
    for name, numbers in sorted(runs.items(), key=lambda item: -len(item[1])):
        yield f"{len(numbers):4}  {name} (in {', '.join(map(str, numbers))})"


def main(arguments: Sequence[str]) -> int:
    """The program."""
    if len(arguments) < 4 or not all(number.isdecimal() for number in arguments[1:3]):
        print(__doc__, file=sys.stderr)
        return 2
    folder, runs, loops, *chosen = arguments
    Path(folder).mkdir(parents=True, exist_ok=True)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    failed: dict[int, list[str]] = {}
    try:
        for number in range(1, int(runs) + 1):
            began, log = time.monotonic(), Path(folder) / f"run-{number}.log"
            failed[number] = run_once(log, int(loops), chosen)
            print(f"Run {number} of {runs}, {time.monotonic() - began:.0f} s:", *failed[number] or ["all passed"])
    except KeyboardInterrupt:
        print("Ended before all runs were made.")
        return 130
    finally:
        print(*summary(failed), sep="\n")
    return int(any(failed.values()))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
