"""The archived log as people read it, and archives that are not what they should be."""

from __future__ import annotations

import io
import tracemalloc
import zipfile
from pathlib import Path
from urllib.parse import quote

import pytest

from aem_guides.archive.check import ZipLimits, check_zip
from aem_guides.console import stored_log
from aem_guides.console.log_text import LINES
from aem_guides.console.stored_log import read_log
from aem_guides.ledger.store import Ledger
from aem_guides.protocol.errors import ArchiveError
from tests.support.archives import a_zip
from tests.support.console import Host, read
from tests.support.worlds import INSTANCE, NOW, apply, job, snapshot

LOG = b"".join(
    b"%d Processed /content/dam/%d.dita\n" % (n, n) if n % 400 else b"%d ERROR <b>broken</b> %d\n" % (n, n)
    for n in range(1, 1301)
)
HERE = f"instance={INSTANCE}&name=it"


def stored(folder: Path, ledger: Ledger, content: bytes) -> str:
    """The job `it` with this archive; its URI."""
    file = folder / "logs.zip"
    file.write_bytes(content)
    apply(ledger, snapshot(job("it")))
    ledger.archived(INSTANCE, "it", f"file://{file}", "ab", NOW)
    return f"file://{file}"


def test_the_log_is_shown_page_by_page_with_its_errors_first(host: Host, ledger: Ledger, tmp_path: Path) -> None:
    stored(tmp_path, ledger, a_zip({"job.log": LOG}))
    client = host.client()
    assert "Read the log" in read(client.get(f"job?{HERE}").text).words
    first, third = read(client.get(f"log?{HERE}").text), read(client.get(f"log?{HERE}&page=3").text)
    assert first.words.index("1200 ERROR <b>broken</b>") < first.words.index("1 Processed /content/dam/1.dita")
    assert "1300 Processed" in third.words
    assert "Errors" not in third.words
    assert "b" not in first.tags
    assert any("page=2" in address for address in first.addresses)
    assert not any("page=4" in address for address in third.addresses)
    assert "ends before this page" in read(client.get(f"log?{HERE}&page=9").text).words


def test_words_are_searched_for_in_all_of_it(host: Host, ledger: Ledger, tmp_path: Path) -> None:
    stored(tmp_path, ledger, a_zip({"job.log": LOG}))
    words = read(host.client().get(f"log?{HERE}&search=ERROR%20%3CB").text).words
    assert [n for n in (400, 800, 1200) if f"{n} ERROR" in words] == [400, 800, 1200]
    assert "Processed" not in words
    assert "No line has these words" in read(host.client().get(f"log?{HERE}&search={quote('<script>')}").text).words


def test_each_file_of_an_archive_can_be_read(host: Host, ledger: Ledger, tmp_path: Path) -> None:
    stored(tmp_path, ledger, a_zip({"a.log": b"first\n", "b/<i>.log": b"second\n"}))
    assert "second" in read(host.client().get(f"log?{HERE}&entry=1").text).words
    for odd in ("7", "-1", "x", "9" * 500, "²"):
        assert "first" in read(host.client().get(f"log?{HERE}&entry={odd}").text).words
        assert host.client().get(f"log?{HERE}&page={odd}").status_code == 200


def test_the_archive_is_downloaded_as_it_lies_there(host: Host, ledger: Ledger, tmp_path: Path) -> None:
    content = a_zip({"job.log": LOG})
    stored(tmp_path, ledger, content)
    answer = host.client().get(f"archive?{HERE}")
    assert answer.content == content
    assert answer.headers["content-disposition"] == 'attachment; filename="it.zip"'


def test_an_archive_that_is_gone_or_was_never_made_is_said_to_be_so(host: Host, ledger: Ledger, tmp_path: Path) -> None:
    uri = stored(tmp_path, ledger, a_zip({"job.log": LOG}))
    Path(uri.removeprefix("file://")).unlink()
    apply(ledger, snapshot(job("it"), job("bare"), at=NOW + 1))
    for page in ("log", "archive"):
        for name, told in (("it", "any more"), ("bare", "not archived"), ("nobody", "does not know")):
            if (page, name) == ("log", "bare"):
                continue  # its log is asked of the instance
            answer = host.client().get(f"{page}?instance={INSTANCE}&name={name}")
            assert answer.status_code == 404
            assert told in read(answer.text).words
    gone = read(host.client().get(f"log?{HERE}").text)
    there = next(address for address in gone.addresses if "from=instance" in address)
    assert f"{INSTANCE}: its connection cannot be used" in read(host.client().get(there).text).words


