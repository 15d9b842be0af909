"""Complete but unusual ZIPs: kept unchanged, with a warning for each oddity and for everything that could not be
checked."""

from __future__ import annotations

import io
import json
import logging
import stat
import struct
import zipfile
from pathlib import Path

import pytest
from airflow.sdk import ObjectStoragePath
from hypothesis import given
from hypothesis import strategies as st

from aem_guides.archive.check import CheckedZip, DamagedArchiveError, ZipLimits, check_zip
from aem_guides.archive.names import entry_path
from tests.support.archives import LINES, FakeSource, a_zip, as_zip, store

PAGE = b"<!-- served by pod 7 -->"


def checked(content: bytes) -> CheckedZip:
    return check_zip(io.BytesIO(content), len(content), ZipLimits(), packed_here=False)


def a_link() -> bytes:
    entry = zipfile.ZipInfo("job.log")
    entry.external_attr = (stat.S_IFLNK | 0o777) << 16
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(entry, "/etc/passwd")
    return buffer.getvalue()


def encrypted() -> bytes:
    """The flag that says so, set in both headers of an entry."""
    content = bytearray(a_zip())
    content[6] |= 1
    content[content.rindex(b"PK\x01\x02") + 8] |= 1
    return bytes(content)


def with_one_name_twice() -> bytes:
    return a_zip({"a.log": LINES, "b.log": b"later"}).replace(b"b.log", b"a.log")


def with_64_bit_records(monkeypatch: pytest.MonkeyPatch) -> bytes:
    monkeypatch.setattr(zipfile, "ZIP_FILECOUNT_LIMIT", 0)
    content = a_zip()
    assert b"PK\x06\x06" in content
    return content


@pytest.mark.parametrize(
    ("name", "safe"),
    [
        ("bulk_2026-02-26T08:59:10.755Z.log", "bulk_2026-02-26T08_59_10.755Z.log"),
        ("/opt/aem/logs/bulk.log", "opt/aem/logs/bulk.log"),
        ("C:\\aem\\bulk.log", "C_/aem/bulk.log"),
        ("logs/../../bulk.log", "logs/bulk.log"),
        ("..", "log"),
        ("a\n\x1b[31mb\x85.log", "a__[31mb_.log"),
        ("\u202egol.x", "_gol.x"),
        ("d/" * 40 + "x" * 400 + ".log", "d/" * 15 + "x" * 146 + ".log"),
    ],
)
def test_an_odd_name_is_a_warning_and_made_safe_in_the_manifest(
    name: str, safe: str, folder: ObjectStoragePath, caplog: pytest.LogCaptureFixture
) -> None:
    content, source, waits = (
        a_zip({name: LINES, "good/one.log": LINES}),
        FakeSource(as_zip(a_zip({name: LINES, "good/one.log": LINES}))),
        list[float](),
    )
    with caplog.at_level(logging.WARNING, "aem_guides"):
        stored = store(source, folder, waits=waits)
    assert (source.count, waits) == (1, [])
    assert Path(folder.path, "logs.zip").read_bytes() == content
    assert [entry.name for entry in stored.entries] == [safe, "good/one.log"]
    (warning,) = stored.warnings
    assert repr(name[:200]) in warning
    assert "good/one.log" not in warning
    assert "is stored unchanged, with a warning" in caplog.text
    assert warning in caplog.text
    assert json.loads(Path(folder.path, "manifest.json").read_text())["warnings"] == [warning]
    assert store(FakeSource([]), folder) == stored


@given(st.text(min_size=1, max_size=400))
def test_the_name_in_a_manifest_never_leads_out_and_is_made_safe_once(name: str) -> None:
    safe = entry_path(name)
    assert entry_path(safe) == safe
    assert not {"", ".", ".."} & set(safe.split("/"))
    assert safe.encode()
    assert not any(ord(letter) < 32 for letter in safe)


@pytest.mark.parametrize("behind", [b"\r\n", PAGE, b"\x00" * 1_000_000, PAGE + b"PK\x05\x06" + bytes(18), a_zip()])
@pytest.mark.parametrize("comment", [b"", b"made by the instance"])
def test_bytes_behind_the_end_of_a_zip_are_a_warning(behind: bytes, comment: bytes, folder: ObjectStoragePath) -> None:
    buffer = io.BytesIO(a_zip())
    with zipfile.ZipFile(buffer, "a") as archive:
        archive.comment = comment
    content, waits = buffer.getvalue() + behind, list[float]()
    source = FakeSource(as_zip(content, 1024 * 1024))
    stored = store(source, folder, waits=waits)
    assert (source.count, waits) == (1, [])
    assert Path(folder.path, "logs.zip").read_bytes() == content
    (warning,) = stored.warnings
    assert warning.startswith(f"{len(behind):,} bytes after the end of the ZIP do not belong to it. They begin with")


def test_a_zip_with_64_bit_records_is_whole_with_bytes_behind_it_and_not_without_its_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    content = with_64_bit_records(monkeypatch)
    assert checked(content).warnings == ()
    assert checked(content + b"\r\n").warnings
    for cut in (content[:-1], content[:-20], content[:-40], content[:-80]):
        with pytest.raises(DamagedArchiveError, match="cut off"):
            checked(cut + PAGE)


@pytest.mark.parametrize("cut", [1, 10, 22, 60, 400])
def test_a_cut_zip_stays_cut_whatever_page_a_proxy_puts_behind_it(cut: int) -> None:
    with pytest.raises(DamagedArchiveError, match="cut off"):
        checked(a_zip()[:-cut] + PAGE)


def test_the_checksums_of_a_zip_with_bytes_behind_it_and_odd_names_are_checked() -> None:
    content = bytearray(a_zip({"C:\\job.log": LINES}, zipfile.ZIP_STORED) + b"\r\n")
    content[1000] ^= 0xFF
    with pytest.raises(DamagedArchiveError, match="CRC-32"):
        checked(bytes(content))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (encrypted(), "Encrypted entries could not be checked against their CRC-32: 'job.log'."),
        (
            a_zip(method=zipfile.ZIP_BZIP2),
            "Entries compressed with method 12 could not be checked against their CRC-32: 'job.log'.",
        ),
        (a_link(), "It has symbolic links instead of files: 'job.log'."),
        (
            with_one_name_twice(),
            "Several entries have the same name, and most programs unpack only one of them: 'a.log'.",
        ),
    ],
)
def test_unexpected_and_uncheckable_archives_are_kept_with_a_warning(content: bytes, said: str) -> None:
    assert checked(content).warnings == (said,)


def test_an_unknown_compression_is_kept_and_its_checksum_is_said_to_be_unchecked() -> None:
    content = bytearray(a_zip())
    struct.pack_into("<H", content, 8, 93)
    struct.pack_into("<H", content, content.rindex(b"PK\x01\x02") + 10, 93)
    (warning,) = checked(bytes(content)).warnings
    assert "method 93" in warning


def test_entries_of_one_name_have_names_of_their_own_in_the_manifest_and_are_checked_each() -> None:
    content = with_one_name_twice()
    assert [(entry.name, entry.size) for entry in checked(content).entries] == [("a.log", len(LINES)), ("a (2).log", 5)]
    with pytest.raises(DamagedArchiveError, match="CRC-32"):
        checked(
            a_zip({"a.log": LINES, "b.log": b"later"}, zipfile.ZIP_STORED)
            .replace(b"b.log", b"a.log")
            .replace(b"later", b"never")
        )


def test_an_archive_that_was_packed_here_is_never_odd() -> None:
    content = a_zip({"a b (2).log": LINES, "é.log": LINES})
    assert checked(content).warnings == ()
