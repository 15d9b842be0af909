"""The tasks of the main DAG in runs that have a time limit."""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import DAG

from aem_guides.pipelines.params import process_assets_params
from aem_guides.pipelines.process import build_process_tasks, default_args

with DAG(
    dag_id="timed_run",
    schedule=None,
    catchup=False,
    dagrun_timeout=timedelta(hours=1),
    params=process_assets_params(),
    default_args=default_args(),
    tags=["aem-guides"],
):
    build_process_tasks()
