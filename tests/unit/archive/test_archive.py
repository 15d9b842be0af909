"""What is stored, where and under which name, and that it is stored once."""

from __future__ import annotations

import hashlib
import json
import re
import zipfile
import zlib
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from airflow.sdk import ObjectStoragePath
from hypothesis import given
from hypothesis import strategies as st

from aem_guides import storage as archive_storage
from aem_guides.archive import place as archive
from aem_guides.archive.names import entry_name
from aem_guides.archive.place import (
    ArchivedEntry,
    Provenance,
    archive_folder,
    store_archive,
    verify_archive,
)
from aem_guides.protocol.states import JobState
from aem_guides.protocol.wording import iso_time
from aem_guides.storage import ArchiveCondition, default_archive_uri, safe_name
from tests.support.archives import ID, LINES, NOW, FakeSource, a_job, a_zip, as_files, as_zip, store, visible

ANY_NAME = st.text(min_size=1, max_size=300)
NEAR_NAMES = st.text(alphabet="ab/._- :é0", min_size=1, max_size=6)


def test_the_zip_is_stored_as_it_was_sent_with_a_complete_manifest(folder: ObjectStoragePath) -> None:
    content = a_zip({"job.log": LINES, "empty.log": b""})
    stored = store(FakeSource(as_zip(content)), folder)
    assert Path(folder.path, "logs.zip").read_bytes() == content
    assert stored.uri == f"{folder}/logs.zip"
    assert stored.manifest_uri == f"{folder}/manifest.json"
    assert json.loads(Path(folder.path, "manifest.json").read_text(encoding="utf-8")) == {
        "version": 1,
        "instance": "author.example.com",
        "processing_id": ID,
        "state": "SUCCESS",
        "started_at": "2026-03-04T05:06:07.000+00:00",
        "completed_at": "2026-03-04T05:07:07.000+00:00",
        "path": "/content/dam/docs",
        "created_by": "author",
        "request": {"path": "/content/dam/docs"},
        "run": "dag / run / task try 1",
        "sha256": hashlib.sha256(content).hexdigest(),
        "size": len(content),
        "uncompressed_size": len(LINES),
        "entries": [
            {"name": "job.log", "size": len(LINES), "crc32": f"{zlib.crc32(LINES):08x}"},
            {"name": "empty.log", "size": 0, "crc32": "00000000"},
        ],
        "warnings": [],
        "archived_at": NOW.isoformat(),
    }


def test_a_second_call_returns_the_stored_archive(folder: ObjectStoragePath) -> None:
    stored = store(FakeSource(as_zip(a_zip())), folder)
    assert store(FakeSource([]), folder) == stored
    assert stored.entries == (ArchivedEntry("job.log", len(LINES), f"{zlib.crc32(LINES):08x}"),)
    assert (stored.uncompressed_size, stored.warnings) == (len(LINES), ())


def test_single_log_files_are_packed_into_one_zip(folder: ObjectStoragePath) -> None:
    files = (
        ("/var/logs/1/job.log", LINES),
        ("/var/logs/2/job.log", b"second"),
        ("/var/logs/3/JOB.log", b"third"),
        ("/var/logs/errors%20%C3%A9.log?x=/y", b"fourth"),
        ("/var/logs/..%2f..%2fetc", b"fifth"),
        ("/var/logs/..", b"sixth"),
        ("/var/logs/empty", b""),
    )
    stored = store(FakeSource(as_files(*files)), folder)
    with zipfile.ZipFile(Path(folder.path, "logs.zip")) as packed:
        assert packed.testzip() is None
        assert {name: packed.read(name) for name in packed.namelist()} == {
            "job.log": LINES,
            "job (2).log": b"second",
            "JOB (3).log": b"third",
            "errors é.log": b"fourth",
            "etc": b"fifth",
            "log": b"sixth",
            "empty": b"",
        }
        assert packed.infolist()[0].date_time == (2026, 3, 4, 5, 7, 6)
    assert stored.size < stored.uncompressed_size


