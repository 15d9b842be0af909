"""The outcome of a batch as table and CSV, which paths need no second run, and how a batch is cut."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from aem_guides.pipelines.batch_plan import BLOCK, BatchPlan, check_size, cut, digest, most_paths
from aem_guides.protocol.errors import InvalidInputError
from aem_guides.protocol.models import ProcessingRequest
from aem_guides.protocol.procedures.intent import Intent
from aem_guides.protocol.procedures.path_state import PathState, Phase
from aem_guides.results.batch_rows import LISTED_ROWS, done_before, is_well, store_outcome, summary
from aem_guides.results.rows import Row, row_of

HOST = "author.example.com"


def row(number: int, state: str = "SUCCESS", **more: object) -> Row:
    return Row(f"/content/dam/{number}", state, f"print-{number}", **more)  # type: ignore[arg-type]  # its fields


@pytest.fixture(autouse=True)
def archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("AIRFLOW__AEM_GUIDES__ARCHIVE_URI", f"file://{tmp_path}")
    return tmp_path


def test_a_later_run_of_the_name_learns_what_was_done_well_on_its_instance(archive: Path) -> None:
    rows = [row(0, archive_uri="file:///a"), row(1, "FAILED", error="it, failed\nbadly"), row(2, error="unverified")]
    uri = store_outcome("nightly / manuals", "manual__1", HOST, rows)
    store_outcome("nightly / manuals", "manual__2", "other.example.com", [row(1)])
    prints = [f"print-{number}" for number in range(4)]
    assert done_before("nightly / manuals", HOST, prints) == {"print-0"}
    assert done_before("nightly / manuals", "other.example.com", prints) == {"print-1"}
    assert done_before("nightly / manuals", HOST, ["print-3"]) == set()
    assert done_before("another name", HOST, prints) == set()
    with Path(uri.removeprefix("file://")).open(newline="") as sheet:
        assert [Row.from_json(entry) for entry in csv.DictReader(sheet)] == rows
    assert [file.name for file in Path(uri.removeprefix("file://")).parent.iterdir() if file.name[0] == "."] == []


def test_a_run_that_is_stored_again_replaces_its_outcome() -> None:
    store_outcome("b", "run", HOST, [row(0, "FAILED", error="x")])
    store_outcome("b", "run", HOST, [row(0)])
    assert done_before("b", HOST, ["print-0"]) == {"print-0"}


def test_the_log_shows_what_went_wrong_first_and_a_hundred_rows_at_the_most() -> None:
    rows = [row(number) for number in range(2000)]
    rows[1234] = row(1234, "FAILED", error="out of\nmemory" * 100)
    lines = summary(rows, archived=False).split("\n")
    assert lines[0] == "2,000 paths: 1 FAILED, 1,999 SUCCESS"
    assert lines[3].startswith("/content/dam/1234")
    assert lines[-1] == f"... and {2000 - LISTED_ROWS:,} more; the CSV has them all."
    assert len(lines) == LISTED_ROWS + 4
    assert max(len(line) for line in lines) < 400
    assert summary([row(1)], archived=True).startswith("1 path: 1 SUCCESS\n")
    assert summary([], archived=True).startswith("0 paths: nothing was processed")


def test_success_needs_the_archive_where_one_was_asked_for() -> None:
    assert is_well(row(0), archived=False)
    assert not is_well(row(0), archived=True)
    assert is_well(row(0, archive_uri="file:///a"), archived=True)
    assert is_well(row(0, has_log=False), archived=True)
    assert not is_well(row(0, archive_uri="file:///a", error="too many assets failed"), archived=True)


def test_a_path_without_outcome_is_not_started_unless_a_job_is_known() -> None:
    request = ProcessingRequest("/content/dam/a")
    assert row_of(PathState(request)).state == "NOT_STARTED"
    assert row_of(PathState(request, Phase.FOLLOWING, processing_id="x"), error="?").state == "UNKNOWN"
    asked = PathState(request, Phase.STARTING, intent=Intent(request.fingerprint(), 1, {}, "run"))
    assert row_of(asked).state == "UNKNOWN"


def test_a_batch_is_cut_into_blocks_in_its_order() -> None:
    requests = [ProcessingRequest(f"/content/dam/{number}") for number in range(2 * BLOCK + 1)]
    blocks = cut(requests)
    assert [len(block) for block in blocks] == [BLOCK, BLOCK, 1]
    assert [entry["path"] for block in blocks for entry in block if isinstance(entry, dict)] == [
        request.path for request in requests
    ]
    plan = BatchPlan(HOST, "b", tuple((request.path, request.fingerprint()) for request in requests), 3)
    assert BatchPlan.from_json(plan.to_json()) == plan
    assert (plan.blocks, plan.tasks) == (3, 3 * BLOCK)
    assert digest(requests) != digest(requests[::-1])


def test_more_paths_than_airflow_can_map_over_are_refused() -> None:
    assert most_paths() == 10_240
    with pytest.raises(InvalidInputError, match="max_map_length"):
        check_size([ProcessingRequest("/content/dam/a")] * (most_paths() + 1))
