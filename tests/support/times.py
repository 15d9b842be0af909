"""How long the tests take: for each part of `make test`, for each folder, and the slowest ten tests.

As a program: `run FOLDER PART COMMAND...` runs a part of `make test` and stores its seconds, `show FOLDER` shows all
stored seconds. Within a part, the plugin stores the seconds of each test in the folder that the environment names.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

FOLDER_VARIABLE = "AEM_GUIDES_TEST_TIMES"
SCENARIOS = "scenarios.json"
SLOWEST = 10

_BEGAN = time.monotonic()
_SPANS: dict[str, tuple[float, float]] = {}
"""Begin and end of each scenario, in seconds since this session began. Its test only shows how long it was awaited."""


@contextmanager
def spanning(scenario: str) -> Iterator[None]:
    """Keep when a scenario begins and ends."""
    began = time.monotonic() - _BEGAN
    try:
        yield
    finally:
        _SPANS[scenario] = (began, time.monotonic() - _BEGAN)


class TestTimes:
    """The pytest plugin. It adds up set-up, call and tear-down of each test, and stores the sums at the end of the
    session."""

    __test__ = False

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._seconds: dict[str, float] = defaultdict(float)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self._seconds[report.nodeid] += report.duration

    def pytest_sessionfinish(self) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        (self._folder / f"tests-{os.getpid()}.json").write_text(json.dumps(self._seconds))
        if _SPANS:
            (self._folder / SCENARIOS).write_text(json.dumps(_SPANS))


def keep_times(config: pytest.Config) -> None:
    """Store the times of this session, unless it is a worker of another session or no folder is set."""
    folder = os.environ.get(FOLDER_VARIABLE)
    if folder and not hasattr(config, "workerinput"):
        config.pluginmanager.register(TestTimes(Path(folder)))


def run_part(folder: Path, part: str, command: list[str]) -> int:
    """Run one part, store its seconds, and return its exit status."""
    folder.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    status = subprocess.run(command, env={**os.environ, FOLDER_VARIABLE: str(folder)}, check=False).returncode
    with (folder / "parts.jsonl").open("a") as kept:
        kept.write(json.dumps([part, time.monotonic() - began]) + "\n")
    return status


def folder_of(nodeid: str) -> str:
    """The folder below `tests` that a test is in."""
    return nodeid.partition("::")[0].removeprefix("tests/").partition("/")[0]


def table_of(seconds: Mapping[str, float], parts: list[tuple[str, float]]) -> Iterator[str]:
    """The lines to show: the slowest tests, each folder, and all parts in one line."""
    yield f"The slowest {SLOWEST} tests, in seconds with set-up and tear-down:"
    for nodeid in sorted(seconds, key=lambda one: -seconds[one])[:SLOWEST]:
        yield f"{seconds[nodeid]:8.1f}  {nodeid}"
    yield "Tests and their seconds, by folder:"
    folders: dict[str, list[float]] = defaultdict(list)
    for nodeid, taken in seconds.items():
        folders[folder_of(nodeid)].append(taken)
    for name, times in folders.items():
        yield f"{sum(times):8.1f}  {name} ({len(times):,} tests)"
    yield "Parts: " + ", ".join(f"{name} {taken:.0f} s" for name, taken in parts)


def spans_of(spans: Mapping[str, tuple[float, float]]) -> Iterator[str]:
    """The lines that show the scenarios that took longest, each with its begin and end."""
    yield f"The slowest {SLOWEST} scenarios: seconds, begin and end in the session"
    for name in sorted(spans, key=lambda one: spans[one][0] - spans[one][1])[:SLOWEST]:
        began, ended = spans[name]
        yield f"{ended - began:8.1f}  {began:6.0f} to {ended:4.0f}  {name}"


def show(folder: Path) -> None:
    seconds: dict[str, float] = {}
    for kept in sorted(folder.glob("tests-*.json"), key=lambda file: file.stat().st_mtime):
        seconds |= json.loads(kept.read_text())
    parts = [json.loads(line) for line in (folder / "parts.jsonl").read_text().splitlines()]
    spans = json.loads(kept.read_text()) if (kept := folder / SCENARIOS).is_file() else {}
    print(*spans_of(spans), *table_of(seconds, parts), sep="\n")


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["run", folder, part, *command] if command:
            sys.exit(run_part(Path(folder), part, command))
        case ["show", folder]:
            show(Path(folder))
        case _:
            sys.exit(__doc__)