def test_files_behind_one_path_are_entries_of_their_own(folder: ObjectStoragePath) -> None:
    files = (("/bin/log?file=a", b"first"), ("/bin/log?file=b", b"second"), ("/bin/log?file=b", b"third"))
    store(FakeSource(as_files(*files)), folder)
    with zipfile.ZipFile(Path(folder.path, "logs.zip")) as packed:
        assert {name: packed.read(name) for name in packed.namelist()} == {
            "log": b"first",
            "log (2)": b"second",
            "log (3)": b"third",
        }


def test_the_same_files_packed_twice_give_the_same_archive(tmp_path: Path) -> None:
    files = as_files(("/a.log", LINES), ("/b.log", b"x"))
    first, second = (store(FakeSource(files), ObjectStoragePath(f"file://{tmp_path}/{name}")) for name in "ab")
    assert first.sha256 == second.sha256


def test_a_job_without_times_is_packed_too(folder: ObjectStoragePath) -> None:
    job = a_job(started_at=None, completed_at=None)
    store(FakeSource(as_files(("/a.log", b"x"))), folder, job=job)
    assert verify_archive(folder) is ArchiveCondition.OK


def test_an_archive_that_is_there_is_returned_without_a_download(folder: ObjectStoragePath) -> None:
    first = store(FakeSource(as_zip(a_zip())), folder)
    source = FakeSource([])
    assert store(source, folder) == first
    assert source.count == 0


@pytest.mark.parametrize(
    "changes",
    [{"completed_at": 1_800_000_000_000}, {"state": JobState.FAILED}],
    ids=["ended later", "ended otherwise"],
)
def test_the_log_of_a_job_that_was_resumed_since_is_fetched_again(
    changes: dict[str, object], folder: ObjectStoragePath
) -> None:
    store(FakeSource(as_zip(a_zip())), folder)
    grown = a_zip({"job.log": LINES + b"resumed\n"})
    store(FakeSource(as_zip(grown)), folder, job=a_job(**changes))
    assert Path(folder.path, "logs.zip").read_bytes() == grown
    assert verify_archive(folder) is ArchiveCondition.OK
    assert visible(folder) == ["logs.zip", "manifest.json"]


def replaced(folder: ObjectStoragePath) -> list[tuple[bool, str | None]]:
    """The manifest's entries about replaced archives."""
    manifest = json.loads(Path(folder.path, "manifest.json").read_text(encoding="utf-8"))
    return [(entry["is_held_whole"], entry["kept_as"]) for entry in manifest.get("replaces", [])]


def test_a_log_that_has_grown_is_fetched_again_and_the_manifest_says_what_it_replaces(
    folder: ObjectStoragePath,
) -> None:
    first = store(FakeSource(as_zip(a_zip({"job.log": LINES}))), folder, log_end="a")
    assert store(FakeSource(), folder, log_end="a") == first
    assert store(FakeSource(), folder) == first, "how it ends now is not known"
    grown = a_zip({"job.log": LINES + b"late\n", "other.log": b"x"})
    store(FakeSource(as_zip(grown)), folder, log_end="b")
    store(FakeSource(as_zip(grown)), folder, log_end="c")
    assert replaced(folder) == [(True, None)]
    assert archive.log_end_of(f"{folder}/logs.zip") == "c"
    assert verify_archive(folder) is ArchiveCondition.OK
    assert visible(folder) == ["logs.zip", "manifest.json"]


