"""The parts of a job's page that come from the archive: what happened, the log in short, the failed assets."""

from __future__ import annotations

import json
import tracemalloc
from pathlib import Path
from urllib.parse import quote

import pytest

from aem_guides.console import failed_assets
from aem_guides.ledger import database
from aem_guides.ledger.database import LedgerUnavailableError
from aem_guides.ledger.store import Ledger
from aem_guides.results.verification import CSV_NAME
from aem_guides.runtime.sheets import as_csv
from tests.support.archives import a_zip
from tests.support.console import STRANGER, VIEWER, Host, read
from tests.support.worlds import INSTANCE, NOW, apply, job, note, snapshot

HERE = f"instance={INSTANCE}&name=it"
PARTS = ("events", "log-digest", "assets-digest", "assets", "assets-file")
LOG = b"".join(b"2026-01-01 00:00:00:000: ERROR: Failed to process /content/%d.dita: bad\n" % n for n in range(30))


@pytest.fixture
def folder(tmp_path: Path, ledger: Ledger) -> Path:
    """The archive folder of the job `it`."""
    folder = tmp_path / "archived"
    folder.mkdir()
    (folder / "logs.zip").write_bytes(a_zip({"job.log": LOG + b"<script>the end</script>\n"}))
    manifest = {"sha256": "ab", "size": 1, "entries": [], "archived_at": "2027-01-15T09:00:00+00:00"}
    former = {"archived_at": "2027-01-15T08:30:00+00:00"}
    (folder / "manifest.json").write_text(json.dumps(manifest | {"replaces": [former, {"archived_at": "?"}, 7]}))
    apply(ledger, snapshot(job("it")))
    ledger.archived(INSTANCE, "it", f"file://{folder}/logs.zip", "ab", NOW)
    return folder


def sheet(folder: Path, count: int) -> None:
    rows = [(f"/content/dam/<b>{number}", "uuid", "FAILURE", f"=reason {number}") for number in range(count)]
    (folder / CSV_NAME).write_text(as_csv([("path", "uuid", "status", "reason"), *rows]))


def words(host: Host, route: str, **query: str) -> str:
    answer = host.client().get(route, params={"instance": INSTANCE, "name": "it", **query})
    assert answer.status_code == 200
    return read(answer.text).words


@pytest.mark.usefixtures("folder")
def test_what_the_archive_says_stands_in_the_timeline(host: Host, folder: Path) -> None:
    sheet(folder, 1)
    told = words(host, "events")
    for what in ("2027-01-15 08:30 UTC Log archived", "09:00 UTC Log archived again", "Assets verified"):
        assert what in told


@pytest.mark.usefixtures("folder")
def test_the_log_is_told_in_short_with_its_errors_by_kind_and_its_last_lines(host: Host) -> None:
    told = words(host, "log-digest")
    for what in ("31 lines", "30 errors", "0 warnings", "30 ERROR: Failed to process …: bad 1", "31 <script>the end"):
        assert what in told


def test_the_failed_assets_are_shown_page_by_page_and_can_be_searched(host: Host, folder: Path) -> None:
    sheet(folder, 250)
    assert "The first 10 of those" in words(host, "assets-digest")
    first, third = words(host, "assets"), words(host, "assets", page="3")
    assert "/content/dam/<b>99 FAILURE =reason 99" in first
    assert "<b>100" not in first
    assert "<b>249" in third
    assert "Further" not in third
    assert "<b>249" in words(host, "assets", search="REASON 249")
    assert "ends before this page" in words(host, "assets", page="9")
    assert "No asset has these words" in words(host, "assets", search="<script>' OR 1=1")
    for odd in ("-1", "x", "9" * 500, "²", "0"):
        assert "<b>0 " in words(host, "assets", page=odd)


def test_the_list_is_downloaded_as_it_lies_there(host: Host, folder: Path) -> None:
    sheet(folder, 3)
    answer = host.client().get(f"assets-file?{HERE}")
    assert answer.content == (folder / CSV_NAME).read_bytes()
    assert CSV_NAME in answer.headers["content-disposition"]


