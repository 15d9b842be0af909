"""### Process many paths in AEM Guides

Processes hundreds or thousands of paths. For each path, one job is started when its turn comes. The job is followed
without a worker, its log is archived, and its assets are verified. At most `max_active_jobs` jobs are active on the
instance at a time; jobs of other users count too. The log of `batch_progress` shows the progress of the batch.

**When to run it**: when a whole repository is to be processed folder by folder, such as after moving it to the
database. For a few paths use `aem_guides_process_assets`, which also shows the jobs' logs in Airflow.

**Parameters**: `paths`, or `paths_file` with a file of them. With a `batch_name`, a new run leaves out the paths that
an earlier run with that name processed successfully.

**If it fails**: the log of `report` names the paths that failed, and a CSV file with all paths. *Clear* on a failed
`process_path` resumes its job from its checkpoint. *Clear* on the run does this for all failed paths, and does not
process the successful ones again. Marking a path failed cancels its job and no other.
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
