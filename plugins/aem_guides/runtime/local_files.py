"""Local files of a worker that a user may name when triggering a DAG."""

from __future__ import annotations

import os
from pathlib import Path

from airflow.sdk.configuration import conf


def airflow_home() -> Path:
    """AIRFLOW_HOME, absolute."""
    home = os.path.expandvars(os.environ.get("AIRFLOW_HOME") or "~/airflow")
    return Path(home).expanduser().absolute()


def paths_files_folder() -> Path:
    """`[aem_guides] paths_files_folder` of Airflow's configuration; else `aem_guides/paths` below AIRFLOW_HOME."""
    configured = conf.get("aem_guides", "paths_files_folder", fallback="")
    return Path(configured) if configured else airflow_home() / "aem_guides" / "paths"


def within(folder: Path, path: str) -> Path | None:
    """The resolved path, relative to the folder if it is not absolute. None if it is not below the folder.

    Links and `..` are resolved first.
    """
    try:
        root, place = folder.resolve(), (folder / path).resolve()
    except (OSError, ValueError, RuntimeError):  # circular links, NUL in a name
        return None
    return place if place.is_relative_to(root) and place != root else None
