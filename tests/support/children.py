"""Processes of their own that need Airflow. A server imports it once, and forks each process as it was then."""

from __future__ import annotations

import multiprocessing
import os
import sys
from functools import cache
from multiprocessing import forkserver
from multiprocessing.context import ForkServerContext

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
