"""A start that is held back after its work is done, so that a test can kill it there."""

from __future__ import annotations

import time

from airflow.sdk import DAG, Context, Param

from aem_guides.operators import AemGuidesStartProcessingOperator
from aem_guides.pipelines.process import default_args
from aem_guides.protocol.models import JsonObject
from aem_guides.sensors import AemGuidesProcessingSensor

_LONG_SECONDS = 3600.0


class HeldStartOperator(AemGuidesStartProcessingOperator):
    """Holds its first try back after its work is done, before its success is reported."""

    def execute(self, context: Context) -> JsonObject:
        started = super().execute(context)
        if context["ti"].try_number == 1:
            time.sleep(_LONG_SECONDS)
        return started


with DAG(
    dag_id="held_start",
    schedule=None,
    catchup=False,
    params={"path": Param(type="string"), "connection_id": Param(type="string")},
    default_args=default_args(),
    tags=["aem-guides"],
):
    start = HeldStartOperator(
        task_id="start", path="{{ params.path }}", aem_guides_conn_id="{{ params.connection_id }}"
    )
    start >> AemGuidesProcessingSensor(
        task_id="wait",
        processing_id="{{ ti.xcom_pull('start', key='processing_id') }}",
        aem_guides_conn_id="{{ params.connection_id }}",
    )
