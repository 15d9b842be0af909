"""The tasks of a batch that has few paths with the triggerer at the same time."""

from __future__ import annotations

from airflow.sdk import DAG

from aem_guides.pipelines.batch import build_batch_tasks
from aem_guides.pipelines.batch_params import process_batch_params
from aem_guides.pipelines.process import default_args

with DAG(
    dag_id="small_batch",
    schedule=None,
    catchup=False,
    params=process_batch_params(),
    default_args=default_args(),
    tags=["aem-guides"],
):
    build_batch_tasks(in_flight=8)
