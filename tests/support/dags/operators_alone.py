"""The operators in a user's own DAG, without the triggerer."""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import DAG, Param

from aem_guides.operators import (
    AemGuidesArchiveLogsOperator,
    AemGuidesCancelProcessingOperator,
    AemGuidesCheckInstanceOperator,
    AemGuidesHistoryOperator,
    AemGuidesPullLogsOperator,
    AemGuidesResumeProcessingOperator,
    AemGuidesStartProcessingOperator,
    AemGuidesVerifyAssetsOperator,
)
from aem_guides.runtime.retry_policy import AemGuidesRetryPolicy
from aem_guides.sensors import AemGuidesProcessingSensor

ID = "{{ ti.xcom_pull('start', key='processing_id') }}"

with DAG(
    dag_id="operators_alone",
    schedule=None,
    catchup=False,
    params={
        "path": Param("/content/dam/aurora", type="string"),
        "interrupt": Param(True, type="boolean"),
        "connection_id": Param("aem_guides_default", type="string"),
    },
    default_args={
        "retries": 2,
        "retry_delay": timedelta(seconds=1),
        "retry_policy": AemGuidesRetryPolicy(),
        "aem_guides_conn_id": "{{ params.connection_id }}",
    },
    tags=["aem-guides"],
):
    check = AemGuidesCheckInstanceOperator(task_id="check")
    start = AemGuidesStartProcessingOperator(task_id="start", path="{{ params.path }}", deferrable=False)
    cancel = AemGuidesCancelProcessingOperator(task_id="cancel", processing_id=ID, enabled="{{ params.interrupt }}")
    resume = AemGuidesResumeProcessingOperator(
        task_id="resume", processing_id=ID, enabled="{{ params.interrupt }}", trigger_rule="none_failed"
    )
    wait = AemGuidesProcessingSensor(
        task_id="wait", processing_id=ID, deferrable=False, longest_look=2.0, trigger_rule="none_failed"
    )
    pull = AemGuidesPullLogsOperator(task_id="pull", processing_id=ID)
    archive = AemGuidesArchiveLogsOperator(task_id="archive", processing_id=ID)
    verify = AemGuidesVerifyAssetsOperator(task_id="verify", path="{{ params.path }}")
    history = AemGuidesHistoryOperator(task_id="history")
    check >> start >> cancel >> resume >> wait >> [pull, archive, verify, history]
