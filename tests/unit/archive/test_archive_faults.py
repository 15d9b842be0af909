"""Every fault of a download, really produced: the error distinguishes them, and no partial archive is visible."""

from __future__ import annotations

import io
import itertools
import random
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from airflow.sdk import ObjectStoragePath

from aem_guides.archive.check import DamagedArchiveError, check_zip
from aem_guides.archive.place import (
    Provenance,
    RefusedArchiveError,
    ZipLimits,
    store_archive,
    verify_archive,
)
from aem_guides.protocol.errors import (
    ArchiveError,
    AuthenticationError,
    InvalidInputError,
    MalformedAnswerError,
    Retry,
)
from aem_guides.protocol.procedures.parts import ArchivePart
from aem_guides.storage import ArchiveCondition
from tests.support.archives import (
    LINES,
    Download,
    FakeSource,
    a_job,
    a_zip,
    as_files,
    as_zip,
    store,
    torn,
    visible,
)

HTML = b"\n<!DOCTYPE html><html><title>Sign in</title></html>"


def with_wrong_crc() -> bytes:
    """A stored entry whose data were changed. The ZIP's structure is intact."""
    content = bytearray(a_zip(method=zipfile.ZIP_STORED))
    content[1000] ^= 0xFF
    return bytes(content)


def with_broken_data() -> bytes:
    """A deflated entry in which some bytes in the middle are zeros."""
    content = bytearray(a_zip())
    content[200:400] = bytes(200)
    return bytes(content)


def with_broken_directory() -> bytes:
    content = bytearray(a_zip())
    at = content.rindex(b"PK\x01\x02")
    content[at : at + 4] = b"XXXX"
    return bytes(content)


def a_bomb() -> bytes:
    return a_zip({"harmless.log": LINES, "bomb.log": bytes(80 * 1024 * 1024)})


def hidden_bomb() -> bytes:
    """A bomb whose headers declare a small size. Its data are longer."""
    content = bytearray(a_zip({"bomb.log": bytes(80 * 1024 * 1024)}))
    at = content.rindex(b"PK\x01\x02")
    struct.pack_into("<L", content, at + 24, 1000)
    struct.pack_into("<L", content, 22, 1000)
    return bytes(content)


DAMAGED = [
    pytest.param(torn(a_zip()), "was cut off", id="torn"),
    pytest.param(as_zip(a_zip()[:-400]), "is cut off: it ends after", id="truncated"),
    pytest.param(as_zip(a_zip()[:3]), "is cut off: it ends after 3 bytes", id="three bytes"),
    pytest.param(as_zip(with_wrong_crc()), "entry 'job.log' does not match its CRC-32", id="wrong CRC"),
    pytest.param(as_zip(with_broken_data()), "entry 'job.log' cannot be unpacked", id="broken data"),
    pytest.param(as_zip(with_broken_directory()), "list of its entries cannot be read", id="broken directory"),
    pytest.param(as_zip(hidden_bomb()), "entry 'bomb.log' does not match its CRC-32", id="hidden bomb"),
    pytest.param([], "is empty: the download has 0 bytes", id="0 bytes"),
    pytest.param(as_zip(a_zip({})), "is empty: the ZIP (22 bytes) is complete", id="no entries"),
    pytest.param(as_zip(a_zip({"a.log": b"", "b.log": b""})), "its 2 entries have no log lines", id="all empty"),
    pytest.param(as_files(("/logs/a.log", b"")), "its 1 entries have no log lines", id="one empty file"),
    pytest.param(as_zip(HTML), "is an HTML or XML page, not a ZIP", id="HTML"),
    pytest.param(as_zip(b'{"a": 1}'), "is not a ZIP: it begins with 7b 22 61", id="JSON"),
    pytest.param([MalformedAnswerError("GET x", 200, "", hint="It is empty.")], "It is empty.", id="malformed answer"),
    pytest.param([ArchivePart("a", b"x"), ArchivePart(None, b"PK")], "changed from a ZIP", id="change of form"),
]
REFUSED = [
    pytest.param(a_bomb(), "the archive's entry 'bomb.log' would unpack from", id="bomb"),
    pytest.param(a_zip({f"{n}": b"" for n in range(10_001)}), "lists 10,001 entries", id="entries without end"),
]


@pytest.mark.parametrize(("download", "message"), DAMAGED)
def test_a_damaged_download_is_fetched_again_and_named_when_it_stays_so(
    download: Download, message: str, folder: ObjectStoragePath, work_dir: Path
) -> None:
    source, waits = FakeSource(download), list[float]()
    with pytest.raises(ArchiveError, match="was still incomplete after 3 downloads") as raised:
        store(source, folder, waits=waits, work_dir=work_dir)
    assert message in str(raised.value)
    assert raised.value.retry is Retry.USEFUL
    assert (source.count, waits) == (3, [5.0, 10.0])
    assert visible(folder) == []
    assert list(work_dir.iterdir()) == []


