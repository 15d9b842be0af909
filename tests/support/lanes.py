"""Run two lanes of `make test` side by side, so that one works while the other waits.

As a program: `FOLDER COMMAND --beside COMMAND`. The output of the first lane is shown as it comes, that of the second
lane when it has ended. The exit status is that of the first lane that failed. If this program is ended, it ends both
lanes and what they started.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import IO

from local.processes import end_sessions

BESIDE = "--beside"
GRACE_SECONDS = float(os.environ.get("AEM_GUIDES_LANES_GRACE", "60"))
"""How many seconds a lane has to end what it started, after an interruption."""


class Interrupted(BaseException):
    """The run was interrupted."""


class _End:
    """Ends the run at the first signal. Further signals do not disturb the end."""

    def __init__(self) -> None:
        self._ended = False

    def __call__(self, number: int, _frame: FrameType | None) -> None:
        if not self._ended:
            self._ended = True
            raise Interrupted(number)


def run_lanes(folder: Path, first: Sequence[str], second: Sequence[str]) -> int:
    """Run both lanes. Returns the exit status of the first that failed, or 0."""
    folder.mkdir(parents=True, exist_ok=True)
    kept = folder / "second-lane.log"
    with kept.open("w+b") as output:
        lanes: list[subprocess.Popen[bytes]] = []
        try:
            lanes.append(_begin(first, None))
            lanes.append(_begin(second, output))
            _await(lanes, kept)
        except BaseException:
            _interrupt(lanes)
            raise
    return next((lane.returncode for lane in lanes if lane.returncode), 0)


def _begin(command: Sequence[str], output: IO[bytes] | None) -> subprocess.Popen[bytes]:
    """Start a lane in its own session, so that an interruption reaches it only through this program, and once."""
    error = subprocess.STDOUT if output is not None else None
    return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=error, start_new_session=True)


def _await(lanes: Sequence[subprocess.Popen[bytes]], kept: Path) -> None:
    """Wait for all lanes. Show the output of the second once it has ended."""
    shown = False
    while not shown or any(lane.poll() is None for lane in lanes):
        if not shown and lanes[1].poll() is not None:
            shown = True
            sys.stdout.write(f"\n== Beside it, with exit status {lanes[1].returncode}:\n")
            sys.stdout.write(kept.read_text(errors="replace") + "== So far what ran beside it.\n")
            sys.stdout.flush()
        time.sleep(0.2)


def _interrupt(lanes: Sequence[subprocess.Popen[bytes]]) -> None:
    """Let each lane end in order. Kill what is left after the grace period."""

    def reap() -> None:
        for lane in lanes:
            lane.poll()

    end_sessions([lane.pid for lane in lanes], GRACE_SECONDS, reap)


def main(arguments: Sequence[str]) -> int:
    """The program."""
    if len(arguments) < 4 or BESIDE not in arguments:
        print(__doc__, file=sys.stderr)
        return 2
    folder, *commands = arguments
    place = commands.index(BESIDE)
    end = _End()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, end)
    try:
        return run_lanes(Path(folder), commands[:place], commands[place + 1 :])
    except Interrupted as interrupted:
        return 128 + int(interrupted.args[0])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
