"""The tasks of the main DAG with two problems: little patience with lost jobs, and no room for archives while a file
exists.

Without the right to mount a disk and fill it, the kernel refuses in the same way: no file may grow beyond a limit.
"""

from __future__ import annotations

import resource
from pathlib import Path

from airflow.sdk import DAG, Context, Param

from aem_guides.operators import AemGuidesArchiveLogsOperator
from aem_guides.pipelines.params import process_assets_params
from aem_guides.pipelines.process import ARCHIVE, WAIT, build_process_tasks, default_args
from aem_guides.sensors import AemGuidesProcessingSensor

ROOM_BYTES = 100_000


def fill_the_disk(context: Context) -> None:
    """Leave no room for the process of this task, as long as the run's file exists."""
    if Path(str(context["params"]["no_room_while"])).is_file():
        _, most = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (ROOM_BYTES, most))


with DAG(
    dag_id="troubled_run",
    schedule=None,
    catchup=False,
    params={**process_assets_params(), "no_room_while": Param("", type="string")},
    default_args=default_args(),
    tags=["aem-guides"],
) as dag:
    build_process_tasks()
    wait, archive = dag.get_task(WAIT), dag.get_task(ARCHIVE)
    assert isinstance(wait, AemGuidesProcessingSensor)
    assert isinstance(archive, AemGuidesArchiveLogsOperator)
    wait.lost_minutes = 0.1
    archive._pre_execute_hook = fill_the_disk
