"""### Process many paths in AEM Guides

Processes hundreds or thousands of paths: each is started once when it is its turn, followed without holding a
worker, its log archived and its assets verified. At most `max_active_jobs` jobs are active on the instance at a time,
whoever started them. The log of `batch_progress` shows how far the batch is.

**When to run it**: when a whole repository is to be processed folder by folder, such as after moving it to the
database. For a few paths take `aem_guides_process_assets`, which brings the jobs' logs into Airflow's.

**Parameters**: `paths`, or `paths_file` with a file of them. With a `batch_name`, a new run leaves out what an
earlier one of that name processed well.

**If it fails**: the log of `report` names the paths that did not come to a good end; the CSV it names has them all.
*Clear* on a failed `process_path` goes on from its job's checkpoint; *Clear* on the run does so for all that failed,
and leaves alone what was processed well. Marking a path failed cancels its job and leaves the others alone.
"""

from __future__ import annotations

from airflow.sdk import DAG

from aem_guides.pipelines.batch import build_batch_tasks
from aem_guides.pipelines.batch_params import process_batch_params
from aem_guides.pipelines.process import default_args

with DAG(
    dag_id="aem_guides_process_batch",
    dag_display_name="AEM Guides: process many paths",
    description="Process hundreds or thousands of paths of an AEM Guides instance, a few at a time",
    doc_md=__doc__,
    schedule=None,
    catchup=False,
    params=process_batch_params(),
    default_args=default_args(),
    max_active_runs=16,
    tags=["aem-guides"],
):
    build_batch_tasks()
