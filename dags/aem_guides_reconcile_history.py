"""### Reconcile the history of AEM Guides

The instance shows only its last few jobs. This DAG reads them regularly, updates the ledger, applies remedies, and
reports: jobs of other users, jobs that ended, stalled, were lost or failed while no run waited for them, logs that are
not archived, archives that are missing, and times in which jobs may have been missed.

**When it runs**: on the schedule of the option `[aem_guides] reconcile_schedule`, every five minutes by default. It
must run so often that no job leaves the window unseen. One run at a time.

**Parameters**: `dry_run` only reports; `connection_ids` selects the instances.

**Remedies**: `[aem_guides] reconcile_remedies` switches on `archive`, `resume`, `adopt` and `alert`.

**If it fails**: the report is still written, to the log of `write_report` and below the archive to
`reconciliations/latest.md`. The next run reads an instance that was down.
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
    description="Compare the history of AEM Guides instances with the ledger, apply remedies and report",
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
