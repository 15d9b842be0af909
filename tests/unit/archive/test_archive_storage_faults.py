"""Storage that is missing or gives wrong data: nothing partial is visible, and the next try completes."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from airflow.sdk import ObjectStoragePath
from fsspec.implementations.local import LocalFileSystem  # type: ignore[import-untyped]  # fsspec has no types
from fsspec.implementations.memory import MemoryFile, MemoryFileSystem  # type: ignore[import-untyped]  # fsspec has no types

from aem_guides.archive.place import verify_archive
from aem_guides.protocol.errors import ArchiveError, Retry
from aem_guides.protocol.procedures.parts import ArchivePart
from aem_guides.storage import ArchiveCondition
from tests.support.archives import FakeSource, a_zip, as_zip, store, visible


def test_storage_that_goes_away_in_the_middle_is_an_error_and_the_next_try_completes(
    folder: ObjectStoragePath, tmp_path: Path
) -> None:
    base = tmp_path / "archive"

    def unplugged() -> Iterator[ArchivePart | Exception]:
        yield from as_zip(a_zip())
        shutil.rmtree(base, ignore_errors=True)
        base.write_bytes(b"a file where the archive's folder was")

    with pytest.raises(ArchiveError, match=r"Storing the log archive of job .* failed at file://") as raised:
        store(FakeSource(unplugged()), folder)
    assert raised.value.retry is Retry.USEFUL
    assert base.is_file()
    base.unlink()
    store(FakeSource(as_zip(a_zip())), folder)
    assert verify_archive(folder) is ArchiveCondition.OK


def test_storage_that_goes_away_before_the_move_is_an_error_and_the_next_try_completes(
    folder: ObjectStoragePath, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = LocalFileSystem._open

    def removed_before_it_is_read_back(self: LocalFileSystem, path: str, mode: str = "rb", **more: object) -> object:
        if path.endswith(".part") and mode == "rb":
            shutil.rmtree(tmp_path / "archive")
        return opened(self, path, mode, **more)

    with monkeypatch.context() as patch:
        patch.setattr(LocalFileSystem, "_open", removed_before_it_is_read_back)
        with pytest.raises(ArchiveError, match="returned other bytes than were written"):
            store(FakeSource(as_zip(a_zip())), folder)
    assert visible(folder) == []
    store(FakeSource(as_zip(a_zip())), folder)
    assert verify_archive(folder) is ArchiveCondition.OK


def test_a_temporary_folder_that_is_not_there_is_named(folder: ObjectStoragePath, tmp_path: Path) -> None:
    with pytest.raises(ArchiveError, match=r"Fetching the log archive of job .* failed at .*/none: No such file"):
        store(FakeSource(as_zip(a_zip())), folder, work_dir=tmp_path / "none")


class ForeignError(Exception):
    """An error of an object store's client library."""


def test_an_object_store_that_breaks_off_while_written_to_shows_nothing(
    bucket: ObjectStoragePath, monkeypatch: pytest.MonkeyPatch
) -> None:
    def breaks_off(_self: MemoryFile, _data: bytes) -> int:
        raise ForeignError("connection to the store is gone")

    with monkeypatch.context() as patch:
        patch.setattr(MemoryFile, "write", breaks_off, raising=False)
        with pytest.raises(ArchiveError, match=r"failed at memory://.*ForeignError: connection to the store is gone"):
            store(FakeSource(as_zip(a_zip())), bucket)
    assert names(bucket) == []
    store(FakeSource(as_zip(a_zip())), bucket)
    assert names(bucket) == ["logs.zip", "manifest.json"]


def test_a_store_that_gives_back_something_else_is_found_out(
    bucket: ObjectStoragePath, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(MemoryFile, "read", lambda _self, _size=-1: b"", raising=False)
    with pytest.raises(ArchiveError, match="returned other bytes than were written"):
        store(FakeSource(as_zip(a_zip())), bucket)
    assert names(bucket) == []


def test_a_move_that_loses_bytes_is_found_out(bucket: ObjectStoragePath, monkeypatch: pytest.MonkeyPatch) -> None:
    def loses_the_end(self: MemoryFileSystem, path1: str, path2: str, **_more: object) -> None:
        self.pipe_file(path2, self.cat_file(path1)[:-1])

    monkeypatch.setattr(MemoryFileSystem, "mv", loses_the_end)
    with pytest.raises(ArchiveError, match="had a wrong size after the move"):
        store(FakeSource(as_zip(a_zip())), bucket)
    assert names(bucket) == []


def test_storage_that_cannot_be_asked_is_not_a_missing_archive(
    bucket: ObjectStoragePath, monkeypatch: pytest.MonkeyPatch
) -> None:
    store(FakeSource(as_zip(a_zip())), bucket)

    def refuses(_self: MemoryFileSystem, _path: str, **_more: object) -> bytes:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(MemoryFileSystem, "cat_file", refuses)
    with pytest.raises(ArchiveError, match="Permission denied"):
        verify_archive(bucket)


def names(folder: ObjectStoragePath) -> list[str]:
    """All names in a folder of the store, also hidden ones."""
    if not folder.fs.exists(folder.path):
        return []
    return sorted(path.rpartition("/")[2] for path in folder.fs.ls(folder.path, detail=False))
