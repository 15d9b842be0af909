"""The log lines of a job, in the product's form."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

from emulator.content import Asset, asset_id
from emulator.parsing import Outcome
from emulator.store import Processed


def log_line(now: int, level: str, text: str) -> str:
    """One line as the product writes it: UTC, a colon before the milliseconds. `now` is in epoch milliseconds."""
    stamp = datetime.fromtimestamp(now / 1000, tz=UTC)
    return f"{stamp:%Y-%m-%d %H:%M:%S}:{stamp.microsecond // 1000:03}: {level}: [BASELINE_MIGRATION] {text}"


def asset_lines(now: int, asset: Asset, outcome: Outcome, count: int) -> Iterator[str]:
    """The lines about one asset: `count` lines for a success, else the failure and its details."""
    if outcome.failure:
        yield log_line(now, "ERROR", f"Failed to process {asset.path}: {outcome.failure}")
        yield from outcome.details
    else:
        text = f"Processed {asset.path} [{outcome.file_type}] id={asset_id(asset.path)}"
        for part in range(count):
            note = f" part {part + 1}" if part else f" title={outcome.title!r} references={outcome.references}"
            yield log_line(now, "INFO", text + note)
    for target in outcome.dangling:
        yield log_line(now, "WARN", f"{asset.path}: link to {target} is broken")


def processed(asset: Asset, outcome: Outcome) -> Processed:
    """What is recorded of an asset."""
    state = "FAILURE" if outcome.failure else "SUCCESS"
    return Processed(asset.path, asset_id(asset.path), outcome.title, outcome.file_type, state, outcome.failure)
