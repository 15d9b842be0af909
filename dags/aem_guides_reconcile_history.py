"""### Reconcile the history of AEM Guides

The instance shows its last few jobs only. This DAG reads them regularly, keeps the ledger true, mends what it can, and
reports: somebody else's jobs, jobs that ended, got stuck, were lost or failed without anybody there, logs that are not
archived, archives that are gone, and times in which jobs may have passed unseen.

**When it runs**: as `[aem_guides] reconcile_schedule` says, every five minutes by default; often enough that the
window does not roll over in between. One run at a time.

**Parameters**: `dry_run` only looks and reports; `connection_ids` chooses instances.

**Remedies**: `[aem_guides] reconcile_remedies` switches on `archive`, `resume`, `adopt` and `alert`.

**If it fails**: the report is there all the same, in the log of `write_report` and below the archive in
`reconciliations/latest.md`. An instance that was down is caught up by the next run.
"""

from __future__ import annotations

import pendulum
from airflow.sdk import DAG

from aem_guides.ledger.settings import reconcile_schedule
from aem_guides.pipelines.params import reconcile_params
from aem_guides.pipelines.process import default_args
from aem_guides.pipelines.reconcile import build_reconcile_tasks

with DAG(
    dag_id="aem_guides_reconcile_history",
    dag_display_name="AEM Guides: reconcile the history",
    description="Compare the history of AEM Guides instances with the ledger, mend and report",
    doc_md=__doc__,
    schedule=reconcile_schedule(),
    start_date=pendulum.datetime(2026, 1, 1, tz="UTC"),
    catchup=False,
    max_active_runs=1,
    params=reconcile_params(),
    default_args={**default_args(), "retries": 2},
    tags=["aem-guides"],
):
    build_reconcile_tasks()
