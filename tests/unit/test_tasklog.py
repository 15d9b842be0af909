"""The instance's log as records of a task log."""

from __future__ import annotations

import logging

from hypothesis import given
from hypothesis import strategies as st

from aem_guides.protocol.procedures.events import LogLines
from aem_guides.runtime.task_log import LogBudget, records, show_event

INFO = "2026-02-26 08:59:10:755: INFO: [BASELINE_MIGRATION] Processed"
WARN = "2026-02-26 08:59:10:756: WARN: [BASELINE_MIGRATION] broken link"
ERROR = "2026-02-26 08:59:10:757: ERROR: [BASELINE_MIGRATION] failed"


class Recorder:
    """A logger that keeps what it gets."""

    def __init__(self) -> None:
        self.records: list[tuple[int, str]] = []

    def log(self, level: int, event: str, /, *args: object) -> None:
        self.records.append((level, event % args))

    def lines(self) -> list[str]:
        return "\n".join(text for _, text in self.records).split("\n")


def test_lines_without_a_prefix_go_with_the_line_before_them() -> None:
    assert list(records([INFO, ERROR, "    at line 5", WARN, INFO])) == [
        (logging.INFO, INFO),
        (logging.ERROR, f"{ERROR}\n    at line 5"),
        (logging.WARNING, WARN),
        (logging.INFO, INFO),
    ]


LINES = st.lists(st.sampled_from([INFO, WARN, ERROR, "  detail", "", "100% %s"]), max_size=60)


@given(LINES, st.integers(1, 7))
def test_below_the_budget_every_line_is_there_once_and_in_order(lines: list[str], page: int) -> None:
    log = Recorder()
    budget = LogBudget(log, 1000)
    for start in range(0, len(lines), page):
        budget.take(LogLines(tuple(lines[start : start + page]), start + page))
    assert budget.finish() == 0
    assert budget.total == len(lines)
    assert log.lines() == (lines or [""])


@given(st.integers(2, 40), st.integers(0, 200), st.integers(1, 50))
def test_beyond_the_budget_head_and_tail_are_there_with_the_count_between(most: int, total: int, page: int) -> None:
    log = Recorder()
    budget = LogBudget(log, most)
    lines = [f"line {number}" for number in range(total)]
    for start in range(0, total, page):
        budget.take(LogLines(tuple(lines[start : start + page]), start + page))
    left_out = budget.finish()
    shown = log.lines()
    assert left_out == max(0, total - most)
    if left_out:
        head = most - most // 2
        assert shown[:head] == lines[:head]
        assert f"{left_out:,} of {total:,} log lines" in shown[head]
        assert shown[head + 1 :] == (lines[-(most // 2) :] if most // 2 else [])


def test_a_very_long_line_is_cut_in_the_live_log_only() -> None:
    log = Recorder()
    show_event(log, LogLines(("x" * 1_000_000,), 1))
    assert len(log.records[0][1]) < 2100
    assert "(1,000,000 characters)" in log.records[0][1]
