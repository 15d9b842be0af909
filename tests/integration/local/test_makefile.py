"""`make setup` reports what the machine lacks. `make` alone lists its targets."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
MAKE = shutil.which("make") or "make"


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A folder in which nothing is set up yet, with a space in its name."""
    folder = tmp_path / "fresh clone"
    folder.mkdir()
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, folder)
    return folder


def program(file: Path, text: str) -> Path:
    file.write_text(f"#!/bin/sh\n{text}\n")
    file.chmod(0o755)
    return file


def make(checkout: Path, *arguments: str, path: Path | None = None) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "PYTHON"))}
    if path is not None:
        environment["PATH"] = f"{path}{os.pathsep}{environment['PATH']}"
    return subprocess.run(
        [MAKE, *arguments], cwd=checkout, env=environment, capture_output=True, text=True, check=False
    )


def refusal(checkout: Path, *arguments: str, path: Path | None = None) -> str:
    done = make(checkout, "setup", *arguments, path=path)
    assert done.returncode != 0
    assert not (checkout / ".venv").exists()
    return done.stdout


def test_a_python_that_is_too_old_is_reported_with_the_remedy(checkout: Path, tmp_path: Path) -> None:
    old = program(tmp_path / "python", "exit 1")
    assert "is Python 3.11 or newer. Install it, or name it: make PYTHON=" in refusal(checkout, f"PYTHON={old}")


def test_a_missing_venv_module_is_reported_with_the_package_that_has_it(checkout: Path, tmp_path: Path) -> None:
    without = program(tmp_path / "python", f'case "$*" in *ensurepip*) exit 1;; esac; exec "{sys.executable}" "$@"')
    reported = refusal(checkout, f"PYTHON={without}")
    version = f"python3.{sys.version_info.minor}-venv"
    assert f"has no venv module. Install it (Debian, Ubuntu: apt install {version})." in reported


def test_too_little_disk_space_is_reported_before_anything_is_written(checkout: Path, tmp_path: Path) -> None:
    program(tmp_path / "df", "echo Filesystem; echo '/dev/disk 100 90 10 90% /'")
    reported = refusal(checkout, f"PYTHON={sys.executable}", path=tmp_path)
    assert "setting up needs 1.5 GB of free disk space" in reported


def test_make_alone_shows_every_target_that_a_user_needs(checkout: Path) -> None:
    reported = make(checkout).stdout
    for target in ("demo", "up", "test", "bench", "soak", "flakes", "lint", "types", "format", "clean"):
        assert re.search(rf"\bmake {target}\b", reported), target
    assert not (checkout / ".venv").exists()
