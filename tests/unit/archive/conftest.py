"""Fixtures of the archive's tests: separate folders."""

from __future__ import annotations

from pathlib import Path

import pytest
from airflow.sdk import ObjectStoragePath
from airflow.sdk.io import attach
from fsspec.implementations.memory import MemoryFileSystem  # type: ignore[import-untyped]  # fsspec has no types

from tests.support.archives import a_folder


@pytest.fixture
def folder(tmp_path: Path) -> ObjectStoragePath:
    """The folder for the job's archive, on local disk. It does not exist yet."""
    return a_folder(tmp_path / "archive")


@pytest.fixture
def work_dir(tmp_path: Path) -> Path:
    """An empty folder for temporary files."""
    path = tmp_path / "work"
    path.mkdir()
    return path


@pytest.fixture
def bucket() -> ObjectStoragePath:
    """The folder for the archive in a store that cannot rename and has no folders of its own."""
    store = MemoryFileSystem()
    store.store.clear()
    store.pseudo_dirs[:] = [""]
    attach(protocol="memory", fs=store)
    return a_folder("memory://bucket/archive")