@pytest.mark.parametrize(("download", "_message"), DAMAGED)
def test_a_download_that_is_whole_the_second_time_is_stored(
    download: Download, _message: str, folder: ObjectStoragePath
) -> None:
    source, waits = FakeSource(download, as_zip(a_zip())), list[float]()
    store(source, folder, waits=waits)
    assert (source.count, waits) == (2, [5.0])
    assert visible(folder) == ["logs.zip", "manifest.json"]
    assert Path(folder.path, "logs.zip").read_bytes() == a_zip()


@pytest.mark.parametrize(("content", "message"), REFUSED)
def test_a_zip_that_must_not_be_kept_is_refused_at_once(
    content: bytes, message: str, folder: ObjectStoragePath
) -> None:
    source = FakeSource(as_zip(content, 1024 * 1024), as_zip(a_zip()))
    with pytest.raises(RefusedArchiveError) as raised:
        store(source, folder)
    assert message in str(raised.value)
    assert source.count == 1
    assert visible(folder) == []
    store(source, folder)
    assert verify_archive(folder) is ArchiveCondition.OK


def with_a_zip_within() -> tuple[bytes, int]:
    """A ZIP whose first entry is a stored ZIP, and the end of that inner ZIP."""
    within = a_zip({"old.log": b"rotated\n" * 10})
    whole = a_zip({"rotated.zip": within, "job.log": LINES}, zipfile.ZIP_STORED)
    return whole, whole.index(within) + len(within)


@pytest.mark.parametrize("more", [0, 1, 30, 5000])
def test_a_zip_that_is_cut_off_behind_one_within_it_is_not_whole(more: int) -> None:
    whole, end = with_a_zip_within()
    assert len(check_zip(io.BytesIO(whole), len(whole), ZipLimits(), packed_here=False).entries) == 2
    torn_there = whole[: end + more]
    with pytest.raises(DamagedArchiveError, match="cut off"):
        check_zip(io.BytesIO(torn_there), len(torn_there), ZipLimits(), packed_here=False)


@pytest.mark.parametrize("comment", [b"", b"made by the instance"])
def test_a_zip_with_a_comment_is_whole_and_not_without_its_end(comment: bytes) -> None:
    buffer = io.BytesIO(a_zip())
    with zipfile.ZipFile(buffer, "a") as archive:
        archive.comment = comment
    content = buffer.getvalue()
    assert check_zip(io.BytesIO(content), len(content), ZipLimits(), packed_here=False)
    with pytest.raises(DamagedArchiveError, match="cut off"):
        check_zip(io.BytesIO(content[:-1]), len(content) - 1, ZipLimits(), packed_here=False)


def test_a_bomb_is_refused_with_its_figures() -> None:
    content = a_bomb()
    with pytest.raises(RefusedArchiveError, match=r"to 83,886,080 bytes, 1,0\d\d times as much\. At most 250 times"):
        check_zip(io.BytesIO(content), len(content), ZipLimits(), packed_here=False)


def test_a_bomb_of_many_small_entries_is_refused_as_a_whole() -> None:
    content = a_zip({f"{number}.log": bytes(1_000_000) for number in range(100)})
    with pytest.raises(RefusedArchiveError, match=r"the archive would unpack from [\d,]+ to 100,000,000 bytes"):
        check_zip(io.BytesIO(content), len(content), ZipLimits(), packed_here=False)


def test_an_archive_that_unpacks_to_more_than_the_limit_is_refused_whatever_its_ratio() -> None:
    content = a_zip(method=zipfile.ZIP_STORED)
    with pytest.raises(RefusedArchiveError, match="ZIP bomb"):
        check_zip(io.BytesIO(content), len(content), ZipLimits(largest_uncompressed=1000), packed_here=False)


@pytest.mark.parametrize("as_parts", [lambda content: as_zip(content), lambda content: as_files(("/a.log", content))])
def test_a_download_that_does_not_end_is_broken_off(
    folder: ObjectStoragePath, as_parts: Callable[[bytes], list[ArchivePart | Exception]]
) -> None:
    handed_on: list[int] = []

    class Endless:
        def download_logs(self, processing_id: str, consume: Callable[[ArchivePart], None]) -> None:
            for part in itertools.cycle(as_parts(b"PK\x03\x04" * 1024)):
                assert isinstance(part, ArchivePart)
                handed_on.append(len(part.block))
                consume(part)

    with pytest.raises(RefusedArchiveError, match="it is larger than 100,000 bytes"):
        store_archive(
            Endless(),
            Provenance("author", a_job()),
            folder,
            wait=lambda _seconds: None,
            limits=ZipLimits(largest_uncompressed=100_000),
        )
    assert sum(handed_on) < 110_000
    assert visible(folder) == []


