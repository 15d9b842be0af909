"""All measurements one after the other, and one table of their figures in the end.

Run as `python -m tests.benchmarks [PART ...]`; without parts all but the batch, which takes about an hour. Exits with
1 where a part fails or a figure passes its bound.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.benchmarks.figures import FIGURES_FILE, read, table

PARTS = ("wait", "wait_crowd", "run", "streams", "archive", "parse", "ledger", "console", "asset_status", "odd_replies")


def main(parts: tuple[str, ...]) -> int:
    """Run the parts; returns the exit status."""
    failed = []
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "figures"
        for part in parts:
            began = time.monotonic()
            print(f"== {part}", flush=True)
            command = [sys.executable, "-m", f"tests.benchmarks.bench_{part}"]
            if subprocess.run(command, env=os.environ | {FIGURES_FILE: str(file)}, check=False).returncode:
                failed.append(part)
            print(f"   {part}: {time.monotonic() - began:.0f} s", flush=True)
        print(f"== All figures\n{table(read(file))}")
    if failed:
        print(f"Failed, or beyond a bound: {', '.join(failed)}")
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main(tuple(sys.argv[1:]) or PARTS))