@pytest.mark.parametrize(
    "entries",
    [{"job.log": LINES[5:]}, {"job.log": LINES[:5]}, {"renamed.log": LINES + b"late"}, {"job.log": b"x" + LINES}],
    ids=["cut in front", "cut behind", "renamed", "shifted"],
)
def test_an_archive_that_the_new_one_does_not_hold_whole_is_kept_beside_it(
    entries: dict[str, bytes], folder: ObjectStoragePath
) -> None:
    former = a_zip({"job.log": LINES})
    sha256 = store(FakeSource(as_zip(former)), folder, log_end="a").sha256
    store(FakeSource(as_zip(a_zip(entries))), folder, log_end="b")
    kept = f"logs-{sha256[:16]}"
    assert replaced(folder) == [(False, f"{kept}.zip")]
    assert Path(folder.path, f"{kept}.zip").read_bytes() == former
    assert json.loads(Path(folder.path, f"{kept}.json").read_bytes())["sha256"] == sha256
    assert verify_archive(folder) is ArchiveCondition.OK
    assert visible(folder) == [f"{kept}.json", f"{kept}.zip", "logs.zip", "manifest.json"]


@pytest.mark.parametrize("harm", ["changed", "truncated", "removed", "no manifest", "manifest no JSON", "manifest {}"])
def test_a_damaged_archive_is_distinguished_from_a_missing_one_and_replaced(
    harm: str, folder: ObjectStoragePath
) -> None:
    content = a_zip()
    store(FakeSource(as_zip(content)), folder)
    zip_file, manifest = Path(folder.path, "logs.zip"), Path(folder.path, "manifest.json")
    if harm == "changed":
        zip_file.write_bytes(content[:-1] + b"x")
    elif harm == "truncated":
        zip_file.write_bytes(content[:-1])
    elif harm == "removed":
        zip_file.unlink()
    elif harm == "no manifest":
        manifest.unlink()
    else:
        manifest.write_text(harm.removeprefix("manifest "), encoding="utf-8")
    different = harm in ("changed", "truncated")
    assert verify_archive(folder) is (ArchiveCondition.DIFFERENT if different else ArchiveCondition.MISSING)
    source = FakeSource(as_zip(content))
    store(source, folder)
    assert source.count == 1
    assert verify_archive(folder) is ArchiveCondition.OK


def test_an_archive_is_verified_by_its_uri_and_against_a_known_checksum(folder: ObjectStoragePath) -> None:
    stored = store(FakeSource(as_zip(a_zip())), folder)
    assert verify_archive(stored.uri) is ArchiveCondition.OK
    assert verify_archive(stored.uri, sha256=stored.sha256) is ArchiveCondition.OK
    assert verify_archive(stored.uri, sha256="0" * 64) is ArchiveCondition.DIFFERENT
    assert verify_archive(f"{folder}/elsewhere/logs.zip") is ArchiveCondition.MISSING


def test_leftovers_of_this_archive_are_cleaned_and_nothing_else(folder: ObjectStoragePath) -> None:
    path = Path(folder.path)
    path.mkdir(parents=True)
    mine = [f".logs.zip.{'0' * 32}.part", f".manifest.json.{'a' * 32}.part"]
    others = ["notes.txt", ".logs.zip.mine.part", f".other.zip.{'0' * 32}.part"]
    for name in mine + others:
        (path / name).write_bytes(b"x")
    store(FakeSource(as_zip(a_zip())), folder)
    assert visible(folder) == sorted([*others, "logs.zip", "manifest.json"])


def test_an_object_store_that_cannot_rename_holds_the_same(bucket: ObjectStoragePath) -> None:
    content = a_zip()
    stored = store(FakeSource(as_zip(content)), bucket)
    assert stored.uri.startswith("memory://")
    assert bucket.fs.cat_file(f"{bucket.path}/logs.zip") == content
    assert verify_archive(stored.uri) is ArchiveCondition.OK
    assert store(FakeSource([]), bucket) == stored
    bucket.fs.pipe_file(f"{bucket.path}/logs.zip", b"PK damaged")
    bucket.fs.pipe_file(f"{bucket.path}/.logs.zip.{'0' * 32}.part", b"left behind")
    assert verify_archive(bucket) is ArchiveCondition.DIFFERENT
    store(FakeSource(as_zip(content)), bucket)
    assert sorted(path.rpartition("/")[2] for path in bucket.fs.ls(bucket.path, detail=False)) == [
        "logs.zip",
        "manifest.json",
    ]
    assert verify_archive(bucket) is ArchiveCondition.OK


