"""CSV: texts that a spreadsheet could read as a formula, texts that are too long for a reader, and no other code that
writes CSV."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from airflow.sdk import ObjectStoragePath
from hypothesis import given
from hypothesis import strategies as st

from aem_guides.protocol.models import AssetState, AssetStatus
from aem_guides.protocol.procedures.verify import NotProcessed
from aem_guides.reconciliation import report as reconcile_report
from aem_guides.reconciliation.report import InstanceReport
from aem_guides.results.batch_rows import done_before, store_outcome
from aem_guides.results.rows import Row
from aem_guides.results.verification import FailureSheet
from aem_guides.runtime.sheets import LONGEST_CELL, as_csv, read_csv

ROOT = Path(__file__).parents[2]
FORMULAS = ("=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "'=1", "''-x")


def outcome(folder: Path, nasty: str) -> str:
    row = Row("/content/dam/a", "FAILED", "print", processing_id=nasty, error=nasty)
    return Path(store_outcome("b", "run", "author", [row]).removeprefix("file://")).read_text()


def failures(folder: Path, nasty: str) -> str:
    asset = AssetStatus(nasty, AssetState.FAILURE, nasty, nasty, reason=nasty)
    sheet = FailureSheet(io.BytesIO())
    sheet.take(NotProcessed((asset,)))
    uri = sheet.store(ObjectStoragePath(f"file://{folder}"))
    return Path(str(uri).removeprefix("file://")).read_text()


def findings(folder: Path, nasty: str) -> str:
    found = {"instance": nasty, "opened": [{"processing_id": nasty, "text": nasty, "kind": nasty, "remedy": nasty}]}
    return reconcile_report.as_csv([InstanceReport("c", found, [])])  # type: ignore[arg-type]  # plain JSON


@pytest.mark.parametrize("write", [outcome, failures, findings])
@pytest.mark.parametrize("nasty", [*FORMULAS, "=" + "x" * 200_000])
def test_no_sheet_has_a_formula_or_a_cell_beyond_reading(
    write: Callable[[Path, str], str], nasty: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__AEM_GUIDES__ARCHIVE_URI", f"file://{tmp_path}")
    cells = [cell for row in csv.reader(io.StringIO(write(tmp_path, nasty), newline="")) for cell in row]
    written = [cell for cell in cells if "=" in cell or "+" in cell or "-" in cell or "@" in cell]
    assert len(written) >= 2
    assert not [cell for cell in cells if cell.startswith(("=", "+", "-", "@", "\t", "\r", "\n"))]
    assert max(map(len, cells)) <= LONGEST_CELL


@given(st.lists(st.text(max_size=20), min_size=1, max_size=5))
def test_written_values_are_read_again(cells: list[str]) -> None:
    names = [f"c{number}" for number in range(len(cells))]
    assert list(read_csv(io.StringIO(as_csv([names, cells]), newline=""))) == [dict(zip(names, cells, strict=True))]


def test_a_cut_cell_says_how_long_it_was_and_numbers_stay_numbers() -> None:
    (row,) = read_csv(io.StringIO(as_csv([["a", "b", "c"], ["x" * 200_000, -5, None]]), newline=""))
    assert row["a"].endswith("x… (200,000 letters in all)")
    assert (row["b"], row["c"]) == ("-5", "")


def test_comments_of_any_length_do_not_keep_later_runs_from_what_was_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__AEM_GUIDES__ARCHIVE_URI", f"file://{tmp_path}")
    rows = [Row("/content/a", "FAILED", "f", error="x" * 200_000), Row("/content/b", "SUCCESS", "done")]
    store_outcome("b", "run", "author", rows)
    assert done_before("b", "author", ["f", "done"]) == {"done"}


def test_a_sheet_that_cannot_be_read_is_named_and_the_others_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("AIRFLOW__AEM_GUIDES__ARCHIVE_URI", f"file://{tmp_path}")
    store_outcome("b", "run", "author", [Row("/content/b", "SUCCESS", "done")])
    (tmp_path / "batches" / "b" / "0.csv").write_text("instance,error\nauthor," + "x" * 200_000 + "\n")
    assert done_before("b", "author", ["done"]) == {"done"}
    assert "0.csv cannot be read to its end" in caplog.text


def test_one_module_alone_writes_csv() -> None:
    sources = {file.name: file.read_text() for file in (ROOT / "plugins" / "aem_guides").rglob("*.py")}
    assert [name for name, source in sources.items() if re.search(r"csv\.(writer|DictWriter)", source)] == ["sheets.py"]