def test_where_no_list_is_stored_that_is_said(host: Host, folder: Path, ledger: Ledger) -> None:
    apply(ledger, snapshot(job("it"), job("bare"), job("no-time", start=0, completed_at=None), at=NOW + 1))
    assert "none failed, or they were not verified" in words(host, "assets-digest")
    for name in ("it", "bare", "no-time"):
        assert host.client().get(f"assets-digest?instance={INSTANCE}&name={name}").status_code == 200
        for page in ("assets", "assets-file"):
            answer = host.client().get(f"{page}?instance={INSTANCE}&name={name}")
            assert answer.status_code == 404
            assert "No list of failed assets is stored" in read(answer.text).words
    del folder


def test_an_archive_that_is_gone_is_said_to_be_so_in_its_part_alone(host: Host, folder: Path) -> None:
    for file in folder.iterdir():
        file.unlink()
    told = words(host, "log-digest")
    assert "any more" in told
    assert "Ask the instance for the log" in told
    assert "Log archived" not in words(host, "events")
    assert "Ended" in words(host, "job")


def test_a_storage_that_cannot_be_read_is_said_to_be_so_in_each_part(host: Host, ledger: Ledger) -> None:
    apply(ledger, snapshot(job("it")))
    ledger.archived(INSTANCE, "it", "nowhere://there/logs.zip", "ab", NOW)
    assert "Started" in words(host, "events")
    assert "nowhere://there" in words(host, "log-digest")
    assert "nowhere://there" in words(host, "assets-digest")
    assert host.client().get(f"assets?{HERE}").status_code == 404


@pytest.mark.parametrize(
    "content", [b"", b"\x00" * 100, b"\xff\xfe" * 1000, b'"' * 1000, b"path\r\n" + b"x" * 200_000, b"a,b\r\n1,2,3\r\n"]
)
def test_whatever_lies_there_in_place_of_the_list_a_page_comes(host: Host, folder: Path, content: bytes) -> None:
    (folder / CSV_NAME).write_bytes(content)
    words(host, "assets-digest")
    words(host, "assets")


@pytest.mark.parametrize("piece", [b"x", b"a,"])
def test_a_huge_line_in_the_list_does_not_fill_the_memory(host: Host, folder: Path, piece: bytes) -> None:
    (folder / CSV_NAME).write_bytes(b"path,status,reason\r\n" + piece * (20_000_000 // len(piece)))
    tracemalloc.start()
    assert "cannot be read any further" in words(host, "assets")
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < 20_000_000


def test_a_huge_list_is_read_no_further_than_a_page_can_hold(
    host: Host, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(failed_assets, "MOST_BYTES", 10_000)
    sheet(folder, 5_000)
    assert "larger than a page reads at once" in words(host, "assets", search="nothing has this")


@pytest.mark.parametrize("odd", ["/", "a/b", "'", "<script>", "' OR 1=1 --", "ä" * 2000])
@pytest.mark.parametrize("part", PARTS)
def test_a_job_that_nobody_knows_has_no_parts(host: Host, part: str, odd: str) -> None:
    answer = host.client().get(f"{part}?instance={quote(odd)}&name={quote(odd)}")
    assert answer.status_code == 404
    assert "does not know this job" in read(answer.text).words


@pytest.mark.parametrize("part", [*PARTS, "log"])
def test_a_ledger_that_is_down_is_said_to_be_so_in_each_part(
    host: Host, monkeypatch: pytest.MonkeyPatch, part: str
) -> None:
    def fail() -> None:
        raise LedgerUnavailableError("Opening: it is locked.")

    monkeypatch.setattr(database, "ledger_url", fail)
    answer = host.client().get(f"{part}?{HERE}")
    assert answer.status_code == 503
    assert "it is locked" in read(answer.text).words


def test_a_job_leads_to_the_one_as_which_it_goes_on_and_back(host: Host, ledger: Ledger) -> None:
    ledger.take_note(note("it"))
    ledger.take_note(note("next", at=NOW, continues="it", request=note("it").request))
    for name, there in (("it", "next"), ("next", "it")):
        shown = read(host.client().get(f"job?instance={INSTANCE}&name={name}").text)
        assert f"job?instance={INSTANCE}&name={there}" in shown.addresses


@pytest.mark.parametrize("part", PARTS)
def test_a_part_is_for_those_who_may_see_the_pages(host: Host, folder: Path, part: str) -> None:
    sheet(folder, 1)
    codes = [host.client(user).get(f"{part}?{HERE}").status_code for user in (None, STRANGER, VIEWER)]
    assert codes == [401, 403, 200]