def test_on_local_disk_the_checked_file_itself_comes_under_its_name_not_a_copy_of_it(
    folder: ObjectStoragePath, monkeypatch: pytest.MonkeyPatch
) -> None:
    files: dict[str, int] = {}
    move = archive_storage.move

    def noting(part: ObjectStoragePath, place: ObjectStoragePath, size: int) -> None:
        files[place.name] = Path(part.path).stat().st_ino
        move(part, place, size)

    for module in (archive, archive_storage):
        monkeypatch.setattr(module, "move", noting)
    store(FakeSource(as_zip(a_zip())), folder)
    assert {name: Path(folder.path, name).stat().st_ino for name in visible(folder)} == files


def test_the_folder_names_instance_day_and_job() -> None:
    when = datetime(2026, 3, 4, 1, 0, tzinfo=timezone(timedelta(hours=5)))
    assert str(archive_folder("file:///data/archive", "Author.Example.com", when, ID)) == (
        f"file:///data/archive/author.example.com/2026/03/03/{ID}"
    )
    assert str(archive_folder("s3://store@bucket/base/", "author", when, "a b")).startswith(
        "s3://store@bucket/base/author/2026/03/03/a_b-"
    )


def test_the_archive_lies_below_airflow_home_or_where_the_configuration_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AIRFLOW__AEM_GUIDES__ARCHIVE_URI", raising=False)
    monkeypatch.setenv("AIRFLOW_HOME", "/srv/airflow")
    assert default_archive_uri() == "file:///srv/airflow/aem_guides/archive"
    monkeypatch.setenv("AIRFLOW__AEM_GUIDES__ARCHIVE_URI", "s3://store@bucket/archive")
    assert default_archive_uri() == "s3://store@bucket/archive"


def test_without_a_clock_of_the_caller_the_time_is_now(folder: ObjectStoragePath) -> None:
    before = datetime.now(tz=UTC).replace(microsecond=0)
    store_archive(FakeSource(as_zip(a_zip())), Provenance("author", a_job()), folder, wait=lambda _seconds: None)
    manifest = json.loads(Path(folder.path, "manifest.json").read_text(encoding="utf-8"))
    assert before <= datetime.fromisoformat(manifest["archived_at"]) <= datetime.now(tz=UTC)
    assert (manifest["run"], manifest["request"]) == (None, None)


def test_times_are_shown_in_utc_and_none_stays_none() -> None:
    assert iso_time(1_772_600_767_001) == "2026-03-04T05:06:07.001+00:00"
    assert iso_time(None) is None


@given(ANY_NAME)
def test_a_safe_name_is_one_bounded_segment_whatever_the_id(name: str) -> None:
    assert re.fullmatch(r"[A-Za-z0-9._-]{1,97}", safe_name(name))
    assert safe_name(name) not in (".", "..")
    assert not safe_name(name).startswith(".")


@given(st.one_of(ANY_NAME, NEAR_NAMES), st.one_of(ANY_NAME, NEAR_NAMES))
def test_two_ids_never_share_a_folder(one: str, other: str) -> None:
    assert (safe_name(one) == safe_name(other)) is (one == other)


@given(ANY_NAME)
def test_an_id_that_is_another_ones_safe_name_has_a_folder_of_its_own(name: str) -> None:
    assert safe_name(name) == name or safe_name(safe_name(name)) != safe_name(name)


def test_ordinary_ids_stay_as_they_are() -> None:
    assert safe_name(ID) == ID
    assert safe_name("GUID-8a.b_c") == "GUID-8a.b_c"


@given(ANY_NAME)
def test_an_entry_name_can_be_unpacked_anywhere(path: str) -> None:
    name = entry_name(path)
    assert 1 <= len(name) <= 150
    assert not re.search(r'[\x00-\x1f\\/:"<>|?*]', name)
    assert name.strip(". ") == name
