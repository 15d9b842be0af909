"""### Control one job in AEM Guides

Cancels, resumes, archives or inspects one job by its id, whoever started it.

**When to run it**: for a job that no run of Airflow waits for, such as one that an author started in the Bulk
Processor. If a run still waits for the job, use that run: mark its `wait_for_processing` failed to cancel the job, or
clear it to resume the job.

**Parameters**: `processing_id` is the execution ID in the Bulk Processor; `action` says what to do. The page *AEM
Guides* (menu *Browse*) uses the actions `settle` and `forget` for a start in doubt, and gives `doubt`. A job is resumed
only while fewer than `max_active_jobs` jobs are active on the instance.

**If it fails**: the message says why the action is not possible, and which one is.
"""

from __future__ import annotations

from airflow.sdk import DAG

from aem_guides.pipelines.control import build_control_tasks
from aem_guides.pipelines.params import control_params
from aem_guides.pipelines.process import default_args

with DAG(
    dag_id="aem_guides_control_job",
    dag_display_name="AEM Guides: control a job",
    description="Cancel, resume, archive or inspect one job of an AEM Guides instance",
    doc_md=__doc__,
    schedule=None,
    catchup=False,
    params=control_params(),
    default_args={**default_args(), "retries": 2},
    tags=["aem-guides"],
):
    build_control_tasks()