def test_a_log_of_one_line_repeated_is_no_bomb_when_it_came_line_by_line(folder: ObjectStoragePath) -> None:
    content = b"the same line again\n" * 4_000_000
    stored = store(FakeSource(as_files(("/logs/a.log", content), block=1024 * 1024)), folder)
    assert stored.uncompressed_size == len(content) > 250 * stored.size


def test_a_directory_of_entries_that_would_fill_the_memory_is_not_read() -> None:
    content = a_zip({f"{number:0200}": b"" for number in range(100)})
    with pytest.raises(RefusedArchiveError, match=r"lists 100 entries in 24,600 bytes"):
        check_zip(io.BytesIO(content), len(content), ZipLimits(largest_directory=20_000), packed_here=False)


def test_an_error_that_fetching_again_does_not_mend_passes_unchanged(folder: ObjectStoragePath) -> None:
    source = FakeSource([AuthenticationError("GET x", 401, "")])
    with pytest.raises(AuthenticationError):
        store(source, folder)
    assert source.count == 1
    assert visible(folder) == []


def test_a_mistake_of_the_source_is_not_taken_for_a_fault_of_storage(folder: ObjectStoragePath) -> None:
    with pytest.raises(TypeError, match="mistake"):
        store(FakeSource([TypeError("mistake")]), folder)


def test_files_that_are_cut_off_are_fetched_again_from_the_first(folder: ObjectStoragePath) -> None:
    whole = as_files(("/logs/a.log", LINES), ("/logs/b.log", LINES))
    cut = [*whole[:30], *torn(b"")]
    store(FakeSource(cut, whole), folder)
    with zipfile.ZipFile(Path(folder.path, "logs.zip")) as archive:
        assert {name: archive.read(name) for name in archive.namelist()} == {"a.log": LINES, "b.log": LINES}


def test_no_attempt_at_all_is_invalid_input(folder: ObjectStoragePath) -> None:
    with pytest.raises(InvalidInputError, match="attempts"):
        store(FakeSource([]), folder, attempts=0)


def test_one_attempt_does_not_wait(folder: ObjectStoragePath) -> None:
    waits: list[float] = []
    with pytest.raises(ArchiveError, match="after 1 download,"):
        store(FakeSource([]), folder, attempts=1, waits=waits)
    assert waits == []


def flip(content: bytes, chance: random.Random) -> bytes:
    changed = bytearray(content)
    for _ in range(chance.randint(1, 4)):
        changed[chance.randrange(len(changed))] = chance.randrange(256)
    return bytes(changed)


def cut(content: bytes, chance: random.Random) -> bytes:
    return content[: chance.randrange(len(content))]


def swap(content: bytes, chance: random.Random) -> bytes:
    at = chance.randrange(len(content) - 60)
    return content[:at] + chance.randbytes(chance.randint(1, 60)) + content[at + chance.randint(1, 60) :]


@pytest.mark.parametrize("damage", [flip, cut, swap])
def test_whatever_is_damaged_is_either_found_or_harmless(damage: Callable[[bytes, random.Random], bytes]) -> None:
    """Two thousand damaged ZIPs: each is accepted with its log unchanged, or raises ArchiveError, and nothing else."""
    chance = random.Random(20260304)
    original = a_zip({"a.log": LINES[:3000], "b.log": b"", "c.log": LINES[:500]})
    outcomes = {"accepted": 0, "found": 0}
    for _ in range(2000):
        content = damage(original, chance)
        try:
            entries = check_zip(io.BytesIO(content), len(content), ZipLimits(), packed_here=False).entries
        except (DamagedArchiveError, RefusedArchiveError):
            outcomes["found"] += 1
            continue
        outcomes["accepted"] += 1
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            unlocked = [
                entry for entry in archive.infolist() if not entry.flag_bits & 1 and entry.compress_type in (0, 8)
            ]
            assert {LINES[:3000], LINES[:500], b""} >= {archive.read(entry) for entry in unlocked}
            assert len(archive.infolist()) == len(entries)
    assert outcomes["found"] > 500


def test_a_damaged_download_leaves_the_archive_that_is_there_alone(folder: ObjectStoragePath) -> None:
    """The job was resumed, so its log is fetched again. As long as that fails, the earlier archive counts."""
    first = store(FakeSource(as_zip(a_zip())), folder)
    with pytest.raises(ArchiveError):
        store(FakeSource([]), folder, job=a_job(completed_at=a_job().started_at))
    assert verify_archive(folder, sha256=first.sha256) is ArchiveCondition.OK
