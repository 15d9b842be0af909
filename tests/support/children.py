"""Processes of their own that need Airflow. A server imports it once, and forks each process as it was then."""

from __future__ import annotations

import multiprocessing
import os
import runpy
import subprocess
import sys
from collections.abc import Callable, Mapping
from functools import cache
from multiprocessing import forkserver
from multiprocessing.context import ForkServerContext
from pathlib import Path

import pytest

PREPARED = ["aem_guides.ledger.store", "aem_guides.archive.place", "tests.support.archives"]
"""What the server imports."""


@cache
def children() -> ForkServerContext:
    """The context whose `Process` is forked from the server, which ends with this process."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PREPARED)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join(sys.path))  # the server is not given our path of imports
        forkserver.ensure_running()
    return context


def run_forked(folder: Path, program: Callable[..., int], *arguments: object) -> subprocess.CompletedProcess[str]:
    """Run a program that returns its exit status, with its output in files of a folder."""
    files = (folder / "stdout", folder / "stderr")
    process = children().Process(target=_run, args=(files, program, arguments))
    process.start()
    process.join(120)
    assert process.exitcode is not None, "it has not ended"
    return subprocess.CompletedProcess([program.__name__], process.exitcode, *(file.read_text() for file in files))


def run_module(name: str, environment: Mapping[str, str]) -> int:
    """The program of `python -m`, with these variables besides."""
    os.environ.update(environment)
    runpy.run_module(name, run_name="__main__", alter_sys=True)
    return 0


def _run(files: tuple[Path, Path], program: Callable[..., int], arguments: tuple[object, ...]) -> None:
    for stream, file in ((sys.stdout, files[0]), (sys.stderr, files[1])):
        with file.open("w") as opened:
            os.dup2(opened.fileno(), stream.fileno())  # also for whoever has kept the stream
    sys.exit(program(*arguments))
