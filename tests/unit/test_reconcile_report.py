"""The headline of a reconciliation's report."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from aem_guides.protocol.models import JsonObject
from aem_guides.reconciliation.report import InstanceReport, as_markdown, as_text, counts

DONE: JsonObject = {"remedy": "archive", "succeeded": True}


@pytest.mark.parametrize(
    ("window", "lasting", "remedies", "said"),
    [
        (5, 0, [], "5 jobs in the window, 0 of them new; 0 findings opened, 0 closed, 0 still open."),
        (1, 2, [DONE], "1 job in the window, 0 of them new; 0 findings opened, 0 closed, 2 still open; 1 of 1 remedy"),
        (0, 0, [DONE, {"remedy": "resume"}], "0 still open; 1 of 2 remedies worked."),
    ],
)
def test_the_headline_counts_what_there_was(window: int, lasting: int, remedies: list[JsonObject], said: str) -> None:
    result: JsonObject = {"instance": "x", "window": window, "lasting": [{"kind": "lost"}] * lasting}
    assert said in InstanceReport("aem_guides_default", result, remedies).headline()


def test_what_was_found_is_a_table_in_the_log_and_in_the_document() -> None:
    finding: JsonObject = {"severity": "warning", "kind": "lost", "processing_id": "0x1|2", "text": "gone\n*away*"}
    job: JsonObject = {"processing_id": "007", "path": "/content/a", "state": "SUCCESS", "archived": True}
    report = InstanceReport("aem_guides_default", {"instance": "x", "jobs": [job], "opened": [finding]}, [DONE])
    text = as_text(report).splitlines()
    assert [line for line in text if line.endswith(":")] == ["Jobs in the window:", "Found:", "Remedies:"]
    assert [" ".join(line.split()) for line in text if line.startswith("007")] == ["007 /content/a SUCCESS yes"]
    document = as_markdown([report], datetime(2026, 1, 2, tzinfo=UTC))
    assert "### Lasting" not in document
    (row,) = [line for line in document.splitlines() if "lost" in line]
    assert [cell.strip() for cell in row.split(" | ")[:4]] == ["| warning", "lost", r"0x1\|2", r"gone \*away\*"]


def test_a_remedy_that_waits_for_its_turn_has_not_failed() -> None:
    waits: JsonObject = {"remedy": "resume", "processing_id": "p", "succeeded": False, "waits": True, "note": "Full."}
    report = InstanceReport("aem_guides_default", {"instance": "x"}, [waits, {**waits, "waits": False}])
    assert counts([report])["failed_remedies"] == 1
    assert [line.split()[2] for line in as_text(report).splitlines() if line.startswith("resume")] == [
        "waits:",
        "failed:",
    ]