def test_the_log_of_an_instance_that_cannot_be_asked_says_so_and_leaves_the_rest(host: Host, ledger: Ledger) -> None:
    apply(ledger, snapshot(job("bare", "RUNNING")))
    for page in ("log", "log-digest"):
        answer = host.client().get(f"{page}?instance={INSTANCE}&name=bare")
        assert answer.status_code == 200
        assert "its connection cannot be used" in read(answer.text).words


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "no ZIP"),
        (b"PK\x05\x06" + b"\xff" * 18, "no ZIP"),
        (a_zip({"job.log": LOG})[:-30], "no ZIP"),
        (a_zip({"picture.png": b"\x89PNG\x00\x00\x00" * 100}), "is no text"),
        (a_zip({"folder/": b""}), "no file in it"),
        (a_zip({"empty.log": b""}), "log is empty"),
        (a_zip({"job.log": LOG}).replace(b"Processed", b"processed"), ""),
        (a_zip({"job.log": "ä\ud83d".encode("utf-16-le", "surrogatepass") * 50}), ""),
        (a_zip({"job.log": b"\xff\xfe\xed\xa0\x80\x1b[31m" * 1000}), ""),
    ],
)
def test_whatever_lies_there_a_page_comes(
    host: Host, ledger: Ledger, tmp_path: Path, content: bytes, told: str
) -> None:
    stored(tmp_path, ledger, content)
    answer = host.client().get(f"log?{HERE}")
    assert answer.status_code == 200
    assert told in read(answer.text).words


def test_a_huge_file_and_a_huge_line_are_read_no_further_than_a_page_can_hold(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stored_log, "MOST_BYTES", 1_000_000)
    for content in (b"x" * 50_000_000, b"line\n" * 5_000_000):
        file = tmp_path / "huge.zip"
        file.write_bytes(a_zip({"job.log": content}))
        shown = read_log(f"file://{file}")
        assert shown.cut
        assert len(shown.lines) <= LINES
        assert max(len(line.text) for line in shown.lines) < 2_100


def test_an_encrypted_file_is_said_not_to_be_readable_and_the_others_are(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("job.log", b"x")
        archive.writestr("other.log", b"clear")
    content = bytearray(buffer.getvalue())
    for header, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        content[content.index(header) + flags] |= 1
    (tmp_path / "locked.zip").write_bytes(content)
    shown = read_log(f"file://{tmp_path}/locked.zip")
    assert "encrypted" in shown.said
    assert [entry.name for entry in shown.entries] == ["job.log", "other.log"]
    assert [line.text for line in read_log(f"file://{tmp_path}/locked.zip", entry=1).lines] == ["clear"]


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_small_file_in_an_unusual_packing_does_not_fill_the_memory(tmp_path: Path, method: int) -> None:
    """Python's reader unpacks all that it has read of these, however much that becomes."""
    content = a_zip({"job.log": b"\n" * 40_000_000, "plain.log": b"x"}, method)
    (tmp_path / "bomb.zip").write_bytes(content)
    tracemalloc.start()
    shown = read_log(f"file://{tmp_path}/bomb.zip")
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(content) < 50_000
    assert most < 5_000_000
    assert "packed in an unusual way" in shown.said


def test_a_list_of_very_many_files_is_not_read_into_memory(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for number in range(20_000):
            archive.writestr(f"{number:0100}.log", b"x")
    (tmp_path / "many.zip").write_bytes(buffer.getvalue())
    tracemalloc.start()
    shown = read_log(f"file://{tmp_path}/many.zip")
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < 5_000_000
    assert "too many files" in shown.said


def test_an_archive_that_was_stored_with_bytes_behind_its_end_is_read(tmp_path: Path) -> None:
    content = a_zip({"job.log": LOG}) + b"\n" * 100_000
    assert check_zip(io.BytesIO(content), len(content), ZipLimits(), packed_here=False).warnings
    (tmp_path / "longer.zip").write_bytes(content)
    assert len(read_log(f"file://{tmp_path}/longer.zip").lines) == LINES


def test_what_is_damaged_behind_its_beginning_is_shown_up_to_there(tmp_path: Path) -> None:
    content = bytearray(a_zip({"job.log": LOG}, zipfile.ZIP_STORED))
    content[content.index(b"1299 Processed")] ^= 1
    (tmp_path / "damaged.zip").write_bytes(content)
    shown = read_log(f"file://{tmp_path}/damaged.zip")
    assert len(shown.lines) == LINES
    assert "damaged behind these lines" in shown.said


def test_a_log_that_takes_too_long_is_shown_as_far_as_it_was_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stored_log, "MOST_SECONDS", 0.0)
    (tmp_path / "slow.zip").write_bytes(a_zip({"job.log": LOG * 10}))
    shown = read_log(f"file://{tmp_path}/slow.zip")
    assert shown.cut
    assert shown.digest is not None
    assert shown.digest.lines == 1_000


def test_storage_that_cannot_be_read_is_said_to_be_so(tmp_path: Path) -> None:
    with pytest.raises(ArchiveError, match="any more"):
        read_log(f"file://{tmp_path}/nothing.zip")
    with pytest.raises(ArchiveError):
        read_log("nowhere://there/logs.zip")
