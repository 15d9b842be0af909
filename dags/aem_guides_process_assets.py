"""### Process assets in AEM Guides

Starts a bulk processing job for each path, waits for it without holding a worker, brings its log into the task log,
archives the log ZIP, verifies the assets, and reports. Start it from the UI, over REST, or from another DAG.

**When to run it**: after an import or migration, or when authors report assets without titles, ids or references.
Large folders are best processed off-peak.

**Parameters**: only `paths` is required. The form explains all parameters.

**If it fails**: the message of the failed task says what to do. *Clear* on `wait_for_processing` resumes the job from
its checkpoint. *Clear* on `start_processing` starts a new job, unless the job is still active. Marking
`wait_for_processing` failed, or the run, cancels the job on the instance.
"""

from __future__ import annotations

from airflow.sdk import DAG

from aem_guides.pipelines.params import process_assets_params
from aem_guides.pipelines.process import build_process_tasks, default_args

with DAG(
    dag_id="aem_guides_process_assets",
    dag_display_name="AEM Guides: process assets",
    description="Process the assets below one or many paths of an AEM Guides instance",
    doc_md=__doc__,
    schedule=None,
    catchup=False,
    params=process_assets_params(),
    default_args=default_args(),
    max_active_runs=16,
    tags=["aem-guides"],
):
    build_process_tasks()
